//! The four error classes, and the one place where an API server's answer gets its class. Pure.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;

use crate::object::{Kind, ObjectRef};

/// Something a key waits for. Its event wakes the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// Any change of this object, its creation and its deletion included. It must be covered by a source of some
    /// controller of the runtime; otherwise only the resync looks again.
    Object(ObjectRef),
    /// This kind being served.
    Kind(Kind),
    /// Something outside the API, woken by [`Context::wake`](crate::Context::wake).
    Named(String),
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => object.fmt(f),
            Self::Kind(kind) => write!(f, "kind {kind}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Why a pass did not settle its key. The class alone decides what happens next.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The process cannot go on: bad local input or a bug. Ends the runtime, and the process with non-zero.
    #[error("fatal: {message}")]
    Fatal {
        /// What is wrong.
        message: String,
    },
    /// The user must change something. Not retried until a watched object changes.
    #[error("{reason}: {message}")]
    Invalid {
        /// CamelCase, as in a condition.
        reason: &'static str,
        /// What to change, naming the object and the field.
        message: String,
    },
    /// A named dependency is missing. Retried on its event, without backoff.
    #[error("waiting for {on}: {message}")]
    Waiting {
        /// What is waited for; boxed, to keep results small.
        on: Box<Dependency>,
        /// Why.
        message: String,
    },
    /// Anything that time may heal. Retried with backoff per key.
    #[error("{message}")]
    Transient {
        /// What failed.
        message: String,
        /// The API server's own wish, when it uttered one; the backoff is never shorter.
        retry_after: Option<Duration>,
        /// Nothing was heard at all: the connection broke, or none came about. A refusal is an answer.
        unanswered: bool,
    },
}

impl Error {
    /// A fatal error.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::Fatal { message: message.into() }
    }

    /// An invalid intent; `reason` is CamelCase.
    pub fn invalid(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { reason, message: message.into() }
    }

    /// Waiting for a dependency.
    pub fn waiting(on: Dependency, message: impl Into<String>) -> Self {
        Self::Waiting { on: Box::new(on), message: message.into() }
    }

    /// A transient failure.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient { message: message.into(), retry_after: None, unanswered: false }
    }

    /// A request that got no answer.
    pub(crate) fn unanswered(message: impl Into<String>) -> Self {
        Self::Transient { message: message.into(), retry_after: None, unanswered: true }
    }

    /// The class in lower case, as metrics and logs spell it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Fatal { .. } => "fatal",
            Self::Invalid { .. } => "invalid",
            Self::Waiting { .. } => "waiting",
            Self::Transient { .. } => "transient",
        }
    }

    /// Classifies a failed request about `target`.
    ///
    /// - 404 for the namespace: waiting for it; 404 without details: the kind is not served, waiting for it;
    /// - 403 because the namespace is terminating: waiting for it; any other 401 and 403: transient, since a refusing API
    ///   server ends nothing and grants change;
    /// - 400, 405, 406, 413, 415, 422: invalid, the same request can never succeed;
    /// - 409, 410, 429, 5xx, time-outs and broken connections: transient.
    pub fn from_kube(error: &kube::Error, target: &ObjectRef) -> Self {
        Self::classified(error, target, format!("{target}: {}", words(error)))
    }

    /// The same with the server's words alone, which name the object themselves.
    pub(crate) fn plain(error: &kube::Error, target: &ObjectRef) -> Self {
        Self::classified(error, target, words(error))
    }

    /// What is wrong, without the class.
    pub fn message(&self) -> &str {
        match self {
            Self::Fatal { message }
            | Self::Invalid { message, .. }
            | Self::Waiting { message, .. }
            | Self::Transient { message, .. } => message,
        }
    }

    fn classified(error: &kube::Error, target: &ObjectRef, message: String) -> Self {
        let kube::Error::Api(status) = error else { return Self::unanswered(message) };
        let details = status.details.as_ref();
        let of_namespace =
            || Dependency::Object(ObjectRef::of::<Namespace>(None, target.namespace.clone().unwrap_or_default()));
        let terminating = || details.is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"));
        match status.code {
            404 if details.is_some_and(|d| d.kind == "namespaces") && target.namespace.is_some() => {
                Self::waiting(of_namespace(), message)
            }
            404 if details.is_none_or(|d| d.name.is_empty()) => {
                Self::waiting(Dependency::Kind(target.kind.clone()), message)
            }
            403 if target.namespace.is_some() && terminating() => Self::waiting(of_namespace(), message),
            400 | 405 | 406 | 413 | 415 | 422 => Self::invalid("Rejected", message),
            _ => {
                let seconds = details.map_or(0, |d| d.retry_after_seconds);
                let retry_after = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
                Self::Transient { message, retry_after, unanswered: false }
            }
        }
    }
}

/// Whether the answer says that the object does not exist, and not that its kind does not.
pub(crate) fn is_absent(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 404 && status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

/// Whether the answer says that there is an object of this name already.
pub(crate) fn is_taken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// What the server said, or what kept it from saying anything.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !line.contains(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::Status;
    use serde_json::{Value, json};

    fn classified(status: Value) -> Error {
        let status: Status = serde_json::from_value(status).expect("a status");
        Error::from_kube(&kube::Error::Api(Box::new(status)), &ObjectRef::of::<Secret>(Some("n"), "a"))
    }

    fn namespace() -> Dependency {
        Dependency::Object(ObjectRef::of::<Namespace>(None, "n"))
    }

    #[test]
    fn missing_namespace_is_waited_for() {
        let error =
            classified(json!({"code": 404, "reason": "NotFound", "details": {"kind": "namespaces", "name": "n"}}));
        assert!(matches!(error, Error::Waiting { on, .. } if *on == namespace()));
    }

    #[test]
    fn terminating_namespace_is_waited_for() {
        let causes = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]);
        let error = classified(json!({"code": 403, "reason": "Forbidden", "details": {"causes": causes}}));
        assert!(matches!(error, Error::Waiting { on, .. } if *on == namespace()));
    }

    #[test]
    fn path_that_is_not_served_is_a_missing_kind() {
        for status in [json!({"code": 404, "reason": "NotFound", "details": {}}), json!({"code": 404})] {
            assert!(matches!(classified(status), Error::Waiting { on, .. } if matches!(*on, Dependency::Kind(_))));
        }
    }

    #[test]
    fn missing_object_is_transient() {
        let error = classified(json!({"code": 404, "reason": "NotFound", "details": {"kind": "secrets", "name": "a"}}));
        assert_eq!(error.class(), "transient");
    }

    #[test]
    fn codes_have_their_class() {
        for (codes, class) in [
            (&[400, 405, 406, 413, 415, 422][..], "invalid"),
            (&[401, 403, 409, 410, 429, 500, 502, 503, 504, 507], "transient"),
        ] {
            for code in codes {
                assert_eq!(classified(json!({"code": code, "message": "m"})).class(), class, "{code}");
            }
        }
    }

    #[test]
    fn server_wish_for_patience_is_kept() {
        let error = classified(json!({"code": 429, "details": {"retryAfterSeconds": 7}}));
        assert!(matches!(error, Error::Transient { retry_after: Some(wait), .. } if wait.as_secs() == 7));
    }
}
