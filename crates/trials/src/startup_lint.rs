//! Whether manifests hand start-up data over in a way that survives an outage of the API server. Pure.

use serde_json::Value;

/// A reference that has to be, though it does not survive an outage.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// The variable.
    pub variable: &'static str,
    /// Why it cannot be otherwise.
    pub why: &'static str,
}

/// What is wrong in this object, whatever its kind: a mount with `subPath` is never refreshed, and environment variables from ConfigMaps
/// or Secrets keep a container from being made again while the API server is away. One line for each.
pub fn startup_lint(object: &Value, allowed: &[Allowed]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
    let mut found = Vec::new();
    // Depth is bounded by the parser of whoever read the object.
    let mut nodes = vec![object];
    while let Some(node) = nodes.pop() {
        for name in ["initContainers", "containers", "ephemeralContainers"] {
            for container in node[name].as_array().into_iter().flatten() {
                let of = format!("{of}: container {}", text(&container["name"]));
                found.extend(faults(container, allowed).into_iter().map(|fault| format!("{of}: {fault}")));
            }
        }
        match node {
            Value::Object(members) => nodes.extend(members.values()),
            Value::Array(items) => nodes.extend(items),
            _ => {}
        }
    }
    found
}

fn faults(container: &Value, allowed: &[Allowed]) -> Vec<String> {
    let list = |name: &str| container[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let mounts =
        list("volumeMounts").iter().filter(|mount| !mount["subPath"].is_null() || !mount["subPathExpr"].is_null());
    let mounts = mounts.map(|mount| {
        format!("mount {} has a subPath, which is never refreshed: mount the whole directory", name(mount))
    });
    let refers =
        |env: &&Value| ["configMapKeyRef", "secretKeyRef"].iter().any(|from| !env["valueFrom"][from].is_null());
    let is_allowed = |env: &&Value| allowed.iter().any(|one| env["name"] == one.variable);
    let env = list("env").iter().filter(refers).filter(|env| !is_allowed(env));
    let env = env.map(|env| {
        format!("{} is from an object, which does not survive an outage of the API server: mount it", name(env))
    });
    let from =
        list("envFrom").iter().map(|_| "envFrom does not survive an outage of the API server: mount it".to_owned());
    mounts.chain(env).chain(from).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(container: Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn sub_paths_and_env_references_are_found_wherever_they_stand() {
        let container = json!({
            "name": "c",
            "volumeMounts": [{"name": "startup", "subPath": "profile.json"}, {"name": "whole", "mountPath": "/etc"}],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {}}}, {"name": "B", "valueFrom": {"fieldRef": {}}}, {"name": "C", "value": "x"}],
            "envFrom": [{"secretRef": {"name": "s"}}],
        });
        let found = startup_lint(&json!({"kind": "List", "items": [deployment(container)]}), &[]);
        let told: Vec<&str> = found.iter().filter_map(|line| line.split(": ").nth(2)).collect();
        assert_eq!(
            told,
            [
                "mount startup has a subPath, which is never refreshed",
                "A is from an object, which does not survive an outage of the API server",
                "envFrom does not survive an outage of the API server",
            ]
        );
    }

    #[test]
    fn what_is_allowed_passes_by_its_name_alone() {
        let container = |name: &str| json!({"name": "c", "env": [{"name": name, "valueFrom": {"secretKeyRef": {}}}]});
        let allowed = [Allowed { variable: "A", why: "a test" }];
        assert_eq!(startup_lint(&deployment(container("A")), &allowed), Vec::<String>::new());
        assert_eq!(startup_lint(&deployment(container("B")), &allowed).len(), 1);
    }
}
