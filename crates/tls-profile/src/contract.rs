//! The start-up contract: what a component is told before it begins, as files of one mounted directory. The operator writes
//! `contract.json` and `profile.json`, `paddock-serve` reads them; both go by this module.
//!
//! A contract says which profile belongs to it (by hash), how to judge that profile, what the platform can do and who may read the
//! metrics. These are independent of one another: a profile that is missing or bad never changes who may read the metrics.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::profile::{hex_sha256, shortened, wrong};
use crate::{Adherence, Generation, Invalid, KeyKind, MAX_NAMES, Options, Tls13Policy, Version};

/// The names of the files of a start-up directory.
pub mod files {
    /// The contract, see [`Contract`](crate::Contract).
    pub const CONTRACT: &str = "contract.json";
    /// The profile, see [`Profile`](crate::Profile).
    pub const PROFILE: &str = "profile.json";
    /// The serving certificate and its intermediates, PEM, leaf first.
    pub const CERTIFICATE: &str = "tls.crt";
    /// Its private key, PEM.
    pub const KEY: &str = "tls.key";
    /// Optional: authorities of client certificates, PEM.
    pub const CLIENT_CA: &str = "client-ca.crt";
    /// Optional, from the downward API: the hash that the operator wrote on the pod. Empty counts as absent.
    pub const EXPECTED_HASH: &str = "tls-profile-hash";
}

/// Most entries of a map or list in a contract.
const MAX_ENTRIES: usize = MAX_NAMES;

/// The version of the contract's shape. Another major version is refused, a newer minor one is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schema {
    /// Changes when an older reader would misread the contract.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
}

impl Schema {
    /// What this build writes.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };
}

/// Whether something is so. What was never found out is not the same as "no".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Known {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody could tell.
    #[default]
    Unknown,
}

impl Known {
    /// `Yes`, `No` or `Unknown`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "Yes",
            Self::No => "No",
            Self::Unknown => "Unknown",
        }
    }
}

/// How whoever asks for metrics proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricsAuth {
    /// By a bearer token, which the API server reviews. The default, on every platform.
    #[default]
    Token,
    /// By a client certificate of the mounted authority and the contract's list: works while the API server is away.
    Certificate,
    /// By either.
    TokenOrCertificate,
    /// Not at all. Only ever by an explicit word.
    Off,
}

impl MetricsAuth {
    const ALL: [Self; 4] = [Self::Token, Self::Certificate, Self::TokenOrCertificate, Self::Off];

    /// The name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "Token",
            Self::Certificate => "Certificate",
            Self::TokenOrCertificate => "TokenOrCertificate",
            Self::Off => "Off",
        }
    }

    /// The mode of that name, spelled exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Whether a bearer token is accepted.
    pub fn tokens(self) -> bool {
        matches!(self, Self::Token | Self::TokenOrCertificate)
    }

    /// Whether a client certificate is accepted.
    pub fn certificates(self) -> bool {
        matches!(self, Self::Certificate | Self::TokenOrCertificate)
    }
}

/// A client that may read something with its certificate, without the API server being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The common name of its certificate.
    pub user: String,
    /// The paths that it may GET, in full.
    pub paths: Vec<String>,
}

/// How a profile is to be judged: what changes what is served besides the profile itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to do with a profile that cannot be served.
    pub adherence: Adherence,
    /// Suites of TLS 1.3 that no list names.
    pub tls13: Tls13Policy,
    /// Only what is approved for FIPS 140.
    pub fips: bool,
    /// A version that is not gone below.
    pub floor: Option<Version>,
}

impl Decision {
    /// What the resolver needs of it.
    pub fn options(self, key: Option<KeyKind>) -> Options {
        Options { fips: self.fips, tls13: self.tls13, key, floor: self.floor }
    }

    fn to_json(self) -> Value {
        let mut members = Map::new();
        members.insert("adherence".to_owned(), self.adherence.name().into());
        members.insert("fips".to_owned(), self.fips.into());
        if let Some(floor) = self.floor {
            members.insert("floor".to_owned(), floor.name().into());
        }
        members.insert("tls13Policy".to_owned(), self.tls13.name().into());
        Value::Object(members)
    }

    /// SHA-256 of the decision's canonical JSON, 64 hexadecimal digits: the contract carries it, beside the profile's.
    pub fn hash(self) -> String {
        hex_sha256(self.to_json().to_string().as_bytes())
    }
}

/// Where a profile came from, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The kind of source, such as `OpenShiftAPIServer` or `Builtin`.
    pub kind: String,
    /// What was asked for there: `Old`, `Intermediate`, `Modern` or `Custom`.
    pub profile: String,
    /// The generation of the tables by which a name was read; `None` for Custom.
    pub table: Option<Generation>,
}

/// A start-up contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// The version of its shape.
    pub schema: Schema,
    /// Grows with every contract that the operator writes for this component.
    pub generation: u64,
    /// Who it is for.
    pub component: String,
    /// What the platform can do, by capability: `scc`, `apiserver-config`, `service-ca`, `monitoring`.
    pub platform: BTreeMap<String, Known>,
    /// The hash of the `profile.json` beside it. `None`: the platform asks for nothing, the built-in baseline is served.
    pub profile_hash: Option<String>,
    /// How to judge that profile.
    pub decision: Decision,
    /// Where the profile came from.
    pub source: Source,
    /// Who may read the metrics.
    pub metrics_auth: MetricsAuth,
    /// Clients that need no review.
    pub clients: Vec<Client>,
    /// How long connections may go on that a tighter profile would not have let in, in seconds. Default 60.
    pub drain_seconds: u32,
}

/// Seconds that connections of a wider profile may go on.
pub const DRAIN_SECONDS: u32 = 60;

impl Contract {
    /// The contract of a component of which nothing is known yet: the baseline, metrics behind tokens.
    pub fn baseline(component: impl Into<String>) -> Self {
        Self {
            schema: Schema::CURRENT,
            generation: 0,
            component: component.into(),
            platform: BTreeMap::new(),
            profile_hash: None,
            decision: Decision::default(),
            source: Source {
                kind: "Builtin".to_owned(),
                profile: "Intermediate".to_owned(),
                table: Some(Generation::C),
            },
            metrics_auth: MetricsAuth::default(),
            clients: Vec::new(),
            drain_seconds: DRAIN_SECONDS,
        }
    }

    /// The bytes of `contract.json`: compact JSON, members by name.
    pub fn canonical(&self) -> String {
        // In the order of their names, so that it does not matter whether the map keeps the order or sorts.
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("component", self.component.as_str().into());
        put("decision", self.decision.to_json());
        put("decisionHash", self.decision.hash().into());
        put("drainSeconds", self.drain_seconds.into());
        put("generation", self.generation.into());
        put("metricsAuth", self.metrics_auth.name().into());
        let clients = self.clients.iter().map(|client| json!({"paths": client.paths, "user": client.user}));
        put("metricsClients", clients.collect());
        let platform: Map<String, Value> =
            self.platform.iter().map(|(capability, known)| (capability.clone(), known.name().into())).collect();
        put("platform", Value::Object(platform));
        put("profileHash", self.profile_hash.clone().into());
        put("schemaVersion", format!("{}.{}", self.schema.major, self.schema.minor).into());
        let table = self.source.table.map(Generation::name);
        put("source", json!({"kind": self.source.kind, "profile": self.source.profile, "table": table}));
        Value::Object(members).to_string()
    }

    /// Reads `contract.json`.
    ///
    /// # Errors
    /// What is wrong with it: also a schema of another major version, and a decision that is not the one of its hash.
    pub fn parse(bytes: &[u8]) -> Result<ParsedContract, Invalid> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| Invalid::Json(error.to_string()))?;
        let Value::Object(members) = value else { return Err(wrong("contract", "an object", &value)) };
        let schema = schema(&members)?;
        let source = object(&members, "source")?.unwrap_or_default();
        let table = match text(&source, "table")?.unwrap_or_default().as_str() {
            "" => None,
            name => Some(Generation::from_name(name).ok_or_else(|| unknown("table", name))?),
        };
        let metrics_auth = match text(&members, "metricsAuth")? {
            None => MetricsAuth::default(),
            Some(name) => MetricsAuth::from_name(&name).ok_or_else(|| unknown("metricsAuth", &name))?,
        };
        let contract = Self {
            schema,
            generation: number(&members, "generation")?.unwrap_or_default(),
            component: text(&members, "component")?.unwrap_or_default(),
            platform: platform(&members)?,
            profile_hash: text(&members, "profileHash")?.filter(|hash| !hash.is_empty()),
            decision: decision(&members)?,
            source: Source {
                kind: text(&source, "kind")?.unwrap_or_default(),
                profile: text(&source, "profile")?.unwrap_or_default(),
                table,
            },
            metrics_auth,
            clients: clients(&members)?,
            drain_seconds: number(&members, "drainSeconds")?
                .map_or(DRAIN_SECONDS, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        };
        let known = [
            "component",
            "decision",
            "decisionHash",
            "drainSeconds",
            "generation",
            "metricsAuth",
            "metricsClients",
            "platform",
            "profileHash",
            "schemaVersion",
            "source",
        ];
        let unknown = members.keys().filter(|member| !known.contains(&member.as_str())).map(|m| shortened(m)).collect();
        Ok(ParsedContract { contract, unknown })
    }
}

/// A contract that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedContract {
    /// The contract.
    pub contract: Contract,
    /// Members that this version does not know: they are passed over, and should be logged once.
    pub unknown: Vec<String>,
}

fn unknown(member: &'static str, value: &str) -> Invalid {
    Invalid::UnknownValue { member, value: shortened(value) }
}

fn schema(members: &Map<String, Value>) -> Result<Schema, Invalid> {
    let name = text(members, "schemaVersion")?.ok_or(Invalid::NoSchema)?;
    let numbers = name.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match numbers {
        Some((major, minor)) if major == Schema::CURRENT.major => Ok(Schema { major, minor }),
        Some(_) => Err(Invalid::OtherSchema(shortened(&name))),
        None => Err(unknown("schemaVersion", &name)),
    }
}

fn decision(members: &Map<String, Value>) -> Result<Decision, Invalid> {
    let Some(members_of) = object(members, "decision")? else { return Err(Invalid::NoDecision) };
    let said = text(members, "decisionHash")?.unwrap_or_default();
    if said != hex_sha256(sorted(&Value::Object(members_of.clone())).to_string().as_bytes()) {
        return Err(Invalid::OtherDecision);
    }
    let adherence = text(&members_of, "adherence")?.unwrap_or_default();
    let tls13 = text(&members_of, "tls13Policy")?.unwrap_or_default();
    Ok(Decision {
        adherence: Adherence::from_name(&adherence).ok_or_else(|| unknown("adherence", &adherence))?,
        tls13: Tls13Policy::from_name(&tls13).ok_or_else(|| unknown("tls13Policy", &tls13))?,
        fips: match members_of.get("fips") {
            None => false,
            Some(Value::Bool(fips)) => *fips,
            Some(other) => return Err(wrong("fips", "a boolean", other)),
        },
        floor: match text(&members_of, "floor")? {
            None => None,
            Some(name) => Some(Version::from_name(&name).ok_or_else(|| unknown("floor", &name))?),
        },
    })
}

fn platform(members: &Map<String, Value>) -> Result<BTreeMap<String, Known>, Invalid> {
    let platform = object(members, "platform")?.unwrap_or_default();
    if platform.len() > MAX_ENTRIES {
        return Err(Invalid::TooMany { member: "platform", count: platform.len() });
    }
    let known = |(capability, value): (String, Value)| match value.as_str() {
        Some("Yes") => Ok((capability, Known::Yes)),
        Some("No") => Ok((capability, Known::No)),
        // What a newer operator may say beyond these is not known to this one.
        Some(_) => Ok((capability, Known::Unknown)),
        None => Err(wrong("platform", "an object of texts", &value)),
    };
    platform.into_iter().map(known).collect()
}

fn clients(members: &Map<String, Value>) -> Result<Vec<Client>, Invalid> {
    const MEMBER: &str = "metricsClients";
    let list = match members.get(MEMBER) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() > MAX_ENTRIES => {
            return Err(Invalid::TooMany { member: MEMBER, count: list.len() });
        }
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong(MEMBER, "a list", other)),
    };
    let client = |value: &Value| {
        let Value::Object(client) = value else { return Err(wrong(MEMBER, "a list of objects", value)) };
        let user = text(client, "user")?.filter(|user| !user.is_empty()).ok_or_else(|| unknown("user", ""))?;
        let paths = match client.get("paths") {
            Some(Value::Array(paths)) if paths.len() <= MAX_ENTRIES => paths,
            Some(Value::Array(paths)) => return Err(Invalid::TooMany { member: "paths", count: paths.len() }),
            other => return Err(wrong("paths", "a list of texts", other.unwrap_or(&Value::Null))),
        };
        let path = |value: &Value| match value {
            Value::String(path) => Ok(path.clone()),
            other => Err(wrong("paths", "a list of texts", other)),
        };
        Ok(Client { user, paths: paths.iter().map(path).collect::<Result<_, _>>()? })
    };
    list.iter().map(client).collect()
}

fn text(members: &Map<String, Value>, member: &str) -> Result<Option<String>, Invalid> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(member, "a text", other)),
    }
}

fn number(members: &Map<String, Value>, member: &str) -> Result<Option<u64>, Invalid> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(member, "a whole number", value)),
    }
}

fn object(members: &Map<String, Value>, member: &str) -> Result<Option<Map<String, Value>>, Invalid> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members.clone())),
        Some(other) => Err(wrong(member, "an object", other)),
    }
}

/// The same value with the members of every object in the order of their names. The parser bounds the depth.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<&String, &Value> = members.iter().collect();
            Value::Object(members.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Contract {
        Contract {
            generation: 7,
            platform: [("scc".to_owned(), Known::Yes), ("service-ca".to_owned(), Known::Unknown)].into(),
            profile_hash: Some("a".repeat(64)),
            decision: Decision {
                adherence: Adherence::Strict,
                tls13: Tls13Policy::Strict,
                fips: true,
                floor: Some(Version::Tls13),
            },
            metrics_auth: MetricsAuth::TokenOrCertificate,
            clients: vec![Client { user: "prometheus".to_owned(), paths: vec!["/metrics".to_owned()] }],
            drain_seconds: 5,
            ..Contract::baseline("metrics")
        }
    }

    fn edited(edit: impl FnOnce(&mut Map<String, Value>)) -> Result<ParsedContract, Invalid> {
        let Ok(Value::Object(mut members)) = serde_json::from_str(&full().canonical()) else { unreachable!() };
        edit(&mut members);
        Contract::parse(Value::Object(members).to_string().as_bytes())
    }

    #[test]
    fn what_is_written_is_read_back() {
        for contract in [full(), Contract::baseline("webhook")] {
            let parsed = Contract::parse(contract.canonical().as_bytes()).unwrap();
            assert_eq!((parsed.contract, parsed.unknown), (contract, vec![]));
        }
    }

    #[test]
    fn the_decision_has_a_hash_that_stays() {
        assert_eq!(
            Decision::default().hash(),
            hex_sha256(br#"{"adherence":"Legacy","fips":false,"tls13Policy":"Platform"}"#)
        );
    }

    #[test]
    fn tls_f24_another_major_schema_is_refused_and_a_newer_minor_one_read() {
        let of =
            |version: &'static str| edited(|members| drop(members.insert("schemaVersion".to_owned(), version.into())));
        assert_eq!(of("2.0").unwrap_err(), Invalid::OtherSchema("2.0".to_owned()));
        assert_eq!(of("1.9").unwrap().contract.schema, Schema { major: 1, minor: 9 });
        assert_eq!(of("one").unwrap_err(), Invalid::UnknownValue { member: "schemaVersion", value: "one".to_owned() });
    }

    #[test]
    fn tls_f24_members_of_a_newer_operator_are_named_and_passed_over() {
        let parsed = edited(|members| drop(members.insert("later".to_owned(), json!({"a": 1})))).unwrap();
        assert_eq!((parsed.contract, parsed.unknown), (full(), vec!["later".to_owned()]));
    }

    #[test]
    fn a_newer_decision_keeps_its_hash() {
        let parsed = edited(|members| {
            let decision = json!({"adherence": "Strict", "aLater": {"b": 1, "a": 2}, "tls13Policy": "Platform"});
            members.insert("decisionHash".to_owned(), hex_sha256(sorted(&decision).to_string().as_bytes()).into());
            members.insert("decision".to_owned(), decision);
        });
        assert_eq!(parsed.unwrap().contract.decision.adherence, Adherence::Strict);
    }

    #[test]
    fn tls_f12_a_decision_that_was_tampered_with_is_refused() {
        let refused = edited(|members| {
            members.insert("decision".to_owned(), json!({"adherence": "Legacy", "tls13Policy": "Platform"}));
        });
        assert_eq!(refused.unwrap_err(), Invalid::OtherDecision);
    }

    #[test]
    fn authentication_is_off_only_by_its_exact_word() {
        let of = |value: Value| edited(|members| drop(members.insert("metricsAuth".to_owned(), value)));
        assert_eq!(of(Value::Null).unwrap().contract.metrics_auth, MetricsAuth::Token);
        assert_eq!(of("Off".into()).unwrap().contract.metrics_auth, MetricsAuth::Off);
        for junk in [json!("off"), json!(""), json!(false)] {
            assert!(of(junk).is_err());
        }
    }

    #[test]
    fn tls_f25_a_capability_is_yes_only_by_its_exact_word() {
        let of = |value: &'static str| {
            let parsed = edited(|members| drop(members.insert("platform".to_owned(), json!({"scc": value}))));
            parsed.unwrap().contract.platform["scc"]
        };
        assert_eq!(
            ["Yes", "No", "true", "1", "yes "].map(of),
            [Known::Yes, Known::No, Known::Unknown, Known::Unknown, Known::Unknown]
        );
    }

    #[test]
    fn wrong_json_types_are_named() {
        let error = |text: &str| Contract::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("[]"), "contract is a list, where an object is expected");
        assert_eq!(error("{}"), "schemaVersion is missing: this is no start-up contract");
        assert_eq!(error(r#"{"schemaVersion":1}"#), "schemaVersion is a number, where a text is expected");
        assert!(error("\0").starts_with("not JSON"));
    }
}
