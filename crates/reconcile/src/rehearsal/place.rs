//! Where an object is, as URLs say it. Pure.

use serde_json::Value;

/// A collection or an object of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// `/api/v1` or `/apis/apps/v1`.
    pub(super) version: String,
    /// Plural.
    pub(super) resource: String,
    /// Empty for none.
    pub(super) namespace: String,
    /// Empty for the collection.
    pub(super) name: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

impl Place {
    /// `None` for what is about no resource: discovery, `/version`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (version, rest) = match *parts.as_slice() {
            ["api", version, ref rest @ ..] => (format!("/api/{version}"), rest),
            ["apis", group, version, ref rest @ ..] => (format!("/apis/{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match *rest {
            // A namespace itself, its collection or subresource.
            ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, ref rest @ ..] => (namespace, rest),
            _ => ("", rest),
        };
        let at = |n: usize| rest.get(n).copied().unwrap_or_default().to_owned();
        (!rest.is_empty()).then(|| Self {
            version,
            resource: at(0),
            namespace: namespace.to_owned(),
            name: at(1),
            subresource: at(2),
        })
    }

    /// Where `object` belongs, whose kind is called `plural` in URLs.
    pub(super) fn of(plural: &str, object: &Value) -> Result<Self, String> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let api_version = text("/apiVersion");
        if api_version.is_empty() || text("/metadata/name").is_empty() {
            return Err("the object has no apiVersion or no metadata.name".to_owned());
        }
        let group = if api_version.contains('/') { "apis" } else { "api" };
        Ok(Self {
            version: format!("/{group}/{api_version}"),
            resource: plural.to_owned(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            subresource: String::new(),
        })
    }

    /// Whether the object at `self` is listed by this collection's list, as far as places tell.
    pub(super) fn is_in(&self, collection: &Self) -> bool {
        self.version == collection.version
            && self.resource == collection.resource
            && (collection.namespace.is_empty() || collection.namespace == self.namespace)
    }
}

/// Whether a list with this query would return `object`: label terms `key`, `key=value`, field terms `metadata.name=`.
pub(super) fn selects(query: &str, object: &Value) -> bool {
    let value = |wanted: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == wanted).map(|(_, value)| decoded(value)).next().unwrap_or_default()
    };
    let (labels, fields) = (value("labelSelector"), value("fieldSelector"));
    let terms = |text: &str| text.split(',').filter(|term| !term.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let label = |term: &String| match term.split_once('=') {
        Some((key, wanted)) => crate::object::label(object, key) == Some(wanted.trim_start_matches('=')),
        None => crate::object::label(object, term).is_some(),
    };
    let field = |term: &String| match term.split_once('=') {
        Some((path, wanted)) => {
            let pointer = format!("/{}", path.trim_end_matches('=').replace('.', "/"));
            crate::object::text(object, &pointer) == wanted.trim_start_matches('=')
        }
        None => false,
    };
    terms(&labels).iter().all(label) && terms(&fields).iter().all(field)
}

/// Percent and plus are undone; what is no UTF-8 then matches nothing that matters.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = || u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok();
        match (byte, hex()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_read_from_urls() {
        let read = |path: &str| {
            Place::parse(path).map(|p| [p.version, p.resource, p.namespace, p.name, p.subresource].join(" "))
        };
        assert_eq!(read("/api/v1/namespaces/n"), Some("/api/v1 namespaces  n ".into()));
        assert_eq!(read("/api/v1/namespaces/n/secrets/s"), Some("/api/v1 secrets n s ".into()));
        assert_eq!(read("/apis/apps/v1/statefulsets"), Some("/apis/apps/v1 statefulsets   ".into()));
        assert_eq!(
            read("/apis/apps/v1/namespaces/n/statefulsets/s/status"),
            Some("/apis/apps/v1 statefulsets n s status".into())
        );
        assert_eq!(read("/version"), None);
        assert_eq!(read("/apis/apps/v1"), None);
    }

    #[test]
    fn selectors_of_a_query_are_obeyed() {
        let object = json!({"metadata": {"name": "a", "labels": {"app.io/x": "1"}}});
        assert!(selects("limit=500&labelSelector=app.io%2Fx&fieldSelector=metadata.name%3Da", &object));
        assert!(!selects("labelSelector=app.io%2Fx%3D2", &object));
        assert!(!selects("fieldSelector=metadata.name%3Db", &object));
        assert!(selects("labelSelector=%", &json!({})) || !selects("labelSelector=%", &json!({})));
    }
}
