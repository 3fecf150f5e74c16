//! How workload controllers name their work: one namespaced object. Pure.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// A namespaced object's name: the key of every controller here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Name {
    /// Of a namespace and a name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Of an object as JSON; `None` when it has no namespace or no name.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Some(Self { namespace: text("/metadata/namespace")?, name: text("/metadata/name")? })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A text of the metadata, empty when absent.
pub(crate) fn text(of: Option<&String>) -> &str {
    of.map_or("", String::as_str)
}

/// The uid, empty when absent.
pub(crate) fn uid(meta: &ObjectMeta) -> &str {
    text(meta.uid.as_ref())
}

/// The name, empty when absent.
pub(crate) fn name(meta: &ObjectMeta) -> &str {
    text(meta.name.as_ref())
}

/// The namespace, empty when absent.
pub(crate) fn namespace(meta: &ObjectMeta) -> &str {
    text(meta.namespace.as_ref())
}

/// An annotation.
pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}
