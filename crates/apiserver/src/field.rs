//! Field errors, worded as Kubernetes' `k8s.io/apimachinery/pkg/util/validation/field` words them: people and clients read
//! these texts, and the recorded exchanges compare them.

use serde_json::Value;

/// What is wrong with a field. The first text is the cause's `reason`, the second starts its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The field must be set.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is not one of a fixed list.
    NotSupported,
    /// The value occurs twice where it may occur once.
    Duplicate,
    /// The value may not be set here.
    Forbidden,
    /// What the value names does not exist.
    NotFound,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// Wrong JSON type.
    TypeInvalid,
    /// The server failed to check.
    Internal,
}

impl Kind {
    /// `reason` of a `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One wrong field: where, what, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: Kind,
    /// Path as Kubernetes prints it: `spec.containers[0].name`, `data[key]`.
    pub field: String,
    /// The cause's message, without the field.
    pub message: String,
}

impl FieldError {
    /// `Required value[: detail]`.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::with(Kind::Required, field, None, detail)
    }
    /// `Invalid value: VALUE: detail`.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::with(Kind::Invalid, field, Some(go_value(value)), detail)
    }
    /// `Unsupported value: VALUE: supported values: "A", "B"`, in the order given.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {list}") };
        Self::with(Kind::NotSupported, field, Some(go_value(value)), &detail)
    }
    /// `Duplicate value: VALUE`.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::with(Kind::Duplicate, field, Some(go_value(value)), "")
    }
    /// `Forbidden: detail`.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::with(Kind::Forbidden, field, None, detail)
    }
    /// `Not found: VALUE`.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::with(Kind::NotFound, field, Some(go_value(value)), "")
    }
    /// `Too long: may not be more than MAX bytes`.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::with(Kind::TooLong, field, None, &format!("may not be more than {max} bytes"))
    }
    /// `Too many: ACTUAL: must have at most MAX items`.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        Self::with(Kind::TooMany, field, Some(actual.to_string()), &format!("must have at most {max} items"))
    }
    /// `Internal error: detail`.
    pub fn internal(field: impl Into<String>, detail: &str) -> Self {
        Self::with(Kind::Internal, field, None, detail)
    }
    /// Any other shape: the value is printed as given.
    pub fn with(kind: Kind, field: impl Into<String>, value: Option<String>, detail: &str) -> Self {
        let mut message = kind.text().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&value);
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self { kind, field: field.into(), message }
    }
}

/// A value as Go's `%#v`-like formatting in `field.Error` prints it: strings quoted, scalars bare, the rest as JSON.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{s:?}"),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}
