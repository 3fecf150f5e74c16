//! What others did to a gateway's objects, as the anchor and events tell it. Pure.

use paddock_reconcile::{Drift, Drifted, Event, ObjectRef};

/// Entry of the anchor with the last drifts, a line each, the newest first.
pub(super) const DRIFT: &str = "drift";

/// At most this many lines, and so many bytes of each.
const LINES: usize = 5;
const LINE: usize = 400;

/// The entry after these drifts. One that is told already is not told again.
pub(super) fn told(before: &str, drifts: &[Drift]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in drifts.iter().map(line).chain(before.lines().map(str::to_owned)) {
        if lines.len() < LINES && !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// The drifts that the entry does not tell of, or that were put right once more.
pub(super) fn news(before: &str, drifts: &[Drift]) -> usize {
    drifts.iter().filter(|drift| drift.reverted || !before.lines().any(|told| told == line(drift))).count()
}

fn line(drift: &Drift) -> String {
    let text = drift.to_string().replace('\n', " ");
    let end = (0..=LINE.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

/// The event for a drift: on the object, or when that is gone on the anchor.
pub(super) fn event(drift: &Drift, anchor: &ObjectRef) -> Event {
    let reason = if drift.reverted { "DriftReverted" } else { "DriftReported" };
    match drift.what {
        Drifted::Deleted => Event::warning(anchor.clone(), reason, drift.to_string()),
        Drifted::Changed(_) => {
            let event = Event::warning(drift.target.clone(), reason, drift.to_string());
            Event { uid: Some(drift.uid.clone()), ..event }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn deleted(name: &str, reverted: bool) -> Drift {
        let target = ObjectRef::of::<Service>(Some("n"), name);
        Drift { target, uid: "u".into(), what: Drifted::Deleted, reverted }
    }

    #[test]
    fn gw_w02_the_newest_drifts_are_told_once_each() {
        let mut entry = String::new();
        for name in ["a", "b", "b", "c", "d", "e", "f"] {
            entry = told(&entry, &[deleted(name, false)]);
        }
        let first: Vec<&str> = entry.lines().map(|line| &line[..11]).collect();
        assert_eq!(first, ["Service n/f", "Service n/e", "Service n/d", "Service n/c", "Service n/b"]);
        assert_eq!(news(&entry, &[deleted("f", false), deleted("f", true), deleted("g", false)]), 2);
    }
}
