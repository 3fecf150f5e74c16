//! Where committed writes go: a log and a snapshot, or nowhere. The only room of the store that touches the disk.
//!
//! | file | what it is |
//! |---|---|
//! | `log-REVISION` | commits from that revision on, one record each ([`log`]); more than one while a snapshot is taken |
//! | `snapshot` | all objects up to where the oldest log begins ([`snapshot`]); none at first |
//! | `acknowledged` | the revision up to which writes were answered; not synced, so it may lag behind after a power cut |
//! | `lock` | held by the process that has the directory |
//!
//! A commit is one write and one sync at the end of the log. When the log has grown as large as the snapshot, a thread takes a new
//! one, while a new log is begun; then what came before goes.
//!
//! Files are read whole before they are believed, and left alone until then: each record has a digest and names the one before it,
//! so one that is missing or is of another time shows. A record that is not whole at the very end is a write that a crash cut
//! short; it would be a silent loss if it had been acknowledged: that is what `acknowledged` tells apart.

pub(super) mod file;
mod log;
mod record;
mod snapshot;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::file::OpenFile;
use self::log::{Bad, Log, Place};
use self::record::Builder;
use self::snapshot::Read;
use super::{Event, EventKind, Key, Object, Shared};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::record::fuzz as fuzz_record;

/// The smallest log for which a snapshot is taken, in bytes.
const SNAPSHOT_BYTES: u64 = 16 << 20;
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
    /// Makes the events durable, all or none, in order. They follow what `shared` shows, and the last one's revision is the store's
    /// after them.
    fn commit(&mut self, events: &[Event], shared: &Arc<Shared>) -> Result<(), DiskError>;
}

/// Keeps nothing.
pub(crate) struct Nowhere;

impl Backend for Nowhere {
    fn commit(&mut self, _events: &[Event], _shared: &Arc<Shared>) -> Result<(), DiskError> {
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
        found: u8,
        /// The newest format known here.
        supported: u8,
    },
    /// A build from before the first release wrote it, which kept everything in one file.
    #[error(
        "{} was written by an earlier build, and this one does not read it: take what is needed out of it with that build \
         (kubectl get -o yaml), then begin with an empty directory",
        path.display()
    )]
    Older {
        /// The data file.
        path: PathBuf,
    },
    /// A file is not ours or is damaged. It was not changed.
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
        /// The place in the file: where the record begins that is not what was written.
        offset: u64,
        /// Bytes in the file.
        size: u64,
    },
    /// What was acknowledged is not there. Nothing was changed.
    #[error(
        "{}: it ends at revision {found}, and writes up to revision {acknowledged} were acknowledged: the last commits are damaged, \
         at or near byte {offset}, or the files are an older copy. Nothing was changed. Restore a backup; to go on without those \
         writes, delete {}",
        path.display(),
        witness.display()
    )]
    Behind {
        /// The last data file.
        path: PathBuf,
        /// The file that says what was acknowledged.
        witness: PathBuf,
        /// The revision that was found.
        found: u64,
        /// The revision that was acknowledged.
        acknowledged: u64,
        /// Where the last commit that was found ends.
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

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// What a file says that cannot be believed.
fn refused(path: &Path, bad: Bad) -> OpenError {
    let path = path.to_owned();
    match bad {
        Bad::Newer(found) => OpenError::Newer { path, found, supported: record::FORMAT },
        Bad::Io(source) => OpenError::Io { path, source },
        Bad::Damaged { what, offset } => {
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            OpenError::Damaged { path, what, offset, size }
        }
    }
}

/// A data directory with its lock, which goes with the value.
pub(crate) struct Disk {
    dir: PathBuf,
    open: Arc<OpenFile>,
    log: Log,
    /// Of the logs before that one, which the next snapshot makes needless.
    earlier: u64,
    /// The smallest log for which a snapshot is taken.
    snapshot_bytes: u64,
    /// So many bytes of logs, and the next one is taken.
    due: u64,
    taking: Option<Taking>,
    /// For the next commit.
    record: Builder,
    witness: File,
    _lock: Held,
}

/// A snapshot that is being taken.
struct Taking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Option<u64>, DiskError>>,
}

impl Disk {
    /// Opens or makes a data directory, hands every change that it remembers to `each`, in order, and answers the revision.
    pub(crate) fn open(dir: &Path, each: impl FnMut(Key, Option<Object>)) -> Result<(Self, u64), OpenError> {
        Self::open_with(dir, Arc::new(file::open), SNAPSHOT_BYTES, each)
    }

    pub(super) fn open_with(
        dir: &Path,
        open: Arc<OpenFile>,
        snapshot_bytes: u64,
        mut each: impl FnMut(Key, Option<Object>),
    ) -> Result<(Self, u64), OpenError> {
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let deadline = Instant::now() + DYING;
        let lock = lock(&dir.join("lock"), || {
            std::thread::sleep(Duration::from_millis(10));
            Instant::now() < deadline
        })?;
        let older = dir.join("data.redb");
        if older.exists() {
            return Err(OpenError::Older { path: older });
        }
        let witness_path = dir.join("acknowledged");
        let acknowledged = match std::fs::read(&witness_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => record::witnessed(&read.map_err(io(&witness_path))?),
        };
        let Found { snapshot, log, place, earlier, needless } = find(dir, &*open, &mut each)?;
        let (ends, offset) = match &log {
            Some(log) => (log.path.clone(), log.end),
            None => (snapshot::path(dir), snapshot.map_or(0, |snapshot| snapshot.len)),
        };
        let found = place.revision;
        if let Some(Read { to, .. }) = snapshot.filter(|snapshot| found < snapshot.to) {
            let what = format!("it ends at revision {found}, and the snapshot has objects up to revision {to}");
            return Err(refused(&ends, Bad::Damaged { what, offset }));
        }
        if let Some(acknowledged) = acknowledged.filter(|acknowledged| found < *acknowledged) {
            return Err(OpenError::Behind { path: ends, witness: witness_path, found, acknowledged, offset });
        }
        // All of it is believed: from here on files are changed.
        let log = match log {
            Some(log) => Log::resume(log.file, log.end, place),
            None => Log::create(&*open, dir, place),
        };
        let log = log.map_err(io(&ends))?;
        for path in needless {
            std::fs::remove_file(&path).map_err(io(&path))?;
        }
        // A process that was killed may have made the log and not got to this.
        file::sync_directory(dir).map_err(io(dir))?;
        let witness = OpenOptions::new().write(true).create(true).truncate(false).open(&witness_path);
        let witness = witness.map_err(io(&witness_path))?;
        let due = snapshot.map_or(0, |snapshot| snapshot.len).max(snapshot_bytes);
        let (dir, record) = (dir.to_owned(), Builder::new());
        let disk = Self { dir, open, log, earlier, snapshot_bytes, due, taking: None, record, witness, _lock: lock };
        disk.acknowledge();
        Ok((disk, found))
    }

    /// Notes what is about to be answered. Not synced: it is there to tell a damaged file from a commit that a crash cut short, and
    /// survives the end of the process as it is.
    fn acknowledge(&self) {
        if let Err(error) = self.witness.write_all_at(&record::witness(self.log.place().revision), 0) {
            tracing::debug!(%error, "cannot note the acknowledged revision");
        }
    }

    /// Begins a snapshot when one is due, and ends one that has been taken. Its failure costs space only: the logs are kept.
    fn snapshots(&mut self, shared: &Arc<Shared>) {
        if let Some(taking) = self.taking.take_if(|taking| taking.thread.is_finished()) {
            self.taken(taking);
        }
        if self.taking.is_none() && self.earlier + self.log.len() >= self.due {
            self.due += self.snapshot_bytes;
            if let Err(error) = self.take_snapshot(shared) {
                tracing::warn!(dir = %self.dir.display(), %error, "cannot begin a snapshot; the log goes on growing");
            }
        }
    }

    fn take_snapshot(&mut self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let from = self.log.place();
        if self.log.len() > 0 {
            let next = Log::create(&*self.open, &self.dir, from)?;
            self.earlier += std::mem::replace(&mut self.log, next).len();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("store-snapshot".to_owned()).spawn({
            let (dir, open, shared, stop) = (self.dir.clone(), self.open.clone(), shared.clone(), stop.clone());
            move || {
                let taken = snapshot::take(&*open, &dir, from, &shared, &stop)?;
                if taken.is_some() {
                    forget_logs(&dir, from.revision);
                }
                Ok(taken)
            }
        })?;
        self.taking = Some(Taking { stop, thread });
        Ok(())
    }

    fn taken(&mut self, Taking { thread, .. }: Taking) {
        let failed = match thread.join() {
            Ok(Ok(Some(bytes))) => {
                (self.due, self.earlier) = (bytes.max(self.snapshot_bytes), 0);
                return;
            }
            Ok(Ok(None)) => return,
            Ok(Err(DiskError::Full)) => "no space left".to_owned(),
            Ok(Err(DiskError::Fatal(cause))) => cause,
            Err(_) => "it panicked".to_owned(),
        };
        let dir = self.dir.display();
        tracing::warn!(%dir, error = failed, "no snapshot was taken; the log goes on growing, and another one is tried later");
    }
}

/// Removes the logs that begin at or before a revision. What stays is removed at the next start.
fn forget_logs(dir: &Path, revision: u64) {
    let removed = log::all(dir).and_then(|logs| {
        let mut before = logs.into_iter().filter(|first| *first <= revision);
        before.try_for_each(|first| std::fs::remove_file(log::path(dir, first)))
    });
    if let Err(error) = removed {
        tracing::warn!(dir = %dir.display(), %error, "cannot remove a log that is no longer needed");
    }
}

impl Backend for Disk {
    fn commit(&mut self, events: &[Event], shared: &Arc<Shared>) -> Result<(), DiskError> {
        let Some(last) = events.last() else { return Ok(()) };
        self.snapshots(shared);
        self.record.clear();
        for event in events {
            self.record.push(&event.key, Some(&event.object).filter(|_| event.kind != EventKind::Deleted));
        }
        self.log.append(&mut self.record, last.revision)?;
        self.acknowledge();
        Ok(())
    }
}

impl Drop for Disk {
    /// The directory is given back only when nobody writes to it any more.
    fn drop(&mut self) {
        if let Some(Taking { stop, thread, .. }) = self.taking.take() {
            stop.store(true, Relaxed);
            let _ = thread.join();
        }
    }
}

/// What a data directory holds.
struct Found {
    snapshot: Option<Read>,
    /// The last log.
    log: Option<FoundLog>,
    place: Place,
    /// Bytes of the logs before the last.
    earlier: u64,
    /// Files that are not needed.
    needless: Vec<PathBuf>,
}

struct FoundLog {
    path: PathBuf,
    file: Box<dyn file::DataFile>,
    end: u64,
}

/// Reads everything, changes nothing.
fn find(dir: &Path, open: &OpenFile, each: &mut dyn FnMut(Key, Option<Object>)) -> Result<Found, OpenError> {
    let mut found = Found { snapshot: None, log: None, place: Place::START, earlier: 0, needless: Vec::new() };
    let path = snapshot::path(dir);
    if path.exists() {
        let file = open(&path).map_err(io(&path))?;
        let read = snapshot::read(&*file, each).map_err(|bad| refused(&path, bad))?;
        (found.place, found.snapshot) = (read.from, Some(read));
    }
    found.needless.extend(Some(snapshot::unnamed(dir)).filter(|path| path.exists()));
    for first in log::all(dir).map_err(io(dir))? {
        let path = log::path(dir, first);
        if found.snapshot.is_some_and(|snapshot| first <= snapshot.from.revision) {
            found.needless.push(path);
            continue;
        }
        let file = open(&path).map_err(io(&path))?;
        let next = found.place.revision + 1;
        if first != next {
            // One that was made and not begun.
            if file.len().map_err(io(&path))? == 0 {
                found.needless.push(path);
                continue;
            }
            let (path, offset) = found.log.map_or((path, 0), |before| (before.path, before.end));
            let what = format!("revision {next} is missing, and revision {first} is there");
            return Err(refused(&path, Bad::Damaged { what, offset }));
        }
        let (end, place) = log::read(&*file, found.place, each).map_err(|bad| refused(&path, bad))?;
        found.place = place;
        if let Some(before) = found.log.replace(FoundLog { path, file, end }) {
            found.earlier += before.end;
        }
    }
    Ok(found)
}

/// The lock of a data directory. It is given back by name: a process that was forked and has not run its own program yet has the
/// file open, too, and would keep it.
#[derive(Debug)]
pub(super) struct Held(pub(super) File);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Takes the lock of a data directory and writes our process id into it. While another process has it, tries again for as long as
/// `again` says; this process's own is refused at once.
pub(super) fn lock(path: &Path, mut again: impl FnMut() -> bool) -> Result<Held, OpenError> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io(path))?;
    let own = std::process::id().to_string();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(io(path)(error)),
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
    // A full disk may refuse it, and must not keep a server from starting.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{own}"));
    Ok(Held(file))
}
