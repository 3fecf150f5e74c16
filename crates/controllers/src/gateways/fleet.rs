//! The one key that decides which gateways may take a change of the platform now, and writes it down.
//!
//! Everything it decides on stands in the gateways' own records (`rollout`); everything it decides stands in one ConfigMap,
//! `platform-config-rollout`, which names only the few gateways whose turn it is. One gateway that changes costs a look over
//! one short line per gateway here, and nothing at all for the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::{annotations, labels};
use paddock_policy::image::ImagePolicy;
use paddock_policy::tenant::ReservedNames;
use paddock_reconcile::{
    Change, Context, Controller, Desired, Error, Event, Kind, ObjectRef, Plan, Settings, Source, object,
};
use serde_json::Value;

use super::controller::PLATFORM_CONFIG;
use super::intent::{Intents, Rules};
use super::key::GatewayKey;
use super::lookup::sandbox_versions;
use super::memory::Memory;
use super::options::Options;
use super::restart::Inputs;
use super::rollout;
use super::selection::{Home, homes};
use super::version::GatewayVersion;
use super::waves::{self, Acknowledged, Decision, Leave, Member, Phase, RolloutPolicy};
use super::{render, resource};

/// The ConfigMap with the decision.
pub const ROLLOUT: &str = "platform-config-rollout";
/// An image of whatever version.
const ANY_VERSION: &str = "gateway.invalid/any:version";
const ADMITTED: &str = "admitted";
/// The most gateways that are named as failed.
const MAX_NAMED: usize = 20;

/// The only key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wave;

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ROLLOUT)
    }
}

/// The controller.
#[derive(Debug)]
pub struct GatewayFleet {
    namespace: String,
    rules: Rules,
    policy: RolloutPolicy,
    memory: Memory,
}

/// What the decision depends on.
#[derive(Debug)]
pub struct FleetSnapshot {
    wave: Arc<str>,
    members: Vec<Member>,
    /// Who was allowed last; `None` while nothing was ever decided.
    before: Option<BTreeSet<Leave>>,
    acknowledged: Option<Acknowledged>,
}

impl GatewayFleet {
    pub(super) fn new(options: &Options, memory: Memory) -> Self {
        let Options { namespace, rules, rollout, .. } = options.clone();
        Self { namespace, rules, policy: rollout, memory }
    }

    fn named(&self, name: &str) -> ObjectRef {
        ObjectRef::of::<ConfigMap>(Some(&self.namespace), name)
    }
}

impl Controller for GatewayFleet {
    type Key = Wave;
    type Snapshot = FleetSnapshot;

    fn name(&self) -> &'static str {
        "gateway-fleet"
    }

    fn settings(&self) -> Settings {
        Settings { concurrency: 1, ..Settings::default() }
    }

    fn sources(&self) -> Vec<Source<Wave>> {
        let here =
            |source: Source<Wave>, name: &str| source.within(&self.namespace).fields(format!("metadata.name={name}"));
        let (memory, resources, records) = (self.memory.clone(), self.memory.clone(), self.memory.clone());
        let asked = Mutex::new((Vec::new(), None));
        let intent = move |change: &Change<'_>| {
            let intents = memory.observe(change.after);
            // What an entry says is for its gateway to follow: only who is asked for matters here, and what a person accepts.
            let now = (intents.keys().collect(), change.after.and_then(acknowledged));
            let mut before = asked.lock().unwrap_or_else(PoisonError::into_inner);
            if *before == now {
                return Vec::new();
            }
            *before = now;
            vec![Wave]
        };
        vec![
            here(Source::of::<ConfigMap>(intent), PLATFORM_CONFIG),
            here(Source::of::<ConfigMap>(|_| vec![Wave]), ROLLOUT),
            Source::kind(resource::kind(), move |change: &Change<'_>| {
                if let Some(key) = resource::key_of(change.object()) {
                    resources.observe_resource(&key, change.after);
                }
                // Only their coming and going matters here.
                if change.before.is_some() && change.after.is_some() { Vec::new() } else { vec![Wave] }
            }),
            // The same selection as the gateways controller's, so the two share one watch. What it tells is remembered: the
            // records stand beside whole revisions, and a thousand of those are not read for each that changes.
            Source::kind(
                Kind::of::<ConfigMap>(),
                move |change: &Change<'_>| {
                    if records.see_record(change) { vec![Wave] } else { Vec::new() }
                },
            )
            .labels(labels::TENANT),
        ]
    }

    async fn snapshot(&self, cx: &Context, _: &Wave) -> Result<FleetSnapshot, Error> {
        let config = cx.get(&self.named(PLATFORM_CONFIG)).await?;
        self.memory.ask(cx).await?;
        self.memory.observe(config.as_deref());
        let wave = self.memory.wave(&sandbox_versions(cx).await?);
        let mut members = Vec::new();
        let homes = homes(cx, &self.rules).await?;
        for key in self.memory.wanted() {
            if homes.get(key.namespace()) != Some(&Home::There) {
                continue;
            }
            if let Some(record) = self.memory.record(&key) {
                members.push(Member::of(key.to_string(), &record));
            }
        }
        let before = cx.get(&self.named(ROLLOUT)).await?.map(|report| leaves(Some(&report)));
        let acknowledged = config.as_deref().and_then(acknowledged);
        Ok(FleetSnapshot { wave, members, before, acknowledged })
    }

    fn plan(&self, _: &Wave, snapshot: &FleetSnapshot, now: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let nobody = BTreeSet::new();
        let before = snapshot.before.as_ref().unwrap_or(&nobody);
        let decision = waves::admit(now, &snapshot.members, before, &self.policy, snapshot.acknowledged.as_ref());
        if decision.phase == Phase::Settled && snapshot.before.is_none() {
            return Ok(plan);
        }
        let message = message(&decision, &self.namespace);
        let labels = [(labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK)];
        let admitted: Vec<String> =
            decision.admitted.iter().map(|(key, revision)| format!("{key} {revision}")).collect();
        let data = [
            ("revision", snapshot.wave.to_string()),
            ("phase", decision.phase.as_str().to_owned()),
            ("message", message.clone()),
            (ADMITTED, admitted.join("\n")),
            ("waiting", decision.waiting.to_string()),
            ("failed", decision.failed.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("\n")),
        ];
        plan.apply(Desired::of(&ConfigMap {
            metadata: ObjectMeta {
                name: Some(ROLLOUT.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
            ..ConfigMap::default()
        })?);
        if decision.phase == Phase::Paused {
            plan.event(Event::warning(self.named(PLATFORM_CONFIG), "RolloutPaused", message));
        }
        if let Some(at) = decision.look_again {
            plan.look_again_at(at);
        }
        Ok(plan)
    }
}

fn message(decision: &Decision, namespace: &str) -> String {
    let Decision { waiting, busy, failed, paused, .. } = decision;
    match (decision.phase, paused) {
        (Phase::Settled, _) => "no gateway waits for its turn".to_owned(),
        (Phase::Paused, Some((wave, count))) => {
            let named = failed.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!(
                "paused: {count} failed ({named}), {waiting} wait; mend the cause, or go on with: kubectl -n {namespace} \
                 annotate --overwrite configmap {PLATFORM_CONFIG} {}={wave}/{count}",
                annotations::RESUME_ROLLOUT
            )
        }
        _ => format!("{busy} gateways are on their way, {waiting} wait for their turn"),
    }
}

/// Which failures a person accepted, by the annotation `<wave>/<count>` on `platform-config`.
fn acknowledged(config: &Value) -> Option<Acknowledged> {
    let (wave, count) = object::annotation(config, annotations::RESUME_ROLLOUT)?.rsplit_once('/')?;
    Some((wave.to_owned(), count.parse().ok()?))
}

/// Who may go, as the ConfigMap says.
fn leaves(report: Option<&Value>) -> BTreeSet<Leave> {
    let text = report.and_then(|report| report["data"][ADMITTED].as_str()).unwrap_or_default();
    let leave = |line: &str| line.split_once(' ').map(|(key, revision)| (key.to_owned(), revision.to_owned()));
    text.lines().filter_map(leave).collect()
}

/// The revision that a gateway may take, as the ConfigMap says.
pub(super) fn admitted(report: &Value, key: &GatewayKey) -> Option<String> {
    let key = key.to_string();
    leaves(Some(report)).into_iter().find(|(of, _)| *of == key).map(|(_, revision)| revision)
}

/// The gateways whose turn begins or ends with a change of the ConfigMap.
pub(super) fn concerned(change: &Change<'_>) -> Vec<GatewayKey> {
    let (before, after) = (leaves(change.before), leaves(change.after));
    before.symmetric_difference(&after).filter_map(|(key, _)| GatewayKey::of_text(key)).collect()
}

/// What of a rendering is not a tenant's own doing, in one word: it changes with the default image, with the operator's options,
/// with what the cluster is, and with what this version of ours renders otherwise than the one before.
pub(super) fn platform_revision(rules: &Rules, sandbox_versions: &str) -> String {
    // One gateway for each version at which the rendering is known to change, besides one that names none.
    let mut document = String::new();
    for version in [60, 76, 82, 97, 100, 107, 111] {
        let version = GatewayVersion::patch(version).to_string();
        let name = version.replace('.', "-");
        let _ = writeln!(document, "- name: v{name}\n  gateway: {{version: {version}}}");
    }
    let rules = Rules { reserved: ReservedNames::new([]), ..rules.clone() };
    // An image whose tag says no version goes with each of them.
    let any = ANY_VERSION.parse().unwrap_or_else(|_| rules.default_image.clone());
    let of_any = Rules { default_image: any, images: ImagePolicy::default(), ..rules.clone() };
    let mut text = format!("{}\0{sandbox_versions}\0", rules.default_image);
    let judged = [("- name: unversioned\n", &rules), (&document, &of_any)];
    let judged = judged.map(|(document, rules)| Intents::default().next(Some(document), rules).entries);
    for entry in judged.iter().flat_map(BTreeMap::values) {
        let inputs = Inputs { file: "", tokens: "", sandboxes: "", database: None };
        let revision = entry.intent.as_ref().and_then(|intent| render::revision(intent, &inputs).ok());
        text.push_str(&revision.map(|(id, _)| id).unwrap_or_default());
        text.push('\0');
    }
    rollout::short(&text)
}

#[cfg(test)]
mod tests;
