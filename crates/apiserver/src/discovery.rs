//! Discovery documents: pure functions from the served resources. Shapes: `k8s.io/apimachinery/pkg/apis/meta/v1` (APIGroup,
//! APIResource) and `k8s.io/api/apidiscovery/v2`.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::request::Clause;
use crate::resource::{Resource, Subresource};

/// The Kubernetes version whose behaviour this server has.
const MINOR: u32 = 36;
const GIT_VERSION: &str = "v1.36.2";

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR.to_string(), "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
        "emulationMajor": "1", "emulationMinor": MINOR.to_string(),
        "minCompatibilityMajor": "1", "minCompatibilityMinor": (MINOR - 1).to_string(),
    })
}

/// The architecture as Go names it.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api`.
pub(crate) fn api_versions() -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
    })
}

/// Groups and their versions in the order in which they were registered, newest version of a group first.
fn groups(resources: &[Arc<Resource>]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in resources {
        let known = groups.iter().position(|(group, _)| *group == &*resource.group);
        let at = known.unwrap_or_else(|| {
            groups.push((&resource.group, Vec::new()));
            groups.len() - 1
        });
        if !groups[at].1.contains(&&*resource.version) {
            groups[at].1.push(&resource.version);
        }
    }
    for (_, versions) in &mut groups {
        versions.sort_by(|a, b| priority(b).cmp(&priority(a)));
    }
    groups
}

/// Order of versions: `v2` before `v1` before `v1beta2` before `v1alpha1` before anything else
/// (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>).
fn priority(version: &str) -> (u8, u64, u64, std::cmp::Reverse<&str>) {
    let other = (0, 0, 0, std::cmp::Reverse(version));
    let Some(rest) = version.strip_prefix('v') else { return other };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (Ok(major), rest) = (rest[..digits].parse(), &rest[digits..]) else { return other };
    let stage = |name: &str| rest.strip_prefix(name).and_then(|n| n.parse().ok());
    match (rest, stage("beta"), stage("alpha")) {
        ("", ..) => (3, major, 0, std::cmp::Reverse("")),
        (_, Some(minor), _) => (2, major, minor, std::cmp::Reverse("")),
        (_, _, Some(minor)) => (1, major, minor, std::cmp::Reverse("")),
        _ => other,
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": group_version(group, v), "version": v})).collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// `/apis`.
pub(crate) fn group_list(resources: &[Arc<Resource>]) -> Value {
    let groups: Vec<Value> = groups(resources)
        .iter()
        .filter(|(g, _)| !g.is_empty())
        .map(|(group, versions)| api_group(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` when it is not served.
pub(crate) fn group(resources: &[Arc<Resource>], name: &str) -> Option<Value> {
    let groups = groups(resources);
    let (group, versions) = groups.iter().find(|(group, _)| *group == name && !name.is_empty())?;
    let mut document = api_group(group, versions);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

/// `/api/VERSION` and `/apis/GROUP/VERSION`; `None` when it is not served.
pub(crate) fn resource_list(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in resources.iter().filter(|r| *r.group == *group && *r.version == *version) {
        // A kind that only lives as a subresource of another (a TokenRequest) has no verbs of its own.
        if !resource.verbs.is_empty() {
            list.push(api_resource(resource));
        }
        list.extend(resource.subresources.iter().map(|sub| api_subresource(resource, sub)));
    }
    if list.is_empty() {
        return None;
    }
    list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version), "resources": list,
    }))
}

fn api_resource(resource: &Resource) -> Value {
    let mut out = json!({
        "name": &*resource.plural, "singularName": &*resource.singular, "namespaced": resource.namespaced,
        "kind": &*resource.kind, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = names(&resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = names(&resource.categories);
    }
    if resource.verbs.contains(&"list") {
        out["storageVersionHash"] = storage_version_hash(resource).into();
    }
    out
}

/// Eight bytes that change when the storage version does, as clients expect them: base64.
fn storage_version_hash(resource: &Resource) -> String {
    use base64::Engine;
    let hash = fnv(format!("{}/{}/{}", resource.group, resource.storage_version, resource.kind).as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash.to_be_bytes())
}

/// FNV-1a, 64 bits: a fingerprint that stays the same over restarts and machines; no secret depends on it.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn names(list: &[Arc<str>]) -> Value {
    list.iter().map(|name| Value::from(&**name)).collect()
}

fn api_subresource(resource: &Resource, sub: &Subresource) -> Value {
    let mut out = json!({
        "name": format!("{}/{}", resource.plural, sub.name), "singularName": "", "namespaced": resource.namespaced,
        "kind": &*resource.kind, "verbs": sub.verbs,
    });
    if let Some((group, version, kind)) = sub.kind {
        out["kind"] = kind.into();
        if (group, version) != (&*resource.group, &*resource.version) {
            if !group.is_empty() {
                out["group"] = group.into();
            }
            out["version"] = version.into();
        }
    }
    out
}

/// The version of aggregated discovery that Accept asks for first, when it asks for one before plain JSON.
pub(crate) fn aggregated_version(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(http::header::ACCEPT)?.to_str().ok()?;
    for clause in accept.split(',').take(16).filter_map(Clause::parse) {
        match (clause.param("as"), clause.param("g"), clause.param("v")) {
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => return Some("v2"),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => return Some("v2beta1"),
            ("", ..) if matches!(clause.media, "application/json" | "*/*") => return None,
            _ => {}
        }
    }
    None
}

/// Aggregated discovery of `/api` (`core`) or `/apis`.
pub(crate) fn aggregated(resources: &[Arc<Resource>], core: bool, version: &str) -> Value {
    let items: Vec<Value> = groups(resources)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|v| {
                    let served = resources.iter().filter(|r| *r.group == *group && *r.version == **v);
                    let list: Vec<Value> = served.filter_map(|r| aggregated_resource(r)).collect();
                    json!({"version": v, "freshness": "Current", "resources": list})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    })
}

fn aggregated_resource(resource: &Resource) -> Option<Value> {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own = kind(&resource.group, &resource.version, &resource.kind);
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            let response = sub.kind.map_or_else(|| own.clone(), |(g, v, k)| kind(g, v, k));
            json!({"subresource": sub.name, "responseKind": response, "verbs": sub.verbs})
        })
        .collect();
    if resource.verbs.is_empty() && subresources.is_empty() {
        return None;
    }
    let mut out = json!({
        "resource": &*resource.plural, "responseKind": own, "singularResource": &*resource.singular,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "verbs": aggregated_verbs(resource),
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = names(&resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = names(&resource.categories);
    }
    if !subresources.is_empty() {
        out["subresources"] = subresources.into();
    }
    Some(out)
}

/// Custom resources list their verbs in the order of the apiextensions server, built-in ones by name.
fn aggregated_verbs(resource: &Resource) -> Vec<&'static str> {
    if resource.custom {
        vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
    } else {
        resource.verbs.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_and_more_stable_versions_come_first() {
        let mut versions = vec!["v1alpha1", "foo", "v1", "v2beta1", "v2", "v1beta2", "v11"];
        versions.sort_by(|a, b| priority(b).cmp(&priority(a)));
        assert_eq!(versions, ["v11", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn plain_json_before_the_aggregated_form_wins() {
        let mut headers = HeaderMap::new();
        let accept = "application/json,application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        headers.insert(http::header::ACCEPT, accept.parse().unwrap());
        assert_eq!(aggregated_version(&headers), None);
    }
}
