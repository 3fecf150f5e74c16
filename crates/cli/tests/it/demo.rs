//! `paddock demo --json`: the story, event by event.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::process::{paddock, stderr, stdout};

fn told() -> Vec<Value> {
    let home = tempfile::tempdir().unwrap();
    let output = paddock(&["demo", "--json"]).env("TMPDIR", home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "the demo left something behind");
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

fn strings(value: &Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn the_demo_tells_its_whole_story() {
    let events = told();
    assert_eq!(events.first().unwrap()["event"], "started");
    assert_eq!(events.last().unwrap()["event"], "done");

    let created = |tenant: &str| {
        let created =
            events.iter().filter(|e| e["event"] == "applied" && e["tenant"] == tenant && e["change"] == "created");
        created
            .map(|e| format!("{}/{}", e["kind"].as_str().unwrap(), e["name"].as_str().unwrap()))
            .collect::<BTreeSet<_>>()
    };
    assert!(created("tenant-a").contains("StatefulSet/openshell-gateway"));
    assert_eq!(created("tenant-a").len(), created("tenant-b").len());

    let standings = of(&events, "tenant");
    assert_eq!(standings.len(), 2);
    assert!(standings.iter().all(|row| row["reason"] == "NoNode"), "{standings:?}");

    let [reissued] = of(&events, "reissued")[..] else { panic!("one certificate is issued anew: {events:?}") };
    assert_eq!((&reissued["tenant"], &reissued["secret"]), (&"tenant-a".into(), &"openshell-server-tls".into()));
    assert_ne!(reissued["serial"]["before"], reissued["serial"]["after"]);
    assert_eq!(strings(&reissued["addedNames"]), BTreeSet::from(["api.tenant-a.example.com"]));

    let [restarted] = of(&events, "restarted")[..] else { panic!("one pod template changes: {events:?}") };
    assert_eq!(restarted["tenant"], "tenant-a");
    assert_ne!(restarted["configHash"]["before"], restarted["configHash"]["after"]);
    assert!(strings(&restarted["because"]).contains("Secret/openshell-server-tls changed"), "{restarted}");

    let [untouched] = of(&events, "untouched")[..] else { panic!("one tenant is not touched: {events:?}") };
    assert_eq!(untouched["tenant"], "tenant-b");
}
