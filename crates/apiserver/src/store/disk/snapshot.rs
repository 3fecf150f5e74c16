//! The snapshot: all objects, so that the log before it can go. It is taken while writes go on, some objects at a time, so it shows
//! each object as it was at some moment between two revisions, `from` and `to`; the log from `from` on makes one state of it.
//!
//! Its records have the revision `from`. The first has no changes, and names the last record of the log up to there. The last has none
//! either, and the revision `to`: whoever has the snapshot must have the log at least up to there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::DiskError;
use super::file::{DataFile, OpenFile, sync_directory, sync_failed, write_failed};
use super::log::{Bad, Place, record_at};
use super::record::{self, Builder, HEAD, Mark};
use crate::store::{Key, Object, Shared};

/// Objects for which the index is locked once.
const AT_ONCE: usize = 256;
/// About as many bytes are a record.
const RECORD_BYTES: usize = 256 << 10;
/// What is synced at once. A file system may make the log's sync wait for these bytes, too.
const SYNC_BYTES: u64 = 1 << 20;

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("snapshot")
}

/// It has its name only when it is whole.
pub(super) fn unnamed(dir: &Path) -> PathBuf {
    dir.join("snapshot.new")
}

/// Takes a snapshot of what is visible, which is at least what the log up to `from` says; answers its bytes, or `None` when it was
/// told to stop.
pub(super) fn take(
    open: &OpenFile,
    dir: &Path,
    from: Place,
    shared: &Shared,
    stop: &AtomicBool,
) -> Result<Option<u64>, DiskError> {
    let unnamed = unnamed(dir);
    let taken = open(&unnamed).map_err(|error| write_failed(&error)).and_then(|file| {
        let mut snapshot = Snapshot { file, place: from, len: 0, synced: 0, record: Builder::new() };
        snapshot.file.set_len(0).map_err(|error| write_failed(&error))?;
        snapshot.write_all(shared, stop)
    });
    let named = taken.and_then(|len| {
        if len.is_some() {
            std::fs::rename(&unnamed, path(dir)).map_err(|error| write_failed(&error))?;
            sync_directory(dir).map_err(|error| sync_failed(&error))?;
        }
        Ok(len)
    });
    if !matches!(named, Ok(Some(_))) {
        // Its space is needed. When it cannot be removed, the next one is written over it.
        let _ = std::fs::remove_file(&unnamed);
    }
    named
}

struct Snapshot {
    file: Box<dyn DataFile>,
    place: Place,
    len: u64,
    synced: u64,
    record: Builder,
}

impl Snapshot {
    fn write_all(&mut self, shared: &Shared, stop: &AtomicBool) -> Result<Option<u64>, DiskError> {
        self.write_record(self.place.revision)?;
        // A resource that comes later is in the log.
        let resources: Vec<Arc<str>> = shared.index().resources();
        for resource in resources {
            let mut after = None;
            loop {
                let rows = shared.index().some(&resource, after.as_ref(), AT_ONCE);
                let Some((last, _)) = rows.last() else { break };
                after = Some(last.clone());
                for (at, object) in rows {
                    let key = Key { resource: resource.clone(), namespace: at.namespace, name: at.name };
                    self.record.push(&key, Some(&object));
                    if self.record.len() >= RECORD_BYTES {
                        self.write_record(self.place.revision)?;
                    }
                }
                if stop.load(Relaxed) {
                    return Ok(None);
                }
            }
        }
        if self.record.len() > HEAD {
            self.write_record(self.place.revision)?;
        }
        let to = shared.index().revision;
        self.write_record(to)?;
        self.sync()?;
        Ok(Some(self.len))
    }

    /// What was collected; nothing, for the first and the last.
    fn write_record(&mut self, revision: u64) -> Result<(), DiskError> {
        let (mark, bytes) = self.record.finish(self.place.mark, revision);
        self.file.write(self.len, bytes).map_err(|error| write_failed(&error))?;
        self.len += bytes.len() as u64;
        self.place.mark = mark;
        self.record.clear();
        if self.len - self.synced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.synced = self.len;
        self.file.sync().map_err(|error| sync_failed(&error))
    }
}

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// Where the log goes on.
    pub(super) from: Place,
    /// How far the log must go.
    pub(super) to: u64,
    /// Bytes.
    pub(super) len: u64,
}

/// Reads a snapshot, all of which must be what was written.
pub(super) fn read(file: &dyn DataFile, each: &mut dyn FnMut(Key, Option<Object>)) -> Result<Read, Bad> {
    let len = file.len()?;
    let mut bytes = Vec::new();
    let mut next = |at: u64, after: Option<Mark>| {
        let damaged = |what: &str| Bad::Damaged { what: what.to_owned(), offset: at };
        let head = record_at(file, at, len, &mut bytes)?.ok_or_else(|| damaged("there is no record"))?;
        let changes = record::changes(&head, &bytes[HEAD..]).ok_or_else(|| damaged("a record makes no sense"))?;
        if after.is_some_and(|after| after != head.after) {
            return Err(damaged("a record does not follow the one before it"));
        }
        Ok((head, changes))
    };
    let (first, _) = next(0, None)?;
    let from = Place { mark: first.after, revision: first.revision };
    let (mut at, mut mark) = (first.size(), first.mark);
    loop {
        let (head, changes) = next(at, Some(mark))?;
        (at, mark) = (at + head.size(), head.mark);
        if changes.is_empty() {
            let read = Read { from, to: head.revision, len };
            let damaged = || Bad::Damaged { what: "there is something behind its end".to_owned(), offset: at };
            return if at == len { Ok(read) } else { Err(damaged()) };
        }
        for (key, object) in changes {
            each(key, object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::disk::{Disk, file};
    use crate::store::index::Index;
    use crate::store::{Encoded, EventKind, OpenError};

    /// At revision 3, with an object of each revision.
    fn shared() -> Shared {
        let mut index = Index::new(1, Default::default());
        for revision in [2, 3] {
            let value = Encoded::new(&serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap"})).unwrap();
            let key = Key::new("/configmaps", "ns", revision.to_string());
            index.restore(key, Some(value.stored(EventKind::Added, revision, revision).1));
        }
        index.restored(3);
        Shared::new(index, Clock::system())
    }

    #[test]
    fn a_snapshot_without_the_log_that_was_written_meanwhile_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        take(&file::open, dir.path(), Place::START, &shared(), &AtomicBool::new(false)).unwrap();
        let Err(OpenError::Damaged { path, what, .. }) = Disk::open(dir.path(), |_, _| {}) else { panic!("taken") };
        assert_eq!(path, super::path(dir.path()));
        assert_eq!(what, "it ends at revision 1, and the snapshot has objects up to revision 3");
    }

    #[test]
    fn a_snapshot_that_is_stopped_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let taken = take(&file::open, dir.path(), Place::START, &shared(), &AtomicBool::new(true));
        assert!(matches!(taken, Ok(None)) && std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
