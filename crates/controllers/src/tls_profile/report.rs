//! The status of the policy: conditions of the decision and of the followers. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::decision::{Decided, Finding, Published};
use super::follower::Workload;
use super::handover::Standing;
use super::memory::Memory;
use super::sources::SourceKind;

/// Remarks of workloads that get no further until somebody does something.
const STUCK: [&str; 7] =
    ["BudgetTaken", "ConfigMapTaken", "Contested", "InvalidAnnotation", "KeyUnfit", "NotExpressible", "Stalled"];

/// Most workloads that the policy's status and the metrics name.
const LISTED: usize = 100;
/// What metrics call the workloads beyond those.
const OTHERS: &str = "other";

/// How far the followers are.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    standings: Vec<(Workload, Standing)>,
    pub(crate) total: usize,
}

impl Followers {
    pub(crate) fn of(memory: &Memory) -> Self {
        let standings = memory.standings();
        Self { standings, total: memory.followers().len() }
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let behind: Vec<String> =
            self.standings.iter().filter(|(_, s)| !s.rolled_out).map(|(w, _)| w.to_string()).collect();
        let stalled = |(workload, standing): &(Workload, Standing)| {
            let (_, why) = standing.remark.as_ref().filter(|(reason, _)| STUCK.contains(reason))?;
            Some(format!("{workload}: {why}"))
        };
        let stalled: Vec<String> = self.standings.iter().filter_map(stalled).collect();
        let rolled = Finding {
            kind: "RolledOut",
            holds: behind.is_empty(),
            reason: if behind.is_empty() { "RolledOut" } else { "Rolling" },
            message: if behind.is_empty() { format!("{} workloads follow", self.total) } else { listed(&behind) },
        };
        let stuck = Finding {
            kind: "Stalled",
            holds: !stalled.is_empty(),
            reason: if stalled.is_empty() { "Moving" } else { "Stalled" },
            message: if stalled.is_empty() { "nobody is stuck".to_owned() } else { listed(&stalled) },
        };
        let unfit =
            |(workload, standing): &(Workload, Standing)| Some(format!("{workload}: {}", standing.unfit.as_ref()?));
        let unfit: Vec<String> = self.standings.iter().filter_map(unfit).collect();
        let keys = Finding {
            kind: "KeysFit",
            holds: unfit.is_empty(),
            reason: if unfit.is_empty() { "Fit" } else { "Unfit" },
            message: if unfit.is_empty() { "no key is known that does not fit".to_owned() } else { listed(&unfit) },
        };
        [Some(rolled), Some(stuck), Some(keys), self.verified()].into_iter().flatten().collect()
    }
}

impl Followers {
    /// Pods by workload and state: of the first [`LISTED`] workloads each by itself, of all others together.
    pub(crate) fn pods(&self) -> Vec<(String, &'static str, usize)> {
        let (first, others) = self.standings.split_at(self.standings.len().min(LISTED));
        let states = |component: String, standings: &[(Workload, Standing)]| {
            let sum = |of: fn(&Standing) -> usize| standings.iter().map(|(_, standing)| of(standing)).sum::<usize>();
            let counts = [("current", sum(|s| s.current)), ("old", sum(|s| s.old)), ("unknown", sum(|s| s.unknown))];
            counts.map(|(state, count)| (component.clone(), state, count))
        };
        let each = first.iter().flat_map(|one| states(one.0.to_string(), std::slice::from_ref(one)));
        let others = (!others.is_empty()).then(|| states(OTHERS.to_owned(), others));
        each.chain(others.into_iter().flatten()).collect()
    }

    /// Whether everybody has what was decided.
    pub(crate) fn have(&self, published: &Published) -> bool {
        let generation = |(_, standing): &(Workload, Standing)| {
            standing.rolled_out && standing.generation == published.contract.generation
        };
        self.standings.iter().all(generation)
    }

    /// What handshakes showed, where anybody was asked.
    fn verified(&self) -> Option<Finding> {
        let sum = |of: fn(&Standing) -> usize| self.standings.iter().map(|(_, standing)| of(standing)).sum::<usize>();
        let (asked, differs) = (sum(|s| s.seen.asked()), sum(|s| s.seen.differs));
        let unreachable = sum(|s| s.seen.unreachable);
        if asked == 0 {
            return None;
        }
        let bad = |(workload, standing): &(Workload, Standing)| {
            let bad = standing.seen.differs > 0 || standing.seen.unreachable > 0;
            Some(format!("{workload}: {}", standing.seen.sentence.as_ref().filter(|_| bad)?))
        };
        let bad: Vec<String> = self.standings.iter().filter_map(bad).collect();
        let (reason, message) = match (differs, unreachable) {
            (0, 0) => ("Seen", format!("{asked} pods serve what they should, by handshake")),
            (0, _) => ("Unreachable", listed(&bad)),
            _ => ("Different", listed(&bad)),
        };
        Some(Finding { kind: "Verified", holds: reason == "Seen", reason, message })
    }
}

fn listed(names: &[String]) -> String {
    const MOST: usize = 5;
    let more = names.len().saturating_sub(MOST);
    let shown = names.get(..MOST.min(names.len())).unwrap_or_default().join("; ");
    if more == 0 { shown } else { format!("{shown}; and {more} more") }
}

/// The whole status.
pub(crate) fn status(
    policy: &Value,
    source: SourceKind,
    decided: &Decided,
    followers: &Followers,
    now: Timestamp,
) -> Value {
    let before = policy["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let generation = &policy["metadata"]["generation"];
    let told = decided.findings.iter().cloned().chain(followers.findings());
    let mut conditions: Vec<Value> = told.map(|finding| condition(&finding, before, generation, now)).collect();
    // What is not known anew stays as it was said: a source that cannot be read says nothing of the profile.
    let said = |kind: &Value| conditions.iter().any(|condition| condition["type"] == *kind);
    let kept: Vec<Value> = before.iter().filter(|condition| !said(&condition["type"])).cloned().collect();
    conditions.extend(kept);
    conditions.sort_by_key(|condition| condition["type"].as_str().unwrap_or_default().to_owned());
    let contract = decided.published.as_ref().map(|published| &published.contract);
    let components: Vec<Value> = followers.standings.iter().take(LISTED).map(component).collect();
    json!({
        "observedGeneration": generation,
        "source": source.name(),
        "profile": contract.map(|contract| contract.source.profile.as_str()),
        "table": contract.and_then(|contract| contract.source.table).map(|table| table.name()),
        "profileHash": contract.and_then(|contract| contract.profile_hash.as_deref()),
        "generation": contract.map(|contract| contract.generation),
        "followers": followers.total,
        "components": components,
        "conditions": conditions,
    })
}

fn component((workload, standing): &(Workload, Standing)) -> Value {
    let handshakes = json!({
        "holds": standing.seen.holds, "differs": standing.seen.differs, "unreachable": standing.seen.unreachable,
        "seen": standing.seen.sentence,
    });
    told(json!({
        "workload": workload.to_string(),
        "desiredHash": standing.hash,
        "profile": Some(&standing.profile).filter(|name| !name.is_empty()),
        "replaces": standing.replaces,
        "outcome": Some(standing.outcome).filter(|outcome| !outcome.is_empty()),
        "rolledOut": standing.rolled_out,
        "pods": { "current": standing.current, "old": standing.old, "unknown": standing.unknown },
        "handshakes": told(handshakes),
        "oldestOldPod": standing.oldest_old,
        "reason": standing.remark.as_ref().map(|(reason, _)| *reason),
        "message": standing.remark.as_ref().map(|(_, why)| why.as_str()),
    }))
}

/// Without what there is nothing to say of: the API server drops it from lists, and the same status would be sent again and again.
fn told(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| !member.is_null());
    }
    value
}

fn condition(finding: &Finding, before: &[Value], generation: &Value, now: Timestamp) -> Value {
    let status = if finding.holds { "True" } else { "False" };
    let same = before.iter().find(|one| one["type"] == finding.kind && one["status"] == status);
    let since = same.and_then(|one| one["lastTransitionTime"].as_str().map(str::to_owned));
    json!({
        "type": finding.kind,
        "status": status,
        "reason": finding.reason,
        "message": finding.message.chars().take(1024).collect::<String>(),
        "observedGeneration": generation,
        "lastTransitionTime": since.unwrap_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_profile::follower::WorkloadKind;

    #[test]
    fn metrics_name_a_hundred_workloads_and_add_the_others_up() {
        let standing = |number: usize| {
            let workload =
                Workload { namespace: "n".into(), kind: WorkloadKind::Deployment, name: format!("w{number:03}") };
            (workload, Standing { current: 1, old: 2, ..Standing::default() })
        };
        let followers = |count: usize| Followers { standings: (0..count).map(standing).collect(), total: count };
        assert_eq!(followers(1).pods()[1], ("n/deployments/w000".to_owned(), "old", 2));
        assert_eq!(followers(100).pods().len(), 300);
        let many = followers(1000).pods();
        assert_eq!((many.len(), many.last().cloned()), (303, Some((OTHERS.to_owned(), "unknown", 0))));
        assert_eq!(many[301], (OTHERS.to_owned(), "old", 1800));
    }
}
