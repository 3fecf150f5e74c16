//! `continue` tokens: where the next page of a list starts and which revision it shows. Opaque to clients; the form is
//! kube-apiserver's, and so are the errors.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Position;

const VERSION: &str = "meta.k8s.io/v1";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// The revision that all pages show; `None` continues with the present, at the price of consistency.
    pub revision: Option<u64>,
    /// Where the last page ended.
    pub after: Position,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

impl ContinueToken {
    /// The token of a list of one namespace (`Some("")` for cluster-scoped resources) or of all (`None`).
    pub fn encode(&self, namespace: Option<&str>) -> String {
        let Position { namespace: of, name } = &self.after;
        // The first key after `name` is `name` and a NUL.
        let start = if namespace.is_some() { format!("{name}\0") } else { format!("{of}/{name}\0") };
        let rv = self.revision.map_or(-1, |revision| i64::try_from(revision).unwrap_or(i64::MAX));
        let wire = Wire { v: VERSION.to_owned(), rv, start };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// Reads a token of such a list. The error is what follows `invalid continue token: `.
    pub fn decode(token: &str, namespace: Option<&str>) -> Result<Self, String> {
        let invalid = |what: &dyn std::fmt::Display| format!("continue key is not valid: {what}");
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(&error))?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|error| invalid(&error))?;
        if wire.v != VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {}", wire.v)));
        }
        if wire.rv == 0 {
            return Err(invalid(&format!("incorrect encoded start resourceVersion (version {VERSION})")));
        }
        if wire.start.is_empty() {
            return Err(invalid(&format!("encoded start key empty (version {VERSION})")));
        }
        let position = match (namespace, wire.start.strip_suffix('\0')) {
            (Some(namespace), Some(name)) => Some((namespace, name)),
            (None, Some(start)) => start.split_once('/'),
            (_, None) => None,
        };
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        match position {
            Some((namespace, name)) if is_name(name) && (namespace.is_empty() || is_name(namespace)) => Ok(Self {
                revision: u64::try_from(wire.rv).ok(),
                after: Position { namespace: namespace.into(), name: name.into() },
            }),
            _ => Err(invalid(&wire.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(revision: Option<u64>, namespace: &str, name: &str) -> ContinueToken {
        ContinueToken { revision, after: Position { namespace: namespace.into(), name: name.into() } }
    }

    fn error(json: &str, namespace: Option<&str>) -> String {
        ContinueToken::decode(&URL_SAFE_NO_PAD.encode(json), namespace).unwrap_err()
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        for (token, namespace) in [
            (token(Some(7), "ns", "a.b"), None),
            (token(Some(7), "ns", "a"), Some("ns")),
            (token(None, "", "system:node"), Some("")),
        ] {
            assert_eq!(ContinueToken::decode(&token.encode(namespace), namespace), Ok(token));
        }
    }

    #[test]
    fn a_key_that_leaves_its_namespace_is_refused() {
        let json = r#"{"v":"meta.k8s.io/v1","rv":5,"start":"../x\u0000"}"#;
        assert!(error(json, Some("ns")).starts_with("continue key is not valid: ../x"));
        assert!(error(json, None).starts_with("continue key is not valid: ../x"));
    }

    #[test]
    fn revision_zero_is_refused() {
        assert_eq!(
            error(r#"{"v":"meta.k8s.io/v1","start":"x\u0000"}"#, None),
            "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
        );
    }

    #[test]
    fn an_empty_start_is_refused() {
        assert_eq!(
            error(r#"{"v":"meta.k8s.io/v1","rv":1}"#, None),
            "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"
        );
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(
            error(r#"{"v":"v2","rv":1}"#, None),
            "continue key is not valid: server does not recognize this encoded version v2"
        );
    }

    proptest! {
        #[test]
        fn decoding_never_panics(token in "[A-Za-z0-9_=+/-]{0,40}", json in "\\PC{0,40}") {
            let _ = ContinueToken::decode(&token, None);
            let _ = ContinueToken::decode(&URL_SAFE_NO_PAD.encode(json), Some("ns"));
        }
    }
}
