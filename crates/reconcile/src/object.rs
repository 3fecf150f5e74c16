//! Names of kinds and objects, and small pure readings of their JSON. Touches nothing.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ApiResource, DynamicObject, ObjectList, PartialObjectMeta};
use serde_json::Value;

/// Metadata alone, as an object with nothing else in it.
pub(crate) fn whole(part: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: part.types, metadata: part.metadata, data: Value::Null }
}

/// A page of metadata alone, as one of such objects.
pub(crate) fn whole_list(page: ObjectList<PartialObjectMeta<DynamicObject>>) -> ObjectList<DynamicObject> {
    let ObjectList { types, metadata, items } = page;
    ObjectList { types, metadata, items: items.into_iter().map(whole).collect() }
}

/// A served resource: group, version, kind, plural and whether its objects live in namespaces.
///
/// The plural and the scope are given, not discovered: a component must start without the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// API version within the group.
    pub version: Cow<'static, str>,
    /// Kind, CamelCase.
    pub kind: Cow<'static, str>,
    /// Name in URLs, lower case.
    pub plural: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// The kind of a typed built-in object.
    pub fn of<K>() -> Self
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        Self {
            group: K::GROUP.into(),
            version: K::VERSION.into(),
            kind: K::KIND.into(),
            plural: K::URL_PATH_SEGMENT.into(),
            namespaced: TypeId::of::<K::Scope>() == TypeId::of::<NamespaceResourceScope>(),
        }
    }

    /// A kind that k8s-openapi does not know, such as one of a CustomResourceDefinition.
    pub const fn custom(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }

    /// `apiVersion` as objects spell it: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Names one object of this kind. `namespace` is ignored for cluster-scoped kinds.
    pub fn named(&self, namespace: Option<&str>, name: impl Into<String>) -> ObjectRef {
        let namespace = if self.namespaced { namespace.map(str::to_owned) } else { None };
        ObjectRef { kind: self.clone(), namespace, name: name.into() }
    }

    /// kube's name for this kind.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_string(),
            version: self.version.to_string(),
            api_version: self.api_version(),
            kind: self.kind.to_string(),
            plural: self.plural.to_string(),
        }
    }

    /// A client for this kind: in one namespace, or everywhere when `namespace` is `None`.
    pub fn api(&self, client: kube::Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if self.namespaced => Api::namespaced_with(client, namespace, &self.api_resource()),
            _ => Api::all_with(client, &self.api_resource()),
        }
    }

    /// The same for metadata alone.
    pub(crate) fn metadata_api(
        &self,
        client: kube::Client,
        namespace: Option<&str>,
    ) -> Api<PartialObjectMeta<DynamicObject>> {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.api_resource()),
            None => Api::all_with(client, &self.api_resource()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

/// One object by name. It may or may not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// Names a typed built-in object.
    pub fn of<K>(namespace: Option<&str>, name: impl Into<String>) -> Self
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        Kind::of::<K>().named(namespace, name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// `metadata.uid`, empty when absent.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// A label's value.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// An annotation's value.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// Whether deletion was asked for and finalizers still hold the object.
pub fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// Equal within a process alone, and only compared there.
pub(crate) fn digest(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
