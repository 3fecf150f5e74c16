//! Events of the core group and of events.k8s.io: one stored object, two shapes.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, named, required};
use super::names;
use super::rules::Rules;
use super::tables::cluster as tables;
use crate::field::FieldError;

/// Core field and its name in events.k8s.io.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];
const FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The same by their names in events.k8s.io. `source` is not a field there and selectable all the same.
const NEW_FIELDS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "source",
    "type",
];

pub(super) const CORE: Rules = Rules {
    default: |obj| {
        obj.default_at("/involvedObject", json!({}));
        obj.default_at("/source", json!({}));
        for time in ["firstTimestamp", "lastTimestamp", "eventTime"] {
            obj.default_at(&format!("/{time}"), Value::Null);
        }
        for text in ["reportingComponent", "reportingInstance"] {
            obj.default_at(&format!("/{text}"), "");
        }
    },
    validate_create: |obj, _| core(obj),
    validate_update: |new, _, _, _| core(new),
    fields: FIELDS,
    select: |obj, field| {
        let obj = &stored(obj);
        match field {
            "source" if obj.str_at("/source/component").is_empty() => obj.str_at("/reportingComponent").to_owned(),
            "source" => obj.str_at("/source/component").to_owned(),
            _ => super::rules::field_value(obj, field),
        }
    },
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::EVENT),
    cells: |obj, now| tables::event(&stored(obj), now),
    ..Rules::PLAIN
};

pub(super) const NEW: Rules = Rules {
    default: |obj| {
        obj.default_at("/regarding", json!({}));
        obj.default_at("/deprecatedSource", json!({}));
        for time in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
            obj.default_at(&format!("/{time}"), Value::Null);
        }
        for text in ["reportingController", "reportingInstance"] {
            if obj.at(&format!("/{text}")) == "" {
                obj.remove_at(&format!("/{text}"));
            }
        }
    },
    validate_create: |obj, _| new(obj),
    validate_update: |event, old, _, _| changed(event, old),
    fields: NEW_FIELDS,
    select: |obj, field| match field.strip_prefix("regarding") {
        Some(part) => (CORE.select)(obj, &format!("involvedObject{part}")),
        None if field == "reportingController" => (CORE.select)(obj, "reportingComponent"),
        None => (CORE.select)(obj, field),
    },
    served_from_storage: |obj| {
        rename(obj, |core, new| (core, new));
        (NEW.default)(obj);
    },
    to_storage: |obj| {
        rename(obj, |core, new| (new, core));
        (CORE.default)(obj);
    },
    ..CORE
};

/// An event of either shape in the core shape.
fn stored(obj: &Value) -> Value {
    let mut obj = obj.clone();
    rename(&mut obj, |core, new| (new, core));
    obj
}

fn rename(obj: &mut Value, direction: fn(&'static str, &'static str) -> (&'static str, &'static str)) {
    let Some(map) = obj.as_object_mut() else { return };
    for (core, new) in RENAMED {
        let (from, to) = direction(core, new);
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

/// `legacyValidateEvent` for an event of the core group.
fn core(obj: &Value) -> Errors {
    let namespace = obj.str_at("/metadata/namespace");
    let about = obj.str_at("/involvedObject/namespace");
    // Events about cluster-scoped objects live in `default`, those of the new shape also in `kube-system`.
    let agrees = match (about, obj.has("/eventTime")) {
        ("", false) => namespace == "default",
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (about, _) => about == namespace,
    };
    let mut errors = Errors::new();
    if !agrees {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", &json!(about), detail));
    }
    if obj.has("/eventTime") {
        errors.extend(reporter(obj, "reportingComponent", obj.str_at("/reportingComponent")));
    }
    errors
}

fn reporter(obj: &Value, field: &str, controller: &str) -> Errors {
    let mut errors: Errors = required(field, controller).into_iter().collect();
    errors.extend(named(field, controller, names::qualified_name));
    let instance = obj.str_at("/reportingInstance");
    errors.extend(required("reportingInstance", instance));
    if instance.len() > 128 {
        errors.push(FieldError::invalid("reportingInstance", &json!(""), "can have at most 128 characters"));
    }
    for name in ["action", "reason"] {
        let text = obj.str_at(&format!("/{name}"));
        errors.extend(required(name, text));
        if text.len() > 128 {
            errors.push(FieldError::invalid(name, &json!(""), "can have at most 128 characters"));
        }
    }
    errors
}

/// `ValidateEventCreate` for events.k8s.io.
fn new(obj: &Value) -> Errors {
    if !obj.has("/eventTime") {
        return vec![FieldError::required("eventTime", "")];
    }
    let mut errors =
        core(&stored(obj)).into_iter().filter(|e| e.field == "involvedObject.namespace").collect::<Errors>();
    errors.extend(reporter(obj, "reportingController", obj.str_at("/reportingController")));
    let kind = obj.str_at("/type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", &json!(""), &format!("has invalid value: {kind}")));
    }
    for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
        if obj.has(&format!("/{field}")) {
            let field = field.trim_start_matches("deprecated");
            let field = field[..1].to_lowercase() + &field[1..];
            errors.push(FieldError::invalid(field, &json!(""), "needs to be unset"));
        }
    }
    errors.extend(series(obj));
    errors
}

/// `validateV1EventSeries`.
fn series(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    if !obj.has("/series") {
        return errors;
    }
    if obj.int_at("/series/count").unwrap_or(0) < 2 {
        errors.push(FieldError::invalid("series.count", &json!(""), "should be at least 2"));
    }
    errors.extend(required("series.lastObservedTime", obj.str_at("/series/lastObservedTime")));
    errors
}

/// What no update of an event of events.k8s.io changes: everything but its metadata and series.
const FIXED: &[&str] = &[
    "regarding",
    "related",
    "reason",
    "action",
    "note",
    "type",
    "eventTime",
    "reportingController",
    "reportingInstance",
    "deprecatedSource",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "deprecatedCount",
];

/// `ValidateEventUpdate` for events.k8s.io.
fn changed(new: &Value, old: &Value) -> Errors {
    let mut errors = if new.at("/series") == old.at("/series") { Errors::new() } else { series(new) };
    for field in FIXED {
        let pointer = format!("/{field}");
        let name = RENAMED.iter().find(|(_, new)| new == field).map_or(field, |(core, _)| core);
        errors.extend(super::checks::immutable(name, new.at(&pointer), old.at(&pointer)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_hold_the_same() {
        let mut core = json!({"involvedObject": {"kind": "Pod"}, "message": "m", "count": 2, "reason": "R"});
        (CORE.default)(&mut core);
        let mut event = core.clone();
        (NEW.served_from_storage)(&mut event);
        assert_eq!((event.str_at("/note"), event.has("/reportingController")), ("m", false));
        (NEW.to_storage)(&mut event);
        assert_eq!(event, core);
    }

    /// The fields that an update is refused for.
    fn refused(change: Value) -> Vec<String> {
        let old = json!({"note": "m", "reportingInstance": "c-0", "series": {"count": 2, "lastObservedTime": "t"}});
        let mut new = old.clone();
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        changed(&new, &old).into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn series_is_all_of_an_event_that_changes() {
        assert_eq!(refused(json!({"series": {"count": 3, "lastObservedTime": "u"}})), Vec::<String>::new());
        let other = json!({"note": "n", "reportingInstance": "c-1", "deprecatedCount": 2});
        assert_eq!(refused(other), ["message", "reportingInstance", "count"]);
    }

    #[test]
    fn series_begins_with_the_second_occurrence_and_has_a_time() {
        assert_eq!(refused(json!({"series": {"count": 1}})), ["series.count", "series.lastObservedTime"]);
    }

    #[test]
    fn an_event_lives_with_its_object() {
        let of =
            |about: &str| core(&json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": about}})).len();
        assert_eq!([of("a"), of("b"), of("")], [0, 1, 1]);
    }
}
