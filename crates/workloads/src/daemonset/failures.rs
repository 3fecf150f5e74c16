//! When pods that failed are made anew: at once, and the next one of that node later each time. Kept in memory and lost with the
//! process, as kube-controller-manager's `failedPodsBackoff` is. Pure but for its own memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;

use super::nodes;
use crate::names::{Name, uid};
use crate::{owner, pods};

/// How long the second pod of a node stays failed; twice as long each time after that.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
/// The longest.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);
/// After this long without a failure a node begins anew.
const QUIET: SignedDuration = SignedDuration::from_mins(30);

/// Since when, of the pods that failed, each may be replaced: by uid.
pub(super) type Due = BTreeMap<String, Timestamp>;

/// What the DaemonSets of a controller remember of their nodes. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<Mutex<BTreeMap<Name, OfSet>>>);

/// Another set of that name, or another template, begins anew.
#[derive(Debug, Default)]
struct OfSet {
    uid: String,
    generation: Option<i64>,
    nodes: BTreeMap<String, Last>,
}

/// The last replacement on a node.
#[derive(Debug)]
struct Last {
    pod: String,
    at: Timestamp,
    /// How long the next one has to wait.
    delay: SignedDuration,
}

impl Failures {
    /// When each failed pod is due. A pod that is due once stays so: to ask again changes nothing.
    pub(super) fn due(&self, key: &Name, set: &DaemonSet, all: &[Pod], now: Timestamp) -> Due {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sets.entry(key.clone()).or_default();
        let generation = set.status.as_ref().and_then(|status| status.observed_generation);
        if (known.uid.as_str(), known.generation) != (uid(&set.metadata), generation) {
            *known = OfSet { uid: uid(&set.metadata).to_owned(), generation, nodes: BTreeMap::new() };
        }
        known.nodes.retain(|_, last| now.duration_since(last.at) <= QUIET);
        let own = |pod: &&Pod| owner::controller(&pod.metadata).is_some_and(|by| by.uid == known.uid);
        let failed: Vec<&Pod> = all
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && pods::phase(pod) == "Failed")
            .filter(own)
            .collect();
        let due = failed
            .into_iter()
            .filter_map(|pod| {
                Some((uid(&pod.metadata).to_owned(), known.due(nodes::of(pod)?, uid(&pod.metadata), now)))
            })
            .collect();
        if known.nodes.is_empty() {
            sets.remove(key);
        }
        due
    }

    /// The set is gone.
    pub(super) fn forget(&self, key: &Name) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl OfSet {
    fn due(&mut self, node: &str, pod: &str, now: Timestamp) -> Timestamp {
        let delay = match self.nodes.get(node) {
            None => FIRST,
            Some(last) if last.pod == pod => return last.at,
            Some(last) => {
                let due = last.at.checked_add(last.delay).unwrap_or(now);
                if due > now {
                    return due;
                }
                (last.delay * 2).min(LONGEST)
            }
        };
        self.nodes.insert(node.to_owned(), Last { pod: pod.to_owned(), at: now, delay });
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, pod};
    use serde_json::json;

    fn set() -> DaemonSet {
        let set = json!({"metadata": {"name": "ds", "namespace": "n", "uid": "set"}, "status": {"observedGeneration": 1,
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}});
        serde_json::from_value(set).expect("a set")
    }

    /// When the pod `name`, failed on the node `a`, is due.
    fn due(failures: &Failures, set: &DaemonSet, name: &str, now: &str) -> Timestamp {
        let failed =
            pod(name, ("DaemonSet", "ds", "set"), &json!({"spec": {"nodeName": "a"}, "status": {"phase": "Failed"}}));
        failures.due(&Name::new("n", "ds"), set, &[failed], at(now))[&format!("uid-{name}")]
    }

    #[test]
    fn first_failure_is_due_at_once_and_stays_so() {
        let failures = Failures::default();
        assert_eq!(due(&failures, &set(), "p0", "01:00:00"), at("01:00:00"));
        assert_eq!(due(&failures, &set(), "p0", "01:00:09"), at("01:00:00"));
    }

    #[test]
    fn each_failure_of_a_node_waits_twice_as_long_as_the_one_before() {
        let failures = Failures::default();
        let mut now = at("01:00:00");
        let mut waits = Vec::new();
        for number in 0..13 {
            let name = format!("p{number}");
            let text = |time: Timestamp| time.strftime("%H:%M:%S").to_string();
            let at = due(&failures, &set(), &name, &text(now));
            waits.push(at.duration_since(now).as_secs());
            now = at;
            assert_eq!(due(&failures, &set(), &name, &text(now)), now, "then it is due");
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    }

    #[test]
    fn node_that_was_quiet_for_twice_the_longest_wait_begins_anew() {
        let failures = Failures::default();
        due(&failures, &set(), "p0", "01:00:00");
        due(&failures, &set(), "p1", "01:00:01");
        assert_eq!(due(&failures, &set(), "p2", "01:30:02"), at("01:30:02"));
        assert_eq!(due(&failures, &set(), "p3", "01:30:02"), at("01:30:03"));
    }

    #[test]
    fn new_template_begins_anew() {
        let failures = Failures::default();
        due(&failures, &set(), "p0", "01:00:00");
        let mut changed = set();
        changed.status.as_mut().expect("a status").observed_generation = Some(2);
        assert_eq!(due(&failures, &changed, "p1", "01:00:00"), at("01:00:00"));
    }

    #[test]
    fn nothing_is_kept_of_sets_without_failures() {
        let failures = Failures::default();
        failures.due(&Name::new("n", "ds"), &set(), &[], at("01:00:00"));
        assert!(failures.0.lock().expect("a lock").is_empty());
        due(&failures, &set(), "p0", "01:00:00");
        failures.forget(&Name::new("n", "ds"));
        assert!(failures.0.lock().expect("a lock").is_empty());
    }
}
