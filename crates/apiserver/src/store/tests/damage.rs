//! A damaged data file is refused by name, and left as it was, or holds exactly what was acknowledged: never anything else.

use std::collections::BTreeMap;
use std::fs;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Damages for each file; `PADDOCK_TEST_DAMAGES` says another number.
fn damages() -> usize {
    std::env::var("PADDOCK_TEST_DAMAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(150)
}

/// Everything that a store shows: its revision and the text of each object.
type State = (u64, BTreeMap<String, Bytes>);

fn state(store: &Store) -> State {
    let mut objects = BTreeMap::new();
    store
        .list_where(&ListRequest::all(RESOURCE), |at, object| {
            objects.insert(format!("{}/{}", at.namespace, at.name), object.bytes().clone());
            true
        })
        .unwrap();
    (store.revision(), objects)
}

/// A data directory with a history, as it was when the process was killed and as it is after it was closed.
struct Original {
    killed: Vec<(&'static str, Vec<u8>)>,
    closed: Vec<(&'static str, Vec<u8>)>,
    state: State,
}

const FILES: [&str; 2] = ["data.redb", "acknowledged"];

fn read(dir: &Path) -> Vec<(&'static str, Vec<u8>)> {
    FILES.map(|name| (name, fs::read(dir.join(name)).unwrap())).to_vec()
}

async fn original() -> Original {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    for at in 0..120 {
        let name = format!("o-{at:03}");
        let first = create(&store, &name).await;
        match at % 4 {
            0 => drop(delete(&store, &name, first).await.unwrap()),
            1 => drop(update(&store, &name, first, &"long ".repeat(at * 7)).await.unwrap()),
            _ => {}
        }
    }
    let (killed, state) = (read(dir.path()), state(&store));
    store.close().await;
    Original { killed, closed: read(dir.path()), state }
}

/// Opens a damaged copy: `None` when it was refused.
fn open_copy(files: &[(&'static str, Vec<u8>)], data: &[u8]) -> Option<State> {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let path = dir.path().join(FILES[0]);
    fs::write(&path, data).unwrap();
    match Store::open(dir.path(), Clock::system()) {
        Ok(store) => Some(state(&store)),
        Err(OpenError::Damaged { .. } | OpenError::Behind { .. } | OpenError::Newer { .. } | OpenError::Io { .. }) => {
            assert!(fs::read(&path).unwrap() == data, "a file that is refused is left as it was");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Counts refusals over damaged copies of both files.
async fn damaged(seed: u64, damage: impl Fn(&mut StdRng, &mut Vec<u8>)) -> (usize, usize) {
    let original = original().await;
    let mut random = StdRng::seed_from_u64(seed);
    let (mut refused, mut all) = (0, 0);
    for files in [&original.killed, &original.closed] {
        let (_, data) = &files[0];
        assert_eq!(open_copy(files, data).as_ref(), Some(&original.state));
        for _ in 0..damages() {
            let mut data = data.clone();
            damage(&mut random, &mut data);
            all += 1;
            match open_copy(files, &data) {
                Some(state) => assert!(state == original.state, "a damaged file shows what nobody wrote"),
                None => refused += 1,
            }
        }
    }
    (refused, all)
}

/// A place in what is used of the file: most of it is empty.
fn used(random: &mut StdRng, data: &[u8]) -> usize {
    loop {
        let at = random.random_range(0..data.len());
        if data[at] != 0 {
            return at;
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_changes_nothing() {
    let (refused, all) = damaged(1, |random, data| {
        let at = if random.random() { used(random, data) } else { random.random_range(0..data.len()) };
        data[at] ^= 1 << random.random_range(0..8);
    })
    .await;
    assert!(refused * 10 > all, "of {all} flips only {refused} were noticed: were they where the data is?");
}

#[tokio::test]
async fn a_flipped_bit_in_the_first_page_is_refused_or_changes_nothing() {
    damaged(2, |random, data| data[random.random_range(0..512)] ^= 1 << random.random_range(0..8)).await;
}

#[tokio::test]
async fn a_cut_file_is_refused_or_changes_nothing() {
    let (refused, all) = damaged(3, |random, data| data.truncate(random.random_range(0..data.len()))).await;
    assert!(refused * 2 > all);
}

#[tokio::test]
async fn a_page_of_another_time_is_refused_or_changes_nothing() {
    damaged(4, |random, data| {
        let pages = data.len() / 4096;
        let (from, to) = (random.random_range(0..pages) * 4096, used(random, data) / 4096 * 4096);
        data.copy_within(from..from + 4096, to);
    })
    .await;
}

#[tokio::test]
async fn a_missing_or_empty_file_is_refused_where_something_was_acknowledged() {
    let original = original().await;
    assert_eq!(open_copy(&original.closed, &[]), None);
}

#[tokio::test]
async fn a_damaged_object_is_refused_with_its_place_and_what_to_do() {
    let original = original().await;
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in &original.closed {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let mut data = original.closed[0].1.clone();
    let (_, text) = original.state.1.iter().next_back().unwrap();
    let at = memchr::memmem::rfind(&data, text).unwrap();
    data[at + 20] ^= 1;
    fs::write(dir.path().join(FILES[0]), &data).unwrap();
    let error = Store::open(dir.path(), Clock::system()).unwrap_err();
    let said = error.to_string();
    let place = match error {
        OpenError::Damaged { offset, .. } | OpenError::Behind { offset, .. } => offset as usize,
        other => panic!("{other}"),
    };
    assert_eq!(place / 4096, at / 4096, "{said}");
    assert!(said.contains("Nothing was changed"), "{said}");
}

#[tokio::test]
async fn an_older_copy_of_the_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    create(&store, "a").await;
    store.close().await;
    let old = fs::read(dir.path().join(FILES[0])).unwrap();
    let store = Store::open(dir.path(), Clock::system()).unwrap();
    create(&store, "b").await;
    store.close().await;
    fs::write(dir.path().join(FILES[0]), old).unwrap();
    let error = Store::open(dir.path(), Clock::system()).unwrap_err();
    assert!(matches!(error, OpenError::Behind { found: 2, acknowledged: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_note_of_what_was_acknowledged_proves_nothing() {
    let mut original = original().await;
    original.closed[1].1[3] ^= 4;
    let data = original.closed[0].1.clone();
    assert_eq!(open_copy(&original.closed, &data), Some(original.state));
}
