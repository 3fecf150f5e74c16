//! Job and CronJob.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{
    Errors, domain_prefixed_path, go_selector, hold, immutable, immutable_selector, is_selector, label_selector,
    non_negative, one_of, selects, shown,
};
use super::cron;
use super::pod::{defaults, spec, update};
use super::rules::Rules;
use super::tables::workloads as tables;
use super::workloads;
use crate::field::{FieldError, Kind};
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
    let mut generated = json!({});
    for (key, wanted) in [
        ("controller-uid", obj.at("/metadata/uid")),
        ("job-name", obj.at("/metadata/name")),
        (UID, obj.at("/metadata/uid")),
        ("batch.kubernetes.io/job-name", obj.at("/metadata/name")),
    ] {
        generated[key] = wanted.clone();
        let field = format!("spec.template.metadata.labels[{key}]");
        let detail = format!("must be '{}'", wanted.as_str().unwrap_or_default());
        match labels.get(key) {
            None => errors.push(FieldError::required(field, &detail)),
            Some(label) if label != wanted => errors.push(FieldError::invalid(field, labels, &detail)),
            Some(_) => {}
        }
    }
    let selector = obj.at("/spec/selector");
    if is_selector(selector) && !selects(selector, &generated) {
        let detail = "`selector` not auto-generated";
        errors.push(shown(Kind::Invalid, "spec.selector", go_selector(selector), detail));
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
    let manager = job.str_at("/managedBy");
    if !manager.is_empty() {
        errors.extend(domain_prefixed_path(&at("managedBy"), manager));
    }
    errors.extend(indexing(job, &at));
    let policy = job.str_at("/podReplacementPolicy");
    if !policy.is_empty() {
        let known: &[&str] =
            if job.has("/podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        errors.extend(one_of(&at("podReplacementPolicy"), policy, known));
    }
    let template = job.at("/template");
    errors.extend(spec::validate_template(template, &at("template")));
    let policy = at("template.spec.restartPolicy");
    match template.str_at("/spec/restartPolicy") {
        "OnFailure" | "Never" => {}
        "Always" => {
            errors.push(FieldError::required(policy, "valid values: \"OnFailure\", \"Never\""));
        }
        other => errors.extend(one_of(&policy, other, &["OnFailure", "Never"])),
    }
    if selected {
        match job.at("/selector") {
            Value::Null => errors.push(FieldError::required(at("selector"), "")),
            selector => errors.extend(label_selector(&at("selector"), selector)),
        }
        let labels = template.at("/metadata/labels");
        if is_selector(job.at("/selector")) && !selects(job.at("/selector"), labels) {
            let detail = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid(at("template.metadata.labels"), labels, detail));
        }
    }
    errors
}

/// What depends on whether each completion has an index.
fn indexing(job: &Value, at: &dyn Fn(&str) -> String) -> Errors {
    const MOST_PARALLEL: i64 = 100_000;
    let mut errors = Errors::new();
    let mode = job.str_at("/completionMode");
    if !mode.is_empty() {
        errors.extend(one_of(&at("completionMode"), mode, &["Indexed", "NonIndexed"]));
    }
    if mode == "Indexed" {
        if !job.has("/completions") {
            errors.push(FieldError::required(at("completions"), "when completion mode is Indexed"));
        }
        let parallelism = job.int_at("/parallelism").unwrap_or(0);
        let detail = format!("must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed");
        errors.extend(hold(parallelism <= MOST_PARALLEL, &at("parallelism"), &json!(parallelism), &detail));
    }
    if mode.is_empty() || mode == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(value) = job.get(field) {
                errors.push(FieldError::invalid(at(field), value, "requires indexed completion mode"));
            }
        }
    }
    if let Some(most) = job.int_at("/maxFailedIndexes") {
        if !job.has("/backoffLimitPerIndex") {
            errors.push(FieldError::required(at("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
        }
        if let Some(completions) = job.int_at("/completions") {
            let detail = "must be less than or equal to completions";
            errors.extend(hold(most <= completions, &at("maxFailedIndexes"), &json!(most), detail));
        }
    }
    errors
}

fn job_change(new: &Value, old: &Value) -> Errors {
    let before = old.at("/spec");
    let mut errors = Errors::new();
    if new.str_at("/completionMode") != "Indexed" || new.at("/completions") != new.at("/parallelism") {
        errors.extend(immutable("spec.completions", new.at("/completions"), before.at("/completions")));
    }
    errors.extend(immutable_selector("spec.selector", new.at("/selector"), before.at("/selector")));
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

/// Whether the machine's time zones have this one; a machine without any takes all.
fn is_zone(name: &str) -> bool {
    let zones = jiff::tz::db();
    zones.is_definitively_empty() || zones.get(name).is_ok()
}

fn cron_job(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let schedule = spec.str_at("/schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else {
        // A zone before the fields can be read, and is refused.
        let zoned = schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=");
        let fields =
            if zoned { schedule.split_once(' ').map_or("", |(_, fields)| fields.trim_start()) } else { schedule };
        if let Err(text) = cron::check(fields) {
            errors.push(FieldError::invalid("spec.schedule", &json!(schedule), &text));
        }
        if schedule.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(FieldError::invalid("spec.schedule", &json!(schedule), detail));
        }
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
        } else if !is_zone(name) {
            errors.push(FieldError::invalid("spec.timeZone", zone, &format!("unknown time zone {name}")));
        }
    }
    let policy = spec.str_at("/concurrencyPolicy");
    errors.extend(one_of("spec.concurrencyPolicy", policy, &["Allow", "Forbid", "Replace"]));
    errors.extend(job(spec.at("/jobTemplate/spec"), "spec.jobTemplate.spec", false));
    let selector = spec.at("/jobTemplate/spec/selector");
    if !selector.is_null() {
        let (field, detail) = ("spec.jobTemplate.spec.selector", "`selector` will be auto-generated");
        errors.push(shown(Kind::Invalid, field, go_selector(selector), detail));
    }
    if spec.true_at("/jobTemplate/spec/manualSelector") {
        let field = "spec.jobTemplate.spec.manualSelector";
        errors.push(FieldError::not_supported(field, &json!(true), &["nil", "false"]));
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.extend(non_negative(spec, &format!("/{field}"), &format!("spec.{field}")));
    }
    errors
}
