//! A profile from a file: `profile.json` as components have it, the `tlsSecurityProfile` of an API object, or a manifest or list of
//! manifests that holds one of the two. JSON or YAML.

use std::io::Read as _;
use std::path::Path;

use paddock_controllers::tls_profile::{Said, said_by};
use paddock_tls_profile::{Decision, Generation, Named, Options, Parsed, Profile, Request, Tls13Policy, files};
use serde_json::Value;

use crate::exit::Failure;
use crate::output;
use crate::settings::effective::Source;
use crate::settings::{Effective, table};

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What a file asks for.
pub(super) struct Asked {
    pub(super) request: Request,
    /// The tables of the release that it is of, where it says one.
    table: Option<Generation>,
    /// How a policy has the profile judged.
    decision: Decision,
}

impl Asked {
    fn plain(request: Request) -> Self {
        Self { request, table: None, decision: Decision::default() }
    }

    /// The tables by which a name is meant: those of the flag, else of what the object says.
    pub(super) fn generation(&self, settings: &Effective) -> Generation {
        let said = self.table.filter(|_| settings.source(&table::TLS_GENERATION) == Some(Source::Default));
        said.unwrap_or_else(|| settings.get(&table::TLS_GENERATION))
    }

    /// What else decides: the flags, and what the object says, which may tighten.
    pub(super) fn options(&self, settings: &Effective) -> Options {
        let tls13 = match self.decision.tls13 {
            Tls13Policy::Strict => Tls13Policy::Strict,
            Tls13Policy::Platform => settings.get(&table::TLS_13_POLICY),
        };
        let (fips, floor) = (self.decision.fips, self.decision.floor);
        Options { fips, tls13, key: settings.find(&table::TLS_KEY), floor }
    }
}

/// What is asked for in the file called `path`, or in the `profile.json` of that directory; `-` is stdin, and a name of a profile stands
/// for itself where there is no such file.
pub(super) fn read(path: &Path) -> Result<Asked, Failure> {
    let inside = path.is_dir().then(|| path.join(files::PROFILE));
    let path = inside.as_deref().unwrap_or(path);
    let named = Named::ALL.into_iter().find(|named| path.as_os_str() == named.name());
    if let Some(named) = named.filter(|_| !path.exists()) {
        return Ok(Asked::plain(Request::Named(named)));
    }
    let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    let (asked, unknown) = asked(&bytes(path).map_err(|error| wrong(error.to_string()))?).map_err(wrong)?;
    if !unknown.is_empty() {
        output::remark(&output::plain(&format!("{}: passed over: {}", path.display(), unknown.join(", "))));
    }
    Ok(asked)
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES) {
        Ok(bytes)
    } else {
        Err(std::io::Error::other(format!("longer than {MAX_BYTES} bytes: this is no profile")))
    }
}

/// What the bytes ask for, and the members that were passed over.
fn asked(bytes: &[u8]) -> Result<(Asked, Vec<String>), String> {
    let value: Value = serde_saphyr::from_slice(bytes).map_err(|error| format!("neither JSON nor YAML: {error}"))?;
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    if let Some(items) = value.get("items").and_then(Value::as_array).filter(|_| kind.ends_with("List")) {
        let mut found = items.iter().filter_map(of_object);
        return match (found.next(), found.next()) {
            (Some(asked), None) => asked,
            (None, _) => Err(format!("no object of this {kind} holds a profile: {HOLDERS} would")),
            (Some(_), Some(_)) => Err(format!("more than one object of this {kind} holds a profile: give one of them")),
        };
    }
    if let Some(asked) = of_object(&value) {
        return asked;
    }
    match kind {
        "" => {}
        "ConfigMap" => return Err("this ConfigMap has no key `profile.json`".to_owned()),
        other => return Err(format!("kind {other:?} holds no profile: {HOLDERS} would")),
    }
    // An empty object of the API means Intermediate; an empty `profile.json` leaves everything to the server.
    if value.get("type").is_some() {
        let request = Request::parse(&value).map_err(|error| error.to_string())?;
        Ok((Asked::plain(request), Vec::new()))
    } else {
        in_full(value.to_string().as_bytes())
    }
}

/// Kinds that hold a profile.
const HOLDERS: &str = "an APIServer, HostedCluster, ServingPolicy, GenericOperatorConfig or ConfigMap";

/// What an object asks for; `None`: it is of no kind that does.
fn of_object(object: &Value) -> Option<Result<(Asked, Vec<String>), String>> {
    if object.get("kind").is_some_and(|kind| kind == "ConfigMap") {
        return Some(in_full(object.pointer("/data/profile.json")?.as_str()?.as_bytes()));
    }
    let said = said_by(object)?;
    Some(said.map(|Said { request, table, decision }| (Asked { request, table, decision }, Vec::new())))
}

fn in_full(json: &[u8]) -> Result<(Asked, Vec<String>), String> {
    let Parsed { profile, unknown } = Profile::parse(json).map_err(|error| error.to_string())?;
    Ok((Asked::plain(Request::Custom(profile)), unknown))
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::Version;

    use super::*;

    fn name(text: &str) -> Result<&'static str, String> {
        asked(text.as_bytes()).map(|(asked, _)| asked.request.name())
    }

    #[test]
    fn a_profile_is_read_in_every_shape_that_people_have() {
        assert_eq!(name(r#"{"ciphers":null,"minTLSVersion":"VersionTLS13"}"#), Ok("Custom"));
        assert_eq!(name("ciphers: [TLS_AES_128_GCM_SHA256]\nminTLSVersion: VersionTLS13\n"), Ok("Custom"));
        assert_eq!(name(r#"{"type":"Modern","modern":{}}"#), Ok("Modern"));
        assert_eq!(name("kind: APIServer\nspec:\n  tlsSecurityProfile:\n    type: Old\n"), Ok("Old"));
        assert_eq!(name("kind: APIServer\nspec: {}\n"), Ok("Intermediate"));
        let map = "kind: ConfigMap\ndata:\n  profile.json: '{\"ciphers\":null,\"minTLSVersion\":\"\"}'\n";
        assert_eq!(name(map), Ok("Custom"));
    }

    #[test]
    fn every_source_of_the_controllers_is_read() {
        let serving = "servingInfo: {minTLSVersion: VersionTLS13, cipherSuites: [TLS_AES_128_GCM_SHA256]}";
        assert_eq!(name(&format!("kind: GenericOperatorConfig\n{serving}\n")), Ok("Custom"));
        assert_eq!(name(serving), Ok("Custom"));
        let hosted = "kind: HostedCluster\nspec: {configuration: {apiServer: {tlsSecurityProfile: {type: Modern}}}}\n";
        assert_eq!(name(hosted), Ok("Modern"));
        let policy =
            "kind: ServingPolicy\nspec: {source: Inline, profile: {type: Old}, floor: VersionTLS13, fips: 'On'}\n";
        let (asked, _) = asked(policy.as_bytes()).unwrap();
        assert_eq!(
            (asked.request.name(), asked.decision.floor, asked.decision.fips),
            ("Old", Some(Version::Tls13), true)
        );
        assert!(name("kind: ServingPolicy\nspec: {source: Flags}\n").unwrap_err().contains("has no spec.profile"));
    }

    #[test]
    fn the_one_object_of_a_list_that_holds_a_profile_counts() {
        let list = |items: &str| name(&format!("kind: List\nitems: [{items}]\n"));
        let api_server = "{kind: APIServer, spec: {tlsSecurityProfile: {type: Modern}}}";
        assert_eq!(list(&format!("{{kind: Pod}}, {api_server}, {{kind: ConfigMap}}")), Ok("Modern"));
        assert!(list("{kind: Pod}").unwrap_err().starts_with("no object of this List holds a profile"));
        assert!(list(&format!("{api_server}, {api_server}")).unwrap_err().starts_with("more than one object"));
    }

    #[test]
    fn tls_f09_what_is_no_profile_is_told() {
        assert_eq!(name("kind: Pod\n"), Err(format!("kind \"Pod\" holds no profile: {HOLDERS} would")));
        assert_eq!(name("kind: ConfigMap\n"), Err("this ConfigMap has no key `profile.json`".to_owned()));
        assert_eq!(name("[1]"), Err("profile is a list, where an object is expected".to_owned()));
        assert!(name("{").unwrap_err().starts_with("neither JSON nor YAML: "));
    }

    #[test]
    fn unknown_members_are_told() {
        let (_, unknown) = asked(br#"{"ciphers":null,"later":1}"#).unwrap();
        assert_eq!(unknown, ["later"]);
    }
}
