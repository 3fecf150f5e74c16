//! ServiceAccount: every pod has an account, its token mounted where containers look for it, and its pull secrets. Accounts
//! that ask for it keep their pods to the secrets that they list.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::kinds::meta::generated_name;
use crate::status::Status;

/// Where containers find the token of their service account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";
const STORAGE: &str = "/serviceaccounts";
/// How long the account `default` of a new namespace is waited for: a controller makes it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Gives a new pod its account and what comes with it.
pub(super) async fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    // Pods that mirror a node's own static pods have no account.
    if a.operation != Operation::Create || !a.is("", "pods") || a.object.has(MIRROR) {
        return Ok(());
    }
    if a.object.str_at("/spec/serviceAccountName").is_empty() {
        a.object.set_at("/spec/serviceAccountName", "default");
        a.object.set_at("/spec/serviceAccount", "default");
    }
    let name = a.object.str_at("/spec/serviceAccountName").to_owned();
    let account = existing(a, &name).await?;
    let wanted = [a.object.at("/spec/automountServiceAccountToken"), account.at("/automountServiceAccountToken")];
    if wanted.into_iter().find_map(Value::as_bool).unwrap_or(true) {
        mount_token(&mut a.object);
    }
    if a.object.list_at("/spec/imagePullSecrets").is_empty() && !account.list_at("/imagePullSecrets").is_empty() {
        a.object.set_at("/spec/imagePullSecrets", account.at("/imagePullSecrets").clone());
    }
    Ok(())
}

/// Looks at the account and the secrets of a pod once more, as others may have changed them.
pub(super) async fn validate(a: &Attributes<'_>) -> Result<(), Status> {
    let refuse = |why: String| a.forbidden(&why);
    let spec = a.object.at("/spec");
    if a.operation == Operation::Update && a.is_part("", "pods", "ephemeralcontainers") {
        let account = existing(a, spec.str_at("/serviceAccountName")).await?;
        if !keeps_to_its_secrets(&account) {
            return Ok(());
        }
        return env_secrets(spec, "ephemeralContainers", "ephemeral container", &account).map_err(refuse);
    }
    if a.operation != Operation::Create || !a.is("", "pods") {
        return Ok(());
    }
    let name = spec.str_at("/serviceAccountName");
    if a.object.has(MIRROR) {
        return mirror(spec).map_err(|why| a.forbidden(why));
    }
    if name.is_empty() {
        let pod = a.object.str_at("/metadata/name");
        return Err(refuse(format!("no service account specified for pod {}/{pod}", a.namespace)));
    }
    let account = existing(a, name).await?;
    if keeps_to_its_secrets(&account) { secrets(spec, &account).map_err(refuse) } else { Ok(()) }
}

/// The account, or 403.
async fn existing(a: &Attributes<'_>, name: &str) -> Result<Value, Status> {
    let find = || a.api.lookup(STORAGE, a.namespace, name);
    let found = match find() {
        None if name == "default" => {
            // From before the second look on, so that nothing falls between.
            let watch = a.api.store.watch(STORAGE, a.api.store.revision());
            let appears = async {
                let mut watch = watch.ok()?;
                loop {
                    if let Some(account) = find() {
                        return Some(account);
                    }
                    watch.next().await.ok()?;
                }
            };
            tokio::time::timeout(PATIENCE, appears).await.ok().flatten()
        }
        found => found,
    };
    found.ok_or_else(|| {
        let namespace = a.namespace;
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        a.forbidden(&why)
    })
}

fn mount_token(pod: &mut Value) {
    let named = |volume: &Value| volume.str_at("/name").starts_with("kube-api-access-");
    let existing = pod.list_at("/spec/volumes").iter().find(|v| named(v)).map(|v| v.str_at("/name").to_owned());
    let name = existing.clone().unwrap_or_else(|| generated_name("kube-api-access-"));
    let mut mounted = false;
    for list in ["/spec/initContainers", "/spec/containers"] {
        for container in pod.list_mut_at(list) {
            if container.list_at("/volumeMounts").iter().any(|m| m.str_at("/mountPath") == TOKEN_PATH) {
                continue;
            }
            let mut mounts = container.list_at("/volumeMounts").to_vec();
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH}));
            container.set_at("/volumeMounts", mounts);
            mounted = true;
        }
    }
    if !mounted || existing.is_some() {
        return;
    }
    let mut volumes = pod.list_at("/spec/volumes").to_vec();
    volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}}));
    pod.set_at("/spec/volumes", volumes);
}

/// What a pod that mirrors a static one may not have: the node would have to ask the API for it.
fn mirror(spec: &Value) -> Result<(), &'static str> {
    if !spec.str_at("/serviceAccountName").is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    let lists = ["/containers", "/initContainers", "/ephemeralContainers"];
    let containers = || lists.iter().flat_map(|list| spec.list_at(list));
    let in_env = |c: &Value| c.list_at("/env").iter().any(|e| e.has("/valueFrom/secretKeyRef"));
    let in_env_from = |c: &Value| c.list_at("/envFrom").iter().any(|e| e.has("/secretRef"));
    let volumes = || spec.list_at("/volumes").iter();
    let sources = || volumes().flat_map(|volume| volume.list_at("/projected/sources"));
    let secrets = containers().any(|c| in_env(c) || in_env_from(c))
        || volumes().any(|volume| volume.has("/secret"))
        || sources().any(|source| source.has("/secret"))
        || !spec.list_at("/imagePullSecrets").is_empty();
    if secrets {
        return Err("a mirror pod may not reference secrets");
    }
    if sources().any(|source| source.has("/serviceAccountToken")) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// The account's pods may use the secrets that it lists and no others.
fn keeps_to_its_secrets(account: &Value) -> bool {
    let text = account.str_at("/metadata/annotations/kubernetes.io~1enforce-mountable-secrets");
    ["1", "t", "T", "TRUE", "true", "True"].contains(&text)
}

fn listed<'a>(account: &'a Value, field: &str) -> HashSet<&'a str> {
    account.list_at(field).iter().map(|listed| listed.str_at("/name")).collect()
}

fn secrets(spec: &Value, account: &Value) -> Result<(), String> {
    let owner = account.str_at("/metadata/name");
    let (mountable, pullable) = (listed(account, "/secrets"), listed(account, "/imagePullSecrets"));
    for volume in spec.list_at("/volumes").iter().filter(|volume| volume.has("/secret")) {
        let name = volume.str_at("/secret/secretName");
        if !mountable.contains(name) {
            return Err(format!(
                "volume with secret.secretName={name:?} is not allowed because service account {owner} does not \
                 reference that secret"
            ));
        }
    }
    env_secrets(spec, "initContainers", "init container", account)?;
    env_secrets(spec, "containers", "container", account)?;
    for (index, pull) in spec.list_at("/imagePullSecrets").iter().enumerate() {
        let name = pull.str_at("/name");
        if !pullable.contains(name) {
            return Err(format!(
                "imagePullSecrets[{index}].name={name:?} is not allowed because service account {owner} does not \
                 reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

fn env_secrets(spec: &Value, list: &str, what: &str, account: &Value) -> Result<(), String> {
    let (owner, mountable) = (account.str_at("/metadata/name"), listed(account, "/secrets"));
    for container in spec.list_at(&format!("/{list}")) {
        for variable in container.list_at("/env").iter().filter(|v| v.has("/valueFrom/secretKeyRef")) {
            let name = variable.str_at("/valueFrom/secretKeyRef/name");
            if !mountable.contains(name) {
                return Err(format!(
                    "{what} {} with envVar {} referencing secret.secretName={name:?} is not allowed because service \
                     account {owner} does not reference that secret",
                    container.str_at("/name"),
                    variable.str_at("/name"),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_where_nothing_else_is() {
        let taken = json!({"name": "b", "volumeMounts": [{"name": "x", "mountPath": TOKEN_PATH}]});
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, taken], "initContainers": [{"name": "i"}]}});
        mount_token(&mut pod);
        let name = pod.str_at("/spec/volumes/0/name").to_owned();
        let mounted = |pointer: &str| pod.str_at(&format!("/spec/{pointer}/volumeMounts/0/name")).to_owned();
        let expected = [name.clone(), "x".to_owned(), name];
        assert_eq!(["containers/0", "containers/1", "initContainers/0"].map(mounted), expected);
    }

    #[test]
    fn a_pod_that_mounts_it_everywhere_itself_gets_no_volume() {
        let mut pod = json!({"spec": {"containers": [{"volumeMounts": [{"name": "x", "mountPath": TOKEN_PATH}]}]}});
        mount_token(&mut pod);
        assert!(!pod.has("/spec/volumes"));
    }

    #[test]
    fn an_account_that_keeps_to_its_secrets_refuses_others() {
        let account =
            json!({"metadata": {"name": "sa"}, "secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "p"}]});
        let env =
            |name: &str| json!([{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": name}}}]}]);
        for (spec, expected) in [
            (
                json!({"volumes": [{"secret": {"secretName": "s"}}], "containers": env("s"), "imagePullSecrets": [{"name": "p"}]}),
                Ok(()),
            ),
            (
                json!({"volumes": [{"secret": {"secretName": "t"}}]}),
                Err(
                    "volume with secret.secretName=\"t\" is not allowed because service account sa does not reference that secret",
                ),
            ),
            (
                json!({"containers": env("t")}),
                Err(
                    "container c with envVar E referencing secret.secretName=\"t\" is not allowed because service account sa does not reference that secret",
                ),
            ),
            (
                json!({"initContainers": env("t")}),
                Err(
                    "init container c with envVar E referencing secret.secretName=\"t\" is not allowed because service account sa does not reference that secret",
                ),
            ),
            (
                json!({"imagePullSecrets": [{"name": "t"}]}),
                Err(
                    "imagePullSecrets[0].name=\"t\" is not allowed because service account sa does not reference that imagePullSecret",
                ),
            ),
        ] {
            assert_eq!(secrets(&spec, &account), expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn a_mirror_pod_asks_the_api_for_nothing() {
        for (spec, expected) in [
            (json!({}), Ok(())),
            (json!({"serviceAccountName": "x"}), Err("a mirror pod may not reference service accounts")),
            (json!({"containers": [{"envFrom": [{"secretRef": {}}]}]}), Err("a mirror pod may not reference secrets")),
            (
                json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]}),
                Err("a mirror pod may not use ServiceAccountToken volume projections"),
            ),
        ] {
            assert_eq!(mirror(&spec), expected);
        }
    }
}
