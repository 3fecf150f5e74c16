//! What Go's decoder and kube-apiserver's strict decoding do to a body. Pure.
//!
//! [`decode`] makes a built-in kind's JSON what its Go type would write back: fields that the type does not have are
//! dropped (and named), `null` is absent, quantities and times are canonical, a value of the wrong type is an error.
//! Empty values that Go's `omitempty` leaves out are not its business: the kinds' strategies drop them.
//! [`read`] is the whole way from a request body to an object, for custom resources too.

use serde_json::{Map, Number, Value};

use super::body::{self, Body, Format, MAX_DEPTH, MAX_REPORTED};
use super::{AdditionalProperties, Schema, Typed, builtin, prune, quantity};
use crate::resource::Resource;
use crate::status::Status;

/// `fieldValidation` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Unknown and duplicate fields are errors.
    Strict,
    /// They are warnings; the default.
    #[default]
    Warn,
    /// They are dropped in silence.
    Ignore,
}

impl FieldValidation {
    /// The query parameter's value; absent or empty is `Warn`. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            "Ignore" => Some(Self::Ignore),
            _ => None,
        }
    }

    /// The warnings of `errors` in this mode.
    ///
    /// # Errors
    /// In `Strict`, the errors as one message: `strict decoding error: unknown field "a", …`.
    pub fn judge(self, errors: Vec<String>) -> Result<Vec<String>, String> {
        match self {
            Self::Strict if !errors.is_empty() => Err(format!("strict decoding error: {}", errors.join(", "))),
            Self::Warn => Ok(errors),
            _ => Ok(Vec::new()),
        }
    }
}

/// A decoded object.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What the Go type holds.
    pub value: Value,
    /// Paths of fields that the type does not have, in the order of keys.
    pub unknown: Vec<String>,
}

/// Takes a request body, read by [`body::parse`], for an object of `resource`: the object and the warnings for the answer.
///
/// # Errors
/// 400 with kube-apiserver's wording.
pub fn read(
    body: Result<Body, String>,
    bytes: &[u8],
    format: Format,
    resource: &Resource,
    mode: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let (kind, version) = (&resource.kind, &resource.version);
    let refuse = |why: String| {
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    };
    let body = body.map_err(refuse)?;
    let decoded = of_resource(resource, body.value).map_err(refuse)?;
    if mode == FieldValidation::Ignore || body.duplicates.is_empty() && decoded.unknown.is_empty() {
        return Ok((decoded.value, Vec::new()));
    }
    let below = |path: &str, unknown: &str| {
        path.strip_prefix(unknown).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let duplicates = body.duplicates.into_iter().filter(|path| !decoded.unknown.iter().any(|u| below(path, u)));
    let mut errors: Vec<(String, String)> = match format {
        Format::Json => duplicates.map(|path| (format!("duplicate field {path:?}"), path)).collect(),
        Format::Yaml => duplicates.map(|message| (message, String::new())).collect(),
    };
    errors.extend(decoded.unknown.iter().map(|path| (format!("unknown field {path:?}"), path.clone())));
    // Go's decoder meets the fields of a built-in kind in the order of the text; pruning sorts.
    if format == Format::Json && errors.len() > 1 && !resource.custom {
        let order = body::order(bytes);
        errors.sort_by_key(|(_, path)| order.get(path).copied().unwrap_or(usize::MAX));
    }
    errors.truncate(MAX_REPORTED);
    let warnings = mode.judge(errors.into_iter().map(|(message, _)| message).collect()).map_err(refuse)?;
    Ok((decoded.value, warnings))
}

/// Decodes a value that was already read (the result of a patch) as an object of `resource`.
///
/// # Errors
/// Go's message for the first value of a wrong type.
pub fn of_resource(resource: &Resource, value: Value) -> Result<Decoded, String> {
    if resource.custom {
        custom(resource, value)
    } else {
        decode(Typed::new(&resource.definitions, &resource.schema), value, &resource.kind)
    }
}

/// Decodes `value` as the Go type that `schema` describes; `root` is the type's name in messages.
///
/// # Errors
/// Go's message for the first value of a wrong type: `json: cannot unmarshal string into Go struct field …`.
pub fn decode<'s>(schema: Typed<'s>, value: Value, root: &'s str) -> Result<Decoded, String> {
    let mut walk = Walk { path: String::new(), parent: root, unknown: Vec::new(), depth: 0 };
    let value = match value {
        Value::Null => Value::Object(Map::new()),
        value => walk.node(schema, value)?.unwrap_or_else(|| Value::Object(Map::new())),
    };
    Ok(Decoded { value, unknown: walk.unknown })
}

/// A custom resource: its metadata is decoded as any object's, the rest pruned by its schema.
fn custom(resource: &Resource, value: Value) -> Result<Decoded, String> {
    let Value::Object(mut map) = value else {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_type(&value)
        ));
    };
    for key in ["apiVersion", "kind"] {
        match map.get(key) {
            None | Some(Value::String(_)) => {}
            Some(Value::Null) => {
                map.remove(key);
            }
            Some(other) => {
                return Err(format!(
                    "json: cannot unmarshal {} into Go struct field typeMeta.{key} of type string",
                    go_type(other)
                ));
            }
        }
    }
    let mut unknown = Vec::new();
    let mut value = Value::Object(map);
    metadata(&mut value, "metadata", &mut unknown)?;
    unknown.extend(prune::prune(&mut value, &resource.schema, true));
    unknown.sort();
    Ok(Decoded { value, unknown })
}

/// Decodes `object.metadata` as `ObjectMeta`; `path` is where it lies. Unknown fields are named in `unknown`.
pub(crate) fn metadata(object: &mut Value, path: &str, unknown: &mut Vec<String>) -> Result<(), String> {
    const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let Some(slot) = object.get_mut("metadata") else { return Ok(()) };
    let definitions = builtin::definitions();
    let Some(schema) = definitions.get(OBJECT_META) else { return Ok(()) };
    let mut walk = Walk { path: path.to_owned(), parent: "ObjectMeta", unknown: Vec::new(), depth: 0 };
    let decoded = walk.node(Typed::new(&definitions, schema), slot.take())?;
    unknown.append(&mut walk.unknown);
    match (decoded, object.as_object_mut()) {
        (Some(value), Some(object)) => {
            object.insert("metadata".to_owned(), value);
        }
        (None, Some(object)) => {
            object.remove("metadata");
        }
        _ => {}
    }
    Ok(())
}

/// Name of a JSON type in Go's messages.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Walk<'s> {
    path: String,
    /// Go type of the struct that holds the current field.
    parent: &'s str,
    unknown: Vec<String>,
    depth: usize,
}

impl<'s> Walk<'s> {
    fn mismatch(&self, value: &Value, into: &str) -> String {
        let found = match value {
            Value::Number(n) if into.starts_with("int") => format!("number {n}"),
            other => go_type(other).to_owned(),
        };
        if self.path.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {into}");
        }
        format!("json: cannot unmarshal {found} into Go struct field {}.{} of type {into}", self.parent, self.path)
    }

    /// The decoded value; `None` when the Go type would hold nil.
    fn node(&mut self, schema: Typed<'s>, value: Value) -> Result<Option<Value>, String> {
        if value.is_null() {
            return Ok(None);
        }
        if self.depth >= MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        self.depth += 1;
        let decoded = self.known(schema, value);
        self.depth -= 1;
        decoded.map(Some)
    }

    fn known(&mut self, schema: Typed<'s>, value: Value) -> Result<Value, String> {
        let short = schema.name.map(|name| name.rsplit('.').next().unwrap_or(name));
        match short {
            Some("Quantity") => return self.quantity(value),
            Some("IntOrString") => return self.int_or_string(value),
            Some("Time") => return self.time(value, false),
            Some("MicroTime") => return self.time(value, true),
            Some("JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray") => {
                return self.schema_or(schema, value);
            }
            _ => {}
        }
        let node = schema.node;
        match (node.type_.as_deref(), value) {
            (Some("object"), Value::Object(map)) if !node.properties.is_empty() => {
                self.structure(schema, map, short.unwrap_or("struct"))
            }
            (Some("object"), Value::Object(map)) => match schema.values() {
                Some(values) => self.map(values, map),
                None => Ok(Value::Object(map)),
            },
            (Some("object"), value) if node.properties.is_empty() && node.additional_properties.is_none() => Ok(value),
            (Some("array"), Value::Array(list)) => match schema.items() {
                Some(items) => self.list(items, list),
                None => Ok(Value::Array(list)),
            },
            (Some("string"), Value::String(text)) => self.string(node, text),
            (Some("boolean"), value @ Value::Bool(_)) => Ok(value),
            (Some("integer"), Value::Number(number)) => self.integer(node, number),
            (Some("number"), value @ Value::Number(_)) => Ok(value),
            (Some(_), value) => Err(self.mismatch(&value, &go_name(schema))),
            (None, value) => Ok(value),
        }
    }

    fn structure(&mut self, schema: Typed<'s>, mut map: Map<String, Value>, name: &'s str) -> Result<Value, String> {
        let outer = std::mem::replace(&mut self.parent, name);
        let length = self.path.len();
        // In place: most fields stay.
        let mut left_out = false;
        for (key, value) in &mut map {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(key);
            *value = match schema.property(key) {
                Some(field) => self.node(field, value.take())?.unwrap_or(Value::Null),
                None => {
                    if self.unknown.len() < MAX_REPORTED {
                        self.unknown.push(self.path.clone());
                    }
                    Value::Null
                }
            };
            left_out |= value.is_null();
            self.path.truncate(length);
        }
        if left_out {
            map.retain(|_, value| !value.is_null());
        }
        self.parent = outer;
        Ok(Value::Object(map))
    }

    fn map(&mut self, values: Typed<'s>, mut map: Map<String, Value>) -> Result<Value, String> {
        let length = self.path.len();
        for (key, value) in &mut map {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(key);
            *value = self.node(values, value.take())?.unwrap_or_else(|| zero(values));
            self.path.truncate(length);
        }
        Ok(Value::Object(map))
    }

    fn list(&mut self, items: Typed<'s>, list: Vec<Value>) -> Result<Value, String> {
        let length = self.path.len();
        let mut out = Vec::with_capacity(list.len());
        for (i, value) in list.into_iter().enumerate() {
            self.path.push_str(&format!("[{i}]"));
            let value = self.node(items, value)?.unwrap_or_else(|| zero(items));
            self.path.truncate(length);
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn string(&self, node: &Schema, text: String) -> Result<Value, String> {
        use base64::Engine as _;
        if node.format.as_deref() != Some("byte") {
            return Ok(Value::String(text));
        }
        let text = if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "") } else { text };
        match base64::engine::general_purpose::STANDARD.decode(&text) {
            Ok(_) => Ok(Value::String(text)),
            Err(error) => {
                let at = match error {
                    base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    _ => text.len() / 4 * 4,
                };
                Err(format!("illegal base64 data at input byte {at}"))
            }
        }
    }

    fn integer(&self, node: &Schema, number: Number) -> Result<Value, String> {
        let wide = node.format.as_deref() != Some("int32");
        // Go's decoder takes 1.0 for an integer field: sigs.k8s.io/json keeps integral floats.
        let value = number.as_i64().or_else(|| {
            number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| {
                #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
                let whole = f as i64;
                whole
            })
        });
        match value.filter(|&v| wide || i32::try_from(v).is_ok()) {
            Some(value) => Ok(Value::from(value)),
            None => Err(self.mismatch(&Value::Number(number), if wide { "int64" } else { "int32" })),
        }
    }

    fn quantity(&self, value: Value) -> Result<Value, String> {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => return Err(self.mismatch(&other, "resource.Quantity")),
        };
        quantity::canonical(text.trim()).map(Value::String).map_err(str::to_owned)
    }

    fn int_or_string(&self, value: Value) -> Result<Value, String> {
        match value {
            Value::String(_) => Ok(value),
            Value::Number(ref number) if number.as_i64().is_some_and(|v| i32::try_from(v).is_ok()) => Ok(value),
            other => Err(self.mismatch(&other, if other.is_number() { "int32" } else { "string" })),
        }
    }

    fn time(&self, value: Value, micro: bool) -> Result<Value, String> {
        let Value::String(text) = value else { return Err(self.mismatch(&value, "string")) };
        let shape = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
        // jiff reads more than RFC 3339; Go wants the `T` and an offset.
        let strict = text.as_bytes().get(10) == Some(&b'T');
        match text.parse::<jiff::Timestamp>() {
            Ok(at) if strict && micro => Ok(Value::String(crate::clock::rfc3339_micros(at))),
            Ok(at) if strict => Ok(Value::String(crate::clock::rfc3339_seconds(at))),
            _ => Err(format!("parsing time {text:?} as {shape:?}: cannot parse {text:?} as \"2006\"")),
        }
    }

    /// `JSONSchemaPropsOr…`: an object is a schema, a list a list of schemas (or of names), the rest stays.
    fn schema_or(&mut self, schema: Typed<'s>, value: Value) -> Result<Value, String> {
        const PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let Some(props) = schema.defs.get(PROPS) else { return Ok(value) };
        let props = Typed { defs: schema.defs, node: props, name: Some(PROPS) };
        match value {
            value @ Value::Object(_) => Ok(self.node(props, value)?.unwrap_or_default()),
            Value::Array(list) if list.iter().any(Value::is_object) => self.list(props, list),
            other => Ok(other),
        }
    }
}

/// What a Go map or slice holds for `null`.
fn zero(schema: Typed<'_>) -> Value {
    match (schema.name.map(|name| name.rsplit('.').next().unwrap_or(name)), schema.node.type_.as_deref()) {
        (Some("Quantity"), _) => Value::from("0"),
        (Some("IntOrString"), _) | (_, Some("integer" | "number")) => Value::from(0),
        (_, Some("string")) if schema.node.format.as_deref() == Some("byte") => Value::Null,
        (_, Some("string")) => Value::from(""),
        (_, Some("boolean")) => Value::Bool(false),
        (_, Some("object")) if !schema.node.properties.is_empty() => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

/// Name of a Go type, as far as a schema tells.
fn go_name(schema: Typed<'_>) -> String {
    let short = |name: &str| {
        let mut parts = name.rsplit('.');
        let (kind, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{package}.{kind}")
    };
    if let Some(name) = schema.name {
        return short(name);
    }
    let node = schema.node;
    match (node.type_.as_deref(), node.format.as_deref()) {
        (Some("string"), _) => "string".to_owned(),
        (Some("boolean"), _) => "bool".to_owned(),
        (Some("integer"), Some("int32")) => "int32".to_owned(),
        (Some("integer"), _) => "int64".to_owned(),
        (Some("number"), _) => "float64".to_owned(),
        (Some("array"), _) => {
            let items = schema.items().map_or_else(|| "interface {}".to_owned(), element_name);
            format!("[]{items}")
        }
        (Some("object"), _) => match &node.additional_properties {
            Some(AdditionalProperties::Schema(values)) => {
                format!("map[string]{}", element_name(Typed::new(schema.defs, values)))
            }
            _ => "map[string]interface {}".to_owned(),
        },
        _ => "interface {}".to_owned(),
    }
}

/// Name of an element's type; lists of lists are not named further, so this does not recurse.
fn element_name(schema: Typed<'_>) -> String {
    match (schema.name, schema.node.type_.as_deref()) {
        (Some(_), _) | (None, Some("string" | "boolean" | "integer" | "number")) => go_name(Typed { ..schema }),
        _ => "interface {}".to_owned(),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
