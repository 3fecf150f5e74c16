//! Tables of the checks: a pod that breaks each, how it reads, and that the same pod without the break passes.

use serde_json::{Value, json};

use super::checks::{Finding, Pod, details, findings};
use super::level::{Level, Policy, Standard, Version};
use super::{is_significant, is_stricter, of_existing, verdict};

const LATEST: Version = Version::Latest;

fn standard(level: Level, version: Version) -> Standard {
    Standard { level, version }
}

fn check(standard: Standard, metadata: &Value, spec: &Value) -> Vec<Finding> {
    findings(standard, Pod { metadata, spec })
}

fn baseline(spec: &Value) -> String {
    details(&check(standard(Level::Baseline, LATEST), &json!({}), spec))
}

/// A pod spec that meets every standard.
fn hardened() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "securityContext":
            {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    })
}

/// The hardened spec with something else in it.
fn hardened_but(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = hardened();
    change(&mut spec);
    spec
}

fn restricted(spec: &Value) -> String {
    details(&check(standard(Level::Restricted, LATEST), &json!({}), spec))
}

#[test]
fn an_ordinary_pod_meets_baseline() {
    assert_eq!(baseline(&json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]})), "");
}

#[test]
fn a_hardened_pod_meets_restricted() {
    assert_eq!(restricted(&hardened()), "");
}

#[test]
fn nothing_breaks_privileged() {
    let spec = json!({"hostNetwork": true});
    assert!(check(standard(Level::Privileged, LATEST), &json!({}), &spec).is_empty());
}

#[test]
fn baseline_names_what_breaks_it() {
    let a = |context: Value| json!({"containers": [{"name": "a", "securityContext": context}]});
    let b = |context: Value| {
        json!({"securityContext": context, "initContainers": [{"name": "i", "securityContext": context}],
            "containers": [{"name": "a", "securityContext": context}]})
    };
    for (spec, expected) in [
        (
            a(json!({"appArmorProfile": {"type": "Unconfined"}})),
            r#"forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")"#,
        ),
        (
            b(json!({"appArmorProfile": {"type": "Unconfined"}})),
            r#"forbidden AppArmor profile (pod and containers "i", "a" must not set AppArmor profile type to "Unconfined")"#,
        ),
        (
            a(json!({"capabilities": {"add": ["NET_RAW", "KILL", "BPF"]}})),
            r#"non-default capabilities (container "a" must not include "BPF", "NET_RAW" in securityContext.capabilities.add)"#,
        ),
        (
            json!({"hostPID": true, "hostIPC": true, "hostNetwork": true}),
            "host namespaces (hostIPC, hostNetwork, hostPID)",
        ),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), r#"hostPath volumes (volume "v")"#),
        (
            json!({"containers": [{"name": "a", "ports": [{"hostPort": 90}]}, {"name": "b", "ports": [{"hostPort": 8080}]}]}),
            r#"hostPort (containers "a", "b" use hostPorts 8080, 90)"#,
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]}),
            r#"probe or lifecycle host (container "a" uses probe or lifecycle host "h")"#,
        ),
        (
            json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"tcpSocket": {"host": "h"}}}},
                {"name": "b", "startupProbe": {"httpGet": {"host": "g"}}}]}),
            r#"probe or lifecycle host (containers "a", "b" use probe or lifecycle hosts "g", "h")"#,
        ),
        (a(json!({"privileged": true})), r#"privileged (container "a" must not set securityContext.privileged=true)"#),
        (
            a(json!({"procMount": "Unmasked"})),
            r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#,
        ),
        (
            b(json!({"seLinuxOptions": {"type": "t", "user": "u", "role": "r"}})),
            r#"seLinuxOptions (pod and containers "i", "a" set forbidden securityContext.seLinuxOptions: type "t"; user may not be set; role may not be set)"#,
        ),
        (
            a(json!({"seLinuxOptions": {"role": "r"}})),
            r#"seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: role may not be set)"#,
        ),
        (
            b(json!({"seccompProfile": {"type": "Unconfined"}})),
            r#"seccompProfile (pod and containers "i", "a" must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}, {"name": "a"}]}}),
            "forbidden sysctls (kernel.msgmax, a)",
        ),
        (
            b(json!({"windowsOptions": {"hostProcess": true}})),
            r#"hostProcess (pod and containers "i", "a" must not set securityContext.windowsOptions.hostProcess=true)"#,
        ),
    ] {
        assert_eq!(baseline(&spec), expected);
    }
}

#[test]
fn restricted_names_what_breaks_it() {
    for (spec, expected) in [
        (
            hardened_but(|s| s["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true)),
            r#"allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            hardened_but(|s| {
                s["containers"][0]["securityContext"]["capabilities"] = json!({"add": ["CHOWN", "NET_BIND_SERVICE"]});
            }),
            r#"unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; container "a" must not include "CHOWN" in securityContext.capabilities.add)"#,
        ),
        (
            hardened_but(|s| s["containers"][0]["securityContext"]["procMount"] = json!("Unmasked")),
            r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#,
        ),
        (
            hardened_but(|s| {
                s["volumes"] =
                    json!([{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}, {"name": "e", "emptyDir": {}}]);
            }),
            r#"restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs")"#,
        ),
        (
            hardened_but(|s| s["volumes"] = json!([{"name": "i", "image": {}}])),
            r#"restricted volume types (volume "i" uses restricted volume type "unknown")"#,
        ),
        (
            hardened_but(|s| s["securityContext"]["runAsNonRoot"] = json!(false)),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            hardened_but(|s| s["securityContext"]["runAsNonRoot"] = Value::Null),
            r#"runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)"#,
        ),
        (
            hardened_but(|s| {
                s["securityContext"]["runAsUser"] = json!(0);
                s["containers"][0]["securityContext"]["runAsUser"] = json!(0);
            }),
            r#"runAsUser=0 (pod and container "a" must not set runAsUser=0)"#,
        ),
        (
            hardened_but(|s| s["securityContext"]["seccompProfile"] = Value::Null),
            r#"seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
        ),
        (
            hardened_but(|s| s["securityContext"]["seccompProfile"]["type"] = json!("Unconfined")),
            r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
    ] {
        assert_eq!(restricted(&spec), expected);
    }
}

#[test]
fn findings_come_in_the_order_of_the_checks_names() {
    let spec = json!({"hostPID": true, "containers": [{"name": "c", "securityContext": {"privileged": true}}]});
    let all = check(standard(Level::Restricted, LATEST), &json!({}), &spec);
    let reasons: Vec<_> = all.iter().map(|f| f.reason).collect();
    let expected = [
        "host namespaces",
        "privileged",
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "runAsNonRoot != true",
        "seccompProfile",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_stricter_check_stands_in_for_the_one_of_baseline() {
    let spec = hardened_but(|s| s["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["SYS_ADMIN"]));
    let all = check(standard(Level::Restricted, LATEST), &json!({}), &spec);
    assert_eq!(all.iter().map(|f| f.reason).collect::<Vec<_>>(), ["unrestricted capabilities"]);
}

#[test]
fn checks_begin_and_end_with_releases() {
    let finds = |level: Level, minor: u32, spec: &Value| {
        !check(standard(level, Version::Minor(minor)), &json!({}), spec).is_empty()
    };
    let probe = json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    let reserved = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}});
    let engine = json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}});
    let unmasked =
        json!({"hostUsers": false, "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]});
    for (spec, first_other, before, after) in [
        (&probe, 34, false, true),
        (&reserved, 27, true, false),
        (&engine, 31, true, false),
        (&unmasked, 35, true, false),
    ] {
        let of = |minor| finds(Level::Baseline, minor, spec);
        assert_eq!([of(first_other - 1), of(first_other)], [before, after], "{spec}");
    }
    let root = hardened_but(|s| s["securityContext"]["runAsUser"] = json!(0));
    assert_eq!([22, 23].map(|minor| finds(Level::Restricted, minor, &root)), [false, true]);
}

#[test]
fn a_release_to_come_is_the_newest_known() {
    let spec = json!({"hostPID": true});
    let future = check(standard(Level::Baseline, Version::Minor(u32::MAX)), &json!({}), &spec);
    assert_eq!(future, check(standard(Level::Baseline, LATEST), &json!({}), &spec));
}

#[test]
fn windows_pods_need_not_set_what_windows_lacks() {
    let spec =
        json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a"}]});
    let of = |version| check(standard(Level::Restricted, version), &json!({}), &spec).len();
    assert_eq!([of(LATEST), of(Version::Minor(24))], [0, 3]);
}

#[test]
fn pods_with_users_of_their_own_may_be_root_in_them() {
    let spec = hardened_but(|s| {
        s["hostUsers"] = json!(false);
        s["securityContext"]["runAsNonRoot"] = json!(false);
        s["securityContext"]["runAsUser"] = json!(0);
    });
    let of = |version| check(standard(Level::Restricted, version), &json!({}), &spec).len();
    assert_eq!([of(LATEST), of(Version::Minor(34))], [0, 2]);
}

#[test]
fn annotations_of_old_releases_are_read() {
    let annotated = json!({"annotations": {
        "container.apparmor.security.beta.kubernetes.io/a": "unconfined",
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
    }});
    let spec = json!({"containers": [{"name": "a"}]});
    let old = details(&check(standard(Level::Baseline, Version::Minor(18)), &annotated, &spec));
    let expected = r#"forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/a="unconfined""), seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#;
    assert_eq!(old, expected);
}

#[test]
fn what_is_refused_is_not_warned_of() {
    let spec = json!({"hostPID": true});
    let pod = Pod { metadata: &Value::Null, spec: &spec };
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let (policy, _) = Policy::of(&labels);
    let refused = Err("violates PodSecurity \"baseline:latest\": host namespaces (hostPID)".to_owned());
    assert_eq!(verdict(policy, pod, true), refused);
    let warned = "would violate PodSecurity \"baseline:latest\": host namespaces (hostPID)".to_owned();
    assert_eq!(verdict(policy, pod, false), Ok(Some(warned)));
}

#[test]
fn only_images_and_new_containers_make_an_update_significant() {
    let pod = |image: &str, extra: Value| json!({"spec": {"containers": [{"name": "a", "image": image}], "ephemeralContainers": extra}});
    let old = pod("i", json!([]));
    let mut labelled = old.clone();
    labelled["metadata"] = json!({"labels": {"a": "b"}});
    let changes = [labelled, pod("j", json!([])), pod("i", json!([{"name": "d"}]))];
    assert_eq!(changes.map(|new| is_significant(&new, &old)), [false, true, true]);
}

#[test]
fn a_looser_or_equal_standard_needs_no_second_look() {
    let of = |level| standard(level, LATEST);
    let [p, b, r] = [Level::Privileged, Level::Baseline, Level::Restricted].map(of);
    let older = standard(Level::Baseline, Version::Minor(20));
    let pairs = [(b, p), (r, b), (b, older), (older, r), (b, b), (b, r), (p, r)];
    assert_eq!(pairs.map(|(new, old)| is_stricter(new, old)), [true, true, true, true, false, false, false]);
}

#[test]
fn existing_pods_are_told_by_what_they_miss() {
    let pod = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let pods = vec![
        pod("z", json!({"hostPID": true})),
        pod("c", json!({"hostIPC": true})),
        pod("b", json!({"hostPID": true})),
        pod("fine", json!({})),
        pod("a", json!({"hostPID": true, "containers": [{"name": "x", "securityContext": {"privileged": true}}]})),
    ];
    let warnings = of_existing("ns", standard(Level::Baseline, LATEST), pods);
    let expected = [
        "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "a: host namespaces, privileged",
        "b (and 2 other pods): host namespaces",
    ];
    assert_eq!(warnings, expected);
}
