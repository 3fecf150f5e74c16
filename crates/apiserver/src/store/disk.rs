//! Where committed writes go: a redb file, or nowhere. The only room of the store that touches the disk.
//!
//! | file | what it is |
//! |---|---|
//! | `data.redb` | objects, and what proves that they are all there (`rows`) |
//! | `acknowledged` | the revision up to which writes were answered; not synced, so it may lag behind after a power cut |
//! | `lock` | held by the process that has the directory |
//!
//! A file is examined before it is believed, and left alone until then (`backend`): redb's checksums of every page, the digest of
//! every row, the number and sum of all, and whether it has what was acknowledged. redb falls back to the commit before the last
//! when the last one is damaged, which is right after a crash that cut a commit short, and would be a silent loss otherwise: that is
//! what `acknowledged` tells apart.

mod backend;
mod rows;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write as _};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};

use self::backend::{Examiner, Guarded};
use self::rows::{Totals, key_of};
use super::{Event, Object};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::rows::fuzz as fuzz_row;

/// Version of the file's format. A newer one is refused.
const FORMAT: u64 = 2;
/// The format without digests: such a file is copied and rewritten.
const WITHOUT_DIGESTS: u64 = 1;
/// (resource, namespace, name) → row.
const OBJECTS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("objects");
/// `format`, `revision`, `objects` and `digests`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// redb's own cache. Objects are read once, at start; the pages of the tree are all that is read again.
const CACHE_BYTES: usize = 4 << 20;
/// How long a file system that was full is left alone before the file is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the directory's lock is waited for: the kernel gives it back only when a killed process's last sync has returned, which
/// is after `kill -9` has.
const DYING: Duration = Duration::from_secs(5);

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
    #[error("{} is in use by process {pid}: end that process, or choose another directory", path.display())]
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
    /// The file is not ours or is damaged. It was not changed.
    #[error(
        "{}: damaged at or near byte {offset} of {size}: {what}. Nothing was changed. Move the directory away, then restore a \
         backup of it or begin with an empty one",
        path.display()
    )]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// The place in the file, as far as it can be told: the beginning of the page or row.
        offset: u64,
        /// Bytes in the file.
        size: u64,
    },
    /// What was acknowledged is not in the file. It was not changed.
    #[error(
        "{}: it holds revision {found}, and writes up to revision {acknowledged} were acknowledged: the last commits are damaged, at \
         or near byte {offset}, or the file is an older copy. Nothing was changed. Restore a backup; to go on without those \
         writes, delete {}",
        path.display(),
        witness.display()
    )]
    Behind {
        /// The data file.
        path: PathBuf,
        /// The file that says what was acknowledged.
        witness: PathBuf,
        /// The revision of the data file.
        found: u64,
        /// The revision that was acknowledged.
        acknowledged: u64,
        /// The place in the file, as far as it can be told.
        offset: u64,
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

/// Makes the file under redb; tests make one that fails.
pub(super) type OpenFile<B> = fn(&Path) -> std::io::Result<B>;

fn open_file(path: &Path) -> std::io::Result<FileBackend> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    FileBackend::new(file).map_err(std::io::Error::other)
}

/// A file with its directory's lock. The lock goes with the value.
pub(crate) struct Disk<B: StorageBackend = FileBackend> {
    path: PathBuf,
    witness: File,
    /// `None` after the disk was full: redb refuses everything after an I/O error until the file is opened again.
    db: Option<Database>,
    /// As of the last commit.
    totals: Totals,
    /// A commit that failed for want of space, and may be in the file all the same.
    doubtful: Vec<Event>,
    /// When the file was opened again last.
    tried: Option<Instant>,
    pause: Duration,
    open: OpenFile<B>,
    _lock: File,
}

impl Disk {
    /// Opens or creates `dir/data.redb`, hands every object to `each` and answers the revision.
    pub(crate) fn open(dir: &Path, each: impl FnMut(&str, &str, &str, Object)) -> Result<(Self, u64), OpenError> {
        Self::open_with(dir, open_file, each)
    }
}

impl<B: StorageBackend> Disk<B> {
    pub(super) fn open_with(
        dir: &Path,
        open: OpenFile<B>,
        mut each: impl FnMut(&str, &str, &str, Object),
    ) -> Result<(Self, u64), OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let deadline = Instant::now() + DYING;
        let lock = lock(&dir.join("lock"), || {
            std::thread::sleep(Duration::from_millis(10));
            Instant::now() < deadline
        })?;
        let (path, witness_path) = (dir.join("data.redb"), dir.join("acknowledged"));
        let created = !path.exists();
        let acknowledged = match std::fs::read(&witness_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => rows::witnessed(&read.map_err(io(&witness_path))?),
        };
        // A new file has its name only when it is whole, so that an end in the middle of the first start leaves nothing to doubt.
        let unnamed = dir.join("data.redb.new");
        if created && unnamed.exists() {
            std::fs::remove_file(&unnamed).map_err(io(&unnamed))?;
        }
        let file = Arc::new(open(if created { &unnamed } else { &path }).map_err(io(&path))?);
        let size = file.len().map_err(io(&path))?;
        let (guarded, examiner) = Guarded::new(file.clone());
        // A panic of redb over a damaged file is a damaged file.
        let examined = catch_unwind(AssertUnwindSafe(|| examine(guarded, &examiner, &path)));
        let examined = examined.unwrap_or_else(|_| Err(Bad::What("its structure makes no sense".to_owned())));
        let Examined { db, mut totals, objects, format } = examined.map_err(|bad| match bad {
            Bad::Newer(found) => OpenError::Newer { path: path.clone(), found, supported: FORMAT },
            Bad::Row { what, row } => {
                let offset = find(&path, &row).unwrap_or_else(|| examiner.suspect());
                OpenError::Damaged { path: path.clone(), what, offset, size }
            }
            Bad::What(what) => OpenError::Damaged { path: path.clone(), what, offset: examiner.suspect(), size },
        })?;
        if let Some(acknowledged) = acknowledged.filter(|acknowledged| totals.revision < *acknowledged) {
            let offset = examiner.suspect();
            let witness = witness_path;
            return Err(OpenError::Behind { path, witness, found: totals.revision, acknowledged, offset });
        }
        examiner.release(&*file).map_err(io(&path))?;
        let witness = OpenOptions::new().write(true).create(true).truncate(false).open(&witness_path);
        let witness = witness.map_err(io(&witness_path))?;
        if format == Some(WITHOUT_DIGESTS) {
            std::fs::copy(&path, dir.join("data.redb.format1")).map_err(io(&path))?;
            totals = rewrite(&db, &objects, totals.revision)
                .map_err(|error| OpenError::Io { path: path.clone(), source: std::io::Error::other(error) })?;
        } else if format.is_none() {
            initialise(&db)
                .map_err(|error| OpenError::Io { path: path.clone(), source: std::io::Error::other(error) })?;
        }
        if created {
            std::fs::rename(&unnamed, &path).map_err(io(&path))?;
            // The name must survive a crash, not only the content.
            File::open(dir).and_then(|d| d.sync_all()).map_err(io(dir))?;
        }
        for (resource, namespace, name, object) in objects {
            each(&resource, &namespace, &name, object);
        }
        let revision = totals.revision;
        let doubtful = Vec::new();
        let disk = Self { path, witness, db: Some(db), totals, doubtful, tried: None, pause: PAUSE, open, _lock: lock };
        disk.acknowledge();
        Ok((disk, revision))
    }

    /// Opens the file again at once after it was full.
    #[cfg(test)]
    pub(super) fn without_pause(mut self) -> Self {
        self.pause = Duration::ZERO;
        self
    }

    /// Notes what is about to be answered. Not synced: it is there to tell a damaged file from a commit that a crash cut short, and
    /// survives the end of the process as it is.
    fn acknowledge(&self) {
        if let Err(error) = self.witness.write_all_at(&rows::witness(self.totals.revision), 0) {
            tracing::debug!(%error, "cannot note the acknowledged revision");
        }
    }

    /// Opens the file again after the disk was full. It must be where the last good commit left it, or where the commit that
    /// failed would have: then that one is taken back, since its writers were told so.
    fn reopen(&mut self) -> Result<(), DiskError> {
        if self.db.is_some() {
            return Ok(());
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < self.pause) {
            return Err(DiskError::Full);
        }
        self.tried = Some(Instant::now());
        let file = Arc::new((self.open)(&self.path).map_err(|error| classify(error.into()))?);
        let (guarded, examiner) = Guarded::new(file.clone());
        let db = create(guarded).map_err(|error| classify(error.into()))?;
        examiner.release(&*file).map_err(|error| classify(error.into()))?;
        let found = read_meta(&db).map_err(classify)?;
        let expected = Some((FORMAT, self.totals));
        if found != expected {
            let mut failed = self.totals;
            for event in &self.doubtful {
                failed.change(event, &mut Vec::new());
            }
            if found != Some((FORMAT, failed)) {
                let what = format!("{} is at {found:?}, expected {expected:?}", self.path.display());
                return Err(DiskError::Fatal(what));
            }
            undo(&db, &self.doubtful, self.totals).map_err(classify)?;
        }
        self.doubtful.clear();
        self.db = Some(db);
        Ok(())
    }
}

impl<B: StorageBackend> Backend for Disk<B> {
    fn commit(&mut self, events: &[Event]) -> Result<(), DiskError> {
        if events.is_empty() {
            return Ok(());
        }
        self.reopen()?;
        let Some(db) = &self.db else { return Err(DiskError::Full) };
        match write(db, events, self.totals).map_err(classify) {
            Ok(totals) => {
                self.totals = totals;
                self.acknowledge();
                Ok(())
            }
            Err(error) => {
                self.db = None;
                self.doubtful = events.to_vec();
                Err(error)
            }
        }
    }
}

/// A file that can be believed.
struct Examined {
    db: Database,
    totals: Totals,
    objects: Vec<(String, String, String, Object)>,
    /// `None`: the file is new.
    format: Option<u64>,
}

/// Why a file cannot be believed.
enum Bad {
    Newer(u64),
    What(String),
    Row { what: String, row: Vec<u8> },
}

/// What redb finds.
fn bad(error: impl Into<redb::Error>) -> Bad {
    Bad::What(error.into().to_string())
}

fn examine<B: StorageBackend>(file: Guarded<B>, examiner: &Examiner, path: &Path) -> Result<Examined, Bad> {
    let new = file.len().is_ok_and(|len| len == 0);
    let mut db = create(file).map_err(bad)?;
    if new {
        return Ok(Examined { db, totals: Totals::EMPTY, objects: Vec::new(), format: None });
    }
    examiner.look_again();
    // Every page, from the roots down; nothing is followed that was not checked.
    if !db.check_integrity().map_err(bad)? {
        tracing::info!(path = %path.display(), "the data file was not closed in order, and has been repaired");
    }
    let Some((format, totals)) = read_meta(&db).map_err(bad)? else {
        return Ok(Examined { db, totals: Totals::EMPTY, objects: Vec::new(), format: None });
    };
    if format > FORMAT {
        return Err(Bad::Newer(format));
    }
    if !matches!(format, FORMAT | WITHOUT_DIGESTS) {
        return Err(Bad::What(format!("unknown format {format}")));
    }
    let mut found = Totals { revision: totals.revision, ..Totals::EMPTY };
    let mut objects = Vec::new();
    let table = db.begin_read().map_err(bad)?.open_table(OBJECTS).map_err(bad)?;
    for row in table.iter().map_err(bad)? {
        let (key, value) = row.map_err(bad)?;
        let (resource, namespace, name) = key.value();
        let row = value.value();
        let decoded =
            if format == FORMAT { rows::decode(key.value(), row) } else { rows::plain(row).map(|object| (object, 0)) };
        let Some((object, digest)) = decoded.filter(|(object, _)| object.revision() <= totals.revision) else {
            return Err(Bad::Row {
                what: format!("{resource} {namespace}/{name} is not what was written"),
                row: row.to_vec(),
            });
        };
        found.add(digest);
        objects.push((resource.to_owned(), namespace.to_owned(), name.to_owned(), object));
    }
    if format == FORMAT && found != totals {
        let Totals { objects: there, .. } = found;
        return Err(Bad::What(format!("{there} objects are there, and not the {} that were written", totals.objects)));
    }
    drop(table);
    Ok(Examined { db, totals, objects, format: Some(format) })
}

fn create<B: StorageBackend>(file: Guarded<B>) -> Result<Database, redb::DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file)
}

/// Where a row lies in the file.
fn find(path: &Path, row: &[u8]) -> Option<u64> {
    let bytes = std::fs::read(path).ok()?;
    memchr::memmem::find(&bytes, row).map(|at| at as u64)
}

/// One commit; answers the totals after it.
fn write(db: &Database, events: &[Event], mut totals: Totals) -> Result<Totals, redb::Error> {
    let transaction = db.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut row = Vec::new();
        for event in events {
            if totals.change(event, &mut row) {
                objects.insert(key_of(event), row.as_slice())?;
            } else {
                objects.remove(key_of(event))?;
            }
        }
    }
    write_totals(&transaction, totals)?;
    transaction.commit()?;
    Ok(totals)
}

fn write_totals(transaction: &WriteTransaction, totals: Totals) -> Result<(), redb::Error> {
    let Totals { revision, objects, sum } = totals;
    let mut meta = transaction.open_table(META)?;
    for (name, value) in [("revision", revision), ("objects", objects), ("digests", sum)] {
        meta.insert(name, value)?;
    }
    Ok(())
}

/// Takes a commit back that its writers were told had failed.
fn undo(db: &Database, events: &[Event], before: Totals) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut row = Vec::new();
        for event in events.iter().rev() {
            match &event.previous {
                Some(previous) => {
                    rows::encode(key_of(event), previous, &mut row);
                    objects.insert(key_of(event), row.as_slice())?;
                }
                None => {
                    objects.remove(key_of(event))?;
                }
            }
        }
    }
    write_totals(&transaction, before)?;
    transaction.commit()?;
    Ok(())
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    rewrite(db, &[], Totals::EMPTY.revision).map(|_| ())
}

/// Writes every row anew, in this format.
fn rewrite(db: &Database, all: &[(String, String, String, Object)], revision: u64) -> Result<Totals, redb::Error> {
    let mut totals = Totals { revision, ..Totals::EMPTY };
    let transaction = db.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut row = Vec::new();
        for (resource, namespace, name, object) in all {
            let key = (resource.as_str(), namespace.as_str(), name.as_str());
            totals.add(rows::encode(key, object, &mut row));
            objects.insert(key, row.as_slice())?;
        }
        transaction.open_table(META)?.insert("format", FORMAT)?;
    }
    write_totals(&transaction, totals)?;
    transaction.commit()?;
    Ok(totals)
}

/// Format and totals; `None` for a file that was just created.
fn read_meta(db: &Database) -> Result<Option<(u64, Totals)>, redb::Error> {
    let table = match db.begin_read()?.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other?,
    };
    let number = |name| Ok::<_, redb::Error>(table.get(name)?.map_or(0, |value| value.value()));
    let totals = Totals { revision: number("revision")?, objects: number("objects")?, sum: number("digests")? };
    Ok(Some((number("format")?, totals)))
}

fn classify(error: redb::Error) -> DiskError {
    match error {
        redb::Error::Io(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            DiskError::Full
        }
        other => DiskError::Fatal(other.to_string()),
    }
}

/// Takes the lock of a data directory and writes our process id into it. While another process has it, tries again for as long as
/// `again` says; this process's own is refused at once.
pub(super) fn lock(path: &Path, mut again: impl FnMut() -> bool) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
    let own = std::process::id().to_string();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut pid = String::new();
        // Whatever is in there only helps a person to find the holder.
        let _ = file.rewind().and_then(|()| (&file).take(32).read_to_string(&mut pid));
        let pid = pid.trim();
        if pid == own || !again() {
            return Err(OpenError::Locked { path: path.to_owned(), pid: pid.to_owned() });
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(path = %path.display(), pid, "the data directory is in use; waiting for its holder to end");
        }
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{own}")).map_err(io)?;
    Ok(file)
}
