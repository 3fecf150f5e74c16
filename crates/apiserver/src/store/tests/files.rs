//! The data directory: what survives, what is refused, and a disk that fills up or fails.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use super::damage::{read, state, write};
use super::disk::file::{self, DataFile, OpenFile};
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

/// As a process has it that is being started, until it runs its own program.
#[test]
fn a_copy_of_the_open_lock_file_does_not_keep_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = disk::lock(&path, || false).unwrap();
    let _copy = held.0.try_clone().unwrap();
    drop(held);
    assert!(disk::lock(&path, || false).is_ok());
}

#[tokio::test]
async fn closing_gives_the_directory_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.close().await;
    open(dir.path());
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "a").await;
    store.close().await;
    let path = dir.path().join("log-00000000000000000002");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] += 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(dir.path(), Clock::system()).unwrap_err().to_string();
    assert_eq!(error, format!("{} has format 4; this program reads up to format 3", path.display()));
}

#[test]
fn the_file_of_an_earlier_build_is_refused_by_name_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.redb");
    std::fs::write(&path, "redb").unwrap();
    let error = Store::open(dir.path(), Clock::system()).unwrap_err();
    assert!(matches!(&error, OpenError::Older { path: named } if *named == path), "{error}");
    assert_eq!(std::fs::read(path).unwrap(), b"redb");
}

#[tokio::test]
async fn a_log_that_is_not_ours_is_refused_where_something_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "a").await;
    store.close().await;
    let path = dir.path().join("log-00000000000000000002");
    std::fs::write(&path, "not a log, but long enough to be looked at".repeat(200)).unwrap();
    assert!(matches!(Store::open(dir.path(), Clock::system()), Err(OpenError::Behind { found: 1, .. })));
}

/// A write that a crash cut short was not answered.
#[tokio::test]
async fn half_a_record_at_the_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "a").await;
    let before = state(&store);
    let acknowledged = std::fs::read(dir.path().join("acknowledged")).unwrap();
    let first = store.get(RESOURCE, "ns", "a").unwrap().revision();
    update(&store, "a", first, &"long ".repeat(4000)).await.unwrap();
    store.close().await;
    std::fs::write(dir.path().join("acknowledged"), acknowledged).unwrap();
    let log = dir.path().join("log-00000000000000000002");
    let whole = std::fs::read(&log).unwrap();
    for len in [4096 + 1, 4096 + 48, 2 * 4096, whole.len() - 4096, whole.len() - 1] {
        std::fs::write(&log, &whole[..len]).unwrap();
        let store = open(dir.path());
        assert_eq!(state(&store), before, "{len}");
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 4096);
        store.close().await;
    }
}

/// Writes until a snapshot is there.
async fn until_snapshot(store: &Store, dir: &Path) {
    let mut at = 0;
    while !dir.join("snapshot").exists() {
        create(store, &format!("until-{at}")).await;
        at += 1;
    }
}

fn logs(dir: &Path) -> Vec<String> {
    read(dir).into_keys().filter(|name| name.starts_with("log-")).collect()
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_log_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Arc::new(file::open), 64 << 10).unwrap();
    let first = create(&store, "updated").await;
    update(&store, "updated", first, "again").await.unwrap();
    let gone = create(&store, "deleted").await;
    delete(&store, "deleted", gone).await.unwrap();
    until_snapshot(&store, dir.path()).await;
    create(&store, "later").await;
    store.close().await;
    assert!(!logs(dir.path()).contains(&"log-00000000000000000002".to_owned()));
    assert_eq!(state(&open(dir.path())), state(&store));
}

#[tokio::test]
async fn what_holds_objects_is_readable_by_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Arc::new(file::open), 1).unwrap();
    until_snapshot(&store, dir.path()).await;
    for name in logs(dir.path()).into_iter().chain(["snapshot".to_owned()]) {
        let mode = std::fs::metadata(dir.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// More than are read under one lock, and more than a record holds.
#[tokio::test]
async fn a_snapshot_has_the_objects_of_all_resources_and_namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Arc::new(file::open), 8 << 20).unwrap();
    let large = "x".repeat(10 << 10);
    let writes = (0..900).map(|at| {
        let resource = ["/configmaps", "/secrets"][at % 2];
        let namespace = ["a", "a-b", "b"][at % 3];
        let key = Key::new(resource, namespace, format!("o-{at}"));
        store.write(Write { key, expect: Expect::Absent, value: value(if at % 9 == 0 { &large } else { "small" }) })
    });
    futures::future::try_join_all(writes).await.unwrap();
    let mut revision = create(&store, "filler").await;
    while !dir.path().join("snapshot").exists() {
        revision = update(&store, "filler", revision, &"x".repeat(1 << 20)).await.unwrap().revision;
    }
    store.close().await;
    let again = open(dir.path());
    for resource in ["/configmaps", "/secrets"] {
        let all = ListRequest::all(resource);
        assert_eq!(again.list(&all).unwrap(), store.list(&all).unwrap());
    }
}

#[tokio::test]
async fn a_store_that_is_empty_again_has_an_empty_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Arc::new(file::open), 1).unwrap();
    while !dir.path().join("snapshot").exists() {
        let first = create(&store, "a").await;
        delete(&store, "a", first).await.unwrap();
    }
    store.close().await;
    assert_eq!(state(&open(dir.path())), state(&store));
}

/// What a process leaves that dies after it has named a snapshot, and before it has removed the log before that.
#[tokio::test]
async fn a_log_that_the_snapshot_has_made_needless_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["a", "b"] {
        create(&store, name).await;
    }
    store.close().await;
    let before = read(dir.path());
    let store = open_with(dir.path(), Arc::new(file::open), 1).unwrap();
    until_snapshot(&store, dir.path()).await;
    store.close().await;
    let mut both = read(dir.path());
    both.extend(before.into_iter().filter(|(name, _)| name.starts_with("log-")));
    let copy = write(&both);
    assert_eq!(state(&open(copy.path())), state(&store));
    assert_eq!(logs(copy.path()), logs(dir.path()));
}

/// What a process leaves that dies while it takes a snapshot.
#[tokio::test]
async fn half_a_snapshot_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "a").await;
    store.close().await;
    let path = dir.path().join("snapshot.new");
    std::fs::write(&path, "half").unwrap();
    assert_eq!((state(&open(dir.path())), path.exists()), (state(&store), false));
}

#[tokio::test]
async fn a_log_that_was_made_and_not_begun_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["a", "b", "c"] {
        create(&store, name).await;
    }
    store.close().await;
    let path = dir.path().join("log-00000000000000000003");
    std::fs::write(&path, "").unwrap();
    assert_eq!((state(&open(dir.path())), path.exists()), (state(&store), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_that_are_taken_while_objects_come_change_and_go_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Arc::new(file::open), 16 << 10).unwrap();
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for at in 0..250 {
                let name = format!("{}-{writer}", at * 7 % 50);
                match store.get(RESOURCE, "ns", &name).map(|object| object.revision()) {
                    None => drop(create(&store, &name).await),
                    Some(revision) if at % 3 == 0 => drop(delete(&store, &name, revision).await.unwrap()),
                    Some(revision) => drop(update(&store, &name, revision, &at.to_string()).await.unwrap()),
                }
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    store.close().await;
    assert_eq!(state(&open(dir.path())), state(&store));
    assert!(dir.path().join("snapshot").exists());
}

/// What goes wrong with files.
#[derive(Debug, Default)]
struct Faults {
    /// So many writes go through before the disk is full, if there is an end to it.
    room: Mutex<Option<u32>>,
    /// The errno of syncs.
    sync: AtomicI32,
    /// Only of the file with this name, if there is one.
    only: Mutex<Option<&'static str>>,
}

const ENOSPC: i32 = 28;

impl Faults {
    fn room(&self, writes: Option<u32>) {
        *self.room.lock().unwrap() = writes;
    }

    /// Whether one more write goes through.
    fn has_room(&self) -> bool {
        let mut room = self.room.lock().unwrap();
        let has = *room != Some(0);
        *room = room.map(|left| left.saturating_sub(1));
        has
    }

    fn open(self: &Arc<Self>) -> Arc<OpenFile> {
        let faults = self.clone();
        Arc::new(move |path| {
            Ok(Box::new(Faulty { file: file::open(path)?, path: path.to_owned(), faults: faults.clone() }))
        })
    }
}

struct Faulty {
    file: Box<dyn DataFile>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl Faulty {
    fn is_concerned(&self) -> bool {
        self.faults.only.lock().unwrap().is_none_or(|name| self.path.ends_with(name))
    }
}

impl DataFile for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    /// Where the room ends, half of the bytes are written, as by a kernel.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.is_concerned() && !self.faults.has_room() {
            self.file.write(offset, &bytes[..bytes.len() / 2])?;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        self.file.write(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        match self.faults.sync.load(SeqCst) {
            errno if errno != 0 && self.is_concerned() => Err(io::Error::from_raw_os_error(errno)),
            _ => self.file.sync(),
        }
    }
}

async fn try_create(store: &Store, name: &str) -> Result<Committed, WriteError> {
    store.write(Write { key: key(name), expect: Expect::Absent, value: value("new") }).await
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_nothing_of_them_and_takes_writes_again_when_there_is_space() {
    let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
    let store = open_with(dir.path(), faults.open(), u64::MAX).unwrap();
    create(&store, "a").await;
    let before = read(dir.path());
    faults.room(Some(0));
    for _ in 0..2 {
        assert_eq!(try_create(&store, "b").await, Err(WriteError::Full));
        assert_eq!(read(dir.path()), before);
    }
    faults.room(None);
    create(&store, "c").await;
    store.close().await;
    let again = open(dir.path());
    assert_eq!((state(&again), again.count(RESOURCE)), (state(&store), 2));
}

#[tokio::test]
async fn a_failed_sync_is_fatal_even_when_it_says_that_the_disk_is_full() {
    let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
    let store = open_with(dir.path(), faults.open(), u64::MAX).unwrap();
    faults.sync.store(ENOSPC, SeqCst);
    let Err(WriteError::Closed(cause)) = try_create(&store, "a").await else { panic!("it was taken") };
    assert!(cause.starts_with("fdatasync failed"), "{cause}");
}

#[tokio::test]
async fn a_directory_is_opened_while_the_disk_is_full() {
    let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
    let store = open(dir.path());
    create(&store, "a").await;
    store.close().await;
    faults.room(Some(0));
    let again = open_with(dir.path(), faults.open(), u64::MAX).unwrap();
    assert_eq!(state(&again), state(&store));
    assert_eq!(try_create(&again, "b").await, Err(WriteError::Full));
}

/// A process that was killed before its sync has left a record that can be read and is not durable.
#[tokio::test]
async fn what_is_read_is_made_durable_before_it_is_shown() {
    let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
    let store = open(dir.path());
    create(&store, "a").await;
    store.close().await;
    faults.sync.store(5, SeqCst);
    assert!(matches!(open_with(dir.path(), faults.open(), u64::MAX), Err(OpenError::Io { .. })));
}

/// Wherever space runs out, in the log or in a snapshot: what was acknowledged is there, what was refused is not.
#[tokio::test]
async fn a_disk_that_fills_up_at_any_write_loses_nothing_and_keeps_nothing_that_was_refused() {
    let mut refusals = 0;
    for room in 0..40 {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
        let store = open_with(dir.path(), faults.open(), 24 << 10).unwrap();
        faults.room(Some(room));
        for at in 0..40 {
            if at == 20 {
                faults.room(None);
            }
            match try_create(&store, &format!("o-{at}")).await {
                Ok(_) => {}
                Err(WriteError::Full) => refusals += 1,
                Err(other) => panic!("{other}"),
            }
        }
        store.close().await;
        assert_eq!(state(&open(dir.path())), state(&store), "room for {room} writes");
    }
    assert!(refusals > 100, "{refusals}");
}

/// A snapshot that cannot be written costs space and nothing else.
#[tokio::test]
async fn a_snapshot_that_fails_is_given_up_and_a_later_one_is_taken() {
    for sync in [false, true] {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
        *faults.only.lock().unwrap() = Some("snapshot.new");
        if sync {
            faults.sync.store(5, SeqCst);
        } else {
            faults.room(Some(1));
        }
        let store = open_with(dir.path(), faults.open(), 24 << 10).unwrap();
        for at in 0..40 {
            create(&store, &format!("o-{at}")).await;
        }
        assert!(!dir.path().join("snapshot").exists() && logs(dir.path()).len() > 1);
        faults.room(None);
        faults.sync.store(0, SeqCst);
        until_snapshot(&store, dir.path()).await;
        store.close().await;
        assert_eq!(state(&open(dir.path())), state(&store));
        assert!(!logs(dir.path()).contains(&"log-00000000000000000002".to_owned()));
    }
}
