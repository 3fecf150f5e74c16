//! The controller that decides: reads the sources and the platform, keeps the decision in one ConfigMap, reports on the policy.
//! Reads the API server and, where one is set up, the injected file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::labels;
use paddock_reconcile::plan::StatusPatch;
use paddock_reconcile::{
    Change, Context, Controller, Dependency, Desired, Error, Event, Kind, ObjectRef, Plan, Source,
};
use paddock_tls_profile::{Generation, Known};
use serde_json::Value;
use tokio::sync::watch;

use super::decision::{Decided, Finding, Inputs, Published, decide};
use super::follower::FOLLOW;
use super::memory::{Memory, Record};
use super::metrics::ProfileMetrics;
use super::platform::{Capability, Platform};
use super::policy::{self, Policy};
use super::report;
use super::sources::{Heard, ProfileFlags, SourceKind, choose};

/// The one key.
const KEY: &str = "cluster";
/// The key of the decision's ConfigMap that holds what is known of the platform.
const PLATFORM: &str = "platform.json";
/// How long what discovery said is not asked again, unless a definition changes.
const DISCOVERY_HOLDS: SignedDuration = SignedDuration::from_secs(20);
/// How often the platform is asked.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// How often a source that no watch covers is read: a file, a ConfigMap without [`SOURCE`].
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// The value of [`FOLLOW`] on a ConfigMap that is a source: with it a change is seen at once.
const SOURCE: &str = "source";
/// The value of [`FOLLOW`] on the decision itself: by it writers are told apart.
pub(crate) const MARK: &str = "decision";

/// OpenShift's release is in this object.
const CLUSTER_VERSION: Kind = Kind::custom("config.openshift.io", "v1", "ClusterVersion", "clusterversions", false);

/// HyperShift's hosted clusters, as their management cluster has them.
const HOSTED_CLUSTER: Kind =
    Kind::custom("hypershift.openshift.io", "v1beta1", "HostedCluster", "hostedclusters", true);

/// What the process was started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The control plane's namespace, which holds the decision.
    pub namespace: String,
    /// A mounted file with `servingInfo`, as OpenShift injects it; `None`: there is none.
    pub injected: Option<PathBuf>,
    /// The profile of the process's own flags.
    pub flags: ProfileFlags,
    /// Whether this machine is in FIPS mode.
    pub fips: bool,
    /// What is counted.
    pub metrics: ProfileMetrics,
    /// Where the process's own listeners hear what was decided.
    pub own: OwnFiles,
}

/// The start-up files of this process's own listeners, as they were decided on; empty before that. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnFiles(watch::Sender<BTreeMap<String, String>>);

impl OwnFiles {
    /// Whoever puts them where the listeners read them.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.0.subscribe()
    }

    fn are(&self, published: &Published) {
        let files = published.files(OWN);
        self.0.send_if_modified(|held| {
            let new = *held != files;
            *held = files;
            new
        });
    }
}

/// The name of this process's own listeners in their contract.
const OWN: &str = "apiserver";

/// The name of the ConfigMap with the decision, in the control plane's namespace.
pub const DECISION: &str = "paddock-tls-profile";

/// What wakes the decider when a source changed that it does not watch itself.
pub(crate) fn news() -> Dependency {
    Dependency::Named("the TLS profile's source".to_owned())
}

type Answers = BTreeMap<Capability, Known>;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Decider {
    options: Options,
    pub(crate) memory: Memory,
    discovered: Arc<Mutex<Option<(Timestamp, Answers)>>>,
}

/// What a decision depends on.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken.
    at: Timestamp,
    policy: Option<Arc<Value>>,
    /// What was decided last.
    before: Record,
    /// What was written down of it is gone.
    deleted: bool,
    answers: Answers,
    heard: BTreeMap<SourceKind, Heard>,
    /// `None`: this time it could not be found out.
    table: Option<Generation>,
    followers: report::Followers,
}

impl Decider {
    pub(crate) fn new(options: Options, memory: Memory) -> Self {
        Self { options, memory, discovered: Arc::default() }
    }

    fn record(&self) -> ObjectRef {
        ObjectRef::of::<ConfigMap>(Some(&self.options.namespace), DECISION)
    }

    /// What discovery says of every capability.
    async fn discover(&self, cx: &Context) -> Answers {
        let now = cx.clock().now();
        let known = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, answers)) = known
            && now.duration_since(at) < DISCOVERY_HOLDS
        {
            return answers;
        }
        let mut answers = Answers::new();
        for capability in Capability::ALL {
            answers.insert(capability, served(cx, &capability.kind()).await);
        }
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, answers.clone()));
        answers
    }

    /// What every source that is set up says.
    async fn hear(&self, cx: &Context, policy: &Policy, config: Known) -> BTreeMap<SourceKind, Heard> {
        let mut heard = BTreeMap::new();
        let object =
            ObjectRef { kind: Capability::ApiServerConfig.kind(), namespace: None, name: "cluster".to_owned() };
        let api_server = match config {
            Known::No => Heard::Absent,
            Known::Unknown => Heard::Unreadable("it cannot be found out whether the cluster has it".to_owned()),
            Known::Yes => match cx.get(&object).await {
                Ok(object) => Heard::api_server(object.as_deref()),
                Err(error) => Heard::Unreadable(error.to_string()),
            },
        };
        heard.insert(SourceKind::OpenShiftApiServer, api_server);
        if let Some((namespace, name)) = &policy.hosted_cluster {
            let target = HOSTED_CLUSTER.named(Some(namespace), name);
            let said = match cx.get(&target).await {
                Ok(Some(object)) => Heard::hosted_cluster(&target.to_string(), &object),
                Ok(None) => Heard::Unreadable(format!("{target} does not exist")),
                Err(error) => Heard::Unreadable(error.to_string()),
            };
            heard.insert(SourceKind::HostedCluster, said);
        }
        heard.insert(SourceKind::InjectedConfig, self.injected().await);
        if let Some((namespace, name)) = &policy.config_map {
            let target = ObjectRef::of::<ConfigMap>(Some(namespace), name);
            heard.insert(SourceKind::ConfigMap, config_map(cx, &target).await);
        }
        heard.insert(SourceKind::Inline, Heard::inline(policy));
        heard.insert(SourceKind::Flags, self.options.flags.heard());
        heard.insert(SourceKind::Builtin, Heard::api_server(None));
        heard
    }

    async fn injected(&self) -> Heard {
        let Some(path) = &self.options.injected else { return Heard::Absent };
        match tokio::fs::read_to_string(path).await {
            Ok(text) => Heard::injected(Ok(Some(&text))),
            Err(error) => Heard::injected(Err(format!("{}: {error}", path.display()))),
        }
    }
}

/// Whether a kind is served, by discovery alone: only the two clean answers count.
async fn served(cx: &Context, kind: &Kind) -> Known {
    match cx.client().list_api_group_resources(&kind.api_version()).await {
        Ok(list) if list.resources.iter().any(|resource| resource.name == kind.plural) => Known::Yes,
        Ok(_) => Known::No,
        Err(kube::Error::Api(status)) if status.code == 404 => Known::No,
        Err(_) => Known::Unknown,
    }
}

async fn config_map(cx: &Context, target: &ObjectRef) -> Heard {
    match cx.get(target).await {
        Ok(Some(object)) => match object["data"]["profile.json"].as_str() {
            Some(text) => Heard::profile(&target.to_string(), text),
            None => Heard::Unreadable(format!("{target} has no key profile.json")),
        },
        Ok(None) => Heard::Unreadable(format!("{target} does not exist")),
        Err(error) => Heard::Unreadable(error.to_string()),
    }
}

/// The tables of the platform's release; `None` when it could not be read.
async fn table(cx: &Context, config: Known) -> Option<Generation> {
    if config != Known::Yes {
        return Some(Generation::default());
    }
    let version = CLUSTER_VERSION.named(None, "version");
    let object = match cx.get_live(&version).await {
        Ok(object) => object.unwrap_or_default(),
        // MicroShift and others have the one kind and not the other.
        Err(Error::Waiting { .. }) => return Some(Generation::default()),
        Err(_) => return None,
    };
    let release = object["status"]["desired"]["version"].as_str();
    Some(release.and_then(Generation::of_release).unwrap_or_default())
}

impl Controller for Decider {
    type Key = &'static str;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "tls-profile-decision"
    }

    fn sources(&self) -> Vec<Source<Self::Key>> {
        let always = |_: &Change<'_>| vec![KEY];
        let discovered = Arc::clone(&self.discovered);
        let definitions = move |_: &Change<'_>| {
            *discovered.lock().unwrap_or_else(PoisonError::into_inner) = None;
            vec![KEY]
        };
        vec![
            // There is something to decide before there is anything else.
            Source::of::<Namespace>(|change| if change.before.is_none() { vec![KEY] } else { Vec::new() })
                .fields(format!("metadata.name={}", self.options.namespace)),
            Source::of::<ConfigMap>(always).within(&self.options.namespace).fields(format!("metadata.name={DECISION}")),
            Source::of::<CustomResourceDefinition>(definitions),
        ]
    }

    async fn snapshot(&self, cx: &Context, _key: &Self::Key) -> Result<Snapshot, Error> {
        let record = cx.get(&self.record()).await?;
        let deleted = self.memory.was_written(cx.term(), record.is_some()) && record.is_none();
        let read = record.map(|record| record_of(&record)).unwrap_or_default();
        let policy = match cx.get(&policy::KIND.named(None, policy::NAME)).await {
            Ok(policy) => policy,
            // No definition, no policy.
            Err(Error::Waiting { .. }) => None,
            Err(error) => return Err(error),
        };
        let written = read.published.clone();
        let before = self.memory.last(cx.term(), read);
        let answers = self.discover(cx).await;
        let now = cx.clock().now();
        let config = heard(&before.platform, &answers, now).of(Capability::ApiServerConfig);
        let spec = policy.as_deref().map_or_else(|| Ok(Policy::default()), Policy::read).unwrap_or_default();
        let snapshot = Snapshot {
            at: now,
            heard: self.hear(cx, &spec, config).await,
            table: table(cx, config).await,
            policy,
            before,
            deleted,
            answers,
            followers: report::Followers::of(&self.memory),
        };
        // What the plan is about to write down is remembered here, for a plan touches nothing: what somebody else writes there is
        // not believed.
        let decision = self.decide(&snapshot);
        let Decision { platform, source, decided } = decision;
        self.options.metrics.show(source, &decided, &snapshot.followers);
        if let Some(published) = decided.published.as_ref().filter(|published| snapshot.followers.have(published))
            && let Some(took) = self.memory.arrived(published.contract.generation, now)
        {
            self.options.metrics.propagation.observe(took.as_secs_f64());
        }
        // As everybody else's: only what is written down and was read back.
        if let Some(published) = decided.published.as_ref().filter(|published| Some(*published) == written.as_ref()) {
            self.options.own.are(published);
        }
        self.memory.decides(cx.term(), Record { platform, published: decided.published }, now);
        Ok(snapshot)
    }

    fn plan(&self, _key: &Self::Key, snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
        let decision = self.decide(snapshot);
        let mut plan = Plan::new();
        let record = decision.decided.published.as_ref().map(Published::record);
        let mut data = record.unwrap_or_default();
        data.insert(PLATFORM.to_owned(), decision.platform.to_json());
        plan.apply(self.keep(data)?);
        self.tell(&mut plan, snapshot, &decision, now);
        let record = self.record();
        plan.on_drift(move |drifts| {
            let note = |drift| format!("put right what somebody changed: {drift}");
            let mut plan = Plan::new();
            for drift in drifts {
                plan.event(Event::warning(record.clone(), "TLSProfileTampered", note(drift)));
            }
            plan
        });
        let unwatched = matches!(decision.source, SourceKind::ConfigMap | SourceKind::InjectedConfig);
        let pause = if unwatched { READ_AGAIN } else { LOOK_AGAIN };
        let soon = [decision.platform.look_again(), now.checked_add(pause).ok()];
        if let Some(at) = soon.into_iter().flatten().min() {
            plan.look_again_at(at);
        }
        plan.listen = Some(news());
        Ok(plan)
    }
}

/// What is decided now.
struct Decision {
    platform: Platform,
    source: SourceKind,
    decided: Decided,
}

/// What is known of the platform with these answers.
fn heard(before: &Platform, answers: &Answers, now: Timestamp) -> Platform {
    let mut platform = before.clone();
    for (capability, answer) in answers {
        platform.hear(*capability, *answer, now);
    }
    platform
}

impl Decider {
    fn decide(&self, snapshot: &Snapshot) -> Decision {
        let platform = heard(&snapshot.before.platform, &snapshot.answers, snapshot.at);
        let before = snapshot.before.published.as_ref();
        let policy = match snapshot.policy.as_deref().map_or_else(|| Ok(Policy::default()), Policy::read) {
            Ok(policy) => policy,
            Err(wrong) => {
                let message = format!("{wrong}; what was decided last stays");
                let finding = Finding { kind: "ProfileResolved", holds: false, reason: "InvalidPolicy", message };
                let decided = Decided { published: before.cloned(), findings: vec![finding] };
                return Decision { platform, source: SourceKind::Inline, decided };
            }
        };
        let (source, heard) = choose(policy.source, |kind| snapshot.heard.get(&kind).cloned().unwrap_or(Heard::Absent));
        let table = snapshot.table.or_else(|| before?.contract.source.table).unwrap_or_default();
        let inputs =
            Inputs { policy: &policy, platform: &platform, source, heard: &heard, table, fips: self.options.fips };
        let decided = decide(before, &inputs);
        Decision { platform, source, decided }
    }

    fn keep(&self, data: BTreeMap<String, String>) -> Result<Desired, Error> {
        let labels = [(labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK), (FOLLOW, MARK)];
        Desired::of(&ConfigMap {
            metadata: ObjectMeta {
                name: Some(DECISION.to_owned()),
                namespace: Some(self.options.namespace.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        })
    }

    /// Status and events, where there is a policy to carry them; else events on the decision.
    fn tell(&self, plan: &mut Plan, snapshot: &Snapshot, decision: &Decision, now: Timestamp) {
        let Decision { source, decided, .. } = decision;
        let target = match &snapshot.policy {
            Some(_) => policy::KIND.named(None, policy::NAME),
            None => self.record(),
        };
        if decided.published != snapshot.before.published
            && let Some(published) = &decided.published
        {
            let hash = published.contract.profile_hash.as_deref().unwrap_or_default();
            let note = format!("{} of {source} is TLS profile {hash}", published.contract.source.profile);
            plan.event(Event::normal(target.clone(), "TLSProfileChanged", note));
        }
        if snapshot.deleted {
            let note = format!("{} was deleted: it is written again", self.record());
            plan.event(Event::warning(target.clone(), "TLSProfileTampered", note));
        }
        for finding in decided.findings.iter().filter(|finding| !finding.holds) {
            plan.event(Event::warning(target.clone(), finding.reason, finding.message.clone()));
        }
        if let Some(policy) = &snapshot.policy {
            let status = report::status(policy, *source, decided, &snapshot.followers, now);
            plan.status(StatusPatch { target, status });
        }
    }
}

pub(crate) fn data(record: &Value) -> BTreeMap<String, String> {
    let data = record["data"].as_object();
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    data.into_iter().flatten().filter_map(text).collect()
}

/// What the decision's ConfigMap says.
fn record_of(object: &Value) -> Record {
    let data = data(object);
    let platform = data.get(PLATFORM).map(|text| Platform::read(text)).unwrap_or_default();
    Record { platform, published: Published::read(&data) }
}

/// Watches the sources whose kinds may be missing or forbidden, and wakes the decider: what cannot be watched must not keep it from
/// deciding by what it can read.
#[derive(Clone, Debug)]
pub struct SourceWatch;

impl Controller for SourceWatch {
    type Key = &'static str;
    type Snapshot = ();

    fn name(&self) -> &'static str {
        "tls-profile-sources"
    }

    fn sources(&self) -> Vec<Source<Self::Key>> {
        // Objects of the platform change often in what does not matter here.
        let spec = |change: &Change<'_>| {
            let of = |object: Option<&Value>| object.map(|object| object["spec"].clone());
            if of(change.before) == of(change.after) { Vec::new() } else { vec![KEY] }
        };
        vec![
            Source::kind(Capability::ApiServerConfig.kind(), spec).fields("metadata.name=cluster"),
            Source::kind(policy::KIND, spec).fields("metadata.name=cluster"),
            Source::kind(HOSTED_CLUSTER, |change| {
                let of = |object: Option<&Value>| {
                    object.map(|object| {
                        [&object["spec"]["configuration"], &object["status"]["version"]].map(Value::clone)
                    })
                };
                if of(change.before) == of(change.after) { Vec::new() } else { vec![KEY] }
            }),
            Source::of::<ConfigMap>(|_| vec![KEY]).labels(format!("{FOLLOW}={SOURCE}")),
        ]
    }

    async fn snapshot(&self, cx: &Context, _key: &Self::Key) -> Result<(), Error> {
        cx.wake(&news());
        Ok(())
    }

    fn plan(&self, _key: &Self::Key, _snapshot: &(), _now: Timestamp) -> Result<Plan, Error> {
        Ok(Plan::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tls_f04_nothing_is_handed_out_while_discovery_gives_no_clean_answer() {
        let decider = Decider::new(Options::default(), Memory::default());
        let snapshot = Snapshot {
            at: Timestamp::UNIX_EPOCH,
            policy: None,
            before: Record::default(),
            deleted: false,
            answers: Capability::ALL.map(|capability| (capability, Known::Unknown)).into(),
            heard: [
                (SourceKind::OpenShiftApiServer, Heard::Unreadable("no answer".to_owned())),
                (SourceKind::Builtin, Heard::api_server(None)),
            ]
            .into(),
            table: None,
            followers: report::Followers::default(),
        };
        let plan = decider.plan(&KEY, &snapshot, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(plan.apply[0].body()["data"], json!({ PLATFORM: "{}" }));
    }
}
