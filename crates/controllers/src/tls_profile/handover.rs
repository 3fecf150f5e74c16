//! What one following workload gets, and when: the files first, the template only once the API server itself shows them. Pure.
//!
//! A template that names a profile which the files do not hold yet would start pods with the old one under the new name, and nothing
//! would ever start them again. So the ConfigMap is read back before the template is touched.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use paddock_api::labels;
use paddock_reconcile::act::{Act, Strategy};
use paddock_reconcile::{Dependency, Desired, Error, Event, Kind, ObjectRef, Plan, Verdict, object};
use paddock_tls_profile::Known;
use serde_json::{Map, Value, json};

use super::decision::Published;
use super::follower::{CONFIG_MAP, FOLLOW, FOLLOWS, Follower, Format, Reload, Workload, WorkloadKind};
use super::format::{Handed, handed, outcome};
use super::keys::{Fit, fit};
use super::platform::Capability;
use super::sharing::{self, Claim, Share};
use super::verification::{self, Answers, HANDED_OVER_AFTER, Summary};

/// The value of [`FOLLOW`] on what we hand over.
pub(crate) const HANDED: &str = "files";
/// The hash of how the profile is judged, beside the profile's own.
const DECISION: &str = "paddock.dev/tls-decision-hash";
/// How long a roll waits for somebody to look at the keys of the pods that run.
const KEYS_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// How long a roll may take before it counts as stalled.
const STALLED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// What is seen of a follower.
pub(crate) struct Seen {
    pub(crate) object: Arc<Value>,
    pub(crate) follower: Result<Follower, String>,
    /// `None`: nothing was decided yet, or what is written is not what was decided.
    pub(crate) published: Option<Published>,
    /// What the workload would be told if no entry of the policy told it another profile; `None` where none does.
    pub(crate) replaces: Option<String>,
    /// As the API server holds it, not as we wrote it.
    pub(crate) config_map: Option<Arc<Value>>,
    /// Who else names that ConfigMap.
    pub(crate) claims: Vec<Claim>,
    /// Its files were there before.
    pub(crate) was_handed: bool,
    pub(crate) pods: Vec<Arc<Value>>,
    pub(crate) guard: Guard,
    /// A workload that rolls first and has not finished.
    pub(crate) behind: Option<String>,
    /// Somebody keeps undoing what we do to the template.
    pub(crate) contested: bool,
    /// Since when the workload is not as wanted.
    pub(crate) since: Option<Timestamp>,
    /// What its pods were seen to serve.
    pub(crate) answers: Answers,
}

/// Whose disruption budget keeps nodes from taking a second pod while one is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Somebody else's covers the pods.
    Others,
    /// Ours will.
    Ours,
    /// None covers them, and ours cannot be: somebody else's has its name.
    NameTaken,
}

/// How far a workload is, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) hash: String,
    /// The profile by its name, and what it replaces where an entry of the policy says another one than everybody's.
    pub(crate) profile: String,
    pub(crate) replaces: Option<String>,
    /// How what the workload's library serves compares with the profile.
    pub(crate) outcome: &'static str,
    /// What of the profile the keys of its pods cannot serve.
    pub(crate) unfit: Option<String>,
    /// Of the decision that it is about.
    pub(crate) generation: u64,
    pub(crate) current: usize,
    pub(crate) old: usize,
    pub(crate) unknown: usize,
    /// What handshakes showed.
    pub(crate) seen: Summary,
    /// The longest-running pod that is not current.
    pub(crate) oldest_old: Option<String>,
    pub(crate) rolled_out: bool,
    /// What stands in the way or should be known, CamelCase and a sentence.
    pub(crate) remark: Option<(&'static str, String)>,
}

/// The hash that the workload's pods shall have.
pub(crate) fn wanted_hash(key: &Workload, follower: &Follower, published: &Published) -> Option<String> {
    handed(key, follower, published).ok().map(|handed| handed.hash)
}

/// The plan for one follower.
pub(crate) fn plan(key: &Workload, seen: &Seen, now: Timestamp) -> Result<(Plan, Standing), Error> {
    let mut plan = Plan::new();
    let target = key.target();
    let follower = match &seen.follower {
        Ok(follower) => follower,
        Err(why) => return Ok(refused(plan, target, "InvalidAnnotation", why.clone())),
    };
    let Some(published) = &seen.published else {
        plan.verdict = Verdict::Waiting { on: decided(), message: "no profile was decided on yet".to_owned() };
        return Ok((plan, obstructed("NothingDecided", "no profile was decided on yet".to_owned())));
    };
    let Handed { files, hash, remark } = match handed(key, follower, published) {
        Ok(handed) => handed,
        Err(why) => return Ok(refused(plan, target, "NotExpressible", why)),
    };
    let fit = fit(follower, published, &seen.pods, &seen.answers);
    if let (Fit::Nothing(why), Reload::Roll) = (&fit, follower.reload) {
        let (plan, standing) = refused(plan, target, "KeyUnfit", why.clone());
        return Ok((plan, Standing { unfit: Some(why.clone()), hash, ..standing }));
    }
    let config_map = ObjectRef::of::<ConfigMap>(Some(&key.namespace), &follower.config_map);
    let mine = Claim { workload: key.clone(), uid: object::uid(&seen.object).to_owned(), files: files.clone() };
    let owners = match sharing::share(&mine, &seen.claims, seen.config_map.as_deref()) {
        Share::Owners(owners) => owners,
        Share::Remains { kind, name } => {
            let message = format!("{config_map} is still that of a {kind} {name} that is gone");
            plan.verdict = Verdict::Waiting { on: Dependency::Object(config_map), message: message.clone() };
            return Ok((plan, obstructed("ConfigMapTaken", message)));
        }
        Share::Taken { kind, name } => {
            let why = format!(
                "{config_map} belongs to {kind} {name}, which is told something else: name another one with {CONFIG_MAP}"
            );
            return Ok(refused(plan, target, "ConfigMapTaken", why));
        }
    };
    let desired =
        Desired::of(&ConfigMap { metadata: metadata(&config_map), data: Some(files.clone()), ..ConfigMap::default() })?;
    let guarded = follower.reload == Reload::Roll && many(key, &seen.object);
    if guarded && seen.guard == Guard::NameTaken {
        let why = format!(
            "PodDisruptionBudget {} is somebody else's and does not cover the pods, so that none can guard them while they roll: \
             let it cover them, or rename it",
            follower.budget(key)
        );
        return Ok(refused(plan, target, "BudgetTaken", why));
    }
    plan.apply(match follower.format {
        Format::Paddock => desired.owned_by(&target, object::uid(&seen.object))?,
        Format::Nmstate => desired.owned_together(&owners)?,
    });
    if guarded && seen.guard == Guard::Ours {
        plan.apply(budget(key, follower, &seen.object)?.owned_by(&target, object::uid(&seen.object))?);
    }
    let mut standing = standing(follower, seen, &hash);
    standing.generation = published.contract.generation;
    standing.profile.clone_from(&published.contract.source.profile);
    standing.replaces.clone_from(&seen.replaces);
    standing.outcome = outcome(follower, published);
    standing.remark = remark;
    if let Fit::Tls13Alone(why) | Fit::Nothing(why) = &fit {
        plan.event(Event::warning(target.clone(), "TLSProfileKeyUnfit", why.clone()));
        standing.unfit = Some(why.clone());
    }
    if seen.was_handed && seen.config_map.is_none() {
        plan.event(Event::warning(
            target.clone(),
            "TLSProfileTampered",
            format!("{config_map} was deleted: it is written again"),
        ));
    }
    let held = seen.config_map.as_deref().map(|live| &live["data"]);
    if !files.iter().all(|(name, text)| held.is_some_and(|held| held[name].as_str() == Some(text))) {
        plan.verdict = Verdict::Waiting {
            on: Dependency::Object(config_map),
            message: "the files are written and not read back yet".to_owned(),
        };
        standing.rolled_out = false;
        return Ok((plan, standing));
    }
    let marks = match follower.reload {
        Reload::Hot => marks(follower, seen, &target, &hash),
        Reload::Roll => Vec::new(),
    };
    let rolls =
        follower.reload == Reload::Roll || (marks.is_empty() && was_not_followed(follower, seen, &standing, now));
    let acts = if rolls { roll(key, follower, seen, published, &hash) } else { marks };
    if acts.is_empty() {
        conclude(&mut plan, &mut standing, follower, seen, now);
        return Ok((plan, standing));
    }
    if rolls {
        if seen.contested {
            let why = "somebody else keeps changing the template back; it is left alone for ten minutes".to_owned();
            plan.event(Event::warning(target, "TLSProfileContested", why.clone()));
            plan.look_again_at(now.saturating_add(STALLED_AFTER).unwrap_or(now));
            standing.remark = Some(("Contested", why));
            return Ok((plan, standing));
        }
        let since = seen.since.unwrap_or(now);
        if fit == Fit::Unknown && now.duration_since(since) < KEYS_WITHIN {
            let why = "the pods that run are asked first which keys they have".to_owned();
            plan.verdict = Verdict::Waiting { on: Dependency::Named(behind(&key.namespace)), message: why.clone() };
            plan.look_again_at(since.saturating_add(KEYS_WITHIN).unwrap_or(now));
            standing.remark = Some(("WaitingForKeys", why));
            return Ok((plan, standing));
        }
        if let Some(first) = &seen.behind {
            let why = format!("{first} rolls first");
            plan.verdict = Verdict::Waiting { on: Dependency::Named(behind(&key.namespace)), message: why.clone() };
            standing.remark = Some(("WaitingForOrder", why));
            return Ok((plan, standing));
        }
        plan.event(Event::normal(target, "TLSProfileRolling", format!("new pods get TLS profile {}", short(&hash))));
    }
    plan.step(acts);
    Ok((plan, standing))
}

/// What workloads of a namespace that wait for one another are woken by.
pub(crate) fn behind(namespace: &str) -> String {
    format!("a TLS roll in {namespace}")
}

/// What a follower waits for that nothing was decided for: its own source for the decision's ConfigMap wakes it.
fn decided() -> Dependency {
    Dependency::Named("a decision on the TLS profile".to_owned())
}

/// Nothing can be done until the workload itself is changed.
fn refused(mut plan: Plan, target: ObjectRef, reason: &'static str, why: String) -> (Plan, Standing) {
    plan.event(Event::warning(target, "TLSProfileNotFollowed", why.clone()));
    plan.verdict = Verdict::Invalid { reason, message: why.clone() };
    (plan, obstructed(reason, why))
}

fn obstructed(reason: &'static str, why: String) -> Standing {
    Standing { remark: Some((reason, why)), ..Standing::default() }
}

/// Whether a workload that should follow its files does not, though it had the time: new pods will.
fn was_not_followed(follower: &Follower, seen: &Seen, standing: &Standing, now: Timestamp) -> bool {
    let since = seen.since.filter(|since| now.duration_since(*since) >= HANDED_OVER_AFTER);
    follower.reload == Reload::Hot && !follower.is_agent && standing.seen.differs > 0 && since.is_some()
}

fn conclude(plan: &mut Plan, standing: &mut Standing, follower: &Follower, seen: &Seen, now: Timestamp) {
    if standing.rolled_out {
        return;
    }
    let since = seen.since.unwrap_or(now);
    let waited = now.duration_since(since);
    if waited >= STALLED_AFTER {
        let why = format!("the roll to TLS profile {} makes no end since {since}", short(&standing.hash));
        standing.remark = Some(("Stalled", why));
        return;
    }
    let patience =
        if follower.reload == Reload::Hot && waited < HANDED_OVER_AFTER { HANDED_OVER_AFTER } else { STALLED_AFTER };
    if let Ok(at) = since.checked_add(patience) {
        plan.look_again_at(at);
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn metadata(of: &ObjectRef) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let labels = [(labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK), (FOLLOW, HANDED)];
    k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        name: Some(of.name.clone()),
        namespace: of.namespace.clone(),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..Default::default()
    }
}

fn many(key: &Workload, object: &Value) -> bool {
    key.kind != WorkloadKind::DaemonSet && object["spec"]["replicas"].as_i64().unwrap_or(1) > 1
}

/// Nobody takes a second pod while one is away. One that counts what may be away never holds up a node's drain.
fn budget(key: &Workload, follower: &Follower, object: &Value) -> Result<Desired, Error> {
    let target = ObjectRef::of::<PodDisruptionBudget>(Some(&key.namespace), &follower.budget(key));
    let metadata = serde_json::to_value(metadata(&target)).unwrap_or_default();
    let spec = json!({ "maxUnavailable": 1, "selector": object["spec"]["selector"] });
    Desired::raw(Kind::of::<PodDisruptionBudget>(), json!({ "metadata": metadata, "spec": spec }))
}

/// Notes on the workload and its pods what was handed over; nothing restarts.
fn marks(follower: &Follower, seen: &Seen, target: &ObjectRef, hash: &str) -> Vec<Act> {
    let key = follower.hash_key();
    let mark = |target: ObjectRef, live: &Value| {
        let other = object::annotation(live, key) != Some(hash);
        let body = json!({ "metadata": { "uid": object::uid(live), "annotations": { key: hash } } });
        other.then(|| Act::patch(target, Strategy::Merge, body))
    };
    let pods = seen.pods.iter().filter(|pod| !object::is_terminating(pod)).filter_map(|pod| {
        let metadata = &pod["metadata"];
        let target = ObjectRef::of::<Pod>(metadata["namespace"].as_str(), metadata["name"].as_str()?);
        mark(target, pod)
    });
    mark(target.clone(), &seen.object).into_iter().chain(pods).collect()
}

/// Writes on the template what new pods shall have; never in a way that leaves nobody to answer meanwhile.
fn roll(key: &Workload, follower: &Follower, seen: &Seen, published: &Published, hash: &str) -> Vec<Act> {
    let template = &seen.object["spec"]["template"];
    let mut wanted: Map<String, Value> = [(follower.hash_key().to_owned(), Value::from(hash))].into_iter().collect();
    if follower.format == Format::Paddock {
        wanted.insert(DECISION.to_owned(), published.contract.decision.hash().into());
    }
    let live = &template["metadata"]["annotations"];
    let mut same = wanted.iter().all(|(key, value)| live[key] == *value);
    // The label comes with the hash: by it the pods are watched. On its own it is no reason to roll.
    let mut spec = json!({ "template": { "metadata": { "annotations": wanted, "labels": { FOLLOW: FOLLOWS } } } });
    if follower.format == Format::Nmstate {
        let containers = platform_of(template, published);
        same &= containers.is_empty();
        if !containers.is_empty() {
            spec["template"]["spec"] = json!({ "containers": containers });
        }
    }
    if same {
        return Vec::new();
    }
    if key.kind == WorkloadKind::Deployment && leaves_nobody(&seen.object["spec"]) {
        // A webhook that may be ignored would be.
        spec["strategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    }
    let body = json!({ "metadata": { "uid": object::uid(&seen.object) }, "spec": spec });
    vec![Act::patch(key.target(), Strategy::Strategic, body)]
}

/// Whether a Deployment's strategy takes all pods before there are new ones.
fn leaves_nobody(spec: &Value) -> bool {
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    let away = match &spec["strategy"]["rollingUpdate"]["maxUnavailable"] {
        Value::Number(count) => count.as_i64().unwrap_or(0),
        Value::String(share) => {
            let percent: i64 = share.trim_end_matches('%').parse().unwrap_or(0);
            replicas.saturating_mul(percent) / 100
        }
        _ => 0,
    };
    spec["strategy"]["type"] == "Recreate" || (replicas > 0 && away >= replicas)
}

/// The containers whose `IS_OPENSHIFT` is not what it should be, with the right one. What is not known is not said.
fn platform_of(template: &Value, published: &Published) -> Vec<Value> {
    let openshift = match published.contract.platform.get(Capability::Scc.name()) {
        Some(Known::Yes) => "true",
        Some(Known::No) => "false",
        Some(Known::Unknown) | None => return Vec::new(),
    };
    let variable = json!({ "name": "IS_OPENSHIFT", "value": openshift });
    let wrong = |container: &&Value| {
        let env = container["env"].as_array();
        !env.is_some_and(|env| env.contains(&variable))
    };
    let containers = template["spec"]["containers"].as_array();
    let wrong = containers.into_iter().flatten().filter(wrong);
    wrong.map(|container| json!({ "name": container["name"], "env": [variable] })).collect()
}

fn standing(follower: &Follower, seen: &Seen, hash: &str) -> Standing {
    let mut standing = Standing { hash: hash.to_owned(), ..Standing::default() };
    let mut oldest: Option<(&str, &str)> = None;
    for pod in seen.pods.iter().filter(|pod| !object::is_terminating(pod)) {
        let asked = seen.answers.get(object::uid(pod)).filter(|asked| asked.hash == hash);
        let handed = object::annotation(pod, follower.hash_key()) == Some(hash);
        let is_old = match asked.map(|asked| &asked.seen) {
            Some(verification::Seen::Holds(_)) => false,
            Some(verification::Seen::Differs(_)) => true,
            Some(verification::Seen::Unreachable(_)) | None => !handed,
        };
        // One that was started with the profile and that nobody can ask counts as current; what was handed to a running one is not yet
        // what it serves.
        let is_current = match asked.map(|asked| &asked.seen) {
            Some(verification::Seen::Holds(_)) => true,
            Some(_) => false,
            None => {
                let runs = pod["status"]["phase"] == "Running";
                let can_be_asked = !verification::addresses(follower, pod).is_empty();
                handed && follower.reload == Reload::Roll && runs && !can_be_asked
            }
        };
        let state = match (is_old, is_current) {
            (true, _) => &mut standing.old,
            (false, true) => &mut standing.current,
            (false, false) => &mut standing.unknown,
        };
        *state = state.saturating_add(1);
        if is_old {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
            let this = (text("creationTimestamp"), text("name"));
            oldest = Some(oldest.map_or(this, |that| that.min(this)));
        }
    }
    standing.oldest_old = oldest.map(|(_, name)| name.to_owned());
    standing.seen = verification::summary(&seen.pods, &seen.answers, hash);
    standing.rolled_out = follower.is_rolled_out(&seen.object, hash) && standing.old == 0;
    standing
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
