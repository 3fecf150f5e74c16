//! OpenAPI schemas and what is done with them. Pure: no I/O, no clock.
//!
//! A [`Schema`] is one node as published in OpenAPI v3, with Kubernetes' extensions. Built-in kinds refer to each other by
//! `$ref`; a CRD's schema is one tree. [`Typed`] is a cursor over both: it follows references as it goes.

pub mod body;
mod builtin;
pub mod decode;
pub mod defaults;
pub(crate) mod formats;
pub(crate) mod pattern;
pub mod prune;
pub mod quantity;
pub(crate) mod report;
pub(crate) mod sharing;
pub(crate) mod syntax;
pub(crate) mod validate;

pub use builtin::{builtin, definition_name, definitions};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

/// One schema node. Unknown keywords are dropped on reading.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schema {
    /// `#/components/schemas/NAME`: everything else in the node but `default` and `description` is ignored.
    #[serde(rename = "$ref")]
    pub reference: Option<String>,
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`; absent: any.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// `int32`, `int64`, `double`, `byte`, `date-time`, `int-or-string`, …
    pub format: Option<String>,
    /// Fields of an object.
    pub properties: BTreeMap<String, Arc<Self>>,
    /// Values of a map.
    pub additional_properties: Option<AdditionalProperties>,
    /// Elements of a list.
    pub items: Option<Arc<Self>>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// Value used when the field is absent.
    pub default: Option<Value>,
    /// Allowed values.
    #[serde(rename = "enum")]
    pub enum_: Vec<Value>,
    /// `null` is a value.
    pub nullable: bool,
    /// Regular expression (RE2) for strings.
    pub pattern: Option<String>,
    /// Fewest characters.
    #[serde(deserialize_with = "bound")]
    pub min_length: Option<u64>,
    /// Most characters.
    #[serde(deserialize_with = "bound")]
    pub max_length: Option<u64>,
    /// Fewest elements.
    #[serde(deserialize_with = "bound")]
    pub min_items: Option<u64>,
    /// Most elements.
    #[serde(deserialize_with = "bound")]
    pub max_items: Option<u64>,
    /// Fewest properties.
    #[serde(deserialize_with = "bound")]
    pub min_properties: Option<u64>,
    /// Most properties.
    #[serde(deserialize_with = "bound")]
    pub max_properties: Option<u64>,
    /// Elements differ.
    pub unique_items: bool,
    /// Least value.
    pub minimum: Option<f64>,
    /// Greatest value.
    pub maximum: Option<f64>,
    /// `minimum` itself is excluded.
    pub exclusive_minimum: bool,
    /// `maximum` itself is excluded.
    pub exclusive_maximum: bool,
    /// Divisor.
    pub multiple_of: Option<f64>,
    /// All must hold.
    pub all_of: Vec<Arc<Self>>,
    /// At least one must hold.
    pub any_of: Vec<Arc<Self>>,
    /// Exactly one must hold.
    pub one_of: Vec<Arc<Self>>,
    /// Must not hold.
    pub not: Option<Arc<Self>>,
    /// `atomic`, `set` or `map`.
    #[serde(rename = "x-kubernetes-list-type")]
    pub list_type: Option<String>,
    /// Keys of a `map` list.
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub list_map_keys: Vec<String>,
    /// `granular` or `atomic`.
    #[serde(rename = "x-kubernetes-map-type")]
    pub map_type: Option<String>,
    /// `merge`, `replace`, `retainKeys`, comma-separated (built-in kinds).
    #[serde(rename = "x-kubernetes-patch-strategy")]
    pub patch_strategy: Option<String>,
    /// Merge key of a list (built-in kinds).
    #[serde(rename = "x-kubernetes-patch-merge-key")]
    pub patch_merge_key: Option<String>,
    /// Keep fields that the schema does not name.
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub preserve_unknown: bool,
    /// A whole Kubernetes object lies here.
    #[serde(rename = "x-kubernetes-embedded-resource")]
    pub embedded_resource: bool,
    /// Integer or string.
    #[serde(rename = "x-kubernetes-int-or-string")]
    pub int_or_string: bool,
    /// CEL rules, as written (their evaluation lives elsewhere).
    #[serde(rename = "x-kubernetes-validations")]
    pub validations: Vec<Value>,
}

/// A bound on a size. Go's is signed: one below zero is read as zero, so that no definition which is accepted cannot be served.
fn bound<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(from)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
    let bound = |number: serde_json::Number| number.as_u64().or_else(|| number.as_f64().map(|float| float as u64));
    Ok(number.and_then(bound))
}

impl Schema {
    /// Whether the node is of that one type.
    pub(crate) fn is(&self, type_: &str) -> bool {
        self.type_.as_deref() == Some(type_)
    }

    /// The schema of a field or, in a map, of a value.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        match (self.properties.get(name), &self.additional_properties) {
            (Some(node), _) | (None, Some(AdditionalProperties::Schema(node))) => Some(node),
            _ => None,
        }
    }
}

/// `additionalProperties`: a schema, or whether any are allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum AdditionalProperties {
    /// Allowed or not.
    Any(bool),
    /// Allowed when they fit.
    Schema(Arc<Schema>),
}

/// Named schemas that `$ref`s point to. Hashed: names are long and begin alike, and each walk over an object asks for many.
pub type Definitions = HashMap<String, Arc<Schema>>;

/// A cursor: a node and where its references lead.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// Where `$ref`s lead.
    pub defs: &'a Definitions,
    /// The node, never itself a reference.
    pub node: &'a Schema,
    /// Name of the definition that a reference led to, e.g. `io.k8s.apimachinery.pkg.api.resource.Quantity`.
    pub name: Option<&'a str>,
}

impl<'a> Typed<'a> {
    /// The cursor at `node`, its reference followed. An unknown reference is an empty schema: anything goes.
    pub fn new(defs: &'a Definitions, node: &'a Schema) -> Self {
        static ANY: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::default);
        let (mut node, mut name) = (node, None);
        // kube writes `allOf: [{$ref}]` next to a default; both forms are one reference.
        for _ in 0..8 {
            let reference = match (&node.reference, node.all_of.as_slice()) {
                (Some(reference), _) => reference,
                (None, [only]) if node.type_.is_none() && only.reference.is_some() => match &only.reference {
                    Some(reference) => reference,
                    None => break,
                },
                _ => break,
            };
            let key = reference.rsplit('/').next().unwrap_or(reference);
            match defs.get_key_value(key) {
                Some((key, target)) => (node, name) = (target, Some(key.as_str())),
                None => (node, name) = (&ANY, Some(key)),
            }
        }
        Self { defs, node, name }
    }

    /// The schema of a declared field.
    pub fn property(self, name: &str) -> Option<Self> {
        self.node.properties.get(name).map(|node| Typed::new(self.defs, node))
    }

    /// The schema of map values.
    pub fn values(self) -> Option<Self> {
        match &self.node.additional_properties {
            Some(AdditionalProperties::Schema(node)) => Some(Typed::new(self.defs, node)),
            _ => None,
        }
    }

    /// The schema of a field or, in a map, of a value.
    pub fn field(self, name: &str) -> Option<Self> {
        self.property(name).or_else(|| self.values())
    }

    /// The schema of list elements.
    pub fn items(self) -> Option<Self> {
        self.node.items.as_ref().map(|node| Typed::new(self.defs, node))
    }
}
