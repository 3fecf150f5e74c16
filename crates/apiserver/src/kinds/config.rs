//! ConfigMap, Secret and ServiceAccount.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, immutable, named};
use super::names;
use super::rules::Rules;
use super::tables::config as tables;
use crate::field::{FieldError, Kind};
use crate::schema::decode::go_type;
use crate::schema::syntax;

/// Most bytes of all values of a ConfigMap or Secret.
const MAX_BYTES: usize = 1024 * 1024;
const LOCKED: &str = "field is immutable when `immutable` is set";

pub(super) const CONFIG_MAP: Rules = Rules {
    validate_create: |obj, _| config_map(obj),
    validate_update: |new, old, _, _| {
        let mut errors = locked(new, old, &["data", "binaryData"]);
        errors.extend(config_map(new));
        errors
    },
    columns: || tables::columns(tables::CONFIG_MAP),
    cells: tables::config_map,
    ..Rules::PLAIN
};

pub(super) const SECRET: Rules = Rules {
    default: secret_defaults,
    validate_create: |obj, _| secret(obj),
    validate_update: |new, old, _, _| {
        let mut errors: Errors = immutable("type", new.at("/type"), old.at("/type")).into_iter().collect();
        errors.extend(locked(new, old, &["data"]));
        errors.extend(secret(new));
        errors
    },
    fields: &["type"],
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::SECRET),
    cells: tables::secret,
    ..Rules::PLAIN
};

pub(super) const SERVICE_ACCOUNT: Rules =
    Rules { columns: || tables::columns(tables::SERVICE_ACCOUNT), cells: tables::service_account, ..Rules::PLAIN };

fn config_map(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut bytes = 0;
    for (key, value) in obj.map_at("/data").into_iter().flatten() {
        let field = format!("data[{key}]");
        errors.extend(named(&field, key, names::config_key));
        if obj.at("/binaryData").get(key).is_some() {
            errors.push(FieldError::invalid(&field, &json!(key), "duplicate of key present in binaryData"));
        }
        bytes += value.as_str().map_or(0, str::len);
    }
    for (key, value) in obj.map_at("/binaryData").into_iter().flatten() {
        errors.extend(named(&format!("binaryData[{key}]"), key, names::config_key));
        bytes += decoded(value).len();
    }
    if bytes > MAX_BYTES {
        // An empty field path is printed so.
        errors.push(FieldError::too_long("[]", MAX_BYTES));
    }
    errors
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}

/// Changes of what an `immutable` object may not change.
fn locked(new: &Value, old: &Value, fields: &[&str]) -> Errors {
    if !old.true_at("/immutable") {
        return Errors::new();
    }
    let opened = (!new.true_at("/immutable")).then_some("immutable");
    let changed = fields.iter().copied().filter(|field| {
        let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
        let (new, old) = (new.at(&format!("/{field}")), old.at(&format!("/{field}")));
        new != old && !(empty(new) && empty(old))
    });
    opened.into_iter().chain(changed).map(|field| FieldError::forbidden(field, LOCKED)).collect()
}

fn secret_defaults(obj: &mut Value) {
    obj.default_at("/type", "Opaque");
    // `stringData` is only ever written.
    if let Some(Value::Object(plain)) = obj.remove_at("/stringData") {
        for (key, value) in plain {
            let pointer = format!("/data/{}", key.replace('~', "~0").replace('/', "~1"));
            obj.set_at(&pointer, STANDARD.encode(value.as_str().unwrap_or_default()));
        }
    }
}

fn secret(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut bytes = 0;
    for (key, value) in obj.map_at("/data").into_iter().flatten() {
        errors.extend(named(&format!("data[{key}]"), key, names::config_key));
        bytes += decoded(value).len();
    }
    if bytes > MAX_BYTES {
        errors.push(FieldError::too_long("data", MAX_BYTES));
    }
    let missing = |key: &&str| obj.at("/data").get(key).is_none();
    let required = |key: &str| FieldError::required(format!("data[{key}]"), "");
    match obj.str_at("/type") {
        "kubernetes.io/service-account-token" => {
            let account = "/metadata/annotations/kubernetes.io~1service-account.name";
            if obj.str_at(account).is_empty() {
                let field = "metadata.annotations[kubernetes.io/service-account.name]";
                errors.push(FieldError::required(field, ""));
            }
        }
        "kubernetes.io/dockercfg" => errors.extend(docker_config(obj, ".dockercfg")),
        "kubernetes.io/dockerconfigjson" => errors.extend(docker_config(obj, ".dockerconfigjson")),
        // One of the two is enough.
        "kubernetes.io/basic-auth" if ["username", "password"].iter().all(missing) => {
            errors.extend(["username", "password"].map(required));
        }
        "kubernetes.io/ssh-auth" => {
            let empty = obj.at("/data").get("ssh-privatekey").is_none_or(|value| decoded(value).is_empty());
            errors.extend(empty.then(|| required("ssh-privatekey")));
        }
        "kubernetes.io/tls" => errors.extend(["tls.crt", "tls.key"].into_iter().filter(missing).map(required)),
        _ => {}
    }
    errors
}

fn docker_config(obj: &Value, key: &str) -> Option<FieldError> {
    let field = format!("data[{key}]");
    let Some(value) = obj.at("/data").get(key) else { return Some(FieldError::required(field, "")) };
    let bytes = decoded(value);
    let text = match (syntax::mistake(&bytes), serde_json::from_slice::<Value>(&bytes)) {
        (Some(mistake), _) => mistake,
        (None, Ok(value @ (Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_)))) => {
            format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", go_type(&value))
        }
        (None, _) => return None,
    };
    Some(FieldError::with(Kind::Invalid, field, Some("\"<secret contents redacted>\"".to_owned()), &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_wins_over_data() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"a": "admin"}});
        secret_defaults(&mut secret);
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "YWRtaW4="}}));
    }

    #[test]
    fn an_immutable_map_cannot_be_opened() {
        let errors = locked(&json!({"data": {"k": "v"}}), &json!({"data": {"k": "v"}, "immutable": true}), &["data"]);
        assert_eq!(errors, [FieldError::forbidden("immutable", LOCKED)]);
    }

    #[test]
    fn a_docker_config_is_an_object() {
        let of = |text: &str| {
            let secret = json!({"data": {"k": STANDARD.encode(text)}});
            docker_config(&secret, "k").map(|error| error.message)
        };
        let redacted = "Invalid value: \"<secret contents redacted>\": ";
        assert_eq!(of("{}"), None);
        let expected = "json: cannot unmarshal array into Go value of type map[string]interface {}";
        assert_eq!(of("[]"), Some(format!("{redacted}{expected}")));
        assert_eq!(of("{"), Some(format!("{redacted}unexpected end of JSON input")));
    }

    #[test]
    fn either_key_of_basic_auth_is_enough() {
        let of = |data: Value| secret(&json!({"type": "kubernetes.io/basic-auth", "data": data})).len();
        assert_eq!([of(json!({"username": "eA=="})), of(json!({}))], [0, 2]);
    }
}
