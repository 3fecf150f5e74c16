//! The controller that hands the decision to every workload that follows. Reads and writes through the API server alone.

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
use super::handover::{self, Guard, HANDED, Seen};
use super::memory::Memory;
use super::reads;

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

    /// A workload of the same namespace that rolls before this one and has not finished.
    async fn behind(
        &self,
        cx: &Context,
        key: &Workload,
        order: i32,
        published: &Published,
    ) -> Result<Option<String>, Error> {
        for other in self.memory.followers_in(&key.namespace).iter().filter(|other| *other != key) {
            let Some(object) = cx.get(&other.target()).await? else { continue };
            let Some(Ok(mut follower)) = Follower::read(other, &object) else { continue };
            let Told { published, .. } = told(published.clone(), other, &object, &mut follower);
            let Some(hash) = handover::wanted_hash(other, &follower, &published) else { continue };
            if follower.order < order && !follower.is_rolled_out(&object, &hash) {
                return Ok(Some(other.to_string()));
            }
        }
        Ok(None)
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
            seen.pods = reads::pods(cx, key, &seen.object).await?;
            if follower.reload == Reload::Roll {
                seen.guard = guard(cx, key, &seen.object, &follower.config_map).await?;
                seen.behind = self.behind(cx, key, follower.order, decided).await?;
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
        if matches!(plan.verdict, Verdict::Settled) && plan.listen.is_none() {
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
