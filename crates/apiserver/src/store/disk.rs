//! Where committed writes go: a redb file, or nowhere. The only room of the store that touches the disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    BackendError, Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition,
};

use super::{Event, EventKind, Object};

/// Version of the file's format. A newer one is refused; the first change of it brings a migration that copies first.
const FORMAT: u64 = 1;
/// (resource, namespace, name) → header and JSON text.
const OBJECTS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("objects");
/// `format` and `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Before the JSON text: created revision, revision (u64), body offset (u32), little endian.
const HEADER: usize = 8 + 8 + 4;
/// redb's own cache. Objects are read once, at start; the pages of the tree are all that is read again.
const CACHE_BYTES: usize = 4 << 20;

/// Why a commit failed.
#[derive(Debug)]
pub(crate) enum DiskError {
    /// No space: nothing was committed, and a later commit may succeed.
    Full,
    /// Anything else: what is on disk is unknown.
    Fatal(String),
}

/// Durable storage of committed events.
pub(crate) trait Backend: Send {
    /// Makes the events durable, all or none, in order. The last one's revision is the store's.
    fn commit(&mut self, events: &[Event]) -> Result<(), DiskError>;
}

/// Keeps nothing.
pub(crate) struct Nowhere;

impl Backend for Nowhere {
    fn commit(&mut self, _events: &[Event]) -> Result<(), DiskError> {
        Ok(())
    }
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by process {pid}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it.
        pid: String,
    },
    /// A newer Paddock wrote it.
    #[error("{} has format {found}; this program reads up to format {supported}", path.display())]
    Newer {
        /// The data file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known here.
        supported: u64,
    },
    /// The file is not ours or is damaged.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A file with its directory's lock. The lock goes with the value.
pub(crate) struct Disk {
    path: PathBuf,
    /// `None` after the disk was full: redb refuses everything after an I/O error until the file is opened again.
    db: Option<Database>,
    /// Revision of the last commit.
    revision: u64,
    open: fn(&Path) -> Result<Database, redb::DatabaseError>,
    _lock: File,
}

impl Disk {
    /// Opens or creates `dir/data.redb`, hands every object to `each` and answers the revision.
    pub(crate) fn open(dir: &Path, each: impl FnMut(&str, &str, &str, Object)) -> Result<(Self, u64), OpenError> {
        Self::open_with(dir, open_database, each)
    }

    pub(super) fn open_with(
        dir: &Path,
        open: fn(&Path) -> Result<Database, redb::DatabaseError>,
        mut each: impl FnMut(&str, &str, &str, Object),
    ) -> Result<(Self, u64), OpenError> {
        std::fs::create_dir_all(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
        let lock = lock(&dir.join("lock"))?;
        let path = dir.join("data.redb");
        let created = !path.exists();
        let damaged = |what: String| OpenError::Damaged { path: path.clone(), what };
        let db = open(&path).map_err(|error| damaged(error.to_string()))?;
        if created {
            // The file's name must survive a crash, not only its content.
            File::open(dir)
                .and_then(|d| d.sync_all())
                .map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
        }
        let meta = read_meta(&db).map_err(|error| damaged(error.to_string()))?;
        let revision = match meta {
            None => {
                initialise(&db).map_err(|error| damaged(error.to_string()))?;
                1
            }
            Some((FORMAT, revision)) => revision,
            Some((found, _)) if found > FORMAT => {
                return Err(OpenError::Newer { path: path.clone(), found, supported: FORMAT });
            }
            Some((found, _)) => return Err(damaged(format!("unknown format {found}"))),
        };
        let mut load = || -> Result<Option<String>, redb::Error> {
            let table = db.begin_read()?.open_table(OBJECTS)?;
            for row in table.iter()? {
                let (key, value) = row?;
                let (resource, namespace, name) = key.value();
                match decode_row(value.value()).filter(|object| object.revision() <= revision) {
                    Some(object) => each(resource, namespace, name, object),
                    None => return Ok(Some(format!("{resource} {namespace}/{name} is damaged"))),
                }
            }
            Ok(None)
        };
        match load() {
            Ok(None) => {}
            Ok(Some(what)) => return Err(damaged(what)),
            Err(error) => return Err(damaged(error.to_string())),
        }
        Ok((Self { path, db: Some(db), revision, open, _lock: lock }, revision))
    }

    /// Opens the file again after the disk was full. It must be where the last good commit left it.
    fn reopen(&mut self) -> Result<&Database, DiskError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => {
                let db = (self.open)(&self.path).map_err(|error| classify(error.into()))?;
                let found = read_meta(&db).map_err(classify)?;
                if found != Some((FORMAT, self.revision)) {
                    let what = format!("{} is at {found:?}, expected revision {}", self.path.display(), self.revision);
                    return Err(DiskError::Fatal(what));
                }
                db
            }
        };
        Ok(self.db.insert(db))
    }
}

impl Backend for Disk {
    fn commit(&mut self, events: &[Event]) -> Result<(), DiskError> {
        let Some(last) = events.last() else { return Ok(()) };
        let result = self.reopen().and_then(|db| write(db, events).map_err(classify));
        match &result {
            Ok(()) => self.revision = last.revision,
            Err(_) => self.db = None,
        }
        result
    }
}

fn write(db: &Database, events: &[Event]) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut row = Vec::new();
        for event in events {
            let key = (&*event.key.resource, &*event.key.namespace, &*event.key.name);
            if event.kind == EventKind::Deleted {
                objects.remove(key)?;
            } else {
                encode_row(&event.object, &mut row);
                objects.insert(key, row.as_slice())?;
            }
        }
        if let Some(last) = events.last() {
            transaction.open_table(META)?.insert("revision", last.revision)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(OBJECTS)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("revision", 1)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Format and revision; `None` for a file that was just created.
fn read_meta(db: &Database) -> Result<Option<(u64, u64)>, redb::Error> {
    let table = match db.begin_read()?.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other?,
    };
    let number = |name| Ok::<_, redb::Error>(table.get(name)?.map_or(0, |value| value.value()));
    Ok(Some((number("format")?, number("revision")?)))
}

fn encode_row(object: &Object, row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&object.created_revision().to_le_bytes());
    row.extend_from_slice(&object.revision().to_le_bytes());
    row.extend_from_slice(&object.body().to_le_bytes());
    row.extend_from_slice(object.bytes());
}

fn decode_row(row: &[u8]) -> Option<Object> {
    let (header, text) = row.split_at_checked(HEADER)?;
    let (created, header) = header.split_first_chunk()?;
    let (revision, header) = header.split_first_chunk()?;
    let (body, _) = header.split_first_chunk()?;
    let (created, revision) = (u64::from_le_bytes(*created), u64::from_le_bytes(*revision));
    Object::restore(Bytes::copy_from_slice(text), revision, created, u32::from_le_bytes(*body))
}

fn classify(error: redb::Error) -> DiskError {
    match error {
        redb::Error::Io(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            DiskError::Full
        }
        other => DiskError::Fatal(other.to_string()),
    }
}

/// Takes the lock of a data directory and writes our process id into it.
fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Whatever is in there only helps a person to find the holder.
            let _ = (&file).take(32).read_to_string(&mut pid);
            return Err(OpenError::Locked { path: path.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
    Ok(file)
}

fn open_database(path: &Path) -> Result<Database, redb::DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(StorageError::from)?;
    open_backend(SyncErrorsAreFatal(Arc::new(FileBackend::new(file)?)))
}

pub(super) fn open_backend(backend: impl StorageBackend) -> Result<Database, redb::DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)
}

/// A file whose failed fdatasync is never taken for a full disk: after one, what is on disk is unknown, whatever its errno.
#[derive(Debug)]
pub(super) struct SyncErrorsAreFatal<B>(pub(super) Arc<B>);

impl<B: StorageBackend> StorageBackend for SyncErrorsAreFatal<B> {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.sync_data().map_err(|error| std::io::Error::other(format!("fdatasync: {error}")))
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }
    fn close(&self) -> Result<(), std::io::Error> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}
