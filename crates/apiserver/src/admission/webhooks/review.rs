//! `AdmissionReview`: the question as kube-apiserver writes it, and what counts as an answer. Pure.
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/webhook/request`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admission::Attributes;
use crate::admission::request::request;
use crate::resource::Resource;
use crate::status::{Details, Status};

/// The version of the review that a webhook is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1Beta1,
}

impl Version {
    /// The first version of a list that is spoken here.
    pub(super) fn of(list: &[Value]) -> Option<Self> {
        list.iter().find_map(|version| match version.as_str() {
            Some("v1") => Some(Self::V1),
            Some("v1beta1") => Some(Self::V1Beta1),
            _ => None,
        })
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The question. `resource` is the one that the rules matched; `object` and `old` are in its version, `null` when absent.
pub(super) fn question(
    version: Version,
    uid: &str,
    a: &Attributes<'_>,
    resource: &Resource,
    object: &Value,
    old: &Value,
) -> Value {
    let mut request = request(a, resource);
    request["uid"] = uid.into();
    request["object"] = object.clone();
    request["oldObject"] = old.clone();
    json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": request})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    status: Option<Map<String, Value>>,
    #[serde(default)]
    patch: Option<String>,
    #[serde(default)]
    patch_type: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// A valid answer.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// `response.status`, for a denial.
    pub(super) status: Map<String, Value>,
    /// The patch's bytes, when there is one.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    pub(super) warnings: Vec<String>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It cannot be read at all.
    Garbled(String),
    /// It is a review, but not a right one.
    Invalid(String),
}

/// Checks an answer.
pub(super) fn verdict(version: Version, uid: &str, mutating: bool, body: &[u8]) -> Result<Verdict, Unusable> {
    let review: Review = serde_json::from_slice(body).map_err(|e| {
        Unusable::Garbled(match e.classify() {
            serde_json::error::Category::Data => e.to_string(),
            _ => format!("couldn't get version/kind; json parse error: {e}"),
        })
    })?;
    let invalid = |why: String| Err(Unusable::Invalid(why));
    let Some(response) = review.response else { return invalid("webhook response was absent".to_owned()) };
    let patch = STANDARD
        .decode(response.patch.as_deref().unwrap_or_default())
        .map_err(|error| Unusable::Garbled(format!("illegal base64 data in response.patch: {error}")))?;
    let mut patch_type = response.patch_type;
    if version == Version::V1 {
        if response.uid != uid {
            return invalid(format!("expected response.uid={uid:?}, got {:?}", response.uid));
        }
        if review.api_version != version.api_version() || review.kind != "AdmissionReview" {
            let (group, version) = review.api_version.split_once('/').unwrap_or(("", &review.api_version));
            return invalid(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {group}/{version}, Kind={}",
                review.kind
            ));
        }
        match (mutating, &patch_type, patch.is_empty()) {
            (true, None, false) => {
                return invalid("webhook returned response.patch but not response.patchType".to_owned());
            }
            (true, Some(_), true) => {
                return invalid("webhook returned response.patchType but not response.patch".to_owned());
            }
            (true, Some(empty), false) if empty.is_empty() => {
                return invalid("webhook returned invalid response.patchType of \"\"".to_owned());
            }
            (false, _, false) => return invalid("validating webhook may not return response.patch".to_owned()),
            (false, Some(_), true) => {
                return invalid("validating webhook may not return response.patchType".to_owned());
            }
            _ => {}
        }
    } else if !patch.is_empty() {
        patch_type = Some("JSONPatch".to_owned());
    }
    Ok(Verdict {
        allowed: response.allowed,
        status: response.status.unwrap_or_default(),
        patch: if mutating { patch } else { Vec::new() },
        patch_type: patch_type.unwrap_or_default(),
        warnings: response.warnings.unwrap_or_default(),
    })
}

/// The answer to a request that a webhook denied: its own status, never less than an error.
pub(super) fn denial(webhook: &str, status: &Map<String, Value>) -> Status {
    let text = |field: &str| status.get(field).and_then(Value::as_str).unwrap_or_default();
    let denied = format!("admission webhook {webhook:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    // 999 is the last number that can stand in an answer's first line.
    let code = code.filter(|code| (400..=999).contains(code)).unwrap_or(400);
    let mut answer = Status::new(code, text("reason").to_owned(), message);
    answer.details = status.get("details").and_then(Value::as_object).map(|details| Box::new(self::details(details)));
    answer
}

fn details(sent: &Map<String, Value>) -> Details {
    let text =
        |map: &Map<String, Value>, field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let causes = sent.get("causes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    Details {
        name: text(sent, "name"),
        group: text(sent, "group"),
        kind: text(sent, "kind"),
        uid: text(sent, "uid"),
        causes: causes.map(|c| (text(c, "reason"), text(c, "message"), text(c, "field"))).collect(),
        retry_after: sent.get("retryAfterSeconds").and_then(Value::as_u64).and_then(|s| u32::try_from(s).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: Value) -> Vec<u8> {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            .to_string()
            .into_bytes()
    }

    fn refused(mutating: bool, body: &[u8]) -> String {
        match verdict(Version::V1, "u", mutating, body).unwrap_err() {
            Unusable::Invalid(why) | Unusable::Garbled(why) => why,
        }
    }

    #[test]
    fn the_first_known_version_is_spoken() {
        assert_eq!(Version::of(&[json!("v9"), json!("v1beta1"), json!("v1")]), Some(Version::V1Beta1));
        assert_eq!(Version::of(&[json!("v9")]), None);
    }

    #[test]
    fn an_answer_to_another_question_is_invalid() {
        let why = refused(false, &answer(json!({"uid": "other", "allowed": true})));
        assert_eq!(why, "expected response.uid=\"u\", got \"other\"");
    }

    #[test]
    fn an_answer_without_a_kind_is_invalid() {
        let body = json!({"response": {"uid": "u", "allowed": true}}).to_string();
        assert_eq!(
            refused(false, body.as_bytes()),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
        );
    }

    #[test]
    fn an_answer_without_a_response_is_invalid() {
        assert_eq!(refused(false, b"{}"), "webhook response was absent");
    }

    #[test]
    fn a_patch_needs_a_type_and_a_type_a_patch() {
        let patch = STANDARD.encode("[]");
        assert_eq!(
            refused(true, &answer(json!({"uid": "u", "allowed": true, "patch": patch}))),
            "webhook returned response.patch but not response.patchType"
        );
        assert_eq!(
            refused(true, &answer(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch"}))),
            "webhook returned response.patchType but not response.patch"
        );
    }

    #[test]
    fn a_validating_webhook_may_not_patch() {
        let patch = STANDARD.encode("[]");
        let body = answer(json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch"}));
        assert_eq!(refused(false, &body), "validating webhook may not return response.patch");
    }

    #[test]
    fn v1beta1_checks_neither_uid_nor_kind() {
        let patch = STANDARD.encode("[1]");
        let body = json!({"response": {"allowed": true, "patch": patch}}).to_string();
        let verdict = verdict(Version::V1Beta1, "u", true, body.as_bytes()).unwrap();
        assert_eq!((verdict.patch.as_slice(), verdict.patch_type.as_str()), (&b"[1]"[..], "JSONPatch"));
    }

    #[test]
    fn garbage_is_no_review() {
        assert!(matches!(verdict(Version::V1, "u", true, b"garbage"), Err(Unusable::Garbled(_))));
    }

    #[test]
    fn a_denial_is_never_less_than_400() {
        let status = denial("w", json!({"code": 200, "reason": "Nope"}).as_object().unwrap());
        assert_eq!((status.code, status.message.as_str()), (400, "admission webhook \"w\" denied the request: Nope"));
    }

    #[test]
    fn a_denial_carries_the_webhooks_details() {
        let sent = json!({"code": 409, "message": "m", "details": {"name": "n", "causes": [{"message": "c"}]}});
        let status = denial("w", sent.as_object().unwrap());
        let details = status.details.unwrap();
        assert_eq!((details.name.as_str(), details.causes[0].1.as_str()), ("n", "c"));
    }

    #[test]
    fn a_denial_without_a_word_says_so() {
        assert_eq!(denial("w", &Map::new()).message, "admission webhook \"w\" denied the request without explanation");
    }
}
