//! `metav1.Status`: every error that leaves the server. One constructor per situation, worded as kube-apiserver words it.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::field::FieldError;

/// An error answer: HTTP code, reason, message and details of a `Status` object.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// `reason`, empty when the server gives none.
    pub reason: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// `details`, when there are any.
    pub details: Option<Box<Details>>,
    /// `metadata.continue`: how to go on with a list whose token expired.
    pub list_continue: Option<Box<str>>,
}

/// `StatusDetails`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Object name.
    pub name: String,
    /// API group.
    pub group: String,
    /// Resource or kind, as kube-apiserver puts it in the situation.
    pub kind: String,
    /// UID of the object in question.
    pub uid: String,
    /// `(reason, message, field)`.
    pub causes: Vec<(String, String, String)>,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Status {}

/// `configmaps` or `deployments.apps`, as messages name a resource.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Status {
    /// Any status; prefer the named constructors.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None, list_continue: None }
    }

    /// Attaches details.
    #[must_use]
    pub fn with(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 on a resource: `RESOURCE "NAME" is forbidden: WHY`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, resource);
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).with(Details::of(group, resource, name))
    }

    /// 404 for an object: `RESOURCE "NAME" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(group, resource)))
            .with(Details::of(group, resource, name))
    }

    /// 404 for a path that names no resource: `the server could not find the requested resource`.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with(Details::default())
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with(Details::default())
    }

    /// 409 on create.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(group, resource)))
            .with(Details::of(group, resource, name))
    }

    /// 409: `Operation cannot be fulfilled on RESOURCE "NAME": WHY`.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(group, resource)),
        )
        .with(Details::of(group, resource, name))
    }

    /// 409 for a stale resourceVersion.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 410 `Expired`: the resourceVersion or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: `KIND "NAME" is invalid: …` with one cause per field error. `kind` is the Kind, not the resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        // An error that was found twice is told once, and is two causes.
        let mut list: Vec<String> = Vec::new();
        for text in errors.iter().map(|e| format!("{}: {}", e.field, e.message)) {
            if !list.contains(&text) {
                list.push(text);
            }
        }
        let text = if list.len() == 1 { list[0].clone() } else { format!("[{}]", list.join(", ")) };
        let mut details = Details::of(group, kind, name);
        details.causes =
            errors.iter().map(|e| (e.kind.reason().to_owned(), e.message.clone(), e.field.clone())).collect();
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {text}", qualified(group, kind))).with(details)
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut details = Details::default();
        details.causes.push((String::new(), message.clone(), String::new()));
        Self::new(500, "InternalError", format!("Internal error occurred: {message}")).with(details)
    }

    /// The `Status` object as JSON.
    pub fn to_json(&self) -> Value {
        let mut out =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message});
        if let Some(token) = &self.list_continue {
            out["metadata"]["continue"] = json!(token);
        }
        if !self.reason.is_empty() {
            out["reason"] = json!(self.reason);
        }
        if let Some(d) = &self.details {
            let mut details = Map::new();
            for (key, text) in [("name", &d.name), ("group", &d.group), ("kind", &d.kind), ("uid", &d.uid)] {
                if !text.is_empty() {
                    details.insert(key.to_owned(), json!(text));
                }
            }
            if !d.causes.is_empty() {
                let causes = d.causes.iter().map(|(reason, message, field)| {
                    let mut cause = Map::new();
                    for (key, text) in [("reason", reason), ("message", message), ("field", field)] {
                        if !text.is_empty() {
                            cause.insert(key.to_owned(), json!(text));
                        }
                    }
                    Value::Object(cause)
                });
                details.insert("causes".to_owned(), causes.collect());
            }
            if let Some(seconds) = d.retry_after {
                details.insert("retryAfterSeconds".to_owned(), json!(seconds));
            }
            out["details"] = Value::Object(details);
        }
        out["code"] = json!(self.code);
        out
    }
}

impl Details {
    /// Group, resource (or kind) and name.
    pub fn of(group: &str, kind: &str, name: &str) -> Self {
        Self { name: name.to_owned(), group: group.to_owned(), kind: kind.to_owned(), ..Self::default() }
    }
}
