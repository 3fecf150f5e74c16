//! Objects as bytes: serialised once by the handler, given their `resourceVersion` by the writer, shared by all readers.
//!
//! The layout is fixed so that nothing is ever searched for:
//!
//! ```text
//! {"type":"MODIFIED","object":{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"42","name":…},…}}\n
//!                             ^ Object::bytes                    ^ body     ^ revision                        ^ end
//! ```
//!
//! One buffer holds the watch frame; the object is a slice of it, so an event costs no second copy.

use bytes::Bytes;
use serde_json::Value;

/// What stands between the end of `apiVersion` and `kind` and the digits of the revision.
const BEFORE_REVISION: &str = r#""metadata":{"resourceVersion":""#;
/// What closes the digits.
const AFTER_REVISION: &str = "\"";

/// What a watch calls a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key had no object before.
    Added,
    /// The object was replaced.
    Modified,
    /// The object is gone.
    Deleted,
}

impl EventKind {
    /// `type` of a watch event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A stored object: the whole JSON text as served in the storage version. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    bytes: Bytes,
    revision: u64,
    created: u64,
    body: u32,
}

impl Object {
    /// The JSON text, with `metadata.resourceVersion` in it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The revision of the write that made it; its `metadata.resourceVersion`.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision that created the key; it stays through updates.
    pub fn created_revision(&self) -> u64 {
        self.created
    }

    /// The JSON text without `{"apiVersion":…,"kind":…,`, as items of a list are sent: write `{` before it.
    pub fn untyped(&self) -> &[u8] {
        self.bytes.get(self.body as usize..).unwrap_or_default()
    }

    /// The object decoded. Stored text was written by [`Encoded`], so this fails on a damaged file only.
    pub fn decode(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }

    /// Where the parts are, for the file.
    pub(super) fn body(&self) -> u32 {
        self.body
    }

    /// An object read back from the file; `None` when the text does not have the layout.
    pub(super) fn restore(bytes: Bytes, revision: u64, created: u64, body: u32) -> Option<Self> {
        let rest = bytes.get(body as usize..)?.strip_prefix(BEFORE_REVISION.as_bytes())?;
        let rest = rest.strip_prefix(revision.to_string().as_bytes())?;
        rest.starts_with(AFTER_REVISION.as_bytes()).then_some(Self { bytes, revision, created, body })
    }

    /// The frame of the event that deletes this object at `revision`, and the object it carries.
    pub(crate) fn deleted(&self, revision: u64) -> (Bytes, Self) {
        let digits = self.body as usize + BEFORE_REVISION.len();
        let tail = digits + decimal_len(self.revision);
        let (head, tail) = (&self.bytes[..digits], &self.bytes[tail..]);
        frame(EventKind::Deleted, head, tail, self.body, revision, self.created)
    }
}

/// Never prints the text, which may be a Secret's.
impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{} ({} bytes)", self.revision, self.bytes.len())
    }
}

/// A value to store: serialised, but for its revision.
#[derive(Clone)]
pub struct Encoded {
    text: Vec<u8>,
    body: u32,
    digits: usize,
}

/// As [`Object`]'s.
impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} bytes)", self.text.len())
    }
}

/// Only JSON objects below 4 GiB whose `metadata`, if any, is an object can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API object")]
pub struct NotAnObject;

impl Encoded {
    /// Serialises `value`. Its own `metadata.resourceVersion` is left out: the writer gives it one.
    pub fn new(value: &Value) -> Result<Self, NotAnObject> {
        Self::with_raw(value, None)
    }

    /// As [`Self::new`], with one top-level member as the JSON text that is given.
    pub(crate) fn with_raw(value: &Value, raw: Option<(&str, &[u8])>) -> Result<Self, NotAnObject> {
        let object = value.as_object().ok_or(NotAnObject)?;
        let mut text = Vec::with_capacity(1024);
        text.push(b'{');
        for name in ["apiVersion", "kind"] {
            if let Some(value) = object.get(name) {
                member(&mut text, name, value)?;
                text.push(b',');
            }
        }
        let body = u32::try_from(text.len()).map_err(|_| NotAnObject)?;
        text.extend_from_slice(BEFORE_REVISION.as_bytes());
        let digits = text.len();
        text.extend_from_slice(AFTER_REVISION.as_bytes());
        match object.get("metadata") {
            None | Some(Value::Null) => {}
            Some(Value::Object(metadata)) => {
                for (name, value) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
                    text.push(b',');
                    member(&mut text, name, value)?;
                }
            }
            Some(_) => return Err(NotAnObject),
        }
        text.push(b'}');
        for (name, value) in object {
            if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                text.push(b',');
                match raw {
                    Some((raw_name, raw)) if raw_name == name => {
                        member(&mut text, name, &Value::Null)?;
                        text.truncate(text.len() - b"null".len());
                        text.extend_from_slice(raw);
                    }
                    _ => member(&mut text, name, value)?,
                }
            }
        }
        text.push(b'}');
        Ok(Self { text, body, digits })
    }

    /// Bytes it takes, without the revision.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The frame of the event that stores this value at `revision`, and the object it carries.
    pub(crate) fn stored(&self, kind: EventKind, revision: u64, created: u64) -> (Bytes, Object) {
        let (head, tail) = self.text.split_at(self.digits);
        frame(kind, head, tail, self.body, revision, created)
    }
}

fn member(text: &mut Vec<u8>, name: &str, value: &Value) -> Result<(), NotAnObject> {
    serde_json::to_writer(&mut *text, name).map_err(|_| NotAnObject)?;
    text.push(b':');
    serde_json::to_writer(&mut *text, value).map_err(|_| NotAnObject)
}

fn frame(kind: EventKind, head: &[u8], tail: &[u8], body: u32, revision: u64, created: u64) -> (Bytes, Object) {
    let prefix: &[u8] = match kind {
        EventKind::Added => br#"{"type":"ADDED","object":"#,
        EventKind::Modified => br#"{"type":"MODIFIED","object":"#,
        EventKind::Deleted => br#"{"type":"DELETED","object":"#,
    };
    let digits = revision.to_string();
    let mut buffer = Vec::with_capacity(prefix.len() + head.len() + digits.len() + tail.len() + 2);
    for part in [prefix, head, digits.as_bytes(), tail, b"}\n"] {
        buffer.extend_from_slice(part);
    }
    let frame = Bytes::from(buffer);
    let bytes = frame.slice(prefix.len()..frame.len() - 2);
    (frame, Object { bytes, revision, created, body })
}

fn decimal_len(n: u64) -> usize {
    n.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret() -> Value {
        json!({"kind": "Secret", "apiVersion": "v1", "data": {"a": "b\"\n"}, "metadata": {"resourceVersion": "7", "name": "s"}})
    }

    #[test]
    fn what_an_object_says_is_not_printed() {
        let encoded = Encoded::new(&secret()).unwrap();
        let (_, object) = encoded.stored(EventKind::Added, 42, 42);
        assert_eq!((format!("{encoded:?}"), format!("{object:?}")), ("(101 bytes)".into(), "@42 (103 bytes)".into()));
    }

    #[test]
    fn a_stored_object_has_the_revision_of_its_write() {
        let (_, object) = Encoded::new(&secret()).unwrap().stored(EventKind::Added, 42, 42);
        let mut expected = secret();
        expected["metadata"]["resourceVersion"] = json!("42");
        assert_eq!(object.decode().unwrap(), expected);
    }

    #[test]
    fn the_frame_is_a_watch_event_on_a_line() {
        let (frame, object) = Encoded::new(&secret()).unwrap().stored(EventKind::Modified, 9, 8);
        assert_eq!(frame.last(), Some(&b'\n'));
        let event: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(event, json!({"type": "MODIFIED", "object": object.decode().unwrap()}));
    }

    #[test]
    fn a_deleted_object_has_the_revision_of_the_deletion() {
        let (_, object) = Encoded::new(&secret()).unwrap().stored(EventKind::Added, 9, 9);
        let (frame, gone) = object.deleted(1000);
        assert_eq!(gone.decode().unwrap()["metadata"], json!({"resourceVersion": "1000", "name": "s"}));
        assert_eq!(serde_json::from_slice::<Value>(&frame).unwrap()["type"], "DELETED");
    }

    #[test]
    fn untyped_text_has_neither_api_version_nor_kind() {
        let (_, object) = Encoded::new(&secret()).unwrap().stored(EventKind::Added, 3, 3);
        let mut text = b"{".to_vec();
        text.extend_from_slice(object.untyped());
        let mut expected = object.decode().unwrap();
        expected.as_object_mut().unwrap().retain(|name, _| name != "kind" && name != "apiVersion");
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn an_object_without_metadata_gets_one() {
        let (_, object) = Encoded::new(&json!({})).unwrap().stored(EventKind::Added, 3, 3);
        assert_eq!(object.decode().unwrap(), json!({"metadata": {"resourceVersion": "3"}}));
    }

    #[test]
    fn metadata_of_another_type_is_refused() {
        assert_eq!(Encoded::new(&json!({"metadata": []})).err(), Some(NotAnObject));
    }

    #[test]
    fn text_with_another_revision_is_not_restored() {
        let (_, object) = Encoded::new(&secret()).unwrap().stored(EventKind::Added, 42, 42);
        assert_eq!(Object::restore(object.bytes.clone(), 4, 4, object.body), None);
        assert_eq!(Object::restore(object.bytes.clone(), 42, 42, object.body), Some(object));
    }
}
