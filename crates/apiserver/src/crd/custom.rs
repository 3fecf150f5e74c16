//! The rules of custom resources: what their definition says of defaults, validation, status, scale, columns and selectable
//! fields. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::jsonpath::JsonPath;
use crate::field::FieldError;
use crate::kinds::tables::ages::duration;
use crate::resource::{Column, Cx, Part, ScalePaths, Strategy};
use crate::schema::{Schema, defaults, prune, validate};
use crate::status::{Details, Status};

/// One version of a custom resource.
pub(super) struct Custom {
    pub(super) schema: Arc<Schema>,
    /// Every object was written in this version, and reading sets no defaults.
    pub(super) verbatim: bool,
    pub(super) has_status: bool,
    pub(super) scale: Option<ScalePaths>,
    pub(super) columns: Vec<(Column, JsonPath)>,
    /// Selectable fields without their leading dot, and where they lie.
    pub(super) selectable: Vec<String>,
    pub(super) paths: Vec<JsonPath>,
    /// `plural.group` of a definition that is being deleted: nothing may be created any more.
    pub(super) terminating: Option<(String, String)>,
}

impl Strategy for Custom {
    fn has_generation(&self) -> bool {
        true
    }
    /// As in kube-apiserver: an update of a custom resource names the version it is based on.
    fn unconditional_update(&self) -> bool {
        false
    }
    fn default(&self, obj: &mut Value) {
        defaults::default(obj, &self.schema);
    }
    fn stored_verbatim(&self) -> bool {
        self.verbatim
    }
    /// What is stored may be older than the schema: it is pruned and defaulted by the one of today.
    fn served_from_storage(&self, obj: &mut Value) {
        prune::prune(obj, &self.schema, true);
        defaults::default(obj, &self.schema);
    }
    fn prepare_create(&self, obj: &mut Value, _cx: &Cx<'_>) -> Result<(), Status> {
        if let Some((group, plural)) = &self.terminating {
            let name = obj["metadata"]["name"].as_str().unwrap_or_default();
            let why = "create not allowed while custom resource definition is terminating";
            let status = Status::forbidden(group, plural, name, why);
            return Err(status.with(Details::of(group, plural, name)));
        }
        if self.has_status {
            obj.as_object_mut().and_then(|map| map.remove("status"));
        }
        Ok(())
    }
    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part, _cx: &Cx<'_>) -> Result<(), Status> {
        let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) else { return Ok(()) };
        match part {
            Part::Main if self.has_status => restore(new, old, |key| key == "status"),
            Part::Status => {
                // Of the metadata only who manages what changes.
                let fields = new.get("metadata").and_then(|metadata| metadata.get("managedFields")).cloned();
                restore(new, old, |key| !matches!(key, "status" | "apiVersion" | "kind"));
                if let Some(Value::Object(metadata)) = new.get_mut("metadata") {
                    match fields {
                        Some(fields) => _ = metadata.insert("managedFields".to_owned(), fields),
                        None => _ = metadata.remove("managedFields"),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
    fn validate_create(&self, obj: &Value, _cx: &Cx<'_>) -> Vec<FieldError> {
        let mut errors = validate::object(obj, &self.schema);
        self.validate_scale(obj, &mut errors);
        errors
    }
    fn validate_update(&self, new: &Value, old: &Value, _part: Part, cx: &Cx<'_>) -> Vec<FieldError> {
        let mut errors = self.validate_create(new, cx);
        // Ratcheting: what was wrong already and did not change may stay.
        let before = self.validate_create(old, cx);
        errors.retain(|error| !(before.contains(error) && unchanged(new, old, &error.field)));
        errors
    }
    fn selectable(&self) -> &[String] {
        &self.selectable
    }
    fn select(&self, obj: &Value, field: &str) -> String {
        let path = self.selectable.iter().position(|f| f == field).and_then(|i| self.paths.get(i));
        match path.and_then(|path| path.find(obj).first().copied()) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        }
    }
    fn scale_paths(&self) -> Option<ScalePaths> {
        self.scale.clone()
    }
    fn columns(&self) -> Vec<Column> {
        let name = Column {
            name: "Name".to_owned(),
            type_: "string".to_owned(),
            format: "name".to_owned(),
            description: "Name must be unique within a namespace. Is required when creating resources, although some \
                          resources may allow a client to request the generation of an appropriate name automatically. \
                          Name is primarily intended for creation idempotence and configuration definition. Cannot be \
                          updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
                .to_owned(),
            priority: 0,
        };
        std::iter::once(name).chain(self.columns.iter().map(|(column, _)| column.clone())).collect()
    }
    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let name = obj["metadata"]["name"].clone();
        let cell = |(column, path): &(Column, JsonPath)| cell(path.find(obj).first().copied(), &column.type_, now);
        std::iter::once(name).chain(self.columns.iter().map(cell)).collect()
    }
}

impl Custom {
    fn validate_scale(&self, obj: &Value, errors: &mut Vec<FieldError>) {
        let Some(scale) = &self.scale else { return };
        for pointer in [&scale.spec, &scale.status] {
            let Some(value) = obj.pointer(pointer).filter(|v| v.is_number()) else { continue };
            let field = pointer.trim_start_matches('/').replace('/', ".");
            match value.as_i64() {
                Some(replicas) if replicas < 0 => {
                    errors.push(FieldError::invalid(field, value, "should be a non-negative integer"));
                }
                Some(replicas) if replicas > i64::from(i32::MAX) => {
                    let why = format!("should be less than or equal to {}", i32::MAX);
                    errors.push(FieldError::invalid(field, value, &why));
                }
                _ => {}
            }
        }
    }
}

/// The value at a field error's path is the same in both objects; where there is none, what should hold it is.
fn unchanged(new: &Value, old: &Value, field: &str) -> bool {
    let found = |field: &str| JsonPath::parse(&format!(".{field}")).map(|path| (path.find(new), path.find(old)));
    match found(field) {
        Some((new, old)) if !new.is_empty() => new == old,
        Some(_) => field
            .rsplit_once('.')
            .and_then(|(parent, _)| found(parent))
            .is_some_and(|(new, old)| !new.is_empty() && new == old),
        None => false,
    }
}

fn restore(new: &mut Map<String, Value>, old: &Map<String, Value>, which: impl Fn(&str) -> bool) {
    new.retain(|key, _| !which(key));
    new.extend(old.iter().filter(|(key, _)| which(key)).map(|(key, value)| (key.clone(), value.clone())));
}

/// A cell as kube-apiserver fills it: a value of another type than the column's is `null`.
fn cell(value: Option<&Value>, type_: &str, now: Timestamp) -> Value {
    let Some(value) = value else { return Value::Null };
    match (type_, value) {
        ("integer", Value::Number(n)) => n.as_i64().map_or(Value::Null, Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) | ("string", Value::String(_)) => value.clone(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => Value::from(other.to_string()),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(at) => Value::from(duration(now.duration_since(at).as_secs())),
            Err(_) => Value::from("<invalid>"),
        },
        ("date", Value::Null) => Value::from("<unknown>"),
        _ => Value::Null,
    }
}
