use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::resource::{Cx, Lookup, Part};

/// Other definitions.
struct Others(Vec<Value>);

fn names(crds: &[Value]) -> Vec<Arc<Names>> {
    crds.iter().map(|crd| Arc::new(Names::of(crd))).collect()
}

impl Lookup for Others {
    fn get(&self, _storage: &str, _namespace: &str, _name: &str) -> Option<Value> {
        None
    }
    fn list(&self, _storage: &str, _namespace: &str) -> Vec<Value> {
        Vec::new()
    }
    fn names_of_group(&self, group: &str) -> Vec<Arc<Names>> {
        names(&self.0).into_iter().filter(|names| names.group == group).collect()
    }
}

fn definition_of(schema: Value) -> Value {
    json!({
        "metadata": {"name": "toys.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "toys", "kind": "Toy", "shortNames": ["ty"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]
        }
    })
}

fn spec_schema(spec: Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

/// The definition as it is stored, and what is wrong with it.
fn created(mut crd: Value, others: Vec<Value>) -> (Value, Vec<String>) {
    let others = Others(others);
    let cx = Cx::new(Timestamp::UNIX_EPOCH, &others);
    definition::default(&mut crd);
    definition::prepare_create(&mut crd, &cx).unwrap();
    let errors = definition::validate_create(&crd, &cx);
    (crd, errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect())
}

fn errors_of(spec: Value) -> Vec<String> {
    created(definition_of(spec_schema(spec)), vec![]).1
}

fn served(crd: Value) -> Vec<Resource> {
    let (crd, errors) = created(crd, vec![]);
    assert_eq!(errors, [""; 0]);
    resources(&crd).unwrap()
}

#[test]
fn a_new_definition_is_established_and_names_are_completed() {
    let (crd, errors) = created(definition_of(json!({"type": "object"})), vec![]);
    assert_eq!(errors, [""; 0]);
    assert!(conditions::is(&crd, "Established"));
    assert_eq!(
        crd["status"]["acceptedNames"],
        json!({"plural": "toys", "singular": "toy", "kind": "Toy", "listKind": "ToyList", "shortNames": ["ty"]})
    );
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn a_kind_that_another_definition_has_is_not_accepted_and_nothing_is_served() {
    let (first, _) = created(definition_of(json!({"type": "object"})), vec![]);
    let mut second = definition_of(json!({"type": "object"}));
    second["metadata"]["name"] = "trinkets.example.com".into();
    second["spec"]["names"] = json!({"plural": "trinkets", "kind": "Toy"});
    let (second, errors) = created(second, vec![first]);
    assert_eq!(errors, [""; 0]);
    assert!(!conditions::is(&second, "NamesAccepted"));
    assert!(resources(&second).unwrap().is_empty());
}

#[test]
fn the_name_is_the_plural_and_the_group() {
    let mut crd = definition_of(json!({"type": "object"}));
    crd["metadata"]["name"] = "toy.example.com".into();
    assert_eq!(
        created(crd, vec![]).1,
        [r#"metadata.name: Invalid value: "toy.example.com": must be spec.names.plural+"."+spec.group"#]
    );
}

#[test]
fn every_field_has_a_type() {
    assert_eq!(
        errors_of(json!({"properties": {}})),
        [
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"
        ]
    );
    assert_eq!(errors_of(json!({"x-kubernetes-preserve-unknown-fields": true})), [""; 0]);
    assert_eq!(errors_of(json!({"x-kubernetes-int-or-string": true})), [""; 0]);
}

#[test]
fn logic_describes_nothing() {
    assert_eq!(
        errors_of(json!({"type": "string", "oneOf": [{"description": "x"}]})),
        [
            "spec.validation.openAPIV3Schema.properties[spec].oneOf[0].description: Forbidden: must be empty to be structural"
        ]
    );
}

#[test]
fn int_or_string_may_be_written_out() {
    let spec = json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(errors_of(spec), [""; 0]);
}

#[test]
fn a_default_fits_its_schema() {
    assert_eq!(errors_of(json!({"type": "string", "default": 1})).len(), 1);
    assert_eq!(errors_of(json!({"type": "object", "default": {"u": 1}})).len(), 1);
    assert_eq!(errors_of(json!({"type": "string", "default": "x"})), [""; 0]);
}

#[test]
fn versions_that_differ_are_named_in_the_path() {
    let mut crd = definition_of(json!({"type": "object"}));
    let second =
        json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"properties": {}}}});
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    assert_eq!(
        created(crd, vec![]).1,
        ["spec.versions[1].schema.openAPIV3Schema.type: Required value: must not be empty at the root"]
    );
}

#[test]
fn a_group_cannot_change() {
    let (old, _) = created(definition_of(json!({"type": "object"})), vec![]);
    let mut new = old.clone();
    new["spec"]["group"] = "example.org".into();
    let others = Others(vec![]);
    let cx = Cx::new(Timestamp::UNIX_EPOCH, &others);
    let errors = definition::validate_update(&new, &old, Part::Main, &cx);
    assert!(errors.iter().any(|e| e.field == "spec.group" && e.message.ends_with("field is immutable")));
}

#[test]
fn served_versions_come_newest_first() {
    let mut crd = definition_of(json!({"type": "object"}));
    let all = ["v1", "v1beta1", "v10", "v2", "other"].map(|name| {
        json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": {"type": "object"}}})
    });
    crd["spec"]["versions"] = all.as_slice().into();
    let names: Vec<String> = served(crd).iter().map(|r| r.version.to_string()).collect();
    assert_eq!(names, ["v10", "v2", "v1", "v1beta1", "other"]);
}

#[test]
fn only_schemas_without_defaults_are_served_from_stored_bytes() {
    let verbatim = |spec| served(definition_of(spec_schema(spec)))[0].strategy.stored_verbatim();
    assert!(verbatim(json!({"type": "object", "properties": {"default": {"type": "string"}}})));
    assert!(!verbatim(json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}})));
}

#[test]
fn cells_follow_the_columns() {
    let mut crd = definition_of(json!({"type": "object"}));
    crd["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "At", "type": "date", "jsonPath": ".spec.at"}
    ]);
    let toy = json!({"metadata": {"name": "a"}, "spec": {"size": 3, "at": "1970-01-01T00:00:00Z"},
                     "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let now = Timestamp::from_second(90).unwrap();
    assert_eq!(served(crd)[0].strategy.cells(&toy, now), [json!("a"), json!(3), json!("True"), json!("90s")]);
}

#[test]
fn status_is_apart_where_it_is_a_subresource() {
    let mut crd = definition_of(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    crd["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    let toys = served(crd);
    let others = Others(vec![]);
    let cx = Cx::new(Timestamp::UNIX_EPOCH, &others);
    let old = json!({"metadata": {"name": "a", "managedFields": 1}, "spec": 1, "status": 1});
    let changed = |part| {
        let mut new =
            json!({"metadata": {"name": "a", "labels": {"l": "1"}, "managedFields": 2}, "spec": 2, "status": 2});
        toys[0].strategy.prepare_update(&mut new, &old, part, &cx).unwrap();
        new
    };
    assert_eq!(changed(Part::Main)["status"], 1);
    assert_eq!(
        changed(Part::Status),
        json!({"metadata": {"name": "a", "managedFields": 2}, "spec": 1, "status": 2}),
        "labels do not change through status"
    );
}

#[test]
fn what_was_wrong_and_did_not_change_may_stay() {
    let toys = served(definition_of(spec_schema(json!({
        "type": "object", "properties": {"a": {"type": "string", "maxLength": 2}, "b": {"type": "string", "maxLength": 2}}
    }))));
    let others = Others(vec![]);
    let cx = Cx::new(Timestamp::UNIX_EPOCH, &others);
    let old = json!({"spec": {"a": "long", "b": "x"}});
    let errors = |new: Value| toys[0].strategy.validate_update(&new, &old, Part::Main, &cx).len();
    assert_eq!(errors(json!({"spec": {"a": "long", "b": "y"}})), 0);
    assert_eq!(errors(json!({"spec": {"a": "longer", "b": "x"}})), 1);
}

#[test]
fn names_that_became_free_are_accepted() {
    let (first, _) = created(definition_of(json!({"type": "object"})), vec![]);
    let mut second = definition_of(json!({"type": "object"}));
    second["metadata"]["name"] = "trinkets.example.com".into();
    second["spec"]["names"] = json!({"plural": "trinkets", "kind": "Toy"});
    let (second, _) = created(second, vec![first.clone()]);
    assert!(reaccepted(&second, &names(&[first, second.clone()]), Timestamp::UNIX_EPOCH).is_none());
    let status = reaccepted(&second, &names(std::slice::from_ref(&second)), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(status["acceptedNames"]["kind"], "Toy");
}

#[test]
fn a_missing_field_in_an_unchanged_object_may_stay_missing() {
    let toys = served(definition_of(spec_schema(json!({
        "type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}
    }))));
    let others = Others(vec![]);
    let cx = Cx::new(Timestamp::UNIX_EPOCH, &others);
    let old = json!({"metadata": {}, "spec": {"b": "x"}});
    let errors = |new: Value| toys[0].strategy.validate_update(&new, &old, Part::Main, &cx).len();
    assert_eq!(errors(json!({"metadata": {"labels": {"x": "y"}}, "spec": {"b": "x"}})), 0);
    assert_eq!(errors(json!({"metadata": {}, "spec": {"b": "y"}})), 1);
}

#[test]
fn groups_of_the_kubernetes_project_need_an_approval() {
    let mut crd = definition_of(json!({"type": "object"}));
    crd["metadata"]["name"] = "toys.play.k8s.io".into();
    crd["spec"]["group"] = "play.k8s.io".into();
    let (_, errors) = created(crd, vec![]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("metadata.annotations[api-approved.kubernetes.io]: Required value"));
}

#[test]
fn formats_that_mean_nothing_are_told_once_and_when_they_are_new() {
    let with = |formats: [&str; 2]| {
        let [a, b] = formats.map(|format| json!({"type": "string", "format": format}));
        definition_of(spec_schema(
            json!({"type": "object", "properties": {"a": a, "b": {"type": "array", "items": b}}}),
        ))
    };
    let new = with(["whatever", "whatever"]);
    assert_eq!(definition::warnings(&new, None), [r#"unrecognized format "whatever""#]);
    assert_eq!(definition::warnings(&new, Some(&with(["whatever", "date"]))), [""; 0]);
    assert_eq!(definition::warnings(&with(["date", "uuid"]), None), [""; 0]);
}

#[test]
fn objects_whose_versions_a_webhook_converts_are_not_converted() {
    let mut crd = definition_of(json!({"type": "object"}));
    let second =
        json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}});
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    assert!(served(crd.clone())[0].strategy.converts().is_ok());
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"url": "https://example.com"}, "conversionReviewVersions": ["v1"]}});
    let error = served(crd)[0].strategy.converts().unwrap_err();
    assert_eq!(
        error.message,
        "Internal error occurred: conversion webhook for example.com/v1, Kind=Toy failed: this server calls no conversion webhooks"
    );
}

#[test]
fn a_new_finalizer_without_a_path_is_warned_about() {
    let toys = served(definition_of(json!({"type": "object"})));
    let with = |names: &[&str]| json!({"metadata": {"finalizers": names}});
    let warned = |new: &[&str], old: &[&str]| toys[0].strategy.warnings(&with(new), Some(&with(old))).len();
    assert_eq!(warned(&["a.b", "a.b/c", "orphan"], &[]), 1);
    assert_eq!(warned(&["a.b"], &["a.b"]), 0);
}
