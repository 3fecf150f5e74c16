//! Objects from files, in the place of a cluster: manifests as `kubectl get -o yaml` writes them, single, in lists, in streams.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::exit::Failure;

/// Reads a file, or every `.yaml`, `.yml` and `.json` file of a directory. Each object comes with its kind's name in URLs.
pub(crate) fn read(path: &Path) -> Result<Vec<(&'static str, Value)>, Failure> {
    let bad =
        |path: &Path, what: &dyn std::fmt::Display| Failure::usage(format!("--against {}: {what}", path.display()));
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| bad(path, &error))?;
        files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_manifest(path)).collect();
        files.sort();
    }
    let mut objects = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| bad(&file, &error))?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| bad(&file, &error))?;
        for document in documents {
            let items = match document["items"].as_array() {
                Some(items) if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => items.clone(),
                _ if document.is_null() => Vec::new(),
                _ => vec![document],
            };
            for object in items {
                let kind = object["kind"].as_str().unwrap_or_default();
                let plural =
                    plural(kind).ok_or_else(|| bad(&file, &format!("gateways are not made of kind {kind:?}")))?;
                objects.push((plural, object));
            }
        }
    }
    Ok(objects)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// Kinds that matter to gateways. A name is never guessed.
fn plural(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "ConfigMap" => "configmaps",
        "Secret" => "secrets",
        "Service" => "services",
        "ServiceAccount" => "serviceaccounts",
        "Namespace" => "namespaces",
        "Node" => "nodes",
        "Pod" => "pods",
        "PersistentVolumeClaim" => "persistentvolumeclaims",
        "StatefulSet" => "statefulsets",
        "Deployment" => "deployments",
        "Role" => "roles",
        "RoleBinding" => "rolebindings",
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "NetworkPolicy" => "networkpolicies",
        "StorageClass" => "storageclasses",
        "CustomResourceDefinition" => "customresourcedefinitions",
        "Sandbox" => "sandboxes",
        "OpenShellGateway" => "openshellgateways",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_f10_a_kind_that_is_not_known_is_an_error_and_never_guessed() {
        for (kind, known) in [("NetworkPolicy", Some("networkpolicies")), ("Ingress", None), ("Policy", None)] {
            assert_eq!(plural(kind), known);
        }
    }

    #[test]
    fn lists_and_streams_are_taken_apart() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "kind: List\nitems:\n- kind: Secret\n  metadata: {name: a}\n---\nkind: ConfigMap\nmetadata: {name: b}\n";
        fs::write(dir.path().join("live.yaml"), text).unwrap();
        fs::write(dir.path().join("notes.txt"), "no manifest").unwrap();
        let found = read(dir.path()).unwrap();
        assert_eq!(found.iter().map(|(plural, _)| *plural).collect::<Vec<_>>(), ["secrets", "configmaps"]);
    }
}
