//! The rules of custom resources: what their definition says of defaults, validation, status, scale, columns and selectable
//! fields. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::evaluate::{self, Rules};
use super::jsonpath::JsonPath;
use crate::field::{FieldError, Kind};
use crate::kinds::tables::ages::duration;
use crate::resource::{Column, Cx, Part, ScalePaths, Strategy};
use crate::schema::report::Path;
use crate::schema::{Schema, defaults, prune, validate};
use crate::status::{Details, Status};

/// One version of a custom resource.
pub(super) struct Custom {
    /// The schema with the metadata that every object has.
    pub(super) schema: Arc<Schema>,
    /// The schema as the definition has it.
    pub(super) own: Arc<Schema>,
    /// Its CEL rules, if it has any.
    pub(super) rules: Option<Rules>,
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
    /// The stored kind of a definition whose versions a webhook converts.
    pub(super) by_webhook: Option<String>,
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
    fn converts(&self) -> Result<(), Status> {
        match &self.by_webhook {
            None => Ok(()),
            Some(kind) => Err(Status::internal(format!(
                "conversion webhook for {kind} failed: this server calls no conversion webhooks"
            ))),
        }
    }
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let finalizers = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let known = old.map(finalizers).unwrap_or_default();
        let mut added: Vec<Value> = finalizers(new).into_iter().filter(|name| !known.contains(name)).collect();
        added.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        let plain = |name: &str| !name.contains('/') && !matches!(name, "orphan" | "foregroundDeletion");
        let odd = added.iter().filter_map(Value::as_str).filter(|name| plain(name));
        odd.map(|name| {
            format!(
                "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name including a path (/) to avoid \
                 accidental conflicts with other finalizer writers"
            )
        })
        .collect()
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
    fn validate_create(&self, obj: &Value, cx: &Cx<'_>) -> Vec<FieldError> {
        let mut errors = validate::value(obj, &self.own, &Path::root(""));
        self.validate_scale(obj, Part::Main, &mut errors);
        errors.extend(validate::embedded(obj, &self.own, &Path::root("")));
        errors.extend(validate::keyed_lists(obj, &self.own));
        self.run_rules(obj, None, cx, &mut errors);
        errors
    }
    fn validate_update(&self, new: &Value, old: &Value, part: Part, cx: &Cx<'_>) -> Vec<FieldError> {
        let mut errors = validate::update(new, old, &self.own);
        self.validate_scale(new, part, &mut errors);
        if part == Part::Main {
            errors.extend(validate::embedded(new, &self.own, &Path::root("")));
        }
        // Lists with repeated elements may keep them all.
        if validate::keyed_lists(old, &self.own).is_empty() {
            errors.extend(validate::keyed_lists(new, &self.own));
        }
        self.run_rules(new, Some(old), cx, &mut errors);
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
    /// CEL rules, where the object has the shape that they were written for.
    fn run_rules(&self, new: &Value, old: Option<&Value>, cx: &Cx<'_>, errors: &mut Vec<FieldError>) {
        let Some(rules) = &self.rules else { return };
        let misshapen = |error: &FieldError| {
            matches!(
                error.kind,
                Kind::NotSupported
                    | Kind::Required
                    | Kind::TooLong
                    | Kind::TooMany
                    | Kind::TypeInvalid
                    | Kind::Internal
            )
        };
        if errors.iter().any(misshapen) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                       complete validation";
            errors.push(FieldError::with(Kind::Invalid, "<nil>", Some("null".to_owned()), why));
            return;
        }
        let verdict = evaluate::evaluate(rules, new, old);
        errors.extend(verdict.errors);
        verdict.warnings.into_iter().for_each(|text| cx.warn(text));
    }

    /// Replicas are 32-bit integers, the selector is a text.
    fn validate_scale(&self, obj: &Value, part: Part, errors: &mut Vec<FieldError>) {
        let Some(scale) = &self.scale else { return };
        let spec = (part != Part::Status).then_some(&scale.spec);
        for pointer in spec.into_iter().chain([&scale.status]) {
            let mut invalid =
                |value: i64, why: &str| errors.push(FieldError::invalid(dotted(pointer), &value.into(), why));
            match nested(obj, pointer) {
                Err(why) => invalid(0, &why),
                Ok(None) => {}
                Ok(Some(value)) => match value.as_i64() {
                    Some(replicas) if replicas < 0 => invalid(replicas, "should be a non-negative integer"),
                    Some(replicas) if replicas > i64::from(i32::MAX) => {
                        invalid(replicas, &format!("should be less than or equal to {}", i32::MAX));
                    }
                    Some(_) => {}
                    None => invalid(0, &accessor_error(pointer, value, "int64")),
                },
            }
        }
        let Some(pointer) = &scale.selector else { return };
        let wrong = match nested(obj, pointer) {
            Err(why) => Some(why),
            Ok(Some(value)) if !value.is_string() => Some(accessor_error(pointer, value, "string")),
            Ok(_) => None,
        };
        errors.extend(wrong.map(|why| FieldError::invalid(dotted(pointer), &"".into(), &why)));
    }
}

/// A path as a definition writes it.
fn dotted(pointer: &str) -> String {
    pointer.replace('/', ".").replace("~1", "/").replace("~0", "~")
}

/// What lies at a path; an error when something above it is no object.
fn nested<'a>(obj: &'a Value, pointer: &str) -> Result<Option<&'a Value>, String> {
    let mut here = obj;
    for (at, name) in pointer.match_indices('/').map(|(at, _)| (at, &pointer[at + 1..])) {
        let name = name.split('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let Some(map) = here.as_object() else {
            return Err(accessor_error(&pointer[..at], here, "map[string]interface{}"));
        };
        match map.get(&name) {
            Some(below) => here = below,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

/// What `unstructured.Nested…` of Go says of a value of another type.
fn accessor_error(pointer: &str, value: &Value, wanted: &str) -> String {
    let (shown, found) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(_) => (value.to_string(), "bool"),
        Value::Number(number) if number.is_f64() => (value.to_string(), "float64"),
        Value::Number(_) => (value.to_string(), "int64"),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
    };
    format!("{} accessor error: {shown} is of the type {found}, expected {wanted}", dotted(pointer))
}

fn restore(new: &mut Map<String, Value>, old: &Map<String, Value>, which: impl Fn(&str) -> bool) {
    new.retain(|key, _| !which(key));
    new.extend(old.iter().filter(|(key, _)| which(key)).map(|(key, value)| (key.clone(), value.clone())));
}

/// A cell as kube-apiserver fills it: a value of another type than the column's is `null`.
fn cell(value: Option<&Value>, type_: &str, now: Timestamp) -> Value {
    let Some(value) = value else { return Value::Null };
    match (type_, value) {
        #[expect(clippy::cast_possible_truncation, reason = "as Go converts")]
        ("integer", Value::Number(n)) => {
            n.as_i64().or_else(|| n.as_f64().map(|float| float as i64)).map_or(Value::Null, Value::from)
        }
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
