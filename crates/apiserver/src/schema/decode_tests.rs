use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pod(value: Value) -> Result<Decoded, String> {
    let (definitions, schema) = builtin("", "v1", "Pod");
    decode(Typed::new(&definitions, &schema), value, "Pod")
}

fn of(kind: &str, value: Value) -> Result<Value, String> {
    let (definitions, schema) = builtin("", "v1", kind);
    decode(Typed::new(&definitions, &schema), value, kind).map(|decoded| decoded.value)
}

#[test]
fn unknown_fields_are_dropped_and_named() {
    let decoded = pod(json!({"spec": {"containers": [{"name": "c", "Image": "i", "x": {"y": 1}}]}, "z": 1})).unwrap();
    assert_eq!(decoded.value, json!({"spec": {"containers": [{"name": "c"}]}}));
    assert_eq!(decoded.unknown, ["spec.containers[0].Image", "spec.containers[0].x", "z"]);
}

#[test]
fn null_is_absent_in_structs_and_zero_in_maps() {
    assert_eq!(of("ConfigMap", json!({"data": {"k": null}, "immutable": null})).unwrap(), json!({"data": {"k": ""}}));
}

#[test]
fn a_null_object_is_empty() {
    assert_eq!(of("ConfigMap", Value::Null).unwrap(), json!({}));
}

#[test]
fn quantities_become_canonical() {
    let value = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "2048Ki"}}}]}});
    let limits = &pod(value).unwrap().value["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(*limits, json!({"cpu": "500m", "memory": "2Mi"}));
}

#[test]
fn times_become_utc_seconds() {
    let value = json!({"metadata": {"creationTimestamp": "2024-01-02T03:04:05.678+01:00"}});
    assert_eq!(pod(value).unwrap().value["metadata"]["creationTimestamp"], "2024-01-02T02:04:05Z");
}

#[test]
fn a_wrong_type_is_reported_as_go_reports_it() {
    let error = pod(json!({"spec": {"hostNetwork": "yes"}})).unwrap_err();
    assert_eq!(error, "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool");
}

#[test]
fn integers_keep_their_range() {
    assert!(pod(json!({"spec": {"priority": 1i64 << 40}})).is_err());
    assert!(pod(json!({"spec": {"activeDeadlineSeconds": 1i64 << 40}})).is_ok());
    assert!(pod(json!({"spec": {"priority": 1.5}})).is_err());
}

#[test]
fn bytes_must_be_base64() {
    assert_eq!(of("Secret", json!({"data": {"k": "***"}})).unwrap_err(), "illegal base64 data at input byte 0");
    assert_eq!(of("Secret", json!({"data": {"k": "YQ\n=="}})).unwrap(), json!({"data": {"k": "YQ=="}}));
}

#[test]
fn a_list_is_no_object() {
    assert!(of("ConfigMap", json!([])).is_err());
}

#[test]
fn schemas_of_custom_resource_definitions_keep_their_defaults_and_lose_unknown_keywords() {
    let (definitions, schema) = builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let value = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {"a": {
        "default": {"any": [1]}, "items": {"type": "string", "bogus": 1}, "additionalProperties": true}}}}}]}});
    let decoded = decode(Typed::new(&definitions, &schema), value, "CustomResourceDefinition").unwrap();
    assert_eq!(
        decoded.value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"],
        json!({"default": {"any": [1]}, "items": {"type": "string"}, "additionalProperties": true})
    );
    assert_eq!(decoded.unknown.len(), 1);
}

#[test]
fn strict_refuses_warn_warns_and_ignore_is_silent() {
    let errors = || vec![r#"unknown field "a""#.to_owned(), r#"unknown field "b""#.to_owned()];
    assert_eq!(
        FieldValidation::Strict.judge(errors()).unwrap_err(),
        r#"strict decoding error: unknown field "a", unknown field "b""#
    );
    assert_eq!(FieldValidation::Warn.judge(errors()).unwrap(), errors());
    assert!(FieldValidation::Ignore.judge(errors()).unwrap().is_empty());
}

/// JSON made of a Pod's own field names, so that decoding goes deep.
fn pod_like() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "resources",
        "limits",
        "ports",
        "env",
        "labels",
        "name",
        "value",
        "cpu",
        "containerPort",
        "livenessProbe",
        "httpGet",
        "port",
        "creationTimestamp",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-zKi.:TZ-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_never_panics_and_what_it_gives_decodes_to_itself(value in pod_like()) {
        if let Ok(decoded) = pod(value) {
            let again = pod(decoded.value.clone()).unwrap();
            prop_assert_eq!(again.value, decoded.value);
            prop_assert!(again.unknown.is_empty());
        }
    }
}
