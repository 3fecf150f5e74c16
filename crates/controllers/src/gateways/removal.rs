//! A gateway that nobody wants any more: what is there of it, and the plan that takes it down.
//!
//! Nothing here runs unless the intent was read without a mistake and does not name the gateway. What may be deleted is what
//! the anchor has on record and what still carries the gateway's labels. May read the API server; decides in `teardown`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::ListParams;
use paddock_api::{DataPolicy, GatewayCondition, GatewayPhase, annotations, labels};
use paddock_reconcile::{
    Context, Dependency, Desired, Error, Event, Kind, ObjectRef, Plan, Prune, StatusPatch, Verdict, object,
};
use serde_json::{Value, json};

use super::claim::{self, Growth};
use super::condition::{Conditions, INVALID_DOCUMENT, Summary};
use super::controller::{anchor_ref, revisions_ref};
use super::intent::Origin;
use super::key::GatewayKey;
use super::memory::Removals;
use super::policies::Policies;
use super::problem::Problem;
use super::rollout::Record;
use super::selection::Home;
use super::teardown::{self, Item, Remains, Sandbox, Sandboxes};
use super::{names, render, resource};

/// Entry of the anchor with the record of what was made.
pub(super) const INVENTORY: &str = "inventory";
/// Entry of the anchor that tells how far a teardown is: [`STARTED`] or [`DONE`].
pub(super) const REMOVAL: &str = "removal";
/// Entry of the anchor with what stays when everything else is gone, a line each.
pub(super) const ORPHANS: &str = "orphans";
/// Entry of the anchor that tells where the gateway's state is: `sqlite` or `postgres`.
pub(super) const DATABASE: &str = "database";
/// Entry of the anchor that tells who asked for the gateway; see [`Origin`](super::intent::Origin).
pub(super) const ORIGIN: &str = "origin";
/// Entry of the anchor of a gateway that is gone, with the version that ran with its data; see [`ran`].
pub(super) const RAN: &str = "ran";
/// Something may be gone already: there is no way back but to want the gateway again.
pub(super) const STARTED: &str = "started";
/// Everything that goes is gone.
pub(super) const DONE: &str = "done";

/// The reason when nothing is left of a gateway but what is retained.
pub(super) const REMOVED: &str = "Removed";
/// The reason of a step that failed.
const FAILED: &str = "RemovalFailed";

/// The reason when more gateways would go at once than may.
pub(super) const TOO_MANY: &str = "TooManyRemovals";

/// How often live sandboxes are counted while they keep a gateway from going.
const COUNT_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What is left of a gateway.
#[derive(Debug)]
pub(super) struct Removal {
    /// The object that asked for the gateway, which waits for its end.
    pub(super) leaving: Option<Arc<Value>>,
    pub(super) anchor: Option<Arc<Value>>,
    /// What the anchor has on record, and the claim, which may not be yet.
    pub(super) items: Vec<Item>,
    /// The claim when it is not on record.
    pub(super) unrecorded_claim: Option<Arc<Value>>,
    /// What does not go with the anchor, whether it is on record or not: what is outside the namespace, and without an anchor
    /// the keys that sign tokens.
    pub(super) outside: Vec<(ObjectRef, String)>,
    pub(super) sandboxes: Vec<Sandbox>,
    pub(super) policies: Policies,
    pub(super) removals: Removals,
}

/// Entry `name` of an anchor.
pub(super) fn entry<'a>(anchor: &'a Value, name: &str) -> Option<&'a str> {
    anchor["data"][name].as_str()
}

/// The version that ran with the data that is kept, and the kind of its database.
pub(super) fn ran(anchor: &Value) -> Option<(String, String)> {
    serde_json::from_str(entry(anchor, RAN)?).ok()
}

/// The anchor with the version that ran, while it can still be told: what remembers it goes, and the data may stay.
fn remembering(key: &GatewayKey, anchor: &Value, items: &[Item]) -> Value {
    let mut anchor = anchor.clone();
    let revisions = revisions_ref(key);
    let live = items.iter().find(|item| item.target == revisions).and_then(|item| item.live.as_deref());
    if let Some(ran) = live.and_then(|live| Record::read(live).ran)
        && anchor["data"].is_object()
    {
        anchor["data"][RAN] = json!(ran).to_string().into();
    }
    anchor
}

/// What may be deleted for this gateway is only what its record names and what carries its labels.
pub(super) fn recorded(key: &GatewayKey) -> Prune {
    let anchor = anchor_ref(key);
    let prune = Prune::recorded_in(key.namespace(), &anchor.name, INVENTORY);
    key.own_labels().into_iter().fold(prune, |prune, (label, value)| prune.only_labelled(label, value))
}

/// The same for a gateway that is wanted: whatever is wrong with its certificates and data, they are never deleted.
pub(super) fn pruned_while_wanted(key: &GatewayKey, control_plane: &str) -> Prune {
    let secrets = [names::SERVER_TLS, names::CLIENT_TLS, names::JWT_KEYS, names::KEK];
    let secrets = secrets.map(|name| ObjectRef::of::<Secret>(Some(key.namespace()), key.name_of(name)));
    let authority = ObjectRef::of::<Secret>(Some(control_plane), key.ca_secret());
    recorded(key).keeping(secrets).keeping([authority, claim::claim_ref(key)])
}

/// A gateway that nobody wants any more, and by what rules it goes.
#[derive(Debug)]
pub(super) struct Gone<'a> {
    pub(super) control_plane: &'a str,
    pub(super) key: &'a GatewayKey,
    pub(super) leaving: Option<Arc<Value>>,
    pub(super) policies: Policies,
    pub(super) removals: Removals,
}

/// Gathers what is left of the gateway. `versions`: of the Sandbox kind, as they are served.
pub(super) async fn look(cx: &Context, gone: Gone<'_>, home: Home, versions: &str) -> Result<Removal, Error> {
    let Gone { control_plane, key, leaving, policies, removals } = gone;
    let mut removal = Removal {
        leaving,
        anchor: None,
        items: Vec::new(),
        unrecorded_claim: None,
        outside: Vec::new(),
        sandboxes: Vec::new(),
        policies,
        removals,
    };
    let binding = ObjectRef::of::<ClusterRoleBinding>(None, key.node_reader_binding());
    let authority = ObjectRef::of::<Secret>(Some(control_plane), key.ca_secret());
    for target in [binding, authority] {
        if let Some(live) = cx.get(&target).await?.filter(|live| is_of(key, live)) {
            removal.outside.push((target, object::uid(&live).to_owned()));
        }
    }
    // A namespace that is not selected any more is left alone, but what was made there may go.
    if matches!(home, Home::Missing | Home::Terminating) {
        return Ok(removal);
    }
    removal.anchor = cx.get(&anchor_ref(key)).await?;
    let Some(anchor) = &removal.anchor else {
        // All else that was in the namespace went with the anchor.
        let tokens = ObjectRef::of::<Secret>(Some(key.namespace()), key.name_of(names::JWT_KEYS));
        if let Some(live) = cx.get_labelled(&tokens, &key.object_labels()).await?.filter(|live| is_of(key, live)) {
            removal.outside.push((tokens, object::uid(&live).to_owned()));
        }
        return Ok(removal);
    };
    let Some(record) = Prune::read_record(entry(anchor, INVENTORY).unwrap_or("[]")) else {
        let what = format!("{INVENTORY} of {} is not a list of objects; nothing is deleted", anchor_ref(key));
        return Err(Error::invalid("RecordUnreadable", what));
    };
    for (target, uid) in record {
        let live = cx.get(&target).await?;
        let live = live.filter(|live| is_of(key, live) && (uid.is_empty() || object::uid(live) == uid));
        removal.items.push(Item { target, live });
    }
    let claim = claim::claim_ref(key);
    if !removal.items.iter().any(|item| item.target == claim)
        && let Some(live) = claim::find(cx, key).await?
    {
        removal.items.push(Item { target: claim, live: Some(Arc::clone(&live)) });
        removal.unrecorded_claim = Some(live);
    }
    if entry(anchor, REMOVAL).is_none() {
        removal.sandboxes = count(cx, key, &removal.items, versions).await?;
    }
    Ok(removal)
}

/// Whether an object is this gateway's by its labels.
fn is_of(key: &GatewayKey, live: &Value) -> bool {
    key.own_labels().iter().all(|(label, value)| object::label(live, label) == Some(value))
        && object::label(live, labels::MANAGED_BY) == Some(labels::MANAGED_BY_PADDOCK)
}

/// The live sandboxes, asked of the API server: nobody needs to watch them for this.
async fn count(cx: &Context, key: &GatewayKey, items: &[Item], versions: &str) -> Result<Vec<Sandbox>, Error> {
    let served: Vec<&str> = versions.split(',').filter(|version| !version.is_empty()).collect();
    let version = served.iter().find(|version| **version == "v1beta1").or(served.last());
    let kind = version.map(|version| Kind {
        version: Cow::Owned((*version).to_owned()),
        ..Kind::custom("agents.x-k8s.io", "", "Sandbox", "sandboxes", true)
    });
    let objects = match &kind {
        Some(kind) => listed(cx, kind, key.namespace(), "").await?,
        None => Vec::new(),
    };
    let pods = listed(cx, &Kind::of::<Pod>(), key.namespace(), names::SANDBOX_POD_LABEL).await?;
    let ids = [key.gateway_id(false), key.gateway_id(true)];
    let mut live = teardown::live_sandboxes(&objects, &pods, &ids);
    // What the gateway serves elsewhere, where others may have sandboxes too: there each says whose it is.
    let elsewhere: BTreeSet<&str> = items
        .iter()
        .filter(|item| &*item.target.kind.kind == "ServiceAccount")
        .filter_map(|item| item.target.namespace.as_deref())
        .filter(|namespace| *namespace != key.namespace())
        .collect();
    for namespace in elsewhere {
        if let Some(kind) = &kind {
            let selector = format!("{}={}", teardown::GATEWAY_ID_LABEL, key.gateway_id(true));
            let objects = listed(cx, kind, namespace, &selector).await?;
            live.extend(teardown::live_sandboxes(&objects, &[], &ids));
        }
    }
    Ok(live)
}

async fn listed(
    cx: &Context,
    kind: &Kind,
    namespace: &str,
    selector: &str,
) -> Result<Vec<(ObjectRef, Arc<Value>)>, Error> {
    let target = kind.named(Some(namespace), "");
    let mut params = ListParams::default().limit(500);
    params.label_selector = (!selector.is_empty()).then(|| selector.to_owned());
    let api = kind.api(cx.client().clone(), Some(namespace));
    let mut found = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(|e| Error::from_kube(&e, &target))?;
        for object in page.items {
            let name = object.metadata.name.clone().unwrap_or_default();
            let live = serde_json::to_value(object).map_err(|e| Error::transient(format!("{target}: {e}")))?;
            found.push((kind.named(Some(namespace), name), Arc::new(live)));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Plans the next step of a teardown. `told`: whom events are told that outlive the anchor.
pub(super) fn plan(key: &GatewayKey, removal: &Removal, told: &ObjectRef, now: Timestamp) -> Result<Plan, Error> {
    let told = if removal.leaving.is_some() { resource::reference(key) } else { told.clone() };
    let (mut plan, going) = step(key, removal, &told, now)?;
    if let Some(object) = removal.leaving.as_deref() {
        match going {
            Some((reason, message)) => drop(plan.status(status(key, object, reason, &message, now))),
            // Everything that goes is gone, or goes in this pass before the object.
            None => drop(plan.step(resource::release(key, object).into_iter().collect())),
        }
    }
    Ok(plan)
}

/// What is left to do, in one word and in a sentence.
type Going = Option<(&'static str, String)>;

fn step(key: &GatewayKey, removal: &Removal, told: &ObjectRef, now: Timestamp) -> Result<(Plan, Going), Error> {
    let mut plan = Plan::new();
    let Some(anchor) = removal.anchor.as_deref() else {
        // The namespace is gone or going, or somebody deleted the anchor, and with it goes what is in the namespace.
        for (target, uid) in &removal.outside {
            plan.delete(target.clone(), uid);
        }
        return Ok((plan, None));
    };
    let anchor = &remembering(key, anchor, &removal.items);
    let has_begun = entry(anchor, REMOVAL).is_some();
    plan.prune = recorded(key).keeping(removal.items.iter().map(|item| item.target.clone()));
    if !has_begun && !removal.removals.may_go() {
        let (reason, message) = (TOO_MANY, removal.removals.refusal());
        plan.apply(leaving(key, anchor, None, reason, &message)?);
        plan.event(Event::warning(told.clone(), reason, message.clone()));
        plan.verdict = Verdict::Invalid { reason, message: message.clone() };
        return Ok((plan, Some((reason, message))));
    }
    let sandboxes = match has_begun {
        true => Sandboxes::Free,
        false => teardown::sandboxes(&removal.sandboxes, removal.policies.deletion),
    };
    if let Sandboxes::Block(message) | Sandboxes::Drain(message) = &sandboxes {
        let drains = matches!(sandboxes, Sandboxes::Drain(_));
        let reason = if drains { "Draining" } else { "SandboxesLive" };
        plan.apply(leaving(key, anchor, None, reason, message)?);
        let note = format!("the gateway is not wanted any more, but {message}");
        plan.event(Event::warning(anchor_ref(key), reason, note));
        let goes = |sandbox: &&Sandbox| {
            drains && !sandbox.is_leaving && !sandbox.is_protected && sandbox.target.kind.kind == "Sandbox"
        };
        for sandbox in removal.sandboxes.iter().filter(goes) {
            plan.delete(sandbox.target.clone(), &sandbox.uid);
        }
        let on = Dependency::Named(format!("the sandboxes of {key}"));
        plan.verdict = Verdict::Waiting { on, message: message.clone() };
        plan.look_again_at(now.checked_add(COUNT_AGAIN).unwrap_or(now));
        return Ok((plan, Some((reason, message.clone()))));
    }
    let kek = key.name_of(names::KEK);
    let step = teardown::next(&Remains {
        items: &removal.items,
        data: removal.policies.data,
        external_database: entry(anchor, DATABASE) == Some("postgres"),
        kek: &kek,
    });
    plan.prune = recorded(key).keeping(step.keep.iter().cloned()).in_order(step.delete.iter().cloned());
    let listed = |of: &[ObjectRef]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
    let orphans = listed(&step.orphans);
    if step.delete.is_empty() {
        if orphans.is_empty() {
            plan.prune = Prune::Nothing;
            plan.delete(anchor_ref(key), object::uid(anchor));
            return Ok((plan, None));
        }
        let message = format!("kept: {}", orphans.join(", "));
        plan.apply(leaving(key, anchor, Some((DONE, &orphans)), REMOVED, &message)?);
        plan.apply.extend(unrecorded(key, removal)?);
        return Ok((plan, None));
    }
    let message = format!("going: {}", listed(&step.delete).join(", "));
    // A failure stays told until this step is done: the anchor must not say something else at each attempt.
    let failed = entry(anchor, "summary").and_then(Summary::read).filter(|before| before.reason == FAILED);
    let (reason, said) = match failed.filter(|before| before.message.starts_with(&message)) {
        Some(before) => (FAILED, before.message),
        None => ("Deleting", message.clone()),
    };
    plan.apply(leaving(key, anchor, Some((STARTED, &orphans)), reason, &said)?);
    plan.apply.extend(unrecorded(key, removal)?);
    if !has_begun {
        let note = format!("gateway {key} is not wanted any more and is taken down; data: {}", data(&removal.policies));
        plan.event(Event::normal(told.clone(), "Removing", note));
    }
    plan.verdict = Verdict::Waiting { on: Dependency::Object(anchor_ref(key)), message: message.clone() };
    let (key, anchor, object) = (key.clone(), Arc::new(anchor.clone()), removal.leaving.clone());
    plan.on_error(move |error| {
        let mut plan = Plan::new();
        // What is being deleted ends when it ends; the anchor has said that it goes.
        if matches!(error, Error::Waiting { .. }) {
            return plan;
        }
        let message = format!("{message}: {error}");
        if let Ok(anchor) = leaving(&key, &anchor, Some((STARTED, &orphans)), FAILED, &message) {
            plan.apply(anchor);
        }
        plan.status.extend(object.as_deref().map(|object| status(&key, object, FAILED, &message, now)));
        plan.event(Event::warning(anchor_ref(&key), FAILED, error.to_string()));
        plan
    });
    Ok((plan, Some((reason, said))))
}

/// The claim that is not on record yet, so that it will be.
fn unrecorded(key: &GatewayKey, removal: &Removal) -> Result<Option<Desired>, Error> {
    let of = |claim: &Arc<Value>| claim::desired(key, claim, claim::key_fingerprint(claim), Growth::None);
    removal.unrecorded_claim.as_ref().map(of).transpose()
}

/// What an object is told whose gateway goes.
fn status(key: &GatewayKey, object: &Value, reason: &str, message: &str, now: Timestamp) -> StatusPatch {
    let mut conditions = Conditions::since(resource::conditions_of(object), now).again();
    conditions.set(GatewayCondition::Ready, false, reason, message);
    let said = |field: &str| object["status"][field].as_str().unwrap_or_default();
    let facts = resource::Facts {
        image: said("image"),
        image_from: said("imageFrom"),
        image_id: said("imageID"),
        config_hash: said("configHash"),
        not_after: said("notAfter"),
    };
    let status = resource::status(object, &conditions, GatewayPhase::Deleting, facts);
    StatusPatch { target: resource::reference(key), status }
}

/// What a deleted object is told while nobody can tell whether `platform-config` wants its gateway.
pub(super) fn undecided(key: &GatewayKey, leaving: Option<&Value>, now: Timestamp) -> Option<StatusPatch> {
    let message = "platform-config cannot be read, so nobody can tell whether it wants this gateway";
    leaving.map(|object| status(key, object, "PlatformConfigUnreadable", message, now))
}

/// The anchor of a gateway about which a document says nothing that can be read. All else that it says stays.
pub(super) fn unreadable(
    key: &GatewayKey,
    anchor: &Value,
    problem: &Problem,
    now: Timestamp,
) -> Result<Option<Desired>, Error> {
    let asked = entry(anchor, ORIGIN).and_then(Origin::read).unwrap_or_default();
    let Some(before) = entry(anchor, "conditions").filter(|_| asked == Origin::PlatformConfig) else { return Ok(None) };
    if entry(anchor, REMOVAL).is_some() {
        return Ok(None);
    }
    let before = Conditions::read(before);
    let about = before.first().map(|condition| condition.observed_digest.clone()).unwrap_or_default();
    let mut conditions = Conditions::since(before, now).about(&about).again();
    conditions.set(GatewayCondition::ConfigValid, false, INVALID_DOCUMENT, problem.to_string());
    let carried = ["summary", DATABASE, ORIGIN, RAN, super::drift::DRIFT];
    let carried = carried.iter().filter_map(|name| Some(((*name).to_owned(), entry(anchor, name)?.to_owned())));
    let data = carried.chain([("conditions".to_owned(), conditions.to_json())]).collect();
    let metadata = render::meta(key, names::ANCHOR);
    Desired::of(&ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).map(Some)
}

fn data(policies: &Policies) -> &'static str {
    match policies.data {
        DataPolicy::Retain => "retained",
        DataPolicy::Delete => "deleted",
    }
}

/// The anchor of a gateway that is not wanted any more. What it knew of the gateway stays on it.
fn leaving(
    key: &GatewayKey,
    anchor: &Value,
    state: Option<(&str, &[String])>,
    reason: &str,
    message: &str,
) -> Result<Desired, Error> {
    let before = entry(anchor, "summary").and_then(Summary::read);
    let mut summary = Summary::of(GatewayPhase::Deleting, reason, message);
    if let Some(before) = before {
        (summary.image, summary.image_from, summary.config_hash) =
            (before.image, before.image_from, before.config_hash);
    }
    let mut data = vec![("summary", summary.to_json())];
    for carried in ["conditions", DATABASE, ORIGIN, RAN, super::drift::DRIFT] {
        data.extend(entry(anchor, carried).map(|text| (carried, text.to_owned())));
    }
    if let Some((state, orphans)) = state {
        data.push((REMOVAL, state.to_owned()));
        if !orphans.is_empty() {
            data.push((ORPHANS, orphans.join("\n")));
        }
    }
    Desired::of(&ConfigMap {
        metadata: render::meta(key, names::ANCHOR),
        data: Some(data.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()),
        ..ConfigMap::default()
    })
}

/// Whether an authority was made for another namespace of this name, one that is gone.
pub(super) fn is_of_another_namespace(authority: &Secret, uid: &str) -> bool {
    let annotations = authority.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(annotations::NAMESPACE_UID)).is_some_and(|made_for| made_for != uid)
}
