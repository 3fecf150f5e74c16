//! Bodies as kubectl 1.32 sends them, bodies from a small encoder, and hostile ones.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

const NAMESPACES: &str = "6b3873000a0f0a02763112094e616d65737061636512190a110a017812001a0022002a0032003800420012001a020a00\
    1a002200";

const SECRETS: &str = "6b3873000a0c0a027631120653656372657412240a180a017812001a0764656661756c7422002a003200380042001206\
    0a01611201621a001a002200";

const DEPLOYMENTS: &str = "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412b7010a220a017812001a0764656661756c742200\
    2a003200380042005a080a036170701201781282010802120a0a080a036170701201781a6a0a1a0a0012001a0022002a\
    003200380042005a080a03617070120178124c122e0a056e67696e7812056e67696e782a00320a0a001000185022002a\
    0042006a007200800100880100900100a201001a00320042004a0052005800600068008201008a01009a0100c2010022\
    020a00280038001a0c0800100018002000280038001a002200";

const CRONJOBS: &str = "6b3873000a130a0862617463682f7631120743726f6e4a6f62129d010a180a017812001a0764656661756c7422002a00\
    320038004200127f0a072a2f352a2a2a2a1a002a720a110a017812001a0022002a00320038004200125d325b0a100a00\
    12001a0022002a00320038004200124712200a0178120762757379626f782a0042006a007200800100880100900100a2\
    01001a094f6e4661696c757265320042004a0052005800600068008201008a01009a0100c201001a001a002200";

const INGRESSES: &str = "6b3873000a1f0a146e6574776f726b696e672e6b38732e696f2f76311207496e677265737312450a180a017812001a07\
    64656661756c7422002a0032003800420012251a230a03612e62121c0a1a0a180a022f70120b22090a017312040a0010\
    501a0545786163741a020a001a002200";

const PODDISRUPTIONBUDGETS: &str = "6b3873000a200a09706f6c6963792f76311213506f6444697372757074696f6e427564676574123a0a180a017812001a\
    0764656661756c7422002a0032003800420012120a06080010011a0012080a060a01611201621a0a0800180020002800\
    30001a002200";

const RESOURCEQUOTAS: &str = "6b3873000a130a027631120d5265736f7572636551756f746112370a180a017812001a0764656661756c7422002a0032\
    003800420012190a0a0a0363707512030a01310a0b0a04706f647312030a01321a001a002200";

const ROLEBINDINGS: &str = "6b3873000a2b0a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f7631120b526f6c6542696e64696e\
    671288010a180a017812001a0764656661756c7422002a0032003800420012260a04557365721219726261632e617574\
    686f72697a6174696f6e2e6b38732e696f1a01752200121e0a0e536572766963654163636f756e7412001a0173220764\
    656661756c741a240a19726261632e617574686f72697a6174696f6e2e6b38732e696f1204526f6c651a01781a002200";

#[test]
fn zero_values_are_absent_and_empty_messages_are_kept_as_in_json() {
    assert_eq!(
        decode(&unhex(NAMESPACES)),
        Ok(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {}, "status": {}}))
    );
}

#[test]
fn data_of_a_secret_is_base64() {
    let secret = decode(&unhex(SECRETS)).unwrap();
    assert_eq!(secret["data"], json!({"a": "Yg=="}));
}

#[test]
fn a_deployment_is_read_to_its_leaves() {
    let spec = decode(&unhex(DEPLOYMENTS)).unwrap()["spec"].take();
    assert_eq!(spec["replicas"], json!(2));
    assert_eq!(spec["selector"], json!({"matchLabels": {"app": "x"}}));
    assert_eq!(
        spec["template"]["spec"]["containers"],
        json!([{"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}], "resources": {}}])
    );
}

#[test]
fn a_cron_job_nests_its_job() {
    let object = decode(&unhex(CRONJOBS)).unwrap();
    assert_eq!(object.pointer("/spec/jobTemplate/spec/template/spec/containers/0/image"), Some(&json!("busybox")));
}

#[test]
fn inlined_fields_belong_to_the_parent() {
    let object = decode(&unhex(INGRESSES)).unwrap();
    let path = object.pointer("/spec/rules/0/http/paths/0").unwrap();
    assert_eq!(
        path,
        &json!({"path": "/p", "pathType": "Exact", "backend": {"service": {"name": "s", "port": {"number": 80}}}})
    );
}

#[test]
fn an_integer_or_string_is_either() {
    let object = decode(&unhex(PODDISRUPTIONBUDGETS)).unwrap();
    assert_eq!(object["spec"], json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}));
}

#[test]
fn quantities_are_strings() {
    assert_eq!(decode(&unhex(RESOURCEQUOTAS)).unwrap()["spec"], json!({"hard": {"cpu": "1", "pods": "2"}}));
}

#[test]
fn every_subject_of_a_binding_is_read() {
    let object = decode(&unhex(ROLEBINDINGS)).unwrap();
    assert_eq!(object["subjects"].as_array().map(Vec::len), Some(2));
    assert_eq!(object["roleRef"], json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"}));
}

/// A field whose payload has a length.
fn bytes(number: u32, payload: &[u8]) -> Vec<u8> {
    [varint(u64::from(number) << 3 | 2), varint(payload.len() as u64), payload.to_vec()].concat()
}

fn text(number: u32, payload: &str) -> Vec<u8> {
    bytes(number, payload.as_bytes())
}

fn integer(number: u32, value: i64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value.cast_unsigned())].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn body(api_version: &str, kind: &str, fields: &[Vec<u8>]) -> Vec<u8> {
    let type_meta = [text(1, api_version), text(2, kind)].concat();
    [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, &fields.concat())].concat()
}

fn spec(api_version: &str, kind: &str, fields: &[Vec<u8>]) -> Value {
    decode(&body(api_version, kind, &[bytes(2, &fields.concat())])).unwrap()["spec"].take()
}

#[test]
fn a_custom_resource_has_no_protobuf_encoding() {
    let error = decode(&body("example.com/v1", "Widget", &[])).unwrap_err();
    assert!(error.to_string().starts_with("example.com/v1, Kind=Widget has no protobuf encoding"), "{error}");
}

#[test]
fn a_field_of_a_later_release_is_skipped() {
    let body =
        body("v1", "ConfigMap", &[text(900, "x"), integer(901, 7), bytes(2, &[text(1, "k"), text(2, "v")].concat())]);
    assert_eq!(decode(&body), Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}})));
}

#[test]
fn a_pointer_to_zero_is_kept_and_a_zero_value_is_not() {
    let spec = spec("apps/v1", "Deployment", &[integer(1, 0), integer(5, 0), integer(6, 0)]);
    assert_eq!(spec, json!({"replicas": 0, "revisionHistoryLimit": 0}));
}

#[test]
fn a_required_zero_is_kept() {
    let body = body("scheduling.k8s.io/v1", "PriorityClass", &[integer(2, 0), integer(3, 0), text(4, "")]);
    assert_eq!(decode(&body).unwrap()["value"], json!(0));
    assert_eq!(decode(&body).unwrap().get("globalDefault"), None);
}

#[test]
fn negative_numbers_are_read() {
    let body = body("scheduling.k8s.io/v1", "PriorityClass", &[integer(2, -5)]);
    assert_eq!(decode(&body).unwrap()["value"], json!(-5));
}

#[test]
fn times_are_written_to_the_second_and_to_the_microsecond() {
    let time = |nanoseconds| [integer(1, 1_700_000_000), integer(2, nanoseconds)].concat();
    let meta =
        decode(&body("v1", "Pod", &[bytes(1, &[bytes(8, &[]), bytes(9, &time(5))].concat())])).unwrap()["metadata"]
            .take();
    assert_eq!(meta, json!({"deletionTimestamp": "2023-11-14T22:13:20Z"}));
    assert_eq!(
        spec("coordination.k8s.io/v1", "Lease", &[bytes(4, &time(1_000))]),
        json!({"renewTime": "2023-11-14T22:13:20.000001Z"})
    );
}

#[test]
fn a_time_out_of_range_is_an_error() {
    for (seconds, nanoseconds) in [(i64::MAX, 0), (0, 1_000_000_000), (0, -1)] {
        let time = [integer(1, seconds), integer(2, nanoseconds)].concat();
        let body = body("v1", "Pod", &[bytes(1, &bytes(9, &time))]);
        assert_eq!(decode(&body), Err(Error::Malformed("a time is out of range")));
    }
}

#[test]
fn embedded_json_is_read() {
    let revision = body("apps/v1", "ControllerRevision", &[bytes(2, &text(1, r#"{"a":[1]}"#)), integer(3, 4)]);
    assert_eq!(
        decode(&revision),
        Ok(json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"a": [1]}, "revision": 4}))
    );
    let broken = body("apps/v1", "ControllerRevision", &[bytes(2, &text(1, "{"))]);
    assert_eq!(decode(&broken), Err(Error::Malformed("an embedded value is not JSON")));
}

#[test]
fn a_volume_has_the_fields_of_its_source() {
    let volume = [text(1, "v"), bytes(2, &bytes(2, &text(1, "")))].concat();
    assert_eq!(spec("v1", "Pod", &[bytes(1, &volume)]), json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
}

#[test]
fn lists_of_numbers_are_read_one_by_one_and_packed() {
    for groups in [[integer(4, 1), integer(4, 300)].concat(), bytes(4, &[varint(1), varint(300)].concat())] {
        let spec = spec("v1", "Pod", &[bytes(14, &groups)]);
        assert_eq!(spec, json!({"securityContext": {"supplementalGroups": [1, 300]}}));
    }
}

#[test]
fn a_schema_is_read_with_its_alternatives() {
    let leaf = text(5, "string");
    let number =
        [vec![9 << 3 | 1], 2.5_f64.to_le_bytes().to_vec(), vec![11 << 3 | 1], 3.0_f64.to_le_bytes().to_vec()].concat();
    let properties = [text(1, "p"), bytes(2, &number)].concat();
    let schema = [
        text(5, "object"),
        text(7, "title"),
        bytes(24, &bytes(1, &leaf)),
        bytes(29, &properties),
        bytes(30, &[integer(1, 1), bytes(2, &leaf)].concat()),
        bytes(33, &integer(1, 0)),
        bytes(8, &text(1, "{\"a\":1}")),
    ]
    .concat();
    let version = [text(1, "v1"), integer(2, 0), bytes(4, &bytes(1, &schema))].concat();
    let spec = spec("apiextensions.k8s.io/v1", "CustomResourceDefinition", &[bytes(7, &version)]);
    let read = &spec["versions"][0];
    assert_eq!(read["served"], json!(false));
    assert_eq!(
        read["schema"]["openAPIV3Schema"],
        json!({
            "type": "object", "title": "title", "items": {"type": "string"}, "properties": {"p": {"maximum": 2.5, "minimum": 3}},
            "additionalProperties": {"type": "string"}, "additionalItems": false, "default": {"a": 1},
        })
    );
}

#[test]
fn options_are_read_in_every_version() {
    let options = body("apps/v1", "DeleteOptions", &[integer(1, 0), bytes(2, &text(1, "u")), text(4, "Orphan")]);
    assert_eq!(
        decode(&options),
        Ok(json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                  "preconditions": {"uid": "u"}, "propagationPolicy": "Orphan"}))
    );
}

#[test]
fn a_body_without_the_prefix_is_an_error_in_the_words_of_kube_apiserver() {
    assert_eq!(
        decode(b"{}").unwrap_err().to_string(),
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    );
}

#[test]
fn nesting_is_bounded() {
    let mut schema = text(5, "object");
    for _ in 0..200 {
        schema = bytes(28, &schema);
    }
    let version = bytes(4, &bytes(1, &schema));
    let body = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &[bytes(2, &bytes(7, &version))]);
    assert_eq!(decode(&body), Err(Error::Malformed("it is nested too deeply")));
}

proptest! {
    #[test]
    fn no_bytes_panic(raw: Vec<u8>, envelope: bool) {
        let _ = decode(&if envelope { body("v1", "Pod", &[raw]) } else { [MAGIC, &raw].concat() });
    }

    #[test]
    fn no_flipped_byte_panics(at in 0_usize..200, value: u8) {
        let mut body = unhex(DEPLOYMENTS);
        let at = at % body.len();
        body[at] = value;
        let _ = decode(&body);
    }

    #[test]
    fn what_is_encoded_is_decoded(name in "[a-z]{1,20}", data in prop::collection::btree_map("[a-z]{1,8}", ".*", 1..5), immutable: bool) {
        let mut fields = vec![bytes(1, &text(1, &name)), integer(4, i64::from(immutable))];
        for (key, value) in &data {
            fields.push(bytes(2, &[text(1, key), text(2, value)].concat()));
        }
        prop_assert_eq!(
            decode(&body("v1", "ConfigMap", &fields)),
            Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data, "immutable": immutable}))
        );
    }
}

#[test]
fn a_body_that_ends_early_is_an_error_everywhere() {
    let body = unhex(DEPLOYMENTS);
    for length in 0..body.len() {
        // Never a panic; a cut between two fields of the envelope is a shorter message.
        let _ = decode(&body[..length]);
    }
    assert!(decode(&body[..body.len() - 10]).is_err());
}
