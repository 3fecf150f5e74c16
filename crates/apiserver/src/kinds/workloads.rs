//! Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController and ControllerRevision.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::at::At;
use super::checks::{
    Errors, at_most_all, go_selector, immutable, immutable_selector, int_or_percent, is_selector, label_selector,
    non_negative, one_of, percentage, selects, shown,
};
use super::names;
use super::pod::{defaults, spec, update};
use super::reported;
use super::rules::Rules;
use super::storage;
use super::tables::workloads as tables;
use crate::field::{FieldError, Kind, go_json};
use crate::resource::Part;

const REPLICATED: Rules = Rules {
    generation: true,
    warnings: |new, old| warnings(new, old, "/spec/template", "spec.template.spec"),
    ..Rules::PLAIN
};

/// What is said of a new workload's name and of its template at `pointer`, printed as `field`.
pub(super) fn warnings(new: &Value, old: Option<&Value>, pointer: &str, field: &str) -> Vec<String> {
    let changed = old.is_none_or(|old| old.at(pointer) != new.at(pointer));
    let mut warnings = Vec::new();
    let wrong = names::dns_label(new.str_at("/metadata/name"));
    if old.is_none() && !wrong.is_empty() {
        let wrong = wrong.join(" ");
        warnings.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
             recommended: [{wrong}]"
        ));
    }
    if changed {
        warnings.extend(spec::warnings(new.at(&format!("{pointer}/spec")), field));
    }
    warnings
}

pub(super) const DEPLOYMENT: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        for (field, value) in [
            ("replicas", json!(1)),
            ("revisionHistoryLimit", json!(10)),
            ("progressDeadlineSeconds", json!(600)),
            ("strategy", json!({})),
            ("template", json!({})),
            ("strategy/type", json!("RollingUpdate")),
        ] {
            obj.default_at(&format!("/spec/{field}"), value);
        }
        if obj.str_at("/spec/strategy/type") == "RollingUpdate" {
            obj.default_at("/spec/strategy/rollingUpdate", json!({}));
            obj.default_at("/spec/strategy/rollingUpdate/maxUnavailable", "25%");
            obj.default_at("/spec/strategy/rollingUpdate/maxSurge", "25%");
        }
        obj.default_at("/status", json!({}));
        defaults::template(obj, "/spec/template");
        condition_times(obj, &["lastUpdateTime", "lastTransitionTime"]);
    },
    prepare_update: |new, old, part, _| {
        if part == Part::Status {
            update::take(new, old, "/metadata/labels");
        }
        Ok(())
    },
    validate_create: |obj, _| deployment(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return reported::deployment(new, old);
        }
        let mut errors = deployment(new.at("/spec"));
        errors.extend(immutable_selector("spec.selector", new.at("/spec/selector"), old.at("/spec/selector")));
        errors
    },
    columns: || tables::columns(tables::DEPLOYMENT),
    cells: tables::deployment,
    ..REPLICATED
};

pub(super) const REPLICA_SET: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/spec/replicas", 1);
        obj.default_at("/spec/template", json!({}));
        obj.default_at("/status", json!({}));
        obj.default_at("/status/replicas", 0);
        defaults::template(obj, "/spec/template");
        condition_times(obj, &["lastTransitionTime"]);
    },
    validate_create: |obj, _| replica_set(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return reported::replica_set(new, old);
        }
        let mut errors = replica_set(new.at("/spec"));
        errors.extend(immutable_selector("spec.selector", new.at("/spec/selector"), old.at("/spec/selector")));
        errors
    },
    columns: || tables::columns(tables::REPLICA_SET),
    cells: tables::replica_set,
    ..REPLICATED
};

pub(super) const STATEFUL_SET: Rules = Rules {
    default: stateful_set_defaults,
    validate_create: |obj, _| stateful_set(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return reported::stateful_set(new, old);
        }
        let mut errors = stateful_set(new.at("/spec"));
        errors.extend(stateful_set_change(new.at("/spec"), old.at("/spec")));
        errors
    },
    columns: || tables::columns(tables::STATEFUL_SET),
    cells: tables::stateful_set,
    ..REPLICATED
};

/// How often a DaemonSet's template changed: a field of extensions/v1beta1 that lives on as an annotation.
const TEMPLATE_GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";

fn template_generation(set: &Value) -> i64 {
    set.str_at(TEMPLATE_GENERATION).parse().unwrap_or(0)
}

pub(super) const DAEMON_SET: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        for (field, value) in [
            ("revisionHistoryLimit", json!(10)),
            ("updateStrategy", json!({})),
            ("template", json!({})),
            ("updateStrategy/type", json!("RollingUpdate")),
        ] {
            obj.default_at(&format!("/spec/{field}"), value);
        }
        if obj.str_at("/spec/updateStrategy/type") == "RollingUpdate" {
            obj.default_at("/spec/updateStrategy/rollingUpdate", json!({}));
            obj.default_at("/spec/updateStrategy/rollingUpdate/maxUnavailable", 1);
            obj.default_at("/spec/updateStrategy/rollingUpdate/maxSurge", 0);
        }
        obj.default_at("/status", json!({}));
        for count in ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"] {
            obj.default_at(&format!("/status/{count}"), 0);
        }
        defaults::template(obj, "/spec/template");
        condition_times(obj, &["lastTransitionTime"]);
    },
    prepare_create: |obj, _| {
        let asked = template_generation(obj).max(1);
        obj.set_at(TEMPLATE_GENERATION, asked.to_string());
        Ok(())
    },
    prepare_update: |new, old, _, _| {
        let changed = new.at("/spec/template") != old.at("/spec/template");
        let next = template_generation(old).saturating_add(i64::from(changed));
        new.set_at(TEMPLATE_GENERATION, next.to_string());
        Ok(())
    },
    validate_create: |obj, _| daemon_set(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return reported::daemon_set(new, old);
        }
        let mut errors = daemon_set(new.at("/spec"));
        errors.extend(immutable_selector("spec.selector", new.at("/spec/selector"), old.at("/spec/selector")));
        errors
    },
    columns: || tables::columns(tables::DAEMON_SET),
    cells: tables::daemon_set,
    ..REPLICATED
};

pub(super) const REPLICATION_CONTROLLER: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/spec/replicas", 1);
        obj.default_at("/status", json!({}));
        obj.default_at("/status/replicas", 0);
        if obj.has("/spec/template") {
            defaults::template(obj, "/spec/template");
        }
        let labels = obj.at("/spec/template/metadata/labels").clone();
        if !labels.is_null() {
            for pointer in ["/spec/selector", "/metadata/labels"] {
                if obj.map_at(pointer).is_none_or(serde_json::Map::is_empty) {
                    obj.set_at(pointer, labels.clone());
                }
            }
        }
        condition_times(obj, &["lastTransitionTime"]);
    },
    validate_create: |obj, _| replication_controller(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status { reported::replica_set(new, old) } else { replication_controller(new.at("/spec")) }
    },
    fields: &["status.replicas"],
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::REPLICATION_CONTROLLER),
    cells: tables::replication_controller,
    ..REPLICATED
};

pub(super) const CONTROLLER_REVISION: Rules = Rules {
    raw_field: Some("data"),
    validate_create: |obj, _| revision(obj),
    validate_update: |new, old, _, _| {
        let mut errors = revision(new);
        errors.extend(immutable("data", new.at("/data"), old.at("/data")));
        errors
    },
    columns: || tables::columns(tables::CONTROLLER_REVISION),
    cells: tables::controller_revision,
    ..Rules::PLAIN
};

fn revision(obj: &Value) -> Errors {
    let missing = obj.at("/data").is_null().then(|| FieldError::required("data", "data is mandatory"));
    missing.into_iter().chain(non_negative(obj, "/revision", "revision")).collect()
}

/// Conditions always carry their times, `null` when unknown.
fn condition_times(obj: &mut Value, times: &[&str]) {
    for condition in obj.list_mut_at("/status/conditions") {
        for time in times {
            condition.default_at(&format!("/{time}"), Value::Null);
        }
    }
}

/// A selector that must be there and select something.
fn required_selector(spec: &Value, kind: &str) -> Errors {
    let selector = spec.at("/selector");
    if selector.is_null() {
        return vec![FieldError::required("spec.selector", "")];
    }
    let mut errors = label_selector("spec.selector", selector);
    if selector.as_object().is_some_and(|map| map.values().all(is_empty)) {
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(shown(Kind::Invalid, "spec.selector", go_selector(selector), &detail));
    }
    errors
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        other => other.is_null(),
    }
}

/// The template of a kind that replaces its pods: its labels are selected and it restarts Always.
fn template(spec: &Value, kind: &str) -> Errors {
    const FIELD: &str = "spec.template";
    let template = spec.at("/template");
    let labels = template.at("/metadata/labels");
    let mut errors = Errors::new();
    if !is_selector(spec.at("/selector")) {
        // What it would select cannot be known.
        let detail = if kind == "StatefulSet" { "" } else { "invalid label selector" };
        errors.push(shown(Kind::Invalid, "spec.selector", go_selector(spec.at("/selector")), detail));
        if kind == "StatefulSet" {
            errors.extend(always(template, kind));
        }
        return errors;
    }
    if !selects(spec.at("/selector"), labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(format!("{FIELD}.metadata.labels"), labels, detail));
    }
    errors.extend(spec::validate_template(&with_claims(template, spec.list_at("/volumeClaimTemplates")), FIELD));
    errors.extend(always(template, kind));
    errors
}

/// The template with the volumes that a StatefulSet's claims will be: its containers may mount them.
fn with_claims<'a>(template: &'a Value, claims: &[Value]) -> Cow<'a, Value> {
    if claims.is_empty() {
        return Cow::Borrowed(template);
    }
    let mut template = template.clone();
    let mut volumes = template.list_at("/spec/volumes").to_vec();
    volumes.extend(claims.iter().map(|claim| {
        let name = claim.str_at("/metadata/name");
        json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
    }));
    template.set_at("/spec/volumes", volumes);
    Cow::Owned(template)
}

fn always(template: &Value, kind: &str) -> Errors {
    let mut errors = Errors::new();
    let policy = template.str_at("/spec/restartPolicy");
    // Other values than the three have been reported as such.
    if policy != "Always" {
        errors.extend(one_of("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if template.has("/spec/activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", &detail));
    }
    errors
}

fn counts(spec: &Value, fields: &[&str]) -> Errors {
    fields.iter().filter_map(|field| non_negative(spec, &format!("/{field}"), &format!("spec.{field}"))).collect()
}

fn deployment(spec: &Value) -> Errors {
    let mut errors = counts(spec, &["replicas"]);
    errors.extend(required_selector(spec, "deployment"));
    errors.extend(template(spec, "ReplicaSet"));
    let rolling = spec.at("/strategy/rollingUpdate");
    const ROLLING: &str = "spec.strategy.rollingUpdate";
    match spec.str_at("/strategy/type") {
        "Recreate" => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.extend((!rolling.is_null()).then(|| FieldError::forbidden(ROLLING, detail)));
        }
        "RollingUpdate" => {
            let (surge, unavailable) = (rolling.at("/maxSurge"), rolling.at("/maxUnavailable"));
            let field = format!("{ROLLING}.maxUnavailable");
            errors.extend(int_or_percent(&field, unavailable));
            errors.extend(int_or_percent(&format!("{ROLLING}.maxSurge"), surge));
            if is_zero(surge) && is_zero(unavailable) {
                errors.push(FieldError::invalid(&field, unavailable, "may not be 0 when `maxSurge` is 0"));
            }
            errors.extend(at_most_all(&field, unavailable));
        }
        other => errors.extend(one_of("spec.strategy.type", other, &["Recreate", "RollingUpdate"])),
    }
    errors.extend(counts(spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]));
    if let Some(deadline) = spec.int_at("/progressDeadlineSeconds")
        && deadline <= spec.int_at("/minReadySeconds").unwrap_or(0)
    {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", &json!(deadline), detail));
    }
    errors
}

fn is_zero(value: &Value) -> bool {
    percentage(value).or(value.as_i64()).unwrap_or(0) == 0
}

fn replica_set(spec: &Value) -> Errors {
    let mut errors = counts(spec, &["replicas", "minReadySeconds"]);
    // The message says deployment for this kind too.
    errors.extend(required_selector(spec, "deployment"));
    errors.extend(template(spec, "ReplicaSet"));
    errors
}

fn daemon_set(spec: &Value) -> Errors {
    let mut errors = label_selector("spec.selector", spec.at("/selector"));
    let labels = spec.at("/template/metadata/labels");
    if is_selector(spec.at("/selector")) && !selects(spec.at("/selector"), labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, detail));
    }
    if spec.map_at("/selector").is_some_and(|map| map.values().all(is_empty)) {
        let detail = "empty selector is invalid for daemonset";
        errors.push(shown(Kind::Invalid, "spec.selector", go_selector(spec.at("/selector")), detail));
    }
    errors.extend(spec::validate_template(spec.at("/template"), "spec.template"));
    errors.extend(always(spec.at("/template"), "DaemonSet"));
    errors.extend(counts(spec, &["minReadySeconds"]));
    match spec.str_at("/updateStrategy/type") {
        "RollingUpdate" => {
            const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
            let rolling = spec.at("/updateStrategy/rollingUpdate");
            let [unavailable, surge] = ["maxUnavailable", "maxSurge"].map(|name| rolling.at(&format!("/{name}")));
            for (name, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
                let field = format!("{ROLLING}.{name}");
                errors.extend(int_or_percent(&field, value));
                errors.extend(at_most_all(&field, value));
            }
            let field = format!("{ROLLING}.maxUnavailable");
            if is_zero(surge) && is_zero(unavailable) {
                errors.push(FieldError::required(&field, "cannot be 0 when maxSurge is 0"));
            } else if !is_zero(surge) && !is_zero(unavailable) {
                let detail = "may not be set when maxUnavailable is non-zero";
                errors.push(FieldError::invalid(format!("{ROLLING}.maxSurge"), surge, detail));
            }
        }
        other => errors.extend(one_of("spec.updateStrategy.type", other, &["OnDelete", "RollingUpdate"])),
    }
    errors.extend(counts(spec, &["revisionHistoryLimit"]));
    errors
}

fn replication_controller(spec: &Value) -> Errors {
    let mut errors = counts(spec, &["minReadySeconds"]);
    let selector = spec.at("/selector");
    if is_empty(selector) {
        errors.push(FieldError::required("spec.selector", ""));
    }
    errors.extend(counts(spec, &["replicas"]));
    let template = spec.at("/template");
    if template.is_null() {
        errors.push(FieldError::required("spec.template", ""));
        return errors;
    }
    let labels = template.at("/metadata/labels");
    if !is_empty(selector) && !selects(&json!({ "matchLabels": selector }), labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, detail));
    }
    errors.extend(spec::validate_template(template, "spec.template"));
    errors.extend(always(template, "ReplicationController"));
    errors
}

fn stateful_set_defaults(obj: &mut Value) {
    obj.default_at("/spec", json!({}));
    for (field, value) in [
        ("podManagementPolicy", json!("OrderedReady")),
        ("updateStrategy", json!({})),
        ("replicas", json!(1)),
        ("revisionHistoryLimit", json!(10)),
        ("persistentVolumeClaimRetentionPolicy", json!({})),
        ("persistentVolumeClaimRetentionPolicy/whenDeleted", json!("Retain")),
        ("persistentVolumeClaimRetentionPolicy/whenScaled", json!("Retain")),
        ("template", json!({})),
    ] {
        obj.default_at(&format!("/spec/{field}"), value);
    }
    if obj.str_at("/spec/updateStrategy/type").is_empty() {
        obj.set_at("/spec/updateStrategy/type", "RollingUpdate");
        obj.default_at("/spec/updateStrategy/rollingUpdate", json!({}));
    }
    if obj.has("/spec/updateStrategy/rollingUpdate") {
        obj.default_at("/spec/updateStrategy/rollingUpdate/partition", 0);
    }
    for claim in obj.list_mut_at("/spec/volumeClaimTemplates") {
        claim.default_at("/kind", "PersistentVolumeClaim");
        claim.default_at("/apiVersion", "v1");
        claim.default_at("/metadata", json!({}));
        storage::claim_defaults(claim);
    }
    obj.default_at("/status", json!({}));
    obj.default_at("/status/replicas", 0);
    obj.default_at("/status/availableReplicas", 0);
    defaults::template(obj, "/spec/template");
    condition_times(obj, &["lastTransitionTime"]);
}

fn stateful_set(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let policy = spec.str_at("/podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid("spec.podManagementPolicy", &json!(policy), detail));
    }
    let strategy = spec.str_at("/updateStrategy/type");
    match strategy {
        "OnDelete" if spec.has("/updateStrategy/rollingUpdate") => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            let value = go_rolling_update(spec.at("/updateStrategy/rollingUpdate"));
            errors.push(shown(Kind::Invalid, "spec.updateStrategy.rollingUpdate", value, detail));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            errors.extend(non_negative(
                spec,
                "/updateStrategy/rollingUpdate/partition",
                "spec.updateStrategy.rollingUpdate.partition",
            ));
            let most = spec.at("/updateStrategy/rollingUpdate/maxUnavailable");
            let field = "spec.updateStrategy.rollingUpdate.maxUnavailable";
            if !most.is_null() {
                errors.extend(int_or_percent(field, most));
                if is_zero(most) {
                    errors.push(FieldError::invalid(field, most, "cannot be 0"));
                }
                errors.extend(at_most_all(field, most));
            }
        }
        other => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            let rolling = go_rolling_update(spec.at("/updateStrategy/rollingUpdate"));
            let value = format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", go_json(&json!(other)));
            errors.push(shown(Kind::Invalid, "spec.updateStrategy", value, detail));
        }
    }
    for when in ["whenDeleted", "whenScaled"] {
        let field = format!("persistentVolumeClaimRetentionPolicy.{when}");
        let value = spec.str_at(&format!("/persistentVolumeClaimRetentionPolicy/{when}"));
        errors.extend(one_of(&format!("spec.{field}"), value, &["Delete", "Retain"]));
    }
    errors.extend(counts(spec, &["replicas", "minReadySeconds"]));
    errors.extend(non_negative(spec, "/ordinals/start", "spec.ordinals.start"));
    errors.extend(required_selector(spec, "statefulset"));
    errors.extend(template(spec, "StatefulSet"));
    errors
}

/// The rolling update as Go's internal type prints it.
fn go_rolling_update(rolling: &Value) -> String {
    if rolling.is_null() {
        return "null".to_owned();
    }
    let most = go_json(rolling.at("/maxUnavailable"));
    format!("{{\"Partition\":{},\"MaxUnavailable\":{most}}}", rolling.int_at("/partition").unwrap_or(0))
}

fn stateful_set_change(new: &Value, old: &Value) -> Option<FieldError> {
    let mut masked = new.clone();
    for field in [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "minReadySeconds",
        "persistentVolumeClaimRetentionPolicy",
    ] {
        update::take(&mut masked, old, &format!("/{field}"));
    }
    let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
                  'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    (&masked != old).then(|| FieldError::forbidden("spec", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_may_mount_a_claim_of_its_stateful_set() {
        let mut spec = json!({
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]},
            },
        });
        let said_of_mount = |spec: &Value| {
            template(spec, "StatefulSet").iter().any(|error| format!("{error:?}").contains("volumeMounts"))
        };
        assert!(said_of_mount(&spec));
        spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
        assert!(!said_of_mount(&spec));
    }
}
