//! The one writer of `platform-config-status`: an entry per tenant, for people who wrote `platform-config`.
//!
//! The anchors in the tenants' namespaces say how each gateway stands; this controller copies their summaries into one
//! ConfigMap next to `platform-config`, adds what has no anchor (wrong entries, missing namespaces) and counts phases.
//! It has a single key that rests between passes, so that a burst of changes becomes few writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::{GatewayPhase, labels};
use paddock_policy::tenant::TenantName;
use paddock_reconcile::{
    Act, Change, Context, Controller, Desired, Error, Event, Kind, ObjectRef, Plan, Settings, Source, Strategy,
    Verdict, object,
};
use serde_json::{Value, json};

use super::condition::{INVALID_DOCUMENT, MAX_SUMMARY, Row, Summary};
use super::controller::PLATFORM_CONFIG;
use super::intent::{Intents, Origin, Rules};
use super::key::GatewayKey;
use super::memory::{Memory, Told};
use super::metrics::GatewayMetrics;
use super::preflight::{self, Rights};
use super::report::{OVERRIDES, overrides};
use super::selection::{Home, home, homes};
use super::{names, removal, resource};

/// The ConfigMap with the report.
pub const STATUS: &str = "platform-config-status";
/// The entry about the document as a whole; a tenant cannot have this name.
const DOCUMENT: &str = "_document";
/// The entry about what stays of gateways that are gone.
const ORPHANS: &str = "_orphans";
/// The entry about those that found no room.
const MORE: &str = "_more";

/// The most bytes of all entries: a ConfigMap holds 1 MiB, and one that is refused tells nobody anything.
const MAX_REPORT: usize = 960 * 1024;

/// At most one write in this time: a burst of changes, such as a thousand gateways becoming ready, is few writes.
const SPACING: Duration = Duration::from_secs(1);

/// A change is told after this time: an edit has reached its gateway by then, and what it came to is told with it.
const DELAY: Duration = Duration::from_millis(150);

/// The only key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STATUS)
    }
}

/// The controller.
#[derive(Debug)]
pub struct GatewayStatus {
    namespace: String,
    rules: Rules,
    memory: Memory,
    metrics: GatewayMetrics,
    rights: Rights,
    /// What the report was to say last: as long as it says so, its events start no pass.
    planned: Arc<Mutex<Option<Entries>>>,
}

/// Digest of a report's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entries(u64);

impl Entries {
    fn of<'a>(data: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let sorted: BTreeMap<&str, &str> = data.collect();
        let mut hasher = DefaultHasher::new();
        sorted.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Those of a report that is ours.
    fn live(report: &Value) -> Option<Self> {
        let data = report["data"].as_object().filter(|_| is_ours(report))?;
        Some(Self::of(data.iter().map(|(name, entry)| (name.as_str(), entry.as_str().unwrap_or_default()))))
    }
}

/// What the report depends on.
#[derive(Debug)]
pub struct StatusSnapshot {
    intents: Arc<Intents>,
    /// By tenant: its namespace and what its anchor tells of the gateway as a whole.
    tenants: BTreeMap<String, (Home, Option<Told>)>,
    /// The tenants whose entry is not heard because an object asks for the same gateway.
    overridden: BTreeSet<GatewayKey>,
    /// Rights that are missing where there is no anchor, which could tell it.
    rights: BTreeMap<String, Arc<Vec<String>>>,
    /// What the anchors of gateways tell that nobody asks for, and who did last.
    leftovers: Vec<(GatewayKey, Origin, Told)>,
    /// How the gateways stand that objects alone ask for: they are counted, and told by their objects.
    others: BTreeMap<String, Summary>,
    /// The report as it stands.
    live: Option<Arc<Value>>,
}

impl GatewayStatus {
    pub(super) fn new(
        namespace: String,
        rules: Rules,
        memory: Memory,
        metrics: GatewayMetrics,
        rights: Rights,
    ) -> Self {
        Self { namespace, rules, memory, metrics, rights, planned: Arc::default() }
    }

    fn named(&self, name: &str) -> ObjectRef {
        ObjectRef::of::<ConfigMap>(Some(&self.namespace), name)
    }

    /// The report, where there is none yet.
    fn whole(&self, data: BTreeMap<String, String>) -> Result<Desired, Error> {
        let labels = [(labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK)];
        Desired::of(&ConfigMap {
            metadata: ObjectMeta {
                name: Some(STATUS.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        })
    }
}

impl Controller for GatewayStatus {
    type Key = Report;
    type Snapshot = StatusSnapshot;

    fn name(&self) -> &'static str {
        "gateway-status"
    }

    fn settings(&self) -> Settings {
        Settings { concurrency: 1, delay: DELAY, spacing: SPACING, ..Settings::default() }
    }

    fn sources(&self) -> Vec<Source<Report>> {
        let memory = self.memory.clone();
        let (namespaces, resources, rules) = (self.memory.clone(), self.memory.clone(), self.rules.clone());
        let anchors = self.memory.clone();
        let intent = move |change: &Change<'_>| {
            memory.observe(change.after);
            vec![Report]
        };
        let planned = Arc::clone(&self.planned);
        let report = move |change: &Change<'_>| {
            let planned = *planned.lock().unwrap_or_else(PoisonError::into_inner);
            let is_as_planned = planned.is_some() && change.after.and_then(Entries::live) == planned;
            if is_as_planned { Vec::new() } else { vec![Report] }
        };
        let here =
            |source: Source<Report>, name: &str| source.within(&self.namespace).fields(format!("metadata.name={name}"));
        vec![
            here(Source::of::<ConfigMap>(intent), PLATFORM_CONFIG),
            here(Source::of::<ConfigMap>(report), STATUS),
            // The same selection as the gateways controller's, so the two share one watch.
            Source::kind(Kind::of::<ConfigMap>(), move |change: &Change<'_>| {
                anchors.see_anchor(change);
                let key = GatewayKey::of_object(change.object());
                let anchor = key.is_some_and(|key| change.object()["metadata"]["name"] == key.name_of(names::ANCHOR));
                if anchor { vec![Report] } else { Vec::new() }
            })
            .labels(labels::TENANT),
            Source::kind(resource::kind(), move |change: &Change<'_>| {
                let Some(key) = resource::key_of(change.object()) else { return Vec::new() };
                let known = resources.has_resource(&key);
                resources.observe_resource(&key, change.after);
                let told = |object: Option<&Value>| object.and_then(resource::summary_of);
                let same = change.before.is_some() && change.after.is_some() && known == resources.has_resource(&key);
                let same = same && told(change.before) == told(change.after);
                if same { Vec::new() } else { vec![Report] }
            }),
            Source::of::<Namespace>(move |change| {
                let name = change.object()["metadata"]["name"].as_str().unwrap_or_default();
                let same = change.before.is_some() && home(change.before, &rules) == home(change.after, &rules);
                if same || namespaces.keys_in(name).is_empty() { Vec::new() } else { vec![Report] }
            }),
        ]
    }

    async fn snapshot(&self, cx: &Context, _: &Report) -> Result<StatusSnapshot, Error> {
        let config = cx.get(&self.named(PLATFORM_CONFIG)).await?;
        let intents = self.memory.observe(config.as_deref());
        let (mut tenants, mut overridden, mut rights) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let homes = homes(cx, &self.rules).await?;
        let asking: Option<BTreeMap<GatewayKey, Arc<Value>>> = match cx.list(&resource::kind(), None, &[]).await {
            Ok(objects) => {
                Some(objects.into_iter().filter_map(|object| Some((resource::key_of(&object)?, object))).collect())
            }
            // Without the kind what was known holds.
            Err(Error::Waiting { .. }) => None,
            Err(error) => return Err(error),
        };
        let observed = |key: &GatewayKey| {
            let asking = asking.as_ref()?;
            let object = asking.get(key);
            self.memory.observe_resource(key, object.map(|object| &**object));
            object
        };
        for key in intents.keys() {
            let home = homes.get(key.namespace()).copied().unwrap_or(Home::Missing);
            let anchor = if home == Home::Missing { None } else { self.memory.anchor(&key) };
            if home == Home::There && anchor.is_none() {
                rights.insert(key.namespace().to_owned(), self.rights.known(key.namespace()));
            }
            tenants.insert(key.namespace().to_owned(), (home, anchor));
            observed(&key);
            if self.memory.has_resource(&key) {
                overridden.insert(key);
            }
        }
        let mut leftovers = Vec::new();
        for (key, origin) in self.memory.leftovers() {
            leftovers.extend(self.memory.anchor(&key).map(|anchor| (key, origin, anchor)));
        }
        let mut others = BTreeMap::new();
        for key in self.memory.keys().into_iter().filter(|key| intents.entry(key).is_none()) {
            others.extend(observed(&key).and_then(|object| Some((key.called(), resource::summary_of(object)?))));
        }
        let live = cx.get(&self.named(STATUS)).await?;
        Ok(StatusSnapshot { intents, tenants, overridden, rights, others, leftovers, live })
    }

    fn plan(&self, _: &Report, snapshot: &StatusSnapshot, now: Timestamp) -> Result<Plan, Error> {
        let rows = rows(snapshot);
        let orphans = orphans(snapshot);
        let summaries = rows.iter().map(|(tenant, row)| (tenant, &row.summary));
        self.metrics.show(summaries.chain(&snapshot.others), now);
        self.metrics.show_orphans(orphans.iter().map(|(tenant, objects)| (*tenant, objects.len())));
        let mut data = entries(&rows);
        if !orphans.is_empty() {
            data.insert(ORPHANS.to_owned(), orphans_entry(&orphans));
        }
        let entries = Entries::of(data.iter().map(|(name, entry)| (name.as_str(), entry.as_str())));
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some(entries);
        let mut plan = Plan::new();
        match snapshot.live.as_deref().filter(|live| is_ours(live)) {
            Some(live) => {
                let news = news(live, &data);
                if !news.is_empty() {
                    let patch = json!({ "data": news });
                    plan.step(vec![Act::patch(self.named(STATUS), Strategy::Merge, patch)]);
                }
            }
            None => drop(plan.apply(self.whole(data)?)),
        }
        if let Some(problem) = &snapshot.intents.document {
            plan.event(Event::warning(self.named(PLATFORM_CONFIG), INVALID_DOCUMENT, problem.to_string()));
        }
        if !snapshot.rights.is_empty() {
            let message = "gateways have yet to report".to_owned();
            plan.verdict = Verdict::Waiting { on: Rights::news(), message };
        }
        Ok(plan)
    }
}

/// The entries as they are written. Where they are too many for a ConfigMap, first the messages give way, then mistaken entries, which
/// are told in Events too, then the others; how many is said.
fn entries(rows: &BTreeMap<String, Arc<Row>>) -> BTreeMap<String, String> {
    let mut entries: BTreeMap<_, _> = rows.iter().map(|(name, row)| (name.clone(), row.text.clone())).collect();
    let mut size: usize = entries.iter().map(|(name, entry)| name.len() + entry.len()).sum();
    let (failed, others): (Vec<_>, Vec<_>) =
        rows.iter().rev().partition(|(_, row)| row.summary.phase == GatewayPhase::Failed);
    let order = || failed.iter().chain(&others).filter(|(name, _)| *name != DOCUMENT);
    for (name, row) in order() {
        if size <= MAX_REPORT {
            return entries;
        }
        let brief = Summary { message: String::new(), ..row.summary.clone() }.to_json();
        size += brief.len();
        size -= entries.insert((*name).clone(), brief).map_or(0, |long| long.len());
    }
    let mut more = 0_usize;
    for (name, _) in order() {
        if size <= MAX_REPORT {
            break;
        }
        size -= entries.remove(*name).map_or(0, |entry| name.len() + entry.len());
        more += 1;
    }
    if more > 0 {
        entries.insert(MORE.to_owned(), json!({ "count": more }).to_string());
    }
    entries
}

/// Whether the report is ours to write.
fn is_ours(live: &Value) -> bool {
    object::label(live, labels::MANAGED_BY) == Some(labels::MANAGED_BY_PADDOCK)
}

/// What of the report has to change, as a merge patch. A thousand tenants' entries are not sent, judged and compared for one
/// that is news.
fn news<'a>(live: &'a Value, data: &'a BTreeMap<String, String>) -> BTreeMap<&'a str, Option<&'a str>> {
    let told: BTreeMap<&str, &Value> = live["data"].as_object().into_iter().flatten().map(|(k, v)| (&**k, v)).collect();
    let gone = told.keys().filter(|tenant| !data.contains_key(**tenant)).map(|tenant| (*tenant, None));
    let fresh = data.iter().filter(|(tenant, text)| told.get(&***tenant).and_then(|told| told.as_str()) != Some(text));
    fresh.map(|(tenant, text)| (&**tenant, Some(&**text))).chain(gone).collect()
}

/// What stays of gateways that are gone, by namespace.
fn orphans(snapshot: &StatusSnapshot) -> BTreeMap<&str, Vec<&str>> {
    let mut orphans: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, _, anchor) in &snapshot.leftovers {
        if let Some(lines) = removal::entry(&anchor.anchor, removal::ORPHANS) {
            orphans.entry(key.namespace()).or_default().extend(lines.lines());
        }
    }
    orphans
}

/// The entry about orphans: how many there are, and as many of them as fit.
fn orphans_entry(orphans: &BTreeMap<&str, Vec<&str>>) -> String {
    let all: Vec<&str> = orphans.values().flatten().copied().collect();
    let mut named = all.len();
    loop {
        let entry = json!({ "count": all.len(), "objects": all.get(..named).unwrap_or_default() }).to_string();
        if entry.len() <= MAX_SUMMARY || named == 0 {
            return entry;
        }
        named = named.min(MAX_SUMMARY / 16).saturating_sub(1);
    }
}

fn rows(snapshot: &StatusSnapshot) -> BTreeMap<String, Arc<Row>> {
    let mut rows = BTreeMap::new();
    // Gateways that go, and those about which an unreadable document says nothing: as they stood last.
    for (key, origin, anchor) in &snapshot.leftovers {
        let is_gone = removal::entry(&anchor.anchor, removal::REMOVAL) == Some(removal::DONE);
        let row = anchor.row.clone().filter(|_| !is_gone);
        if let Some(row) = row.filter(|_| key.is_default() && *origin == Origin::PlatformConfig) {
            rows.insert(key.namespace().to_owned(), row);
        }
    }
    if let Some(problem) = &snapshot.intents.document {
        let row = Row::of(Summary::of(GatewayPhase::Failed, INVALID_DOCUMENT, problem.to_string()));
        rows.insert(DOCUMENT.to_owned(), row);
    }
    for (name, entry) in &snapshot.intents.entries {
        let (home, anchor) =
            snapshot.tenants.get(name).map_or((Home::Missing, None), |(home, anchor)| (*home, anchor.as_ref()));
        let anchored = anchor.and_then(|anchor| anchor.row.clone());
        let key = name.parse().ok().map(GatewayKey::default_of);
        let overridden = key.filter(|key| snapshot.overridden.contains(key));
        let obstacle = home.obstacle(name).map(|(reason, message)| Summary::of(GatewayPhase::Pending, reason, message));
        let mut row = match (&anchored, obstacle) {
            // What runs there is not looked at any more.
            (Some(_), Some(obstacle)) if home == Home::NotSelected => obstacle,
            (Some(anchored), _) if overridden.is_none() && entry.problems.is_empty() => {
                rows.insert(entry_key(name), Arc::clone(anchored));
                continue;
            }
            (Some(anchored), _) => anchored.summary.clone(),
            (None, Some(obstacle)) => obstacle,
            (None, None) => match snapshot.rights.get(name).filter(|rights| !rights.is_empty()) {
                Some(rights) => {
                    Summary::of(GatewayPhase::Pending, preflight::PERMISSIONS_MISSING, preflight::may_not(rights))
                }
                None => Summary::of(GatewayPhase::Pending, "Progressing", ""),
            },
        };
        if let Some(key) = &overridden {
            row.reason = OVERRIDES.to_owned();
            row.message = overrides(key);
        } else if !entry.problems.is_empty() {
            row.phase = if anchored.is_some() { GatewayPhase::Degraded } else { GatewayPhase::Failed };
            row.ready = false;
            row.reason = "InvalidEntry".to_owned();
            row.message = entry.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        }
        entry.digest.clone_into(&mut row.observed_digest);
        rows.insert(entry_key(name), Row::of(row));
    }
    rows
}

/// A key that a ConfigMap accepts: the tenant's name, or for what cannot be a tenant a readable stand-in.
pub(super) fn entry_key(name: &str) -> String {
    if name.parse::<TenantName>().is_ok() {
        return name.to_owned();
    }
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
    format!("_entry.{}", name.chars().take(100).map(safe).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::intent::Rules;

    fn snapshot(yaml: &str) -> StatusSnapshot {
        let rules = Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap());
        StatusSnapshot {
            intents: Arc::new(Intents::default().next(Some(yaml), &rules)),
            tenants: BTreeMap::new(),
            overridden: BTreeSet::new(),
            rights: BTreeMap::new(),
            leftovers: Vec::new(),
            others: BTreeMap::new(),
            live: None,
        }
    }

    #[test]
    fn every_entry_has_a_row_with_its_reason() {
        let mut snapshot = snapshot("- name: missing\n- name: there\n- name: bad\n  x: 1\n- name: a b\n- {}\n");
        snapshot.tenants.insert("there".into(), (Home::There, None));
        let rows: Vec<String> = rows(&snapshot)
            .iter()
            .map(|(key, row)| format!("{key} {} {}", row.summary.phase, row.summary.reason))
            .collect();
        assert_eq!(
            rows,
            [
                "_entry._5 Failed InvalidEntry",
                "_entry.a_b Failed InvalidEntry",
                "bad Failed InvalidEntry",
                "missing Pending NamespaceMissing",
                "there Pending Progressing",
            ]
        );
    }

    #[test]
    fn of_the_report_only_what_is_news_is_written() {
        let live = json!({ "data": { "a": "1", "b": "2", "c": "3", "d": 4 } });
        let data = [("a", "1"), ("b", "4"), ("d", "5"), ("e", "6")];
        let data = data.map(|(tenant, text)| (tenant.to_owned(), text.to_owned())).into();
        let expected = BTreeMap::from([("b", Some("4")), ("c", None), ("d", Some("5")), ("e", Some("6"))]);
        assert_eq!(news(&live, &data), expected);
        assert_eq!(news(&Value::Null, &data).len(), 4);
    }

    #[test]
    fn report_that_says_what_was_planned_starts_no_pass_and_any_other_does() {
        let rules = Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap());
        let memory = Memory::new(rules.clone());
        let status = GatewayStatus::new("home".into(), rules, memory, GatewayMetrics::default(), Rights::default());
        let sources = status.sources();
        // The second one is that of the report.
        let keys = |report: Value| sources[1].keys_of(&Change { before: None, after: Some(&report) }).len();
        let planned = status.plan(&Report, &snapshot("- name: missing\n"), Timestamp::UNIX_EPOCH).unwrap();
        let report = planned.apply[0].body().clone();
        assert_eq!(keys(report.clone()), 0);
        let mut edited = report.clone();
        edited["data"]["missing"] = "".into();
        let mut grown = report.clone();
        grown["data"]["other"] = "".into();
        let mut strange = report;
        strange["metadata"]["labels"] = json!({});
        assert_eq!([keys(edited), keys(grown), keys(strange), keys(Value::Null)], [1; 4]);
    }

    #[test]
    fn gw_f23_orphans_are_counted_and_as_many_as_fit_are_named() {
        let lines: Vec<String> =
            (0..200).map(|n| format!("PersistentVolumeClaim tenant-a/openshell-data-{n}")).collect();
        let mut orphans = BTreeMap::from([("tenant-a", lines.iter().map(String::as_str).collect::<Vec<_>>())]);
        let entry = orphans_entry(&orphans);
        assert!(entry.len() <= MAX_SUMMARY && entry.contains("\"count\":200") && entry.contains("openshell-data-0"));
        orphans.insert("tenant-b", vec!["x"; 3]);
        assert!(orphans_entry(&orphans).contains("\"count\":203"));
    }

    #[test]
    fn more_entries_than_a_config_map_holds_are_shortened_and_counted() {
        let row = |phase| Row::of(Summary::of(phase, "InvalidEntry", "wrong ".repeat(100)));
        let report = |failed: usize, running: usize| {
            let failed = (0..failed).map(|n| (format!("f{n:05}"), row(GatewayPhase::Failed)));
            let running = (0..running).map(|n| (format!("r{n:05}"), row(GatewayPhase::Running)));
            let entries = entries(&failed.chain(running).collect());
            assert!(entries.iter().map(|(name, entry)| name.len() + entry.len()).sum::<usize>() <= MAX_REPORT + 64);
            entries
        };
        let shortened = report(1_000, 1_000);
        assert_eq!(shortened.len(), 2_000);
        assert!(shortened["r00000"].contains("wrong") && !shortened["f00999"].contains("wrong"));
        let cut = report(20_000, 1_000);
        assert!(cut.contains_key("r00000") && cut.contains_key("f00000") && !cut.contains_key("f19999"));
        assert_eq!(cut[MORE], format!("{{\"count\":{}}}", 21_000 + 1 - cut.len()));
    }

    #[test]
    fn unreadable_document_has_a_row_of_its_own() {
        let rows = rows(&snapshot("x: ["));
        assert_eq!(rows[DOCUMENT].summary.reason, "InvalidDocument");
    }
}
