//! What is wanted of each gateway, whoever asked for it; and how `platform-config` asks: entries judged, the last good set
//! kept.
//!
//! Pure, except that [`Intents`] remembers the last good set in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paddock_policy::dns::{self, SubjectName};
use paddock_policy::image::{ImagePolicy, ImageReference};
use paddock_policy::tenant::{ReservedNames, TenantName};
use serde_json::Value;

use super::document::{self, Placed, RawEntry, Reading};
use super::key::GatewayKey;
use super::platform::{ClusterVersion, Database};
use super::policies::Policies;
use super::problem::{Position, Problem};
use super::resource::Served;
use super::selection::Namespaces;
use super::version::GatewayVersion;
use super::{embedded, rollout, toml};

/// What a gateway shall be. Every field was judged; nothing in it can fail to render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Which gateway.
    pub key: GatewayKey,
    /// Who asked for it.
    pub origin: Origin,
    /// The effective gateway image: the entry's, else the default.
    pub image: ImageReference,
    /// Who chose the image.
    pub image_from: ImageFrom,
    /// A digest of what its author wrote, without anything that we add: the author's own edits change it and nothing else.
    pub own: String,
    /// The gateway's version, from the image's tag or from the entry.
    pub version: GatewayVersion,
    /// Every name of the server certificate: the mandatory ones and the entry's.
    pub server_names: BTreeSet<SubjectName>,
    /// The effective `gateway.toml`.
    pub config: String,
    /// Where it keeps its state.
    pub database: Database,
    /// The other namespaces that it serves; `None`: its own alone.
    pub serves: Option<Served>,
    /// Whether it runs on an OpenShift.
    pub openshift: bool,
    /// What happens to it in its life.
    pub policies: Policies,
}

/// Where an intent comes from: whom problems and events are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The entry of `platform-config` that is called like the namespace.
    #[default]
    PlatformConfig,
    /// The `OpenShellGateway` of that namespace and name.
    Resource,
}

impl Origin {
    /// The word for it on the anchor.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::PlatformConfig => "platform-config",
            Self::Resource => "OpenShellGateway",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::PlatformConfig, Self::Resource].into_iter().find(|origin| origin.as_str() == text)
    }
}

/// Who chose a gateway's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFrom {
    /// The gateway's own author.
    Entry,
    /// The operator, by a flag.
    Flag,
    /// The operator, by an environment variable.
    Environment,
    /// Nobody: it is the release that this build knows best.
    BuiltIn,
}

impl ImageFrom {
    /// The word for it in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::BuiltIn => "built-in",
        }
    }
}

/// The image of sandboxes when neither operator nor tenant chooses one: what OpenShell itself takes.
pub const DEFAULT_SANDBOX_IMAGE: &str = "ghcr.io/nvidia/openshell-community/sandboxes/base:latest";

/// The rules that entries are judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The image of entries that name none.
    pub default_image: ImageReference,
    /// Who chose that.
    pub default_image_from: ImageFrom,
    /// The image of sandboxes that name none; `None` is [`DEFAULT_SANDBOX_IMAGE`].
    pub sandbox_image: Option<ImageReference>,
    /// Which images may run.
    pub images: ImagePolicy,
    /// Which namespaces may not be tenants.
    pub reserved: ReservedNames,
    /// Which namespaces gateways may be in.
    pub namespaces: Namespaces,
    /// Where gateways keep their state when nobody says otherwise.
    pub database: Database,
    /// The policies of gateways that say nothing about them.
    pub policies: Policies,
    /// How many gateways may go at once before somebody has to say that it is meant.
    pub max_removals: usize,
    /// The cluster's version, which decides how supervisors get into sandboxes; `None` while nobody could tell.
    pub cluster: Option<ClusterVersion>,
    /// Whether the cluster is an OpenShift, which chooses the users and groups of pods itself.
    pub openshift: bool,
    /// Whether entries may set `allow_unauthenticated_users`. Then whoever holds a client certificate acts as an
    /// administrator of that gateway, and every sandbox holds one: for emergencies.
    pub break_glass: bool,
}

/// The default of [`Rules::max_removals`].
pub const MAX_REMOVALS: usize = 10;

impl Rules {
    /// The defaults: every fully qualified image, SQLite, nobody unauthenticated.
    pub fn new(default_image: ImageReference) -> Self {
        Self {
            default_image,
            default_image_from: ImageFrom::BuiltIn,
            sandbox_image: None,
            images: ImagePolicy::default(),
            reserved: ReservedNames::default(),
            namespaces: Namespaces::default(),
            database: Database::default(),
            policies: Policies::default(),
            max_removals: MAX_REMOVALS,
            cluster: None,
            openshift: false,
            break_glass: false,
        }
    }
}

/// After so many problems, the next entries' places in TOML are told by that text's own lines: following one through the document
/// costs the document's length.
const MAX_FOLLOWED: usize = 128;

/// One tenant's entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What to keep right: the entry as it stands, or while that is wrong the last good one of this process.
    pub intent: Option<Arc<Intent>>,
    /// What is wrong with the entry as it stands.
    pub problems: Vec<Problem>,
    /// Digest of what the entry says as it stands; empty for an object, which has a generation.
    pub digest: String,
}

/// The judged document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intents {
    /// By tenant name as written (also names that cannot be tenants, with their problems); `#n` for nameless entries.
    pub entries: BTreeMap<String, Entry>,
    /// What is wrong with the document as a whole. Then `entries` are those of the last good document.
    pub document: Option<Problem>,
    /// What the entries were judged from, so that an edit of one judges one.
    judged: Judged,
}

/// What entries were judged from: by which rules, and what they said.
#[derive(Debug, Clone, Default)]
struct Judged {
    rules: Option<Rules>,
    raw: BTreeMap<String, RawEntry>,
    /// The document, by which the next one is read.
    reading: Option<Arc<Reading>>,
}

/// Intents are what they say, not how that was found.
impl PartialEq for Judged {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Judged {}

impl Intents {
    /// Judges a new document. What was good before stays where the new one is wrong; nothing is ever forgotten because of
    /// a mistake. `None` is an absent document, which is a mistake too.
    #[must_use]
    pub fn next(&self, text: Option<&str>, rules: &Rules) -> Self {
        let missing = || Problem {
            entry: String::new(),
            key: "namespaces".to_owned(),
            position: None,
            message: "the ConfigMap platform-config or its key namespaces does not exist".to_owned(),
            hint: "what runs is kept".to_owned(),
        };
        let by_the_last = |text| {
            let entries = self.judged.reading.as_deref()?.next(text)?;
            Some(entries.into_iter().map(|entry| (entry, Vec::new())).collect())
        };
        let read = |text| by_the_last(text).map_or_else(|| document::read(text), Ok);
        match text.ok_or_else(missing).and_then(|text| Ok((text, read(text)?))) {
            Err(problem) => {
                Self { entries: self.entries.clone(), document: Some(problem), judged: self.judged.clone() }
            }
            Ok((text, raw)) => {
                let known = if self.judged.rules.as_ref() == Some(rules) { Some(self) } else { None };
                let reading = reading(text, &raw).map(Arc::new);
                let mut judged = Judged { rules: Some(rules.clone()), raw: by_name(&raw), reading };
                let mut entries = judge(text, raw, rules, known);
                // Of what is wrong nothing is remembered: it may be large.
                judged.raw.retain(|name, _| entries.get(name).is_some_and(|entry| entry.problems.is_empty()));
                for (name, entry) in &mut entries {
                    if entry.intent.is_none() {
                        entry.intent = self.entries.get(name).and_then(|last| last.intent.clone());
                    }
                }
                Self { entries, document: None, judged }
            }
        }
    }

    /// What an entry that says the same, wherever it stands, was judged to be, when nothing was wrong with it.
    fn known(&self, label: &str, raw: &RawEntry) -> Option<&Entry> {
        let entry = self.entries.get(label).filter(|entry| entry.problems.is_empty() && entry.intent.is_some())?;
        self.judged.raw.get(label).filter(|known| known.says_the_same(raw))?;
        Some(entry)
    }

    /// The gateways that entries are about, also those whose entry is wrong.
    pub fn keys(&self) -> impl Iterator<Item = GatewayKey> {
        self.entries.keys().filter_map(|name| Some(GatewayKey::default_of(name.parse().ok()?)))
    }

    /// The gateways whose entry is not what it was then, also those that have none any more. An entry that says the same by
    /// other rules has not changed: what the cluster is was learned by the passes, which follow it.
    pub fn changed_since(&self, before: &Self) -> Vec<GatewayKey> {
        let by_other_rules = self.judged.rules != before.judged.rules;
        let says_the_same = |name: &String| {
            let (now, then) = (self.judged.raw.get(name), before.judged.raw.get(name));
            now.zip(then).is_some_and(|(now, then)| now.says_the_same(then))
        };
        let changed = |name: &&String| {
            self.entries.get(*name) != before.entries.get(*name) && !(by_other_rules && says_the_same(name))
        };
        let names: BTreeSet<&String> = self.entries.keys().chain(before.entries.keys()).filter(changed).collect();
        names.into_iter().filter_map(|name| Some(GatewayKey::default_of(name.parse().ok()?))).collect()
    }

    /// The entry about this gateway.
    pub fn entry(&self, key: &GatewayKey) -> Option<&Entry> {
        if key.is_default() { self.entries.get(key.namespace()) } else { None }
    }

    /// Whether what is not named is surely not wanted: the document was read as a whole, and every entry has a tenant's name.
    /// A mistyped name must not take down the gateway that it meant.
    pub fn tells_who_is_gone(&self) -> bool {
        self.document.is_none() && self.entries.keys().all(|name| name.parse::<TenantName>().is_ok())
    }

    /// Every problem, the document's first.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.document.iter().chain(self.entries.values().flat_map(|entry| &entry.problems))
    }
}

/// By the name of each entry in a document that can be read, the digest of what it says; see [`Entry::digest`].
pub(super) fn digests(document: &str) -> Option<BTreeMap<String, String>> {
    let mut digests: BTreeMap<String, String> = BTreeMap::new();
    for (index, (raw, problems)) in document::read(document).ok()?.into_iter().enumerate() {
        let digest = raw.digest(&problems);
        let said = digests.entry(label(index, &raw));
        said.and_modify(|first| *first = both(first, &digest)).or_insert(digest);
    }
    Some(digests)
}

/// What an entry is called.
fn label(index: usize, raw: &RawEntry) -> String {
    raw.name.as_ref().map_or_else(|| format!("#{}", index + 1), |name| name.value.clone())
}

/// The digest of two entries of one name.
fn both(first: &str, second: &str) -> String {
    rollout::short(&[first, second].join("\0"))
}

/// What the next document is read by.
fn reading(text: &str, raw: &[(RawEntry, Vec<Problem>)]) -> Option<Reading> {
    let is_right = raw.iter().all(|(_, problems)| problems.is_empty());
    is_right.then(|| Reading::of(text, raw.iter().map(|(raw, _)| raw.clone()).collect())).flatten()
}

/// The entries without a mistake in their shape, by name.
fn by_name(raw: &[(RawEntry, Vec<Problem>)]) -> BTreeMap<String, RawEntry> {
    let sound = raw.iter().filter(|(_, problems)| problems.is_empty());
    sound.filter_map(|(raw, _)| Some((raw.name.as_ref()?.value.clone(), raw.clone()))).collect()
}

/// `known`: what was judged before by the same rules.
fn judge(
    document: &str,
    raw: Vec<(RawEntry, Vec<Problem>)>,
    rules: &Rules,
    known: Option<&Intents>,
) -> BTreeMap<String, Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut places = BTreeMap::new();
    let mut wrong = 0;
    for (index, (raw, mut problems)) in raw.into_iter().enumerate() {
        let label = label(index, &raw);
        let place = raw.name.as_ref().and_then(|name| name.position).or(raw.position);
        let before = known.filter(|_| problems.is_empty()).and_then(|known| known.known(&label, &raw));
        let digest = before.map_or_else(|| raw.digest(&problems), |before| before.digest.clone());
        let intent = match before {
            Some(before) => before.intent.clone(),
            None => {
                let document = if wrong < MAX_FOLLOWED { document } else { "" };
                let intent = judge_entry(document, &raw, &label, rules, &mut problems);
                wrong += problems.len();
                if problems.is_empty() { intent.map(Arc::new) } else { None }
            }
        };
        if let Some(first) = entries.get_mut(&label) {
            // Which of the two was meant is for their author to say: neither counts.
            let twice = |other: Option<Position>| Problem {
                entry: label.clone(),
                key: "name".to_owned(),
                position: other,
                message: "two entries have this name; neither is applied".to_owned(),
                hint: "remove one of them".to_owned(),
            };
            first.intent = None;
            first.digest = both(&first.digest, &digest);
            // Told once, however often the name comes again.
            if let Some(first_place) = places.remove(&label) {
                first.problems.push(twice(first_place));
            }
            first.problems.extend(problems);
            first.problems.push(twice(place));
        } else {
            places.insert(label.clone(), place);
            entries.insert(label, Entry { intent, problems, digest });
        }
    }
    entries
}

fn judge_entry(
    document: &str,
    raw: &RawEntry,
    label: &str,
    rules: &Rules,
    problems: &mut Vec<Problem>,
) -> Option<Intent> {
    let tenant = raw.name.as_ref().and_then(|name| {
        let tenant = name.value.parse::<TenantName>().and_then(|tenant| rules.reserved.check(&tenant).map(|()| tenant));
        let mut wrong = |message: String| {
            let (entry, key, position) = (label.to_owned(), "name".to_owned(), name.position);
            problems.push(Problem { entry, key, position, message, hint: String::new() });
        };
        tenant.map_err(|error| wrong(error.to_string())).ok()
    });
    let wish = Wish {
        raw,
        label,
        prefix: "gateway",
        document: Some(document),
        origin: Origin::PlatformConfig,
        options: Value::Null,
        written: Value::Null,
        database: rules.database.clone(),
        serves: None,
        policies: rules.policies.clone(),
    };
    judge_wish(wish, tenant.map(GatewayKey::default_of), rules, problems)
}

/// What somebody wants of a gateway: its texts not yet judged, and what needs no judgement.
pub(super) struct Wish<'a> {
    pub(super) raw: &'a RawEntry,
    /// The entry that problems name.
    pub(super) label: &'a str,
    /// What the keys of problems begin with.
    pub(super) prefix: &'a str,
    /// The text that places are in. Without one the places of TOML problems are those in the TOML.
    pub(super) document: Option<&'a str>,
    pub(super) origin: Origin,
    /// Options below `openshell.gateway` in the gateway's file; null for none.
    pub(super) options: Value,
    /// What else its author wrote that restarts the gateway; null for nothing.
    pub(super) written: Value,
    pub(super) database: Database,
    pub(super) serves: Option<Served>,
    pub(super) policies: Policies,
}

/// Judges a wish. `None` comes with problems, unless `key` is `None` already.
pub(super) fn judge_wish(
    wish: Wish<'_>,
    key: Option<GatewayKey>,
    rules: &Rules,
    problems: &mut Vec<Problem>,
) -> Option<Intent> {
    let Wish { raw, label, prefix, .. } = wish;
    let mut fail = |key: &str, placed: Option<&Placed<String>>, message: String, hint: &str| {
        let position = placed.and_then(|placed| placed.position);
        let hint = hint.replace("gateway.version", &format!("{prefix}.version"));
        problems.push(Problem { entry: label.to_owned(), key: format!("{prefix}.{key}"), position, message, hint });
    };
    let image = match &raw.image {
        None => Some(rules.default_image.clone()),
        Some(text) => text
            .value
            .parse()
            .map_err(|e: paddock_policy::image::ImageError| fail("image", Some(text), e.to_string(), ""))
            .ok(),
    };
    let image = image.filter(|image| match rules.images.check(image) {
        Ok(()) => true,
        Err(error) => {
            fail("image", raw.image.as_ref(), error.to_string(), "");
            false
        }
    });
    let version = match (&raw.version, &image) {
        (Some(text), _) => text
            .value
            .parse()
            .map_err(|e: super::version::VersionError| fail("version", Some(text), e.to_string(), ""))
            .ok(),
        (None, Some(image)) => {
            let version = image.tag().and_then(|tag| tag.parse::<GatewayVersion>().ok());
            if version.is_none() {
                let message = format!("the gateway's version cannot be told from {image}");
                fail("image", raw.image.as_ref(), message, "use a version tag, or set gateway.version");
            }
            version
        }
        (None, None) => None,
    };
    // Keys are chosen by the version: those of another release than the image's would keep the gateway from starting.
    if let (Some(said), Some(tag)) =
        (version, image.as_ref().and_then(|image| image.tag()?.parse::<GatewayVersion>().ok()))
        && raw.version.is_some()
        && said != tag
    {
        let message = format!("{said} contradicts the image, whose tag says {tag}");
        fail(
            "version",
            raw.version.as_ref(),
            message,
            "leave gateway.version out: it is for images without a version tag",
        );
    }
    let version = version.filter(|version| {
        let known = *version >= GatewayVersion::OLDEST;
        if !known {
            let message = format!("gateway {version} is older than {}, the oldest supported", GatewayVersion::OLDEST);
            fail("version", raw.version.as_ref().or(raw.image.as_ref()), message, "");
        }
        known
    });
    let mut server_names = BTreeSet::new();
    for (n, text) in raw.names.iter().enumerate() {
        match text.value.parse::<SubjectName>() {
            Ok(name) => {
                server_names.insert(name);
            }
            Err(error) => fail(&format!("serverDnsNames[{n}]"), Some(text), error.to_string(), ""),
        }
    }
    if let Err(error) = dns::collect(server_names.iter().cloned()) {
        fail("serverDnsNames", raw.names.first(), error.to_string(), "");
    }
    if let (Some(_), Some(version)) = (&wish.serves, version)
        && version < GatewayVersion::OPERATOR_MODE
    {
        let message =
            format!("a shared gateway must be {} or newer, this one is {version}", GatewayVersion::OPERATOR_MODE);
        fail("isolation", None, message, "use PerTenant, or a newer image");
        return None;
    }
    let (key, image, version) = (key?, image?, version?);
    server_names.extend(key.mandatory_server_names().iter().filter_map(|name| name.parse().ok()));
    let texts: Vec<String> = server_names.iter().map(ToString::to_string).collect();
    let sandbox_image = rules.sandbox_image.as_ref().map(ToString::to_string);
    let inputs = toml::Inputs {
        key: &key,
        serves: wish.serves.as_ref(),
        options: &wish.options,
        sandbox_image: sandbox_image.as_deref().unwrap_or(DEFAULT_SANDBOX_IMAGE),
        version,
        server_names: &texts,
        cluster: rules.cluster,
        break_glass: rules.break_glass,
    };
    match toml::render(inputs, raw.config.as_ref().map(|text| text.value.as_str()), &rules.images) {
        Ok(config) => Some(Intent {
            origin: wish.origin,
            image_from: if raw.image.is_some() { ImageFrom::Entry } else { rules.default_image_from },
            own: own(&wish),
            image,
            version,
            server_names,
            config,
            database: wish.database,
            serves: wish.serves,
            openshift: rules.openshift,
            policies: wish.policies,
            key,
        }),
        Err(found) => {
            problems.extend(
                found.into_iter().map(|problem| placed(problem, wish.document, raw.config.as_ref(), prefix, label)),
            );
            None
        }
    }
}

/// See [`Intent::own`]. Names are a set; of all else the text counts.
fn own(wish: &Wish<'_>) -> String {
    let Wish { raw, .. } = wish;
    let text = |placed: &Option<Placed<String>>| placed.as_ref().map(|placed| placed.value.clone());
    let names: BTreeSet<Option<SubjectName>> = raw.names.iter().map(|name| name.value.parse().ok()).collect();
    let names: Vec<_> = names.into_iter().flatten().map(|name| name.to_string()).collect();
    let texts = [text(&raw.image), text(&raw.version), text(&raw.config)];
    let parts = serde_json::json!([texts, names, wish.options, wish.written]);
    paddock_pki::sha256_hex(parts.to_string().as_bytes())
}

/// A problem of the TOML text as one of what it stands in.
fn placed(
    mut problem: Problem,
    document: Option<&str>,
    config: Option<&Placed<String>>,
    prefix: &str,
    label: &str,
) -> Problem {
    label.clone_into(&mut problem.entry);
    problem.key = match problem.key.as_str() {
        "" => format!("{prefix}.config"),
        key => format!("{prefix}.config: {key}"),
    };
    let (Some(document), Some(config)) = (document, config) else { return problem };
    let Some(within) = problem.position else { return Problem { position: config.position, ..problem } };
    let found = config.defined.and_then(|start| embedded::locate(document, start, &config.value, within));
    if found.is_none() {
        problem.message = format!("at {within} of its text: {}", problem.message);
    }
    Problem { position: found.or(config.position), ..problem }
}

#[cfg(test)]
mod tests;
