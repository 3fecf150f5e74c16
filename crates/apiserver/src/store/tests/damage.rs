//! Damaged data files are refused by name, and left as they were, or hold exactly what was acknowledged: never anything else.

use std::collections::BTreeMap;
use std::fs;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

/// Damages for each state of the directory; `PADDOCK_TEST_DAMAGES` says another number.
fn damages() -> usize {
    std::env::var("PADDOCK_TEST_DAMAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(150)
}

/// Everything that a store shows: its revision and the text of each object.
pub(super) type State = (u64, BTreeMap<String, Bytes>);

pub(super) fn state(store: &Store) -> State {
    let mut objects = BTreeMap::new();
    store
        .list_where(&ListRequest::all(RESOURCE), |at, object| {
            objects.insert(format!("{}/{}", at.namespace, at.name), object.bytes().clone());
            true
        })
        .unwrap();
    (store.revision(), objects)
}

/// The files of a data directory, without its lock.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn read(dir: &Path) -> Files {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // A snapshot that is being taken may go while this reads.
    names
        .filter(|name| name != "lock")
        .filter_map(|name| Some((name.clone(), fs::read(dir.join(name)).ok()?)))
        .collect()
}

pub(super) fn write(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// The files that hold objects.
fn data(files: &Files) -> Vec<&String> {
    files.keys().filter(|name| *name == "snapshot" || name.starts_with("log-")).collect()
}

/// A data directory at three moments of its history: a log alone, a snapshot just taken, and with some of the log after it.
async fn originals() -> Vec<(State, Files)> {
    let dir = tempfile::tempdir().unwrap();
    let mut moments = Vec::new();
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    for at in 0..60 {
        let name = format!("o-{at:03}");
        let first = create(&store, &name).await;
        match at % 4 {
            0 => drop(delete(&store, &name, first).await.unwrap()),
            1 => drop(update(&store, &name, first, &"long ".repeat(at * 70)).await.unwrap()),
            _ => {}
        }
    }
    store.close().await;
    moments.push((state(&store), read(dir.path())));
    let store = open_with(dir.path(), Arc::new(disk::file::open), 1).unwrap();
    let mut at = 0;
    while !dir.path().join("snapshot").exists() {
        create(&store, &format!("p-{at}")).await;
        at += 1;
    }
    store.close().await;
    moments.push((state(&store), read(dir.path())));
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    for at in 0..30 {
        create(&store, &format!("q-{at}")).await;
    }
    store.close().await;
    moments.push((state(&store), read(dir.path())));
    moments
}

/// Opens a copy: `None` when it was refused.
fn open_copy(files: &Files) -> Option<State> {
    let dir = write(files);
    match Store::open(dir.path(), Clock::system()) {
        Ok(store) => Some(state(&store)),
        Err(OpenError::Damaged { .. } | OpenError::Behind { .. } | OpenError::Newer { .. }) => {
            assert!(read(dir.path()) == *files, "files that are refused are left as they were");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Damages one file of a copy, many times; answers how many were refused, of how many.
async fn damaged(seed: u64, damage: impl Fn(&mut StdRng, &mut Vec<u8>)) -> (usize, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut refused, mut all) = (0, 0);
    for (state, files) in originals().await {
        assert_eq!(open_copy(&files).as_ref(), Some(&state));
        for _ in 0..damages() {
            let mut files = files.clone();
            let name = (*data(&files).choose(&mut random).unwrap()).clone();
            let bytes = files.get_mut(&name).unwrap();
            if bytes.is_empty() {
                continue;
            }
            damage(&mut random, bytes);
            all += 1;
            match open_copy(&files) {
                Some(found) => assert!(found == state, "{name} is damaged and shows what nobody wrote"),
                None => refused += 1,
            }
        }
    }
    (refused, all)
}

/// A place in what is used of a file: much of it is padding.
fn used(random: &mut StdRng, data: &[u8]) -> usize {
    loop {
        let at = random.random_range(0..data.len());
        if data[at] != 0 {
            return at;
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_is_refused() {
    let (refused, all) = damaged(1, |random, data| {
        let at = used(random, data);
        data[at] ^= 1 << random.random_range(0..8);
    })
    .await;
    assert_eq!(refused, all);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused_or_changes_nothing() {
    damaged(2, |random, data| {
        let at = random.random_range(0..data.len());
        data[at] ^= 1 << random.random_range(0..8);
    })
    .await;
}

#[tokio::test]
async fn a_cut_file_is_refused() {
    let (refused, all) = damaged(3, |random, data| data.truncate(random.random_range(0..data.len()))).await;
    assert_eq!(refused, all);
}

#[tokio::test]
async fn a_block_of_another_time_is_refused_or_changes_nothing() {
    let (refused, all) = damaged(4, |random, data| {
        let blocks = data.len() / 4096;
        let (from, to) = (random.random_range(0..blocks) * 4096, random.random_range(0..blocks) * 4096);
        data.copy_within(from..from + 4096, to);
    })
    .await;
    assert!(refused * 2 > all, "of {all} only {refused} were noticed");
}

#[tokio::test]
async fn a_record_behind_the_end_is_of_no_account_unless_it_is_of_a_later_revision() {
    damaged(5, |random, data| {
        let from = random.random_range(0..data.len() / 4096) * 4096;
        data.extend_from_within(from..from + 4096);
    })
    .await;
}

#[tokio::test]
async fn a_missing_file_is_refused() {
    for (state, files) in originals().await {
        for name in data(&files) {
            let mut files = files.clone();
            let bytes = files.remove(name).unwrap();
            let expected = bytes.is_empty().then(|| state.clone());
            assert_eq!(open_copy(&files), expected, "without {name}");
        }
    }
}

#[tokio::test]
async fn a_damaged_record_is_refused_with_its_file_its_place_and_what_to_do() {
    let (_, mut files) = originals().await.remove(2);
    let name = data(&files).into_iter().rfind(|name| name.starts_with("log-")).unwrap().clone();
    files.get_mut(&name).unwrap()[5 * 4096 + 100] ^= 1;
    let dir = write(&files);
    let error = Store::open(dir.path(), Clock::system()).unwrap_err();
    let said = error.to_string();
    let OpenError::Damaged { path, offset, .. } = error else { panic!("{said}") };
    assert_eq!((path, offset), (dir.path().join(name), 5 * 4096));
    assert!(said.contains("Nothing was changed. Move the directory away"), "{said}");
}

#[tokio::test]
async fn an_older_copy_of_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    create(&store, "a").await;
    store.close().await;
    let log = dir.path().join("log-00000000000000000002");
    let old = fs::read(&log).unwrap();
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    create(&store, "b").await;
    store.close().await;
    fs::write(&log, &old).unwrap();
    let error = Store::open(dir.path(), Clock::system()).unwrap_err();
    let OpenError::Behind { found: 2, acknowledged: 3, offset, .. } = error else { panic!("{error}") };
    assert_eq!(offset, old.len() as u64);
}

#[tokio::test]
async fn a_log_of_another_history_is_refused() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, name) in dirs.iter().zip(["a", "b"]) {
        let store = Store::open(dir.path(), Clock::system()).unwrap();
        create(&store, name).await;
        create(&store, "c").await;
        store.close().await;
    }
    let [mut one, other] = dirs.map(|dir| read(dir.path()));
    let log = data(&one)[0].clone();
    let len = one[&log].len() / 2;
    one.get_mut(&log).unwrap()[len..].copy_from_slice(&other[&log][len..]);
    assert_eq!(open_copy(&one), None);
}

#[tokio::test]
async fn a_damaged_note_of_what_was_acknowledged_proves_nothing() {
    let (state, mut files) = originals().await.remove(0);
    files.get_mut("acknowledged").unwrap()[3] ^= 4;
    assert_eq!(open_copy(&files), Some(state));
}
