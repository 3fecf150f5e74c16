//! Bodies as kubectl 1.32 sends them, and hostile ones.

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
fn a_namespace_has_its_name_and_nothing_empty() {
    assert_eq!(
        decode(&unhex(NAMESPACES)),
        Ok(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}))
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
        json!([{"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}]}])
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

#[test]
fn an_unknown_kind_is_named() {
    let body = [MAGIC, &[10, 9, 10, 2, b'v', b'1', 18, 3, b'P', b'o', b'd']].concat();
    assert_eq!(decode(&body), Err(Error::Kind("v1/Pod".to_owned())));
}

#[test]
fn every_message_that_a_field_names_is_known() {
    for (message, fields) in MESSAGES.iter() {
        for field in fields.values() {
            if let Type::Message(name) = field.of {
                assert!(MESSAGES.contains_key(name), "{message} names {name}");
            }
        }
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
