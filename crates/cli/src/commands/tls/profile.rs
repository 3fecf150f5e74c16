//! A profile from a file: `profile.json` as components have it, the `tlsSecurityProfile` of an API object, or a manifest that
//! holds one of the two. JSON or YAML.

use std::io::Read as _;
use std::path::Path;

use paddock_tls_profile::{Named, Parsed, Profile, Request, files};
use serde_json::Value;

use crate::exit::Failure;
use crate::output;

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The request in the file called `path`, or in the `profile.json` of that directory; `-` is stdin, and a name of a profile stands
/// for itself where there is no such file.
pub(super) fn read(path: &Path) -> Result<Request, Failure> {
    let inside = path.is_dir().then(|| path.join(files::PROFILE));
    let path = inside.as_deref().unwrap_or(path);
    let named = Named::ALL.into_iter().find(|named| path.as_os_str() == named.name());
    if let Some(named) = named.filter(|_| !path.exists()) {
        return Ok(Request::Named(named));
    }
    let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    let (request, unknown) = request(&bytes(path).map_err(|error| wrong(error.to_string()))?).map_err(wrong)?;
    if !unknown.is_empty() {
        output::remark(&output::plain(&format!("{}: passed over: {}", path.display(), unknown.join(", "))));
    }
    Ok(request)
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
fn request(bytes: &[u8]) -> Result<(Request, Vec<String>), String> {
    let value: Value = serde_saphyr::from_slice(bytes).map_err(|error| format!("neither JSON nor YAML: {error}"))?;
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "APIServer" => {
            let security = value.pointer("/spec/tlsSecurityProfile").unwrap_or(&Value::Null);
            return Request::parse(security).map(|request| (request, Vec::new())).map_err(|error| error.to_string());
        }
        "ConfigMap" => {
            let text = value.pointer("/data/profile.json").and_then(Value::as_str);
            let text = text.ok_or("this ConfigMap has no key `profile.json`")?;
            return in_full(text.as_bytes());
        }
        "" => {}
        other => return Err(format!("kind {other:?} holds no profile: use an APIServer or a ConfigMap")),
    }
    // An empty object of the API means Intermediate; an empty `profile.json` leaves everything to the server.
    if value.get("type").is_some() {
        Request::parse(&value).map(|request| (request, Vec::new())).map_err(|error| error.to_string())
    } else {
        in_full(value.to_string().as_bytes())
    }
}

fn in_full(json: &[u8]) -> Result<(Request, Vec<String>), String> {
    let Parsed { profile, unknown } = Profile::parse(json).map_err(|error| error.to_string())?;
    Ok((Request::Custom(profile), unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<&'static str, String> {
        request(text.as_bytes()).map(|(request, _)| request.name())
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
    fn tls_f09_what_is_no_profile_is_told() {
        assert_eq!(
            name("kind: Pod\n"),
            Err("kind \"Pod\" holds no profile: use an APIServer or a ConfigMap".to_owned())
        );
        assert_eq!(name("kind: ConfigMap\n"), Err("this ConfigMap has no key `profile.json`".to_owned()));
        assert_eq!(name("[1]"), Err("profile is a list, where an object is expected".to_owned()));
        assert!(name("{").unwrap_err().starts_with("neither JSON nor YAML: "));
    }

    #[test]
    fn unknown_members_are_told() {
        let (_, unknown) = request(br#"{"ciphers":null,"later":1}"#).unwrap();
        assert_eq!(unknown, ["later"]);
    }
}
