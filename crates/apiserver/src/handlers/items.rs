//! The JSON text of a list, made from its objects while it is sent: a list that is read slowly holds shared objects, not a text
//! of its own. Pure.

use std::iter::Enumerate;

use bytes::Bytes;

use crate::api::Body;
use crate::status::Status;
use crate::store::Object;

/// Text that is made at a time: a few TLS records.
const CHUNK: usize = 64 * 1024;

/// When a chunk is full: the next item may be a little longer than those before.
const FULL: usize = CHUNK - CHUNK / 8;

/// How an object becomes the text of an item.
pub(super) trait Item: Send + 'static {
    /// Bytes of the text; `None` where only the text itself tells.
    fn size(&self, object: &Object) -> Option<usize>;

    /// Appends the text.
    fn write(&self, object: &Object, text: &mut Vec<u8>) -> Result<(), Status>;
}

/// The stored text is the item's.
pub(super) struct Stored {
    /// Items have `apiVersion` and `kind`.
    pub(super) typed: bool,
}

impl Item for Stored {
    fn size(&self, object: &Object) -> Option<usize> {
        Some(if self.typed { object.bytes().len() } else { object.untyped().len() + 1 })
    }

    fn write(&self, object: &Object, text: &mut Vec<u8>) -> Result<(), Status> {
        if self.typed {
            text.extend_from_slice(object.bytes());
        } else {
            text.push(b'{');
            text.extend_from_slice(object.untyped());
        }
        Ok(())
    }
}

/// A list.
pub(super) struct Items<I> {
    /// Everything before the first item.
    pub(super) head: Vec<u8>,
    pub(super) objects: Vec<Object>,
    pub(super) item: I,
    /// Everything after the last item.
    pub(super) tail: Vec<u8>,
}

impl<I: Item> Items<I> {
    /// A short list is made at once; a long one in chunks, its length told from the start if it is known then. An item of the first
    /// chunk that cannot be made is an error, a later one breaks the list off.
    pub(super) fn body(self) -> Result<Body, Status> {
        let size = self.size();
        let mut chunks = self.chunks();
        let first = match size {
            Some(size) if size > FULL => None,
            _ => chunks.next().transpose()?,
        };
        if chunks.text.is_none() {
            return Ok(Body::Whole(first.unwrap_or_default()));
        }
        let chunks = first.map(Ok).into_iter().chain(chunks).map(|chunk| chunk.map_err(std::io::Error::other));
        Ok(Body::Chunks { size: size.map(|size| size as u64), chunks: Box::new(chunks) })
    }

    /// Bytes of the list.
    fn size(&self) -> Option<usize> {
        let items: usize = self.objects.iter().map(|object| self.item.size(object)).sum::<Option<_>>()?;
        Some(self.head.len() + items + self.objects.len().saturating_sub(1) + self.tail.len())
    }

    fn chunks(self) -> Chunks<I> {
        let Self { head, objects, item, tail } = self;
        Chunks { text: Some(head), objects: objects.into_iter().enumerate(), item, tail }
    }
}

/// The text of a list. Behind an error there is nothing: the list is never closed, so that nobody takes it for a shorter one.
struct Chunks<I> {
    /// What the next chunk begins with; `None` after the last one.
    text: Option<Vec<u8>>,
    objects: Enumerate<std::vec::IntoIter<Object>>,
    item: I,
    tail: Vec<u8>,
}

impl<I: Item> Iterator for Chunks<I> {
    type Item = Result<Bytes, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut out = self.text.take()?;
        out.reserve(CHUNK.saturating_sub(out.len()));
        for (at, object) in self.objects.by_ref() {
            if at > 0 {
                out.push(b',');
            }
            if let Err(status) = self.item.write(&object, &mut out) {
                return Some(Err(status));
            }
            if out.len() >= FULL {
                self.text = Some(Vec::new());
                return Some(Ok(out.into()));
            }
        }
        out.extend_from_slice(&self.tail);
        // A short list keeps no room for a long one.
        out.shrink_to_fit();
        Some(Ok(out.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use serde_json::{Value, json};

    use super::*;
    use crate::store::EventKind;

    fn list<I: Item>(count: u64, item: I) -> Items<I> {
        let object = |at: u64| {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "x".repeat(100)}});
            crate::store::Encoded::new(&value).unwrap().stored(EventKind::Added, at, at).1
        };
        let objects = (1..=count).map(object).collect();
        Items { head: br#"{"kind":"List","items":["#.to_vec(), objects, item, tail: b"]}".to_vec() }
    }

    /// An item whose length is not known before, and whose object at one revision is damaged.
    #[derive(Default)]
    struct Decoded {
        damaged: u64,
        written: Arc<AtomicUsize>,
    }

    impl Item for Decoded {
        fn size(&self, _: &Object) -> Option<usize> {
            None
        }

        fn write(&self, object: &Object, text: &mut Vec<u8>) -> Result<(), Status> {
            if object.revision() == self.damaged {
                return Err(Status::internal("damaged"));
            }
            self.written.fetch_add(1, Relaxed);
            text.extend_from_slice(object.bytes());
            Ok(())
        }
    }

    #[test]
    fn a_list_of_any_length_is_the_text_of_its_items_and_as_long_as_it_says() {
        for count in [0, 1, 2, 400, 3000] {
            for typed in [false, true] {
                let body = list(count, Stored { typed }).body().unwrap();
                let said = if let Body::Chunks { size, .. } = &body { *size } else { None };
                let text = body.whole().unwrap();
                let value: Value = serde_json::from_slice(&text).unwrap();
                assert_eq!(value["items"].as_array().map(Vec::len), Some(count as usize));
                assert_eq!(value["items"][0].get("kind").is_some(), typed && count > 0);
                assert_eq!(said, (text.len() > FULL).then_some(text.len() as u64));
            }
        }
    }

    #[test]
    fn a_list_whose_length_is_not_known_is_the_same_text() {
        for count in [0, 1, 2, 400, 3000] {
            let known = list(count, Stored { typed: true }).body().unwrap().whole();
            assert_eq!(list(count, Decoded::default()).body().unwrap().whole(), known, "{count}");
        }
    }

    #[test]
    fn a_list_whose_length_is_not_known_is_whole_if_it_is_short_and_has_no_size_if_it_is_long() {
        assert!(matches!(list(100, Decoded::default()).body(), Ok(Body::Whole(_))));
        assert!(matches!(list(3000, Decoded::default()).body(), Ok(Body::Chunks { size: None, .. })));
    }

    #[test]
    fn chunks_are_no_larger_than_a_chunk_and_an_item() {
        assert!(list(3000, Stored { typed: false }).chunks().all(|chunk| chunk.unwrap().len() <= CHUNK + 300));
    }

    #[test]
    fn only_the_first_chunk_is_made_before_it_is_taken() {
        let item = Decoded::default();
        let written = item.written.clone();
        let Ok(Body::Chunks { mut chunks, .. }) = list(3000, item).body() else { panic!("a long list has chunks") };
        let made_early = written.load(Relaxed);
        let first = chunks.next().unwrap().unwrap();
        let of_first = memchr::memmem::find_iter(&first, b"ConfigMap").count();
        assert_eq!((made_early, written.load(Relaxed)), (of_first, of_first));
        let rest: Vec<usize> = chunks.map(|chunk| chunk.unwrap().len()).collect();
        assert!(rest[..rest.len() - 1].iter().all(|size| (FULL..CHUNK).contains(size)), "{rest:?}");
        assert_eq!(written.load(Relaxed), 3000);
    }

    #[test]
    fn a_short_list_keeps_no_room_for_a_long_one() {
        let Ok(Body::Whole(text)) = list(1, Decoded::default()).body() else { panic!("a short list is whole") };
        assert!(Vec::from(text).capacity() < 1000);
    }

    #[test]
    fn a_damaged_object_of_the_first_chunk_is_an_error() {
        let error = list(3000, Decoded { damaged: 2, ..Decoded::default() }).body().err();
        assert_eq!(error, Some(Status::internal("damaged")));
    }

    #[test]
    fn a_damaged_object_of_a_later_chunk_ends_the_list_without_closing_it() {
        let item = Decoded { damaged: 2000, ..Decoded::default() };
        let Ok(Body::Chunks { chunks, .. }) = list(3000, item).body() else { panic!("a long list has chunks") };
        let chunks: Vec<_> = chunks.collect();
        let (last, made) = chunks.split_last().unwrap();
        assert!(last.is_err() && made.iter().all(|chunk| !chunk.as_ref().unwrap().ends_with(b"]}")));
    }

    #[test]
    fn a_list_that_is_broken_off_is_no_text() {
        let item = Decoded { damaged: 2000, ..Decoded::default() };
        assert_eq!(list(3000, item).body().unwrap().whole(), None);
    }
}
