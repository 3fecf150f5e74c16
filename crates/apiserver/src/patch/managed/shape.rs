//! What a schema node means for merging: leaf, granular map, set, keyed list. Pure.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::schema::{AdditionalProperties, Definitions, Schema, Typed};

use super::set::{Element, Scalar};

/// A node of the schema, or a place that the schema leaves open.
#[derive(Clone, Copy)]
pub(super) enum Node<'a> {
    /// Described. The second part is what the referring node says over the type's own map type.
    Typed(Typed<'a>, Option<&'a str>),
    /// Open: objects merge field by field, everything else is a leaf.
    Open,
}

/// Which scalars a leaf takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Number,
    String,
    Bool,
    Any,
}

/// How a value at a node is merged and owned.
pub(super) enum Shape<'a> {
    /// A scalar.
    Scalar(Leaf),
    /// An object that is owned whole.
    AtomicMap,
    /// A list that is owned whole.
    AtomicList,
    /// An object owned field by field.
    Map,
    /// A list of scalars, each owned by itself.
    Set,
    /// A list of objects told apart by these keys.
    Keyed(&'a [String]),
}

/// `metadata` of custom resources, whose schemas do not describe it.
static OBJECT_META: LazyLock<Schema> = LazyLock::new(|| {
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let text = json!({"type": "string"});
    serde_json::from_value(json!({"type": "object", "properties": {
        "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text, "resourceVersion": text,
        "generation": {"type": "integer"}, "creationTimestamp": text, "deletionTimestamp": text,
        "deletionGracePeriodSeconds": {"type": "integer"}, "labels": map, "annotations": map,
        "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "ownerReferences": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
                "apiVersion": text, "kind": text, "name": text, "uid": {"type": "string", "default": ""},
                "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"}}}},
        "managedFields": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "atomic"},
    }}))
    .unwrap_or_default()
});

static NO_DEFINITIONS: LazyLock<Definitions> = LazyLock::new(Definitions::new);

static TEXT: LazyLock<Schema> = LazyLock::new(|| Schema { type_: Some("string".to_owned()), ..Schema::default() });

impl<'a> Node<'a> {
    pub(super) fn new(schema: Typed<'a>) -> Self {
        Self::Typed(schema, None)
    }

    fn at(defs: &'a Definitions, node: &'a Schema) -> Self {
        Self::Typed(Typed::new(defs, node), node.map_type.as_deref())
    }

    /// The schema as written, before its reference is followed: it carries the default.
    fn declaration(self, name: &str) -> Option<(&'a Definitions, &'a Schema)> {
        match self {
            Self::Typed(typed, _) => typed.node.properties.get(name).map(|node| (typed.defs, &**node)),
            Self::Open => None,
        }
    }

    /// Whether the schema names the field (rather than allowing any).
    pub(super) fn declares(self, name: &str) -> bool {
        self.declaration(name).is_some()
    }

    /// The node of a field or map value; `None` when the schema has no such field.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        if self.is_embedded() { self.root_field(name) } else { self.plain_field(name) }
    }

    /// A whole object lies here.
    pub(super) fn is_embedded(self) -> bool {
        matches!(self, Self::Typed(typed, _) if typed.node.embedded_resource)
    }

    fn plain_field(self, name: &str) -> Option<Self> {
        if let Some((defs, node)) = self.declaration(name) {
            return Some(Self::at(defs, node));
        }
        let Self::Typed(typed, _) = self else { return Some(Self::Open) };
        let node = typed.node;
        match &node.additional_properties {
            Some(AdditionalProperties::Schema(values)) => Some(Self::at(typed.defs, values)),
            Some(AdditionalProperties::Any(true)) => Some(Self::Open),
            _ if node.preserve_unknown || node.properties.is_empty() => Some(Self::Open),
            _ => None,
        }
    }

    /// The node of a field of a whole object. `metadata`, `apiVersion` and `kind` are known even where a custom
    /// resource's schema does not describe them.
    pub(super) fn root_field(self, name: &str) -> Option<Self> {
        match name {
            "metadata" if !self.describes_metadata() => Some(Self::at(&NO_DEFINITIONS, &OBJECT_META)),
            "apiVersion" | "kind" => Some(Self::at(&NO_DEFINITIONS, &TEXT)),
            _ => self.plain_field(name),
        }
    }

    /// A CRD may restrict `metadata.name`; that does not describe the rest.
    fn describes_metadata(self) -> bool {
        match self {
            Self::Typed(typed, _) => {
                typed.property("metadata").is_some_and(|field| field.node.properties.contains_key("labels"))
            }
            Self::Open => false,
        }
    }

    pub(super) fn items(self) -> Self {
        match self {
            Self::Typed(typed, _) => {
                typed.node.items.as_deref().map_or(Self::Open, |items| Self::at(typed.defs, items))
            }
            Self::Open => Self::Open,
        }
    }

    /// How `value` is merged here. Open places follow the value.
    pub(super) fn shape(self, value: &Value) -> Shape<'a> {
        let Self::Typed(typed, map_type) = self else { return open_shape(value) };
        let node = typed.node;
        let named = typed.name.unwrap_or_default();
        if node.int_or_string
            || node.format.as_deref() == Some("int-or-string")
            || named.ends_with(".Quantity")
            || named.ends_with(".IntOrString")
        {
            return Shape::Scalar(Leaf::Any);
        }
        match node.type_.as_deref() {
            Some("string") => Shape::Scalar(Leaf::String),
            Some("integer" | "number") => Shape::Scalar(Leaf::Number),
            Some("boolean") => Shape::Scalar(Leaf::Bool),
            Some("array") => match node.list_type.as_deref() {
                Some("set") => Shape::Set,
                Some("map") if !node.list_map_keys.is_empty() => Shape::Keyed(&node.list_map_keys),
                _ => Shape::AtomicList,
            },
            kind => {
                if map_type.or(node.map_type.as_deref()) == Some("atomic") {
                    Shape::AtomicMap
                } else if node.properties.is_empty()
                    && (kind.is_none() || !matches!(node.additional_properties, Some(AdditionalProperties::Schema(_))))
                {
                    open_shape(value)
                } else {
                    Shape::Map
                }
            }
        }
    }

    /// The path element of a list element. Keys that it lacks take the schema's default.
    pub(super) fn element(self, shape: &Shape<'_>, value: &Value) -> Result<Element, String> {
        match (shape, value) {
            (Shape::Keyed(names), Value::Object(map)) => {
                let items = self.items();
                let mut keys = Vec::with_capacity(names.len());
                for name in *names {
                    let default = || items.declaration(name).and_then(|(_, node)| node.default.as_ref());
                    let value = map.get(name).or_else(default).or_else(|| items.zero(name)).ok_or_else(|| {
                        format!(
                            "associative list with keys has an element that omits key field {name:?} (and doesn't have \
                             default value)"
                        )
                    })?;
                    keys.push((name.clone(), Scalar::of(value)));
                }
                keys.sort();
                Ok(Element::Key(keys))
            }
            (Shape::Keyed(_), Value::Null) => Err("associative list with keys may not have a null element".to_owned()),
            (Shape::Keyed(_), _) => Err("associative list with keys may not have non-map elements".to_owned()),
            (_, Value::Object(_)) => Err("associative list without keys has an element that's a map type".to_owned()),
            (_, Value::Array(_)) => Err("not supported: associative list with lists as elements".to_owned()),
            (_, Value::Null) => Err("associative list without keys has an element that's an explicit null".to_owned()),
            (_, value) => Ok(Element::Value(Scalar::of(value))),
        }
    }

    /// The zero value of a required scalar of a built-in type: Go's types have it where a field is missing.
    fn zero(self, name: &str) -> Option<&'static Value> {
        static ZEROS: LazyLock<[Value; 3]> = LazyLock::new(|| [json!(""), json!(0), json!(false)]);
        let Self::Typed(typed, _) = self else { return None };
        let (defs, node) = self.declaration(name)?;
        if typed.name.is_none() || !typed.node.required.iter().any(|required| required == name) {
            return None;
        }
        match Typed::new(defs, node).node.type_.as_deref()? {
            "string" => Some(&ZEROS[0]),
            "integer" | "number" => Some(&ZEROS[1]),
            "boolean" => Some(&ZEROS[2]),
            _ => None,
        }
    }

    /// The fields that a Go struct of this type holds though `map` lacks them, and whether each is a struct itself: structs that
    /// are not pointers, and what has no `omitempty`.
    fn missing<'m>(
        typed: Typed<'m>,
        map: &'m Map<String, Value>,
        root: bool,
    ) -> impl Iterator<Item = (&'m String, &'m Schema, bool)> {
        let own = typed.name.unwrap_or_default().rsplit('.').next().unwrap_or_default();
        let structs = STRUCTS.iter().find(|(kind, _)| *kind == own).map_or(&[][..], |(_, fields)| fields);
        typed.node.properties.iter().filter_map(move |(name, node)| {
            let empty = || node.default.as_ref().and_then(Value::as_object).is_some_and(Map::is_empty);
            let of_object = || root && matches!(name.as_str(), "metadata" | "spec" | "status");
            let is_struct = empty() || structs.contains(&name.as_str()) || of_object();
            let held = is_struct || typed.node.required.contains(name);
            (held && !map.contains_key(name)).then_some((name, &**node, is_struct))
        })
    }

    /// Whether [`Node::fill`] would change the value.
    pub(super) fn lacks(self, value: &Value, root: bool) -> bool {
        let Self::Typed(typed, _) = self else { return false };
        match (self.shape(value), value) {
            (Shape::Map, Value::Object(map)) => {
                let mut fields = map.iter().map(|(name, value)| (self.part(name, root), value));
                Self::missing(typed, map, root).next().is_some()
                    || fields.any(|(field, value)| field.is_some_and(|field| field.lacks(value, false)))
            }
            (Shape::Keyed(_), Value::Array(list)) => list.iter().any(|element| self.items().lacks(element, false)),
            _ => false,
        }
    }

    /// What a Go struct of this type holds when nothing is set, put into `value` where it lacks it: structs that are not
    /// pointers, and nulls for what has no `omitempty`. Such parents belong to nobody.
    pub(super) fn fill(self, value: &mut Value, root: bool) {
        let Self::Typed(typed, _) = self else { return };
        match (self.shape(value), value) {
            (Shape::Map, Value::Object(map)) => {
                let held = Self::missing(typed, map, root).map(|(name, node, is_struct)| {
                    let zero = || node.default.as_ref().filter(|value| !value.is_object()).or_else(|| self.zero(name));
                    (name.clone(), if is_struct { json!({}) } else { zero().cloned().unwrap_or_default() })
                });
                let held: Vec<_> = held.collect();
                map.extend(held);
                for (name, value) in map.iter_mut() {
                    if let Some(field) = self.part(name, root) {
                        field.fill(value, false);
                    }
                }
            }
            (Shape::Keyed(_), Value::Array(list)) => {
                let items = self.items();
                list.iter_mut().for_each(|element| items.fill(element, false));
            }
            _ => {}
        }
    }

    /// The node of a field of a whole object or of a part of it.
    fn part(self, name: &str, root: bool) -> Option<Self> {
        if root { self.root_field(name) } else { self.field(name) }
    }
}

/// Optional fields of built-in types that are structs in Go, not pointers. OpenAPI v3 documents say so by `default: {}`;
/// schemas that lack it are completed from here. `metadata`, `spec` and `status` of whole objects are such fields, too.
const STRUCTS: &[(&str, &[&str])] = &[
    ("Container", &["resources"]),
    ("ContainerStatus", &["state", "lastState"]),
    ("DaemonSetSpec", &["updateStrategy", "template"]),
    ("DeploymentSpec", &["strategy", "template"]),
    ("Endpoint", &["conditions"]),
    ("EphemeralContainer", &["resources"]),
    ("Event", &["source", "involvedObject"]),
    ("IngressServiceBackend", &["port"]),
    ("IngressStatus", &["loadBalancer"]),
    ("JobTemplateSpec", &["metadata", "spec"]),
    ("NodeDaemonEndpoints", &["kubeletEndpoint"]),
    ("NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    ("PersistentVolumeClaimSpec", &["resources"]),
    ("PersistentVolumeClaimTemplate", &["metadata", "spec"]),
    ("PodTemplateSpec", &["metadata", "spec"]),
    ("ReplicaSetSpec", &["template"]),
    ("ServiceStatus", &["loadBalancer"]),
    ("StatefulSetSpec", &["updateStrategy", "template"]),
];

fn open_shape(value: &Value) -> Shape<'static> {
    match value {
        Value::Object(_) => Shape::Map,
        Value::Array(_) => Shape::AtomicList,
        _ => Shape::Scalar(Leaf::Any),
    }
}
