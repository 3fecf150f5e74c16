//! The log: a record for each commit, one after another. A record's revision is that of its first change; each further change has
//! the next.

use std::io;
use std::path::{Path, PathBuf};

use super::DiskError;
use super::file::{DataFile, OpenFile, sync_directory, sync_failed, write_failed};
use super::record::{self, BLOCK, Begins, Builder, HEAD, Head, Mark};
use crate::store::{Key, Object};

/// How far a chain of records has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the last record.
    pub(super) mark: Mark,
    /// Of the last change.
    pub(super) revision: u64,
}

impl Place {
    /// Of a store that nothing was written to.
    pub(super) const START: Self = Self { mark: Mark::START, revision: 1 };
}

/// Why a file cannot be believed.
#[derive(Debug)]
pub(super) enum Bad {
    Newer(u8),
    Damaged { what: String, offset: u64 },
    Io(io::Error),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// `log-` and the revision of the first change, with digits enough for any.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("log-{first:020}"))
}

/// The logs of a directory by their first revisions, in order.
pub(super) fn all(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("log-")).filter(|digits| digits.len() == 20);
        found.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// The file that is appended to.
pub(super) struct Log {
    file: Box<dyn DataFile>,
    /// Where the next record goes.
    end: u64,
    place: Place,
    /// A write failed, and something of it may be after `end`.
    torn: bool,
}

impl Log {
    /// A new one, for what follows `place`.
    pub(super) fn create(open: &OpenFile, dir: &Path, place: Place) -> io::Result<Self> {
        let file = open(&path(dir, place.revision + 1))?;
        sync_directory(dir)?;
        Ok(Self { file, end: 0, place, torn: false })
    }

    /// One that was read up to `end`. What a crash left behind that goes.
    pub(super) fn resume(file: Box<dyn DataFile>, end: u64, place: Place) -> io::Result<Self> {
        if file.len()? > end {
            file.set_len(end)?;
        }
        // The last record may have been read before it was durable: its writer was killed in between. Now it will be shown.
        file.sync()?;
        Ok(Self { file, end, place, torn: false })
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Makes the changes in `record` durable, the first of which has the next revision and the last one `last`. Where there is no
    /// space, nothing of it stays.
    pub(super) fn append(&mut self, record: &mut Builder, last: u64) -> Result<(), DiskError> {
        self.cut()?;
        let (mark, bytes) = record.finish(self.place.mark, self.place.revision + 1);
        if let Err(error) = self.file.write(self.end, bytes) {
            self.torn = true;
            // At once, since this may be the last that the process does. When it fails, it is done before the next record.
            let _ = self.cut();
            return Err(write_failed(&error));
        }
        self.file.sync().map_err(|error| sync_failed(&error))?;
        self.end += bytes.len() as u64;
        self.place = Place { mark, revision: last };
        Ok(())
    }

    fn cut(&mut self) -> Result<(), DiskError> {
        if self.torn {
            self.file.set_len(self.end).map_err(|error| write_failed(&error))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Reads the records of a log that follow `place`; answers where they end in the file, and how far the chain has come. What is
/// behind that is a write that a crash cut short, unless there is a record of a later revision: then something before it is damaged.
pub(super) fn read(
    file: &dyn DataFile,
    mut place: Place,
    each: &mut dyn FnMut(Key, Option<Object>),
) -> Result<(u64, Place), Bad> {
    let (mut end, len) = (0, file.len()?);
    let mut bytes = Vec::new();
    while let Some(head) = record_at(file, end, len, &mut bytes)? {
        if head.after != place.mark || head.revision != place.revision + 1 {
            break;
        }
        let damaged = || Bad::Damaged { what: "a record makes no sense".to_owned(), offset: end };
        let changes = record::changes(&head, &bytes[HEAD..]).ok_or_else(damaged)?;
        for (revision, (key, object)) in (head.revision..).zip(changes) {
            if object.as_ref().is_some_and(|object| object.revision() != revision) {
                return Err(damaged());
            }
            place.revision = revision;
            each(key, object);
        }
        place.mark = head.mark;
        end += head.size();
    }
    let mut at = end;
    while at < len {
        if let Some(later) = record_at(file, at, len, &mut bytes)?.filter(|later| later.revision > place.revision) {
            let (ends, there) = (place.revision, later.revision);
            let what = format!("it ends after revision {ends}, and behind that is the record of revision {there}");
            return Err(Bad::Damaged { what, offset: end });
        }
        at += BLOCK as u64;
    }
    Ok((end, place))
}

/// The record that begins at a place, if a whole one does: `bytes` has it then, without its padding.
pub(super) fn record_at(file: &dyn DataFile, offset: u64, len: u64, bytes: &mut Vec<u8>) -> Result<Option<Head>, Bad> {
    let there = len.saturating_sub(offset);
    let mut first = [0; HEAD];
    if there < first.len() as u64 {
        return Ok(None);
    }
    file.read(offset, &mut first)?;
    let head = match record::begins(&first) {
        Begins::Record(head) => head,
        Begins::Newer(version) => return Err(Bad::Newer(version)),
        Begins::Nothing => return Ok(None),
    };
    if head.size() > there {
        return Ok(None);
    }
    bytes.clear();
    bytes.extend_from_slice(&first);
    bytes.resize(usize::try_from(head.len()).map_err(io::Error::other)?, 0);
    file.read(offset + HEAD as u64, &mut bytes[HEAD..])?;
    Ok(record::is_whole(&head, bytes).then_some(head))
}
