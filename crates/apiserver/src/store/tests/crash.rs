//! `kill -9` at any moment loses nothing acknowledged, also while snapshots are taken: this test program runs itself as the victim.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rand::Rng;

use super::*;

const DIR: &str = "PADDOCK_TEST_STORE_CRASH_DIR";
const KILLS: usize = 24;
const WRITERS: usize = 4;
/// A few commits.
const SNAPSHOT_BYTES: u64 = 16 << 10;

/// The victim: writes and says what was acknowledged until it is killed. Without the variable it is not a test.
#[tokio::test]
async fn victim() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = open_with(Path::new(&dir), Arc::new(disk::file::open), SNAPSHOT_BYTES).unwrap();
    println!("\nopen {}", store.revision());
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            let name = format!("w{writer}");
            let mut current = store.get(RESOURCE, "ns", &name);
            loop {
                let count =
                    current.as_ref().map_or(0, |object| data(object).as_str().unwrap().parse::<u64>().unwrap()) + 1;
                let expect = current.as_ref().map_or(Expect::Absent, |object| Expect::Revision(object.revision()));
                let write = Write { key: key(&name), expect, value: value(&count.to_string()) };
                let committed = store.write(write).await.unwrap();
                println!("\nack {name} {} {count}", committed.revision);
                current = Some(committed.object);
            }
        }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut revision) = (HashMap::<String, u64>::new(), 1);
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::tests::crash::victim"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut patience = rand::rng().random_range(0..40);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["open", at] => assert_eq!(at.parse::<u64>().unwrap(), revision),
                ["ack", name, at, count] => {
                    revision = revision.max(at.parse().unwrap());
                    acknowledged.insert((*name).to_owned(), count.parse().unwrap());
                }
                _ => continue,
            }
            if patience == 0 {
                child.kill().unwrap();
            }
            patience -= 1;
        }
        child.wait().unwrap();
        let store = Store::open(dir.path(), Clock::system()).unwrap();
        assert!(store.revision() >= revision);
        for (name, count) in &acknowledged {
            let kept: u64 = data(&store.get(RESOURCE, "ns", name).unwrap()).as_str().unwrap().parse().unwrap();
            assert!(kept >= *count, "{name} was acknowledged at {count} and is at {kept}");
        }
        revision = store.revision();
    }
    assert!(revision > KILLS as u64);
    assert!(dir.path().join("snapshot").exists());
}
