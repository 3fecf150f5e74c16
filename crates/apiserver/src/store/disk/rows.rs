//! Rows of the data file and what proves that they are all there: each row carries a digest of itself and its key, and the file
//! the number and the sum of all digests. redb checks its own pages, but only when it is told to, and knows nothing of rows that a
//! damaged page has lost. Pure.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::store::{Event, EventKind, Object};

/// Before the JSON text: digest, created revision, revision (u64), body offset (u32), little endian.
const DIGEST: usize = 8;

/// The key of a row.
pub(super) type RowKey<'k> = (&'k str, &'k str, &'k str);

/// The key of an event's object.
pub(super) fn key_of(event: &Event) -> RowKey<'_> {
    (&event.key.resource, &event.key.namespace, &event.key.name)
}

fn digest(key: RowKey<'_>, row: &[u8]) -> u64 {
    let mut context = Context::new(&SHA256);
    for part in [key.0.as_bytes(), key.1.as_bytes(), key.2.as_bytes(), row] {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    context.finish().as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Writes an object as a row; answers its digest.
pub(super) fn encode(key: RowKey<'_>, object: &Object, row: &mut Vec<u8>) -> u64 {
    row.clear();
    row.extend_from_slice(&[0; DIGEST]);
    row.extend_from_slice(&object.created_revision().to_le_bytes());
    row.extend_from_slice(&object.revision().to_le_bytes());
    row.extend_from_slice(&object.body().to_le_bytes());
    row.extend_from_slice(object.bytes());
    let digest = digest(key, row.get(DIGEST..).unwrap_or_default());
    if let Some(head) = row.first_chunk_mut() {
        *head = digest.to_le_bytes();
    }
    digest
}

/// The object of a row, and the row's digest; `None` when the row is not what was written.
pub(super) fn decode(key: RowKey<'_>, row: &[u8]) -> Option<(Object, u64)> {
    let (written, rest) = row.split_first_chunk()?;
    let written = u64::from_le_bytes(*written);
    if digest(key, rest) != written {
        return None;
    }
    Some((plain(rest)?, written))
}

/// The object of a row without its digest: as format 1 wrote them.
pub(super) fn plain(row: &[u8]) -> Option<Object> {
    let (created, rest) = row.split_first_chunk()?;
    let (revision, rest) = rest.split_first_chunk()?;
    let (body, text) = rest.split_first_chunk()?;
    let (created, revision) = (u64::from_le_bytes(*created), u64::from_le_bytes(*revision));
    Object::restore(Bytes::copy_from_slice(text), revision, created, u32::from_le_bytes(*body))
}

/// What the file says of itself as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// Of the last commit.
    pub(super) revision: u64,
    pub(super) objects: u64,
    /// Of all digests, modulo 2⁶⁴.
    pub(super) sum: u64,
}

impl Totals {
    /// Of a store without objects.
    pub(super) const EMPTY: Self = Self { revision: 1, objects: 0, sum: 0 };

    pub(super) fn add(&mut self, digest: u64) {
        self.objects = self.objects.wrapping_add(1);
        self.sum = self.sum.wrapping_add(digest);
    }

    fn take(&mut self, digest: u64) {
        self.objects = self.objects.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(digest);
    }

    /// After one more change. `row` holds the new row when there is one; it answers whether there is.
    pub(super) fn change(&mut self, event: &Event, row: &mut Vec<u8>) -> bool {
        let key = key_of(event);
        if let Some(previous) = &event.previous {
            self.take(encode(key, previous, row));
        }
        self.revision = event.revision;
        let stays = event.kind != EventKind::Deleted;
        if stays {
            self.add(encode(key, &event.object, row));
        }
        stays
    }
}

/// The revision up to which writes were acknowledged, as its own small file holds it: with a digest, since that file is not synced
/// and may be torn.
pub(super) fn witness(revision: u64) -> [u8; 16] {
    let mut out = [0; 16];
    let (number, check) = out.split_at_mut(8);
    number.copy_from_slice(&revision.to_le_bytes());
    check.copy_from_slice(&digest(("", "", "acknowledged"), number).to_le_bytes());
    out
}

/// Reads it back; `None` when it is not whole.
pub(super) fn witnessed(bytes: &[u8]) -> Option<u64> {
    let revision = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes == witness(revision)).then_some(revision)
}

/// For fuzzers: `KEY\nROW`. What is read as a row is written as the same bytes, with its digest and without, and can be deleted.
///
/// # Panics
/// When that does not hold.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(key: &str, row: &[u8]) {
    let mut parts = key.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let key = (part(), part(), part());
    let mut written = Vec::new();
    if let Some((object, digest)) = decode(key, row) {
        assert_eq!(encode(key, &object, &mut written), digest);
        assert_eq!(written, row);
    }
    if let Some(object) = plain(row) {
        let digest = encode(key, &object, &mut written);
        assert_eq!(written.get(DIGEST..), Some(row));
        assert_eq!(decode(key, &written), Some((object.clone(), digest)));
        assert!(!object.untyped().is_empty());
        assert_eq!(object.deleted(u64::MAX).1.created_revision(), object.created_revision());
    }
    if let Some(revision) = witnessed(row) {
        assert_eq!(witness(revision), row);
    }
}
