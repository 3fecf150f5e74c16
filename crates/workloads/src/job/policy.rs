//! What a failed Pod means by the Job's failure policy, and when its success policy is met. Pure.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;
use crate::names::{name, namespace};
use crate::pods::phase;

/// What the first matching rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// No rule: it counts.
    Unmatched,
    Count,
    Ignore,
    FailIndex,
    /// With the message of the Job's failure.
    FailJob(String),
}

impl Judgement {
    pub(super) fn counts(&self) -> bool {
        *self != Self::Ignore
    }
}

/// Whether only Pods that ended are replaced, not those that are being deleted.
pub(super) fn replaces_only_failed(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// Whether a Pod counts as failed. A deleted one does, for it may never have the chance to end.
pub(super) fn is_failed(pod: &Pod, spec: &JobSpec) -> bool {
    match phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => !replaces_only_failed(spec) && pod.metadata.deletion_timestamp.is_some(),
    }
}

/// Judges a failed Pod.
pub(super) fn judge(spec: &JobSpec, pod: &Pod) -> Judgement {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    for (index, rule) in rules.enumerate() {
        if let Some(why) = matched(rule, pod) {
            match rule.action.as_str() {
                "Ignore" => return Judgement::Ignore,
                "Count" => return Judgement::Count,
                "FailIndex" if spec.backoff_limit_per_index.is_some() => return Judgement::FailIndex,
                "FailJob" => {
                    return Judgement::FailJob(format!("{why} matching {} rule at index {index}", rule.action));
                }
                _ => {}
            }
        }
    }
    Judgement::Unmatched
}

fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let pod_name = format!("{}/{}", namespace(&pod.metadata), name(&pod.metadata));
    if let Some(codes) = &rule.on_exit_codes {
        let regular = status.container_statuses.iter().flatten();
        let all = regular.chain(status.init_container_statuses.iter().flatten());
        return all.into_iter().find_map(|container| {
            let code = exit_code(container, codes)?;
            Some(format!("Container {} for pod {pod_name} failed with exit code {code}", container.name))
        });
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    patterns.into_iter().find_map(|pattern| {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let mut conditions = status.conditions.iter().flatten();
        let found = conditions.find(|condition| condition.type_ == pattern.type_ && condition.status == wanted)?;
        Some(format!("Pod {pod_name} has condition {}", found.type_))
    })
}

fn exit_code(container: &ContainerStatus, rule: &PodFailurePolicyOnExitCodesRequirement) -> Option<i32> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let named = rule.container_name.as_ref().is_none_or(|name| *name == container.name);
    let fits = match rule.operator.as_str() {
        "In" => rule.values.contains(&code),
        "NotIn" => !rule.values.contains(&code),
        _ => false,
    };
    (named && fits && code != 0).then_some(code)
}

/// The message of the first rule of the success policy that is met.
pub(super) fn met(spec: &JobSpec, completions: i32, succeeded: &Indexes) -> Option<String> {
    let policy = spec.success_policy.as_ref()?;
    let index = policy.rules.iter().position(|rule| match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(required), count) => {
            let required = Indexes::parse(required, completions);
            succeeded.shared(&required) >= count.unwrap_or(required.total())
        }
        (None, Some(count)) => succeeded.total() >= count,
        (None, None) => false,
    });
    index.map(|index| format!("Matched rules at index {index}"))
}
