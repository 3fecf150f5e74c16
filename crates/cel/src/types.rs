//! The types of CEL: what the checker works with and what declared data is read by.
//!
//! Pure data; cheap to clone (compound types are shared).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::escape::escape_property;

/// A CEL type. `Display` writes it as cel-go's error messages do: `list(string)`, `map(string, dyn)`, `optional_type(int)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any value; decided when the expression runs.
    Dyn,
    /// The type of `null`.
    Null,
    /// `true`, `false`.
    Bool,
    /// 64-bit signed.
    Int,
    /// 64-bit unsigned: `1u`.
    Uint,
    /// 64-bit floating point.
    Double,
    /// Text; its length counts code points.
    String,
    /// Octets. In JSON: base64.
    Bytes,
    /// A point in time (`google.protobuf.Timestamp`). In JSON: RFC 3339, or a full date.
    Timestamp,
    /// A span of time (`google.protobuf.Duration`). In JSON: Go's form, `1h30m`.
    Duration,
    /// A list, with the list type that Kubernetes' schema gives it.
    List(Arc<ListType>),
    /// A map.
    Map(Arc<MapType>),
    /// An object with named, typed fields.
    Object(Arc<ObjectType>),
    /// `optional_type(T)`.
    Optional(Arc<Self>),
    /// The type of a type: `type(int)`.
    Type(Arc<Self>),
    /// A type that only functions know how to handle, by its name: `kubernetes.URL`.
    Opaque(&'static str),
    /// A type parameter in the declaration of an overload: each use of the overload gets its own.
    Param(Arc<str>),
    /// The type of what does not check: assignable to and from everything, so that one error is told once.
    Error,
}

/// A list type. Two list types are the same when their elements are: the Kubernetes list type matters for values alone.
#[derive(Clone, Debug)]
pub struct ListType {
    /// The type of the elements.
    pub element: Type,
    /// How such lists compare and what `+` makes of them.
    pub kind: ListKind,
}

impl PartialEq for ListType {
    fn eq(&self, other: &Self) -> bool {
        self.element == other.element
    }
}
impl Eq for ListType {}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Ordered; `+` appends. All lists that no schema describes are of this kind.
    #[default]
    Atomic,
    /// Equal in any order; `+` is the union.
    Set,
    /// Equal in any order; `+` replaces by key. The names (as in JSON) of the fields that make the key.
    Map(Arc<[String]>),
}

/// A map type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapType {
    /// The type of the keys.
    pub key: Type,
    /// The type of the values.
    pub value: Type,
}

/// An object type: a CRD schema's object, an admission request, `JSONPatch`.
///
/// Two object types are the same when their names are: give each schema node a name of its own.
#[derive(Debug)]
pub struct ObjectType {
    name: String,
    fields: Fields,
}

#[derive(Debug)]
enum Fields {
    Declared(BTreeMap<String, Field>),
    Any,
}

/// A field of an [`ObjectType`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The property's name in JSON, as it is: `a-b`. Expressions say `a__dash__b`.
    pub property: String,
    /// The type of its value.
    pub ty: Type,
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for ObjectType {}

impl ObjectType {
    /// An object type with these JSON properties. Names that are not identifiers get their escaped name
    /// ([`escape_property`]); a property that has none cannot be reached by expressions.
    pub fn new(name: impl Into<String>, properties: impl IntoIterator<Item = (String, Type)>) -> Self {
        let fields = properties
            .into_iter()
            .filter_map(|(property, ty)| Some((escape_property(&property)?, Field { property, ty })))
            .collect();
        Self { name: name.into(), fields: Fields::Declared(fields) }
    }

    /// An object type whose fields are called in expressions as they are in JSON: types that Go code declares, such as an
    /// admission request (`request.namespace`).
    pub fn verbatim(name: impl Into<String>, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        let fields = fields.into_iter().map(|(name, ty)| (name.clone(), Field { property: name, ty })).collect();
        Self { name: name.into(), fields: Fields::Declared(fields) }
    }

    /// An object type that takes every field, each of type `dyn`: `Object` and `Object.spec` of mutating policies.
    pub fn any(name: impl Into<String>) -> Self {
        Self { name: name.into(), fields: Fields::Any }
    }

    /// The name in messages and in expressions that construct one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field that expressions call `name` (escaped).
    pub fn field(&self, name: &str) -> Option<Field> {
        match &self.fields {
            Fields::Declared(fields) => fields.get(name).cloned(),
            Fields::Any => Some(Field { property: crate::escape::unescape_property(name), ty: Type::Dyn }),
        }
    }

    /// The declared fields by their escaped names; none for an object that takes every field.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        match &self.fields {
            Fields::Declared(fields) => Some(fields.iter().map(|(name, field)| (name.as_str(), field))),
            Fields::Any => None,
        }
        .into_iter()
        .flatten()
    }
}

impl Type {
    /// `list(element)`.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(ListType { element, kind: ListKind::Atomic }))
    }

    /// A list with `x-kubernetes-list-type: set`.
    pub fn set(element: Self) -> Self {
        Self::List(Arc::new(ListType { element, kind: ListKind::Set }))
    }

    /// A list with `x-kubernetes-list-type: map` and these `x-kubernetes-list-map-keys`.
    pub fn list_map(element: Self, keys: impl IntoIterator<Item = String>) -> Self {
        Self::List(Arc::new(ListType { element, kind: ListKind::Map(keys.into_iter().collect()) }))
    }

    /// `map(key, value)`.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(MapType { key, value }))
    }

    /// `optional_type(value)`.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// `type(of)`.
    pub fn type_of(of: Self) -> Self {
        Self::Type(Arc::new(of))
    }

    /// A type parameter.
    pub fn param(name: &str) -> Self {
        Self::Param(name.into())
    }

    /// The object type.
    pub fn object(of: ObjectType) -> Self {
        Self::Object(Arc::new(of))
    }

    /// The name without parameters, as run-time messages have it: `list`, `map`, `google.protobuf.Timestamp`.
    pub fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(object) => object.name(),
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(name) => name,
            Self::Param(name) => name,
            Self::Error => "!error!",
        }
    }

    /// Whether nothing is known before the expression runs (`dyn`, or an error that is told already).
    pub fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(list) => write!(f, "list({})", list.element),
            Self::Map(map) => write!(f, "map({}, {})", map.key, map.value),
            Self::Object(object) => f.write_str(object.name()),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Opaque(name) => f.write_str(name),
            Self::Param(name) => f.write_str(name),
            Self::Error => f.write_str("!error!"),
        }
    }
}
