//! What one built-in kind decides for itself, and which family decides it.

use jiff::Timestamp;
use serde_json::Value;

use super::at::At;
use crate::field::FieldError;
use crate::resource::{Column, Cx, NameRule, Part};
use crate::status::Status;

/// The rules of one kind, functions of [`crate::resource::Strategy`] by the same names.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) name: NameRule,
    pub(super) generation: bool,
    pub(super) create_on_update: bool,
    pub(super) unconditional_update: bool,
    /// A create keeps the status it was sent with.
    pub(super) keeps_status: bool,
    pub(super) default: fn(&mut Value),
    pub(super) prepare_create: fn(&mut Value, &Cx<'_>) -> Result<(), Status>,
    pub(super) prepare_update: fn(&mut Value, &Value, Part, &Cx<'_>) -> Result<(), Status>,
    pub(super) validate_create: fn(&Value, &Cx<'_>) -> Vec<FieldError>,
    pub(super) validate_update: fn(&Value, &Value, Part, &Cx<'_>) -> Vec<FieldError>,
    pub(super) warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    pub(super) fields: &'static [&'static str],
    pub(super) select: fn(&Value, &str) -> String,
    pub(super) unselectable: fn(&str) -> String,
    pub(super) grace_period: fn(&Value, Option<i64>) -> Option<i64>,
    pub(super) columns: fn() -> Vec<Column>,
    pub(super) cells: fn(&Value, Timestamp) -> Vec<Value>,
    pub(super) from_storage: fn(&mut Value),
    pub(super) to_storage: fn(&mut Value),
}

impl Rules {
    /// A kind that stores what it is given.
    pub(super) const PLAIN: Self = Self {
        name: NameRule::Subdomain,
        generation: false,
        create_on_update: false,
        unconditional_update: true,
        keeps_status: false,
        default: |_| {},
        prepare_create: |_, _| Ok(()),
        prepare_update: |_, _, _, _| Ok(()),
        validate_create: |_, _| Vec::new(),
        validate_update: |_, _, _, _| Vec::new(),
        warnings: |_, _| Vec::new(),
        fields: &[],
        select: field_value,
        unselectable: |field| {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        },
        grace_period: |_, _| None,
        columns: Vec::new,
        cells: |_, _| Vec::new(),
        from_storage: |_| {},
        to_storage: |_| {},
    };
}

/// The rules of a kind.
pub(super) fn of(_group: &str, _version: &str, _kind: &str) -> Rules {
    Rules::PLAIN
}

/// A selectable field that is read where its name says.
fn field_value(obj: &Value, field: &str) -> String {
    match obj.at(&format!("/{}", field.replace('.', "/"))) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
