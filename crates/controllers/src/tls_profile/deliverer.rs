//! The controller that hands the decision to every workload that follows. Reads and writes through the API server alone.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use paddock_reconcile::{
    Change, Context, Controller, Dependency, Error, Event, ObjectRef, Plan, Source, Verdict, object,
};
use serde_json::Value;

use super::components::{Told, told};
use super::decider::{DECISION, Options, news};
use super::decision::Published;
use super::follower::{FOLLOW, Follower, Reload, Workload, WorkloadKind};
use super::format::handed;
use super::handover::{self, Guard, HANDED, Seen};
use super::memory::Memory;
use super::reads;
use super::sharing::Claim;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Deliverer {
    namespace: String,
    memory: Memory,
}

/// What is seen of one workload; `None` when it does not follow.
pub struct Snapshot(Option<Seen>);

impl Deliverer {
    pub(crate) fn new(options: &Options, memory: Memory) -> Self {
        Self { namespace: options.namespace.clone(), memory }
    }

    fn forget(&self, cx: &Context, key: &Workload) -> Snapshot {
        if self.memory.forget(key) {
            cx.wake(&news());
            cx.wake(&Dependency::Named(handover::behind(&key.namespace)));
        }
        Snapshot(None)
    }

    /// Everybody else in the namespace who rolls before `mine` or names the same ConfigMap, with what each is told.
    async fn others(
        &self,
        cx: &Context,
        key: &Workload,
        mine: &Follower,
        published: &Published,
    ) -> Result<Vec<Other>, Error> {
        let mut others = Vec::new();
        for workload in self.memory.followers_in(&key.namespace).into_iter().filter(|other| other != key) {
            let Some(object) = cx.get(&workload.target()).await? else { continue };
            let Some(Ok(mut follower)) = Follower::read(&workload, &object) else { continue };
            if follower.order >= mine.order && follower.config_map != mine.config_map {
                continue;
            }
            let Told { published, .. } = told(published.clone(), &workload, &object, &mut follower);
            others.push(Other { workload, object, follower, published });
        }
        Ok(others)
    }
}

/// Somebody else who follows.
struct Other {
    workload: Workload,
    object: Arc<Value>,
    follower: Follower,
    published: Published,
}

impl Other {
    /// Whether it rolls before those of that order and has not finished.
    fn is_before(&self, order: i32) -> bool {
        let hash = handover::wanted_hash(&self.workload, &self.follower, &self.published);
        self.follower.order < order && hash.is_some_and(|hash| !self.follower.is_rolled_out(&self.object, &hash))
    }

    /// What it wants in that ConfigMap, if it names it.
    fn claims(&self, config_map: &str) -> Option<Claim> {
        let files = handed(&self.workload, &self.follower, &self.published).ok()?.files;
        let uid = object::uid(&self.object).to_owned();
        (self.follower.config_map == config_map).then(|| Claim { workload: self.workload.clone(), uid, files })
    }
}

/// Who guards the pods, and whether somebody else's budget has the name that ours would have.
async fn guard(cx: &Context, key: &Workload, object: &Value, name: &str) -> Result<Guard, Error> {
    let kind = paddock_reconcile::Kind::of::<PodDisruptionBudget>();
    let labels = object.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let budgets = cx.list(&kind, Some(&key.namespace), &[]).await?;
    let covers = |budget: &Value| {
        let wanted = budget.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let has = |(key, value): (&String, &Value)| labels.is_some_and(|labels| labels.get(key) == Some(value));
        wanted.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(has))
    };
    let others = || budgets.iter().filter(|budget| object::label(budget, FOLLOW) != Some(HANDED));
    Ok(match (others().any(|budget| covers(budget)), others().any(|budget| budget["metadata"]["name"] == name)) {
        (true, _) => Guard::Others,
        (false, true) => Guard::NameTaken,
        (false, false) => Guard::Ours,
    })
}

impl Controller for Deliverer {
    type Key = Workload;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "tls-profile-delivery"
    }

    fn sources(&self) -> Vec<Source<Workload>> {
        let memory = self.memory.clone();
        let mut sources = reads::workloads(move |workload| memory.follows(workload));
        let everybody = self.memory.clone();
        sources.push(
            Source::of::<ConfigMap>(move |_| everybody.followers())
                .within(&self.namespace)
                .fields(format!("metadata.name={DECISION}")),
        );
        sources.push(Source::of::<ConfigMap>(owners).labels(format!("{FOLLOW}={HANDED}")));
        sources.push(reads::marked_pods());
        sources
    }

    async fn snapshot(&self, cx: &Context, key: &Workload) -> Result<Snapshot, Error> {
        let object = cx.get(&key.target()).await?;
        let Some(object) = object.filter(|object| !object::is_terminating(object)) else {
            return Ok(self.forget(cx, key));
        };
        let Some(mut follower) = Follower::read(key, &object) else {
            return Ok(self.forget(cx, key));
        };
        self.memory.follows(key);
        let now = cx.clock().now();
        let decided = reads::published(cx, &self.namespace, &self.memory).await?;
        let (published, replaces) = match (&mut follower, decided.clone()) {
            (Ok(follower), Some(published)) => {
                let Told { published, replaces } = told(published, key, &object, follower);
                (Some(published), replaces)
            }
            (_, published) => (published, None),
        };
        let mut seen = Seen {
            object,
            follower,
            published,
            replaces,
            config_map: None,
            claims: Vec::new(),
            was_handed: false,
            pods: Vec::new(),
            guard: Guard::Others,
            behind: None,
            contested: self.memory.contested(key, now),
            since: self.memory.since(key),
            answers: self.memory.answers(key),
        };
        if let (Ok(follower), Some(decided)) = (&seen.follower, &decided) {
            let target = ObjectRef::of::<ConfigMap>(Some(&key.namespace), &follower.config_map);
            seen.config_map = cx.get_live(&target).await?;
            seen.was_handed = self.memory.was_handed(key, &follower.config_map, seen.config_map.is_some());
            let others = self.others(cx, key, follower, decided).await?;
            seen.claims = others.iter().filter_map(|other| other.claims(&follower.config_map)).collect();
            seen.pods = reads::pods(cx, key, &seen.object).await?;
            if follower.reload == Reload::Roll {
                seen.guard = guard(cx, key, &seen.object, &follower.budget(key)).await?;
                seen.behind =
                    others.iter().find(|other| other.is_before(follower.order)).map(|o| o.workload.to_string());
            }
        }
        // What the plan is about to do is remembered here: a plan touches nothing.
        let (plan, standing) = handover::plan(key, &seen, now)?;
        let writes = plan.acts.iter().flatten().any(|act| *act.target() == key.target());
        // Between two decisions a workload stands where it stood.
        let between = seen.published.is_none() && self.memory.has_standing(key);
        if !between && self.memory.stands(key, &standing, writes, now) {
            // The policy's status shows it, and who waited for this one goes on.
            cx.wake(&news());
            cx.wake(&Dependency::Named(handover::behind(&key.namespace)));
        }
        seen.since = self.memory.since(key);
        Ok(Snapshot(Some(seen)))
    }

    fn plan(&self, key: &Workload, snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
        let Some(seen) = &snapshot.0 else { return Ok(Plan::new()) };
        let (mut plan, _) = handover::plan(key, seen, now)?;
        let target = key.target();
        plan.on_drift(move |drifts| {
            let mut plan = Plan::new();
            for drift in drifts {
                let note = format!("put right what somebody changed: {drift}");
                plan.event(Event::warning(target.clone(), "TLSProfileTampered", note));
            }
            plan
        });
        if matches!(plan.verdict, Verdict::Settled | Verdict::Invalid { .. }) && plan.listen.is_none() {
            plan.listen = Some(Dependency::Named(handover::behind(&key.namespace)));
        }
        Ok(plan)
    }
}

/// The workloads that own a ConfigMap of ours.
fn owners(change: &Change<'_>) -> Vec<Workload> {
    let object = change.object();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let owners = object["metadata"]["ownerReferences"].as_array();
    let owner = |reference: &Value| {
        let kind = WorkloadKind::ALL.into_iter().find(|kind| reference["kind"] == *kind.kind().kind)?;
        Some(Workload { namespace: namespace.to_owned(), kind, name: reference["name"].as_str()?.to_owned() })
    };
    owners.into_iter().flatten().filter_map(owner).collect()
}
