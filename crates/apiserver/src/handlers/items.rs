//! The JSON text of a list, made from the bytes of its objects while it is sent: a list that is read slowly holds shared objects,
//! not a text of its own. Pure.

use bytes::Bytes;

use crate::api::Body;
use crate::store::Object;

/// Text that is made at a time: a few TLS records.
const CHUNK: usize = 64 * 1024;

/// When a chunk is full: the next item may be a little longer than those before.
const FULL: usize = CHUNK - CHUNK / 8;

/// The end of every list.
const TAIL: &[u8] = b"]}";

/// A list, but for what closes it.
pub(super) struct Items {
    /// Everything before the first item.
    pub(super) head: Vec<u8>,
    pub(super) objects: Vec<Object>,
    /// Items have `apiVersion` and `kind`.
    pub(super) typed: bool,
}

impl Items {
    /// A short list is made at once; a long one in chunks, its length known from the start.
    pub(super) fn body(self) -> Body {
        let items: usize = self.objects.iter().map(|object| self.size(object)).sum();
        let size = self.head.len() + items + self.objects.len().saturating_sub(1) + TAIL.len();
        let mut chunks = self.chunks();
        if size <= FULL {
            return Body::Whole(chunks.next().unwrap_or_default());
        }
        Body::Chunks { size: size as u64, chunks: Box::new(chunks) }
    }

    /// Bytes of an item.
    fn size(&self, object: &Object) -> usize {
        if self.typed { object.bytes().len() } else { object.untyped().len() + 1 }
    }

    fn chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let Self { head, objects, typed } = self;
        let mut objects = objects.into_iter().enumerate();
        let mut text = Some(head);
        std::iter::from_fn(move || {
            let mut out = text.take()?;
            out.reserve(CHUNK.saturating_sub(out.len()));
            for (at, object) in objects.by_ref() {
                if at > 0 {
                    out.push(b',');
                }
                if typed {
                    out.extend_from_slice(object.bytes());
                } else {
                    out.push(b'{');
                    out.extend_from_slice(object.untyped());
                }
                if out.len() >= FULL {
                    text = Some(Vec::new());
                    return Some(out.into());
                }
            }
            out.extend_from_slice(TAIL);
            Some(out.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::EventKind;

    fn list(count: u64, typed: bool) -> Items {
        let object = |at: u64| {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "x".repeat(100)}});
            crate::store::Encoded::new(&value).unwrap().stored(EventKind::Added, at, at).1
        };
        Items { head: br#"{"kind":"List","items":["#.to_vec(), objects: (1..=count).map(object).collect(), typed }
    }

    #[test]
    fn a_list_of_any_length_is_the_text_of_its_items_and_as_long_as_it_says() {
        for count in [0, 1, 2, 400, 3000] {
            for typed in [false, true] {
                let text: Vec<u8> = list(count, typed).chunks().flatten().collect();
                let value: Value = serde_json::from_slice(&text).unwrap();
                assert_eq!(value["items"].as_array().map(Vec::len), Some(count as usize));
                assert_eq!(value["items"][0].get("kind").is_some(), typed && count > 0);
                match list(count, typed).body() {
                    Body::Whole(whole) => assert_eq!(whole, text),
                    Body::Chunks { size, .. } => assert_eq!(size, text.len() as u64),
                    _ => panic!("a list has a body"),
                }
            }
        }
    }

    #[test]
    fn chunks_are_no_larger_than_a_chunk_and_an_item() {
        assert!(list(3000, false).chunks().all(|chunk| chunk.len() <= CHUNK + 300));
    }
}
