//! What kube-apiserver's default admission plugins do to pods before they are validated.

use serde_json::{Value, json};

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::kinds::meta::generated_name;
use crate::resource::Cx;
use crate::status::Status;

/// Where containers find the token of their service account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// ServiceAccount, Priority, DefaultTolerationSeconds and RuntimeClass, in the order kube-apiserver runs them.
pub(super) fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    if !a.is("", "pods") {
        return Ok(());
    }
    let mut pod = std::mem::take(&mut a.object);
    let cx = a.cx();
    let admitted = match a.operation {
        Operation::Create => service_account(&mut pod, &cx)
            .and_then(|()| priority(&mut pod, &cx))
            .map(|()| tolerations(&mut pod))
            .and_then(|()| runtime_class(&mut pod, &cx)),
        Operation::Update => {
            tolerations(&mut pod);
            Ok(())
        }
        _ => Ok(()),
    };
    a.object = pod;
    admitted
}

fn forbidden(pod: &Value, why: &str) -> Status {
    Status::forbidden("", "pods", pod.str_at("/metadata/name"), why)
}

fn service_account(pod: &mut Value, cx: &Cx<'_>) -> Result<(), Status> {
    // Pods that mirror a node's own static pods have no account.
    if pod.has("/metadata/annotations/kubernetes.io~1config.mirror") {
        return Ok(());
    }
    if pod.str_at("/spec/serviceAccountName").is_empty() {
        pod.set_at("/spec/serviceAccountName", "default");
        pod.set_at("/spec/serviceAccount", "default");
    }
    let name = pod.str_at("/spec/serviceAccountName").to_owned();
    let namespace = pod.str_at("/metadata/namespace").to_owned();
    let Some(account) = cx.lookup.get("/serviceaccounts", &namespace, &name) else {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(forbidden(pod, &why));
    };
    let wanted = [pod.at("/spec/automountServiceAccountToken"), account.at("/automountServiceAccountToken")];
    if wanted.into_iter().find_map(Value::as_bool).unwrap_or(true) {
        mount_token(pod);
    }
    if pod.list_at("/spec/imagePullSecrets").is_empty() && !account.list_at("/imagePullSecrets").is_empty() {
        pod.set_at("/spec/imagePullSecrets", account.at("/imagePullSecrets").clone());
    }
    Ok(())
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

/// DefaultTolerationSeconds: five minutes on a node that is gone.
fn tolerations(pod: &mut Value) {
    let mut tolerations = pod.list_at("/spec/tolerations").to_vec();
    let given = tolerations.len();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations[..given]
            .iter()
            .any(|t| ["", key].contains(&t.str_at("/key")) && ["", "NoExecute"].contains(&t.str_at("/effect")));
        if !tolerated {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    if tolerations.len() > given {
        pod.set_at("/spec/tolerations", tolerations);
    }
}

fn priority(pod: &mut Value, cx: &Cx<'_>) -> Result<(), Status> {
    const STORAGE: &str = "scheduling.k8s.io/priorityclasses";
    let name = pod.str_at("/spec/priorityClassName").to_owned();
    let class = if name.is_empty() {
        cx.lookup.list(STORAGE, "").into_iter().find(|class| class.true_at("/globalDefault"))
    } else {
        let Some(class) = cx.lookup.get(STORAGE, "", &name) else {
            return Err(forbidden(pod, &format!("no PriorityClass with name {name} was found")));
        };
        Some(class)
    };
    let class = class.unwrap_or_default();
    let value = class.int_at("/value").unwrap_or(0);
    if let Some(given) = pod.int_at("/spec/priority")
        && given != value
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        );
        return Err(forbidden(pod, &why));
    }
    let policy = class.at("/preemptionPolicy").as_str().unwrap_or("PreemptLowerPriority").to_owned();
    if let Some(given) = pod.at("/spec/preemptionPolicy").as_str()
        && given != policy
    {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        );
        return Err(forbidden(pod, &why));
    }
    if !class.is_null() {
        pod.set_at("/spec/priorityClassName", class.at("/metadata/name").clone());
    }
    pod.set_at("/spec/priority", value);
    pod.set_at("/spec/preemptionPolicy", policy);
    Ok(())
}

fn runtime_class(pod: &mut Value, cx: &Cx<'_>) -> Result<(), Status> {
    let name = pod.str_at("/spec/runtimeClassName").to_owned();
    if name.is_empty() {
        return Ok(());
    }
    let Some(class) = cx.lookup.get("node.k8s.io/runtimeclasses", "", &name) else {
        return Err(forbidden(pod, &format!("pod rejected: RuntimeClass {name:?} not found")));
    };
    let overhead = class.at("/overhead/podFixed");
    if !overhead.is_null() {
        if pod.has("/spec/overhead") && pod.at("/spec/overhead") != overhead {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(forbidden(pod, why));
        }
        pod.set_at("/spec/overhead", overhead.clone());
    }
    for (key, value) in class.map_at("/scheduling/nodeSelector").into_iter().flatten() {
        let pointer = format!("/spec/nodeSelector/{}", key.replace('/', "~1"));
        if pod.has(&pointer) && pod.at(&pointer) != value {
            let why = "pod rejected: conflict: runtimeClass.scheduling.nodeSelector";
            return Err(forbidden(pod, why));
        }
        pod.set_at(&pointer, value.clone());
    }
    let mut tolerations = pod.list_at("/spec/tolerations").to_vec();
    for toleration in class.list_at("/scheduling/tolerations") {
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
    if !tolerations.is_empty() {
        pod.set_at("/spec/tolerations", tolerations);
    }
    Ok(())
}
