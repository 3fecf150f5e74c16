//! The one unit of the data files: a record holds changes, proves itself by a digest, and names the record before it. Pure.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PADDOCK` and the format's version |
//! | 8 | digest of everything below but the zeros: the first 64 bits of SHA-256 |
//! | 8 | digest of the record before |
//! | 8 | revision: see [`log`](super::log) and [`snapshot`](super::snapshot) |
//! | 8 | number of changes |
//! | 8 | length of the changes |
//! | … | the changes, then zeros up to a block |
//!
//! Numbers are little endian. A change is resource, namespace and name, each after its length (8), then one byte: 0, and the object is
//! gone, or 1, and after that created revision (8), revision (8), body offset (4), length (8) and text.
//!
//! Records begin at blocks, so a block that holds something acknowledged is never written again, and a record can be found behind
//! one that is damaged. Nobody can have a text stored that holds a record: the version is a control character, which JSON escapes.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::store::{Key, Object};

/// Records begin at multiples of this.
pub(super) const BLOCK: usize = 4096;
/// Bytes before the changes.
pub(super) const HEAD: usize = 48;
/// Version of the format; below 32, as said above. 1 and 2 were redb files.
pub(super) const FORMAT: u8 = 3;

/// No store lives to have more revisions, so nothing that is computed from one overflows.
const LAST_REVISION: u64 = u64::MAX >> 2;

const NAME: &[u8; 7] = b"PADDOCK";
/// Where the digest ends and what it proves begins.
const PROVED: usize = 16;
const GONE: u8 = 0;
const STORED: u8 = 1;

/// The digest of a record, by which the next one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    /// What the first record of all names.
    pub(super) const START: Self = Self(0);
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) mark: Mark,
    pub(super) after: Mark,
    pub(super) revision: u64,
    pub(super) changes: u64,
    /// Of the changes, in bytes.
    length: u64,
}

impl Head {
    /// Bytes without the zeros.
    pub(super) fn len(&self) -> u64 {
        self.length.saturating_add(HEAD as u64)
    }

    /// Bytes to where the next record begins.
    pub(super) fn size(&self) -> u64 {
        self.len().checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
    }
}

/// What begins at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// A record, if its digest is right.
    Record(Head),
    /// A record of a newer format.
    Newer(u8),
    Nothing,
}

/// Reads the first bytes of a record.
pub(super) fn begins(bytes: &[u8; HEAD]) -> Begins {
    let mut rest = Reader(bytes);
    if rest.take(NAME.len()) != Some(NAME) {
        return Begins::Nothing;
    }
    match rest.byte() {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => return Begins::Newer(newer),
        _ => return Begins::Nothing,
    }
    let mut number = || rest.number().unwrap_or_default();
    let (mark, after) = (Mark(number()), Mark(number()));
    let head = Head { mark, after, revision: number(), changes: number(), length: number() };
    if head.revision <= LAST_REVISION { Begins::Record(head) } else { Begins::Nothing }
}

/// Whether a record, from its head to the end of its changes, is what was written.
pub(super) fn is_whole(head: &Head, record: &[u8]) -> bool {
    record.get(PROVED..).is_some_and(|proved| mark(proved) == head.mark)
}

/// The changes of a record; `None` where the object is gone. Fails when the bytes are not what [`Builder`] writes.
pub(super) fn changes(head: &Head, changes: &[u8]) -> Option<Vec<(Key, Option<Object>)>> {
    let mut out = Vec::new();
    let mut rest = Reader(changes);
    for _ in 0..head.changes {
        let key = Key::new(rest.text()?, rest.text()?, rest.text()?);
        let object = match rest.byte()? {
            GONE => None,
            STORED => {
                let (created, revision) = (rest.number()?, rest.number()?);
                let body = u32::from_le_bytes(*rest.take(4)?.first_chunk()?);
                Some(Object::restore(Bytes::copy_from_slice(rest.sized()?), revision, created, body)?)
            }
            _ => return None,
        };
        out.push((key, object));
    }
    rest.0.is_empty().then_some(out)
}

fn mark(proved: &[u8]) -> Mark {
    Mark(digest(&SHA256, proved).as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first)))
}

/// Foreign bytes, from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    /// Bytes after their length.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.sized()?).ok()
    }
}

/// Collects changes and makes a record of them.
#[derive(Debug)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    changes: u64,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEAD], changes: 0 }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// One change; `None` says that the object is gone.
    pub(super) fn push(&mut self, key: &Key, object: Option<&Object>) {
        for text in [&key.resource, &key.namespace, &key.name] {
            self.sized(text.as_bytes());
        }
        match object {
            None => self.bytes.push(GONE),
            Some(object) => {
                self.bytes.push(STORED);
                self.bytes.extend_from_slice(&object.created_revision().to_le_bytes());
                self.bytes.extend_from_slice(&object.revision().to_le_bytes());
                self.bytes.extend_from_slice(&object.body().to_le_bytes());
                self.sized(object.bytes());
            }
        }
        self.changes += 1;
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// The record, ready to be written. [`Self::clear`] comes before the next.
    pub(super) fn finish(&mut self, after: Mark, revision: u64) -> (Mark, &[u8]) {
        let length = (self.bytes.len() - HEAD) as u64;
        for (place, number) in
            self.bytes[PROVED..HEAD].chunks_exact_mut(8).zip([after.0, revision, self.changes, length])
        {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let mark = mark(&self.bytes[PROVED..]);
        self.bytes[..NAME.len()].copy_from_slice(NAME);
        self.bytes[NAME.len()] = FORMAT;
        self.bytes[NAME.len() + 1..PROVED].copy_from_slice(&mark.0.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        (mark, &self.bytes)
    }

    /// Forgets the changes, and the memory of an unusually large record.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(HEAD);
        self.bytes.shrink_to(1 << 20);
        self.changes = 0;
    }
}

/// The revision up to which writes were acknowledged, as its own small file holds it: with a digest, since that file is not synced
/// and may be torn.
pub(super) fn witness(revision: u64) -> [u8; 16] {
    let mut out = [0; 16];
    let (number, check) = out.split_at_mut(8);
    number.copy_from_slice(&revision.to_le_bytes());
    check.copy_from_slice(&mark(number).0.to_le_bytes());
    out
}

/// Reads it back; `None` when it is not whole.
pub(super) fn witnessed(bytes: &[u8]) -> Option<u64> {
    let revision = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes == witness(revision)).then_some(revision)
}

/// For fuzzers: what is read as the changes of a record is written as the same bytes, in a record that is whole.
///
/// # Panics
/// When that does not hold.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(data: &[u8]) {
    if let Some(revision) = witnessed(data) {
        assert_eq!(witness(revision), data);
    }
    let Some(Begins::Record(claimed)) = data.first_chunk().map(begins) else { return };
    let text = &data[HEAD..];
    let Some(read) = changes(&claimed, text) else { return };
    let mut builder = Builder::new();
    for (key, object) in &read {
        builder.push(key, object.as_ref());
        if let Some(object) = object {
            assert!(!object.untyped().is_empty());
            assert_eq!(object.deleted(u64::MAX).1.created_revision(), object.created_revision());
        }
    }
    let (mark, written) = builder.finish(claimed.after, claimed.revision);
    let length = text.len() as u64;
    let Some(Begins::Record(head)) = written.first_chunk().map(begins) else { panic!("it is no record") };
    assert_eq!(head, Head { mark, length, ..claimed });
    assert_eq!((&written[HEAD..HEAD + text.len()], head.size()), (text, written.len() as u64));
    assert!(is_whole(&head, &written[..HEAD + text.len()]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::store::{Encoded, EventKind};

    fn object(text: &str, revision: u64) -> Object {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": text}});
        Encoded::new(&value).unwrap().stored(EventKind::Modified, revision, 2).1
    }

    proptest! {
        #[test]
        fn a_record_reads_as_it_was_written(
            all in prop::collection::vec((".{0,8}", ".{0,8}", prop::option::of((".{0,64}", 2_u64..))), 0..5),
            revision in 0..=LAST_REVISION,
        ) {
            let all: Vec<(Key, Option<Object>)> = all
                .into_iter()
                .map(|(namespace, name, stored)| {
                    (Key::new("/configmaps", namespace, name), stored.map(|(text, revision)| object(&text, revision)))
                })
                .collect();
            let mut builder = Builder::new();
            for (key, object) in &all {
                builder.push(key, object.as_ref());
            }
            let len = builder.len();
            let (mark, bytes) = builder.finish(Mark(7), revision);
            let Begins::Record(head) = begins(bytes.first_chunk().unwrap()) else { panic!("it is no record") };
            prop_assert_eq!((head.mark, head.after, head.revision), (mark, Mark(7), revision));
            prop_assert_eq!((head.len(), head.size()), (len as u64, bytes.len() as u64));
            prop_assert!(is_whole(&head, &bytes[..len]));
            prop_assert_eq!(changes(&head, &bytes[HEAD..len]), Some(all));
            fuzz(&bytes[..len]);
        }
    }

    #[test]
    fn no_text_that_can_be_stored_holds_the_beginning_of_a_record() {
        let mut builder = Builder::new();
        let (_, record) = builder.finish(Mark::START, 2);
        let text = String::from_utf8_lossy(&record[..=NAME.len()]).into_owned();
        assert_eq!(memchr::memmem::find(object(&text, 2).bytes(), &record[..=NAME.len()]), None);
    }

    #[test]
    fn a_large_record_is_forgotten_with_its_memory() {
        let mut builder = Builder::new();
        builder.push(&Key::new("/configmaps", "ns", "a"), Some(&object(&"x".repeat(3 << 20), 2)));
        builder.clear();
        assert!(builder.bytes.capacity() <= 1 << 20);
    }
}
