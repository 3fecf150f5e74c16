//! The data directory: what survives, what is refused, and a disk that fills up.

use std::cell::Cell;
use std::ops::Bound;

use redb::backends::FileBackend;
use redb::{BackendError, Database, StorageBackend};

use super::super::disk::{self, Disk};
use super::*;

fn open(dir: &Path) -> Store {
    Store::open(dir, Clock::system()).unwrap()
}

#[tokio::test]
async fn a_restart_keeps_objects_and_revision_and_forgets_the_past() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = create(&store, "a").await;
    let second = update(&store, "a", first, "kept").await.unwrap().revision;
    let gone = create(&store, "b").await;
    let last = delete(&store, "b", gone).await.unwrap().revision;
    let kept = store.get(RESOURCE, "ns", "a").unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.revision(), store.count(RESOURCE)), (last, 1));
    assert_eq!(store.get(RESOURCE, "ns", "a"), Some(kept));
    assert!(store.watch(RESOURCE, second).is_err() && store.watch(RESOURCE, last).is_ok());
}

#[tokio::test]
async fn a_directory_in_use_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let _holder = open(dir.path());
    let error = Store::open(dir.path(), Clock::system()).unwrap_err().to_string();
    let (lock, own) = (dir.path().join("lock"), std::process::id());
    assert_eq!(
        error,
        format!("{} is in use by process {own}: end that process, or choose another directory", lock.display())
    );
}

#[test]
fn a_directory_whose_holder_is_still_ending_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut killed = Some(disk::lock(&path, || false).unwrap());
    std::fs::write(&path, "another\n").unwrap();
    disk::lock(&path, || killed.take().is_some()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn a_directory_that_stays_in_use_is_refused_when_the_wait_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let _holder = disk::lock(&path, || false).unwrap();
    std::fs::write(&path, "another\n").unwrap();
    let mut tries = 0;
    let refused = disk::lock(&path, || {
        tries += 1;
        tries < 3
    });
    assert_eq!((refused.unwrap_err().to_string().contains("by process another:"), tries), (true, 3));
}

#[tokio::test]
async fn closing_gives_the_directory_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.close().await;
    open(dir.path());
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("data.redb");
    let db = Database::create(&path).unwrap();
    let transaction = db.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let error = Store::open(dir.path(), Clock::system()).unwrap_err().to_string();
    assert_eq!(error, format!("{} has format 3; this program reads up to format 2", path.display()));
}

#[test]
fn a_file_that_is_not_ours_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.redb"), "not a database, but long enough to be looked at".repeat(100))
        .unwrap();
    assert!(matches!(Store::open(dir.path(), Clock::system()), Err(OpenError::Damaged { .. })));
}

thread_local! {
    /// How many writes go through before the file system is full.
    static ROOM: Cell<Option<usize>> = const { Cell::new(None) };
    /// The errno of writes and of syncs of this thread.
    static WRITES: Cell<i32> = const { Cell::new(0) };
    static SYNCS: Cell<i32> = const { Cell::new(0) };
}

const ENOSPC: i32 = 28;

fn fault(errno: &'static std::thread::LocalKey<Cell<i32>>) -> Result<(), std::io::Error> {
    match errno.get() {
        0 => Ok(()),
        errno => Err(std::io::Error::from_raw_os_error(errno)),
    }
}

/// Whether this write still goes through.
fn room() -> Result<(), std::io::Error> {
    match ROOM.get() {
        None => Ok(()),
        Some(0) => Err(std::io::Error::from_raw_os_error(ENOSPC)),
        Some(left) => {
            ROOM.set(Some(left - 1));
            Ok(())
        }
    }
}

#[derive(Debug)]
struct Faulty(FileBackend);

impl StorageBackend for Faulty {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        fault(&WRITES).and_then(|()| room()).and_then(|()| self.0.set_len(len))
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        fault(&SYNCS).and_then(|()| self.0.sync_data())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        fault(&WRITES).and_then(|()| room()).and_then(|()| self.0.write(offset, data))
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

fn faulty(path: &Path) -> std::io::Result<Faulty> {
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Faulty(FileBackend::new(file).map_err(std::io::Error::other)?))
}

fn added(name: &str, revision: u64) -> Event {
    let (frame, object) = value("x").unwrap().stored(EventKind::Added, revision, revision);
    Event { revision, kind: EventKind::Added, key: key(name), object, previous: None, frame, at: Timestamp::now() }
}

#[test]
fn a_full_file_system_loses_nothing_and_takes_writes_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = Disk::open_with(dir.path(), faulty, |_, _, _, _| {}).unwrap();
    let mut disk = disk.without_pause();
    disk.commit(&[added("a", 2)]).unwrap();
    WRITES.set(ENOSPC);
    for _ in 0..2 {
        assert!(matches!(disk.commit(&[added("b", 3)]), Err(DiskError::Full)));
    }
    WRITES.set(0);
    disk.commit(&[added("c", 3)]).unwrap();
    drop(disk);
    let mut names = Vec::new();
    let (_, revision) = Disk::open(dir.path(), |_, _, name, _| names.push(name.to_owned())).unwrap();
    assert_eq!((names, revision), (vec!["a".to_owned(), "c".to_owned()], 3));
}

#[test]
fn a_failed_sync_is_fatal_even_when_it_says_that_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = Disk::open_with(dir.path(), faulty, |_, _, _, _| {}).unwrap();
    SYNCS.set(ENOSPC);
    assert!(matches!(disk.commit(&[added("a", 2)]), Err(DiskError::Fatal(_))));
}

/// Wherever in a commit space runs out: what was acknowledged is there, what was refused is not, and revisions go on from there.
#[test]
fn a_disk_that_fills_up_at_any_write_of_a_commit_loses_nothing_and_keeps_nothing_that_was_refused() {
    let mut refusals = 0;
    for room in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open_with(dir.path(), faulty, |_, _, _, _| {}).unwrap();
        let mut disk = disk.without_pause();
        let mut kept = Vec::new();
        let mut revision = 1;
        ROOM.set(Some(room));
        for at in 0..40 {
            if at == 20 {
                ROOM.set(None);
            }
            let name = format!("o-{at}");
            match disk.commit(&[added(&name, revision + 1)]) {
                Ok(()) => {
                    revision += 1;
                    kept.push(name);
                }
                Err(DiskError::Full) => refusals += 1,
                Err(DiskError::Fatal(why)) => panic!("{why}"),
            }
        }
        drop(disk);
        let mut found = Vec::new();
        let (_, there) = Disk::open(dir.path(), |_, _, name, _| found.push(name.to_owned())).unwrap();
        kept.sort();
        assert_eq!((found, there), (kept, revision), "room for {room} writes");
    }
    assert!(refusals > 100);
}
