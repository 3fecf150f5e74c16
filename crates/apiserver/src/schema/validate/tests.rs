use serde_json::json;

use super::*;

fn schema(spec: Value) -> Schema {
    serde_json::from_value(json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

fn printed(errors: Vec<FieldError>) -> Vec<String> {
    errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
}

fn errors(spec: Value, value: Value) -> Vec<String> {
    printed(super::value(&json!({"spec": value}), &schema(spec), &Path::root("")))
}

fn changed(spec: Value, old: Value, new: Value) -> Vec<String> {
    printed(update(&json!({"spec": new}), &json!({"spec": old}), &schema(spec)))
}

#[test]
fn a_wrong_type_names_the_type_found() {
    assert_eq!(
        errors(json!({"type": "string"}), json!(1)),
        [r#"spec: Invalid value: "integer": spec in body must be of type string: "integer""#]
    );
}

#[test]
fn a_value_of_a_type_with_a_format_names_formats() {
    let date = json!({"type": "string", "format": "date"});
    assert_eq!(
        errors(date.clone(), json!(1)),
        [r#"spec: Invalid value: "int64": spec in body must be of type date: "int64""#]
    );
    assert_eq!(
        errors(date.clone(), json!(true)),
        [r#"spec: Invalid value: "": spec in body must be of type date: """#]
    );
    assert_eq!(errors(date, json!("x")), [r#"spec: Invalid value: "x": spec in body must be of type date: "x""#]);
    assert_eq!(
        errors(json!({"type": "integer", "format": "int32"}), json!("x")),
        [r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#]
    );
}

#[test]
fn numbers_have_bounds_and_divisors() {
    let schema = json!({"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 10, "multipleOf": 0.5});
    assert_eq!(errors(schema.clone(), json!(0)), ["spec: Invalid value: 0: spec in body should be greater than 0"]);
    assert_eq!(
        errors(schema.clone(), json!(10.5)),
        ["spec: Invalid value: 10.5: spec in body should be less than or equal to 10"]
    );
    assert_eq!(errors(schema, json!(1.5)), [""; 0]);
}

#[test]
fn a_bound_that_the_type_cannot_hold_is_an_error_itself() {
    assert_eq!(
        errors(json!({"type": "integer", "minimum": 0.5}), json!(1)),
        [r#"<nil>: Invalid value: "": Minimum boundary value must be of type integer (default format) in spec"#]
    );
}

#[test]
fn numbers_out_of_the_range_of_their_format_are_refused() {
    assert_eq!(
        errors(json!({"type": "integer", "format": "int32"}), json!(3_000_000_000_u32)),
        [r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec"#]
    );
}

#[test]
fn one_error_of_a_text_is_reported() {
    assert_eq!(
        errors(json!({"type": "string", "maxLength": 1, "pattern": "^a"}), json!("bb")),
        ["spec: Too long: may not be more than 1 bytes"]
    );
}

#[test]
fn a_wrong_number_of_properties_hides_what_is_inside() {
    let schema = json!({"type": "object", "minProperties": 3, "additionalProperties": {"type": "integer"}});
    assert_eq!(
        errors(schema, json!({"a": "x"})),
        ["spec: Invalid value: 1: spec in body should have at least 3 properties"]
    );
}

#[test]
fn alternatives_report_the_first_ones_errors() {
    assert_eq!(
        errors(json!({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 2}]}), json!(5)),
        [
            r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
            "spec: Invalid value: 5: spec in body should be greater than or equal to 10"
        ]
    );
}

#[test]
fn of_failed_alternatives_the_one_with_most_passed_checks_is_blamed() {
    let one_of = json!({"type": "object", "oneOf": [
        {"required": ["a"]},
        {"required": ["b"], "properties": {"c": {"maximum": 5}}},
    ]});
    assert_eq!(
        errors(one_of, json!({"c": 1})),
        [
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
            "spec.b: Required value"
        ]
    );
}

#[test]
fn each_of_all_is_reported_before_the_sum() {
    assert_eq!(
        errors(json!({"type": "integer", "allOf": [{"minimum": 3}, {"maximum": 0}]}), json!(1)),
        [
            "spec: Invalid value: 1: spec in body should be greater than or equal to 3",
            "spec: Invalid value: 1: spec in body should be less than or equal to 0",
            r#"<nil>: Invalid value: "": "spec" must validate all the schemas (allOf). None validated"#,
        ]
    );
}

#[test]
fn null_is_a_value_only_where_allowed() {
    assert_eq!(errors(json!({"type": "string", "nullable": true}), json!(null)), [""; 0]);
    assert_eq!(
        errors(json!({"type": "string"}), json!(null)),
        [r#"spec: Invalid value: "null": spec in body must be of type string: "null""#]
    );
}

#[test]
fn what_did_not_change_keeps_its_errors() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 2}, "b": {"type": "string"},
        "l": {"type": "array", "items": {"type": "string", "maxLength": 2}},
    }});
    let old = json!({"a": "long", "l": ["long", "x"]});
    assert_eq!(changed(spec.clone(), old.clone(), json!({"a": "long", "b": "x", "l": ["long", "y"]})), [""; 0]);
    assert_eq!(
        changed(spec.clone(), old.clone(), json!({"a": "longer", "l": ["long", "x"]})),
        ["spec.a: Too long: may not be more than 2 bytes"]
    );
    assert_eq!(
        changed(spec, old, json!({"a": "long", "l": ["x", "long"]})),
        ["spec.l[1]: Too long: may not be more than 2 bytes"]
    );
}

#[test]
fn an_error_of_the_whole_stays_when_a_part_changes() {
    let spec = json!({"type": "object", "required": ["a"], "properties": {"a": {}, "b": {"type": "string"}}});
    assert_eq!(changed(spec.clone(), json!({"b": "x"}), json!({"b": "x"})), [""; 0]);
    assert_eq!(changed(spec, json!({"b": "x"}), json!({"b": "y"})), ["spec.a: Required value"]);
}

#[test]
fn elements_of_map_lists_are_followed_by_their_keys() {
    let spec = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}});
    let old = json!([{"k": "a", "v": "long"}]);
    assert_eq!(changed(spec.clone(), old.clone(), json!([{"k": "b"}, {"k": "a", "v": "long"}])), [""; 0]);
    assert_eq!(
        changed(spec, old, json!([{"k": "b", "v": "long"}])),
        ["spec[0].v: Too long: may not be more than 1 bytes"]
    );
}

#[test]
fn elements_of_sets_and_maps_occur_once() {
    let repeated = |spec: Value, value: Value| printed(keyed_lists(&json!({"spec": value}), &schema(spec)));
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    assert_eq!(repeated(set, json!(["a", "a", "a"])), [r#"spec[1]: Duplicate value: "a""#]);
    let map = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                     "items": {"type": "object"}});
    assert_eq!(
        repeated(map.clone(), json!([{"k": 1}, {"k": 2}, {"k": 1, "v": 0}])),
        [r#"spec[2]: Duplicate value: {"k":1}"#]
    );
    assert_eq!(
        repeated(map, json!([1])),
        ["spec[0]: Invalid value: 1: must be an object for an array of list-type map"]
    );
}

#[test]
fn embedded_objects_name_their_type_and_have_valid_metadata() {
    let spec = json!({"type": "object", "additionalProperties": {"x-kubernetes-embedded-resource": true}});
    let found =
        |value: Value| printed(embedded(&json!({"spec": {"a": value}}), &schema(spec.clone()), &Path::root("")));
    assert_eq!(found(json!({})), ["spec[a].apiVersion: Required value", "spec[a].kind: Required value"]);
    assert_eq!(
        found(json!({"apiVersion": "a/b/c", "kind": "X"})),
        [r#"spec[a].apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#]
    );
    let found = found(json!({"apiVersion": "v1", "kind": "X", "metadata": {"labels": {"a": "b b"}}}));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(r#"spec[a].metadata.labels: Invalid value: "b b""#));
}

#[test]
fn alternatives_within_alternatives_end() {
    let mut node = json!({"items": {"pattern": "x"}});
    for _ in 0..3 {
        node = json!({"anyOf": vec![node; 12]});
    }
    node["type"] = "array".into();
    let found = run(&json!(vec!["y"; 1000]), &serde_json::from_value(node).unwrap(), None, &Path::root(""), 10_000);
    assert_eq!(printed(found).last().unwrap(), "<nil>: Internal error: the object takes too many steps to validate");
}

#[test]
fn many_errors_are_reported_in_part_and_refused_in_whole() {
    let found = errors(json!({"type": "array", "items": {"type": "string"}}), json!(vec![1; 5000]));
    assert_eq!(found.len(), 1000);
}
