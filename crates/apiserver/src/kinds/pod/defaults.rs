//! What a pod's fields are when nobody says (`pkg/apis/core/v1/defaults.go`).

use serde_json::{Value, json};

use super::super::at::At;

/// Mode of files in volumes, 0644.
const FILE_MODE: i64 = 420;

/// Defaults of a Pod: those of its spec, and what only running pods get.
pub(in super::super) fn pod(obj: &mut Value) {
    obj.default_at("/spec", json!({}));
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in obj.list_mut_at(list) {
            requests_from_limits(container);
        }
    }
    if obj.true_at("/spec/hostNetwork") {
        for list in ["/spec/containers", "/spec/initContainers"] {
            for port in obj.list_mut_at(list).iter_mut().flat_map(|c| c.list_mut_at("/ports")) {
                if port.int_at("/hostPort").unwrap_or(0) == 0 {
                    port.set_at("/hostPort", port.at("/containerPort").clone());
                }
            }
        }
    }
    obj.default_at("/spec/enableServiceLinks", true);
    spec(obj, "/spec");
    for (one, many) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let ip = obj.str_at(&format!("/status/{one}")).to_owned();
        if !ip.is_empty() {
            obj.default_at(&format!("/status/{many}"), json!([{ "ip": ip }]));
        }
    }
    for condition in obj.list_mut_at("/status/conditions") {
        for time in ["/lastProbeTime", "/lastTransitionTime"] {
            condition.default_at(time, Value::Null);
        }
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = container.map_at("/resources/limits").cloned() else { return };
    for (name, quantity) in limits {
        if !container.has(&format!("/resources/requests/{}", name.replace('/', "~1"))) {
            container.set_at(&format!("/resources/requests/{}", name.replace('/', "~1")), quantity);
        }
    }
}

/// Defaults of a pod template at `pointer`.
pub(in super::super) fn template(obj: &mut Value, pointer: &str) {
    obj.default_at(&format!("{pointer}/metadata"), json!({}));
    obj.default_at(&format!("{pointer}/spec"), json!({}));
    spec(obj, &format!("{pointer}/spec"));
}

/// Defaults of the pod spec at `pointer`.
fn spec(obj: &mut Value, pointer: &str) {
    let Some(spec) = obj.pointer_mut(pointer).filter(|spec| spec.is_object()) else { return };
    let account = [spec.str_at("/serviceAccountName"), spec.str_at("/serviceAccount")]
        .into_iter()
        .find(|name| !name.is_empty())
        .map(str::to_owned);
    if let Some(account) = account {
        spec.set_at("/serviceAccountName", account.clone());
        spec.set_at("/serviceAccount", account);
    }
    spec.default_at("/dnsPolicy", "ClusterFirst");
    spec.default_at("/restartPolicy", "Always");
    spec.default_at("/terminationGracePeriodSeconds", 30);
    spec.default_at("/schedulerName", "default-scheduler");
    spec.default_at("/securityContext", json!({}));
    for list in ["/containers", "/initContainers", "/ephemeralContainers"] {
        spec.list_mut_at(list).iter_mut().for_each(container);
    }
    spec.list_mut_at("/volumes").iter_mut().for_each(volume);
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    container.default_at("/terminationMessagePath", "/dev/termination-log");
    container.default_at("/terminationMessagePolicy", "File");
    let policy = if pulls_always(container.str_at("/image")) { "Always" } else { "IfNotPresent" };
    container.default_at("/imagePullPolicy", policy);
    container.default_at("/resources", json!({}));
    for port in container.list_mut_at("/ports") {
        port.default_at("/protocol", "TCP");
    }
    for variable in container.list_mut_at("/env") {
        variable.default_at("/valueFrom/fieldRef/apiVersion", "v1");
        variable.default_at("/valueFrom/resourceFieldRef/divisor", "0");
    }
    for probe in ["/livenessProbe", "/readinessProbe", "/startupProbe"] {
        let Some(probe) = container.pointer_mut(probe).filter(|probe| probe.is_object()) else { continue };
        for (field, value) in
            [("/timeoutSeconds", 1), ("/periodSeconds", 10), ("/successThreshold", 1), ("/failureThreshold", 3)]
        {
            if probe.int_at(field) == Some(0) {
                probe.remove_at(field);
            }
            probe.default_at(field, value);
        }
        probe.default_at("/grpc/service", "");
        http_get(probe);
    }
    for hook in ["/lifecycle/postStart", "/lifecycle/preStop"] {
        if let Some(hook) = container.pointer_mut(hook) {
            http_get(hook);
        }
    }
}

fn http_get(handler: &mut Value) {
    handler.default_at("/httpGet/path", "/");
    handler.default_at("/httpGet/scheme", "HTTP");
}

/// Whether an image is pulled at every start: its tag is `latest` or missing, and no digest pins it.
fn pulls_always(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object() else { return };
    if map.iter().all(|(key, value)| key == "name" || value.is_null()) {
        volume.set_at("/emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        volume.default_at(&format!("/{source}/defaultMode"), FILE_MODE);
    }
    volume.default_at("/hostPath/type", "");
    volume.default_at("/iscsi/iscsiInterface", "default");
    for (field, value) in [("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")] {
        volume.default_at(&format!("/rbd/{field}"), value);
    }
    volume.default_at("/azureDisk/cachingMode", "ReadWrite");
    volume.default_at("/azureDisk/kind", "Shared");
    volume.default_at("/azureDisk/fsType", "ext4");
    volume.default_at("/azureDisk/readOnly", false);
    volume.default_at("/ephemeral/volumeClaimTemplate/metadata", json!({}));
    volume.default_at("/ephemeral/volumeClaimTemplate/spec/volumeMode", "Filesystem");
    volume.default_at("/ephemeral/volumeClaimTemplate/spec/resources", json!({}));
    downward_items(volume, "/downwardAPI/items");
    for source in volume.list_mut_at("/projected/sources") {
        source.default_at("/serviceAccountToken/expirationSeconds", 3600);
        downward_items(source, "/downwardAPI/items");
    }
    if volume.has("/image") {
        let always = pulls_always(volume.str_at("/image/reference"));
        volume.default_at("/image/pullPolicy", if always { "Always" } else { "IfNotPresent" });
    }
}

fn downward_items(source: &mut Value, pointer: &str) {
    for item in source.list_mut_at(pointer) {
        item.default_at("/fieldRef/apiVersion", "v1");
        item.default_at("/resourceFieldRef/divisor", "0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_or_latest_tag_is_pulled_always() {
        let cases = ["x", "x:latest", "h:5000/x", "x:1", "x@sha256:0", "h:5000/x:1", "x:latest@sha256:0"];
        assert_eq!(cases.map(pulls_always), [true, true, true, false, false, false, false]);
    }

    #[test]
    fn requests_are_taken_from_limits() {
        let mut object =
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1"}}}]}});
        pod(&mut object);
        assert_eq!(object.at("/spec/containers/0/resources/requests"), &json!({"cpu": "1", "memory": "1"}));
    }

    #[test]
    fn a_template_gets_no_requests() {
        let mut object = json!({"t": {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}}});
        template(&mut object, "/t");
        assert!(!object.has("/t/spec/containers/0/resources/requests"));
    }

    #[test]
    fn defaulting_twice_changes_nothing() {
        let mut once = json!({"spec": {"volumes": [{"name": "v"}], "containers": [{"name": "c", "image": "i",
            "livenessProbe": {"httpGet": {"port": 1}}}]}});
        pod(&mut once);
        let mut twice = once.clone();
        pod(&mut twice);
        assert_eq!(twice, once);
    }
}
