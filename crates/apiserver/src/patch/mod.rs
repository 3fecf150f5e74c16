//! JSON, merge and strategic merge patches and server-side apply. Pure: values in, values or a [`Status`] out; no clock,
//! no store.
//!
//! # PATCH with a JSON, merge or strategic merge patch
//!
//! 1. [`PatchType::of`] the `Content-Type` (415 else);
//! 2. read the live object, as the request's version shows it (404 when it is missing);
//! 3. [`apply_patch`]; on 500 and 4xx answer its [`Status`];
//! 4. decode the result like any body. When that fails answer [`Patched::undecodable`]; what strict field validation
//!    finds (unknown fields) goes, together with [`Patched::duplicates`], into `Warning` headers or, under
//!    `fieldValidation=Strict`, into [`Patched::not_strict`];
//! 5. default; [`managed::track_update`] with the live object; then prepare, validate, [`managed::settle_times`] and
//!    write as for a PUT.
//!
//! # Server-side apply
//!
//! 1. [`managed::check_patch_options`] on `fieldManager` and `force` (422);
//! 2. read the body as YAML (400; under `fieldValidation=Strict` duplicate keys, too) into a JSON value, neither decoded
//!    nor defaulted nor pruned;
//! 3. read the live object, if any, defaulted, as the request's version shows it; a uid in the body of an apply that
//!    creates is a conflict, a resourceVersion there is ignored;
//! 4. [`managed::apply`]; answer its [`Status`] as it is;
//! 5. decode the result (nulls in maps of strings become `""`), default, check name, namespace, uid and resourceVersion
//!    against path and live object, prepare, validate, [`managed::settle_times`], write. A result equal to the stored
//!    object is not written. Do not call `track_update`: defaults and whatever prepare changes belong to nobody.
//!
//! # Writes through `scale`
//!
//! Make the `Scale` with [`managed::scale_from_parent`] as its `managedFields` (and no `spec.replicas` when it is 0: an
//! apply that says 0 then conflicts as kube-apiserver's does), track or apply with a [`managed::Target`] of
//! `autoscaling/v1` `Scale` and the subresource `scale`, then put [`managed::scale_to_parent`] into the parent.
//!
//! # POST and PUT
//!
//! `metadata.managedFields` of the body must reach `track_update` as it was sent: `[]` and `[{}]` forget all entries,
//! absent or malformed ones keep those of the live object.
//!
//! decode → default → [`managed::track_update`] → prepare → validate → [`managed::settle_times`] (PUT) → write.

mod json;
pub mod managed;
mod merge;
mod strategic;

use serde_json::Value;

use crate::field::FieldError;
use crate::schema::Typed;
use crate::schema::decode::go_type;
use crate::status::Status;

/// Deepest nesting of a patched document; `serde_json` reads no deeper bodies either.
const MAX_DEPTH: usize = 128;

/// Which kind of patch a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`, RFC 6902.
    Json,
    /// `application/merge-patch+json`, RFC 7386.
    Merge,
    /// `application/strategic-merge-patch+json`, built-in kinds only.
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply.
    Apply,
}

impl PatchType {
    /// The type that a `Content-Type` names, parameters ignored; 415 for others and for strategic merge patches of custom
    /// resources.
    pub fn of(content_type: &str, custom: bool) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => {
                let strategic = if custom { "" } else { "application/strategic-merge-patch+json, " };
                Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, {strategic}application/apply-patch+yaml"
                )))
            }
        }
    }
}

/// An object with a patch applied, not yet decoded.
#[derive(Clone, Debug)]
pub struct Patched {
    /// The result.
    pub object: Value,
    /// Keys that the patch holds twice, as strict field validation words them.
    pub duplicates: Vec<String>,
    /// What error messages show as the value of `patch`.
    shown: Option<String>,
    /// The patch itself, shown when only its keys are at fault.
    body: String,
}

impl Patched {
    /// 422: the result is not an object of the kind; `error` says why.
    pub fn undecodable(&self, error: &str) -> Status {
        let shown = self.shown.clone().unwrap_or_else(|| self.object.to_string());
        Status::invalid("", "", "", &[FieldError::invalid("patch", &Value::String(shown), error)])
    }

    /// 422 under `fieldValidation=Strict`: the patch's duplicate keys and the result's unknown fields. `None` when there
    /// are neither.
    pub fn not_strict(&self, unknown: &[String]) -> Option<Status> {
        if self.duplicates.is_empty() && unknown.is_empty() {
            return None;
        }
        let errors: Vec<&str> = self.duplicates.iter().chain(unknown).map(String::as_str).collect();
        let error = format!("strict decoding error: {}", errors.join(", "));
        if unknown.is_empty() && self.shown.is_none() {
            let patch = Value::String(self.body.clone());
            return Some(Status::invalid("", "", "", &[FieldError::invalid("patch", &patch, &error)]));
        }
        Some(self.undecodable(&error))
    }
}

/// Applies a JSON, merge or strategic merge patch to `current`. `schema` is the kind's; strategic merge reads its patch
/// strategies and merge keys. Server-side apply has its own entry.
pub fn apply_patch(
    kind: PatchType,
    schema: Option<Typed<'_>>,
    current: &Value,
    body: &[u8],
) -> Result<Patched, Status> {
    let (patch, duplicates) = crate::schema::body::parse_json(body).map_err(|error| match kind {
        PatchType::Json | PatchType::Merge => Status::bad_request(format!("error decoding patch: {error}")),
        PatchType::Strategic | PatchType::Apply => Status::bad_request(error.to_string()),
    })?;
    let mut duplicates: Vec<String> = duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect();
    let mut shown = None;
    let object = match kind {
        PatchType::Json => {
            duplicates.iter_mut().for_each(|text| text.insert_str(0, "json patch "));
            json::apply(current, patch)?
        }
        PatchType::Merge => {
            let Value::Object(patch) = patch else {
                return Err(Status::bad_request(format!("error decoding patch: {}", not_a_map(&patch))));
            };
            let mut object = current.as_object().cloned().unwrap_or_default();
            merge::merge(&mut object, patch);
            Value::Object(object)
        }
        PatchType::Strategic => {
            let Value::Object(patch) = patch else { return Err(Status::bad_request(not_a_map(&patch))) };
            shown = Some(strategic::go_text(&Value::Object(patch.clone())));
            let object = current.as_object().cloned().unwrap_or_default();
            Value::Object(strategic::merge(object, patch, schema)?)
        }
        PatchType::Apply => return Err(Status::internal("an apply patch is not applied to a document")),
    };
    Ok(Patched { object, duplicates, shown, body: String::from_utf8_lossy(body).into_owned() })
}

/// The object with the JSON patch that a mutating webhook answered; else what kept it from being applied.
pub(crate) fn patched_by_webhook(object: &Value, patch: Value) -> Result<Value, String> {
    json::apply_told(object, patch)
}

/// The object with the JSON patch that a policy made. A patch whose `test` fails changes nothing.
pub(crate) fn patched_by_policy(object: &Value, patch: Value) -> Result<Value, String> {
    match json::apply_told(object, patch) {
        Err(why) if json::is_failed_test(&why) => Ok(object.clone()),
        patched => patched,
    }
}

fn not_a_map(patch: &Value) -> String {
    format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", go_type(patch))
}

/// Levels of nesting: 0 for a scalar.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PatchType, apply_patch};

    #[test]
    fn the_content_type_chooses_parameters_ignored() {
        assert_eq!(PatchType::of("application/merge-patch+json; charset=utf-8", true), Ok(PatchType::Merge));
        assert_eq!(PatchType::of("application/strategic-merge-patch+json", false), Ok(PatchType::Strategic));
    }

    #[test]
    fn strategic_merge_of_a_custom_resource_is_415() {
        let error = PatchType::of("application/strategic-merge-patch+json", true).unwrap_err();
        assert_eq!(error.code, 415);
        assert!(error.message.ends_with(
            "include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        ));
    }

    #[test]
    fn bodies_that_are_no_objects_are_400() {
        for (kind, body) in [
            (PatchType::Merge, "[]"),
            (PatchType::Merge, "{"),
            (PatchType::Merge, "null"),
            (PatchType::Strategic, "1"),
            (PatchType::Json, "nope"),
            (PatchType::Json, "{}"),
        ] {
            assert_eq!(apply_patch(kind, None, &json!({}), body.as_bytes()).unwrap_err().code, 400, "{kind:?} {body}");
        }
    }

    #[test]
    fn strict_errors_name_the_patched_object() {
        let patched = apply_patch(PatchType::Merge, None, &json!({"a": 1}), br#"{"b":2}"#).unwrap();
        let status = patched.not_strict(&["unknown field \"b\"".to_owned()]).unwrap();
        assert_eq!(status.code, 422);
        assert_eq!(
            status.message,
            r#" "" is invalid: patch: Invalid value: "{\"a\":1,\"b\":2}": strict decoding error: unknown field "b""#
        );
        assert_eq!(status.details.unwrap().causes[0].2, "patch");
    }

    #[test]
    fn duplicate_keys_alone_name_the_patch() {
        let patched = apply_patch(PatchType::Merge, None, &json!({}), br#"{"b":1,"b":2}"#).unwrap();
        let status = patched.not_strict(&[]).unwrap();
        assert!(
            status.message.contains(r#""{\"b\":1,\"b\":2}": strict decoding error: duplicate field "b""#),
            "{status}"
        );
    }
}
