//! Job and CronJob.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, hold, immutable, label_selector, non_negative, one_of, selects};
use super::cron;
use super::pod::{defaults, spec, update};
use super::rules::Rules;
use super::tables::workloads as tables;
use super::workloads;
use crate::field::FieldError;
use crate::resource::Cx;
use crate::status::Status;

const UID: &str = "batch.kubernetes.io/controller-uid";

pub(super) const JOB: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/spec", json!({}));
        if !obj.has("/spec/completions") && !obj.has("/spec/parallelism") {
            obj.set_at("/spec/completions", 1);
        }
        let per_index = obj.has("/spec/backoffLimitPerIndex");
        let policy = if obj.has("/spec/podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        for (field, value) in [
            ("parallelism", json!(1)),
            ("backoffLimit", json!(if per_index { i32::MAX } else { 6 })),
            ("completionMode", json!("NonIndexed")),
            ("suspend", json!(false)),
            ("manualSelector", json!(false)),
            ("podReplacementPolicy", json!(policy)),
            ("template", json!({})),
        ] {
            obj.default_at(&format!("/spec/{field}"), value);
        }
        defaults::template(obj, "/spec/template");
        let labels = obj.at("/spec/template/metadata/labels").clone();
        if !labels.is_null() && obj.map_at("/metadata/labels").is_none_or(serde_json::Map::is_empty) {
            obj.set_at("/metadata/labels", labels);
        }
        obj.default_at("/status", json!({}));
        for condition in obj.list_mut_at("/status/conditions") {
            condition.default_at("/lastProbeTime", Value::Null);
            condition.default_at("/lastTransitionTime", Value::Null);
        }
    },
    prepare_create: generate_selector,
    validate_create: |obj, _| {
        let mut errors = generated_selector(obj);
        errors.extend(job(obj.at("/spec"), "spec", true));
        errors
    },
    validate_update: |new, old, _, _| {
        let mut errors = job(new.at("/spec"), "spec", true);
        errors.extend(job_change(new.at("/spec"), old));
        errors
    },
    warnings: |new, old| workloads::warnings(new, old, "/spec/template", "spec.template.spec"),
    fields: &["status.successful"],
    select: |obj, _| obj.int_at("/status/succeeded").unwrap_or(0).to_string(),
    unselectable: |field| format!("field label {field:?} not supported for Job"),
    columns: || tables::columns(tables::JOB),
    cells: tables::job,
    ..Rules::PLAIN
};

pub(super) const CRON_JOB: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/spec", json!({}));
        for (field, value) in [
            ("concurrencyPolicy", json!("Allow")),
            ("suspend", json!(false)),
            ("successfulJobsHistoryLimit", json!(3)),
            ("failedJobsHistoryLimit", json!(1)),
            ("jobTemplate", json!({})),
            ("jobTemplate/metadata", json!({})),
            ("jobTemplate/spec", json!({})),
            ("jobTemplate/spec/template", json!({})),
        ] {
            obj.default_at(&format!("/spec/{field}"), value);
        }
        defaults::template(obj, "/spec/jobTemplate/spec/template");
        obj.default_at("/status", json!({}));
    },
    validate_create: |obj, _| {
        let mut errors = cron_job(obj.at("/spec"));
        let name = obj.str_at("/metadata/name");
        errors.extend(hold(name.len() <= 52, "metadata.name", &json!(name), "must be no more than 52 characters"));
        errors
    },
    validate_update: |new, _, _, _| cron_job(new.at("/spec")),
    warnings: |new, old| {
        workloads::warnings(new, old, "/spec/jobTemplate/spec/template", "spec.jobTemplate.spec.template.spec")
    },
    columns: || tables::columns(tables::CRON_JOB),
    cells: tables::cron_job,
    ..Rules::PLAIN
};

/// Selector and labels that no other Job has, unless the user chose them.
fn generate_selector(obj: &mut Value, _: &Cx<'_>) -> Result<(), Status> {
    if obj.true_at("/spec/manualSelector") {
        return Ok(());
    }
    let (name, uid) = (obj.at("/metadata/name").clone(), obj.at("/metadata/uid").clone());
    let labels = "/spec/template/metadata/labels";
    if !obj.has(labels) {
        obj.set_at(labels, json!({}));
    }
    for (key, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io~1job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io~1controller-uid", &uid),
    ] {
        obj.default_at(&format!("{labels}/{key}"), value.clone());
    }
    if !obj.has("/spec/selector/matchLabels") {
        obj.set_at("/spec/selector/matchLabels", json!({}));
    }
    obj.default_at("/spec/selector/matchLabels/batch.kubernetes.io~1controller-uid", uid);
    Ok(())
}

fn generated_selector(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    if obj.true_at("/spec/manualSelector") {
        return errors;
    }
    if obj.str_at("/metadata/uid").is_empty() {
        errors.push(FieldError::required("metadata.uid", ""));
    }
    let labels = obj.at("/spec/template/metadata/labels");
    for (key, wanted) in [
        ("controller-uid", obj.at("/metadata/uid")),
        (UID, obj.at("/metadata/uid")),
        ("job-name", obj.at("/metadata/name")),
        ("batch.kubernetes.io/job-name", obj.at("/metadata/name")),
    ] {
        if labels.get(key) != Some(wanted) {
            let detail = format!("must be '{}'", wanted.as_str().unwrap_or_default());
            errors.push(FieldError::invalid("spec.template.metadata.labels", labels, &detail));
        }
    }
    let selector = obj.at("/spec/selector");
    if selector.map_at("/matchLabels").is_none_or(|map| map.len() != 1) || selector.has("/matchExpressions") {
        errors.push(FieldError::invalid("spec.selector", selector, "`selector` not auto-generated"));
    }
    errors
}

fn job(job: &Value, field: &str, selected: bool) -> Errors {
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Errors::new();
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.extend(non_negative(job, &format!("/{name}"), &at(name)));
    }
    let mode = job.str_at("/completionMode");
    if !mode.is_empty() {
        errors.extend(one_of(&at("completionMode"), mode, &["Indexed", "NonIndexed"]));
        if mode == "Indexed" && !job.has("/completions") {
            let detail = "when completion mode is Indexed";
            errors.push(FieldError::required(at("completions"), detail));
        }
    }
    let template = job.at("/template");
    if selected {
        match job.at("/selector") {
            Value::Null => errors.push(FieldError::required(at("selector"), "")),
            selector => errors.extend(label_selector(&at("selector"), selector)),
        }
        let labels = template.at("/metadata/labels");
        if !selects(job.at("/selector"), labels) {
            let detail = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid(at("template.metadata.labels"), labels, detail));
        }
    }
    errors.extend(spec::validate_template(template, &at("template")));
    let policy = at("template.spec.restartPolicy");
    match template.str_at("/spec/restartPolicy") {
        "OnFailure" | "Never" => {}
        "Always" => {
            errors.push(FieldError::required(policy, "valid values: \"OnFailure\", \"Never\""));
        }
        other => errors.extend(one_of(&policy, other, &["OnFailure", "Never"])),
    }
    errors
}

fn job_change(new: &Value, old: &Value) -> Errors {
    let before = old.at("/spec");
    let mut errors = Errors::new();
    if new.str_at("/completionMode") != "Indexed" || new.at("/completions") != new.at("/parallelism") {
        errors.extend(immutable("spec.completions", new.at("/completions"), before.at("/completions")));
    }
    errors.extend(immutable("spec.selector", new.at("/selector"), before.at("/selector")));
    let mut template = new.at("/template").clone();
    // A Job that never started may still be told where to run.
    if before.true_at("/suspend") && !old.has("/status/startTime") {
        for field in [
            "/spec/nodeSelector",
            "/spec/affinity",
            "/spec/tolerations",
            "/spec/schedulingGates",
            "/metadata/annotations",
            "/metadata/labels",
        ] {
            update::take(&mut template, before.at("/template"), field);
        }
        for list in ["/spec/containers", "/spec/initContainers"] {
            for (container, was) in template.list_mut_at(list).iter_mut().zip(before.at("/template").list_at(list)) {
                update::take(container, was, "/resources");
            }
        }
    }
    errors.extend(immutable("spec.template", &template, before.at("/template")));
    errors.extend(immutable("spec.completionMode", new.at("/completionMode"), before.at("/completionMode")));
    errors.extend(immutable("spec.podFailurePolicy", new.at("/podFailurePolicy"), before.at("/podFailurePolicy")));
    errors
}

fn cron_job(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let schedule = spec.str_at("/schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if let Err(text) = cron::check(schedule) {
        errors.push(FieldError::invalid("spec.schedule", &json!(schedule), &text));
    }
    errors.extend(non_negative(spec, "/startingDeadlineSeconds", "spec.startingDeadlineSeconds"));
    let zone = spec.at("/timeZone");
    if let Some(name) = zone.as_str() {
        if name.is_empty() {
            errors.push(FieldError::invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string"));
        } else if name.eq_ignore_ascii_case("local") {
            errors.push(FieldError::invalid(
                "spec.timeZone",
                zone,
                "timeZone must be an explicit time zone as defined in \
                https://www.iana.org/time-zones",
            ));
        }
    }
    let policy = spec.str_at("/concurrencyPolicy");
    errors.extend(one_of("spec.concurrencyPolicy", policy, &["Allow", "Forbid", "Replace"]));
    errors.extend(job(spec.at("/jobTemplate/spec"), "spec.jobTemplate.spec", false));
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.extend(non_negative(spec, &format!("/{field}"), &format!("spec.{field}")));
    }
    errors
}
