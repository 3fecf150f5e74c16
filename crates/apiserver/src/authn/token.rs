//! The tokens of service accounts: JWTs (RFC 7519) that this server signs with `RS256`. What a token says, not whether it
//! still holds.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::identity::{IdentityError, TokenKey};

/// Who issues tokens, and whom they are for unless they say otherwise: the API server by its name inside the cluster.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The host of [`ISSUER`].
pub(crate) const ISSUER_HOST: &str = "kubernetes.default.svc.cluster.local";
/// Who issued the tokens that lie in Secrets.
pub(crate) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Longest token that is looked at. A token with every claim has about 1 KiB; audiences are the client's choice.
const MAX_LENGTH: usize = 64 * 1024;
/// Clocks of two machines may differ by this much: times in a token are taken that generously.
pub(crate) const LEEWAY_SECONDS: i64 = 60;
/// Signature algorithms that kube-apiserver reads. A token with any other is not a token of a service account.
const ALGORITHMS: &[&str] = &["RS256", "ES256", "ES384", "ES512"];

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not one of ours, or not a token at all.
    Unknown,
    /// Ours, but it does not hold, for this reason.
    Because(String),
}

impl Refused {
    /// As a TokenReview shows it.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unknown => "invalid bearer token".to_owned(),
            Self::Because(why) => format!("[invalid bearer token, {why}]"),
        }
    }
}

/// A live object that a token names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// The claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) serviceaccount: Named,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Named>,
    /// From then on the token should have been renewed, though it still holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warnafter: Option<i64>,
}

/// What a token says. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub(crate) aud: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<i64>,
    pub(crate) iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) jti: String,
    #[serde(default, rename = "kubernetes.io", skip_serializing_if = "Option::is_none")]
    pub(crate) bound: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(default)]
    pub(crate) sub: String,
    /// The claims of a token in a Secret.
    #[serde(default, rename = "kubernetes.io/serviceaccount/namespace", skip_serializing_if = "String::is_empty")]
    pub(crate) legacy_namespace: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/secret.name", skip_serializing_if = "String::is_empty")]
    pub(crate) legacy_secret: String,
    #[serde(
        default,
        rename = "kubernetes.io/serviceaccount/service-account.name",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) legacy_account: String,
    #[serde(
        default,
        rename = "kubernetes.io/serviceaccount/service-account.uid",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) legacy_uid: String,
}

/// `aud` is a text or a list of texts.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(from)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

impl Claims {
    /// What a token says that lies in a Secret: whose it is, and no time and no audience.
    pub(crate) fn in_secret(namespace: &str, account: &str, uid: &str, secret: &str) -> Self {
        Self {
            iss: LEGACY_ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
            legacy_namespace: namespace.to_owned(),
            legacy_secret: secret.to_owned(),
            legacy_account: account.to_owned(),
            legacy_uid: uid.to_owned(),
            ..Self::default()
        }
    }

    /// Whether the token holds at this time.
    pub(crate) fn in_time(&self, now: Timestamp) -> Result<(), Refused> {
        let now = now.as_second();
        let because = |why: &str| Err(Refused::Because(format!("service account token {why}")));
        if self.nbf.is_some_and(|nbf| now.saturating_add(LEEWAY_SECONDS) < nbf) {
            return because("is not valid yet");
        }
        if self.exp.is_some_and(|exp| now.saturating_sub(LEEWAY_SECONDS) > exp) {
            return because("has expired");
        }
        if self.iat.is_some_and(|iat| now.saturating_add(LEEWAY_SECONDS) < iat) {
            return because("is issued in the future");
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// Signs tokens and reads them back.
#[derive(Debug)]
pub(crate) struct Tokens(TokenKey);

impl Tokens {
    pub(crate) fn new(key: TokenKey) -> Self {
        Self(key)
    }

    /// The token that says this.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, IdentityError> {
        let key = self.0.get()?;
        let header = Header { alg: "RS256".to_owned(), kid: key.kid().to_owned() };
        let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| BASE64.encode(json)).unwrap_or_default();
        let message = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(claims)));
        let signature = key.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", BASE64.encode(signature)))
    }

    /// What a token of ours says. Refusals are worded as kube-apiserver's: they are shown to those who review tokens.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, Refused> {
        if token.len() > MAX_LENGTH {
            return Err(Refused::Unknown);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Unknown)?;
        let (header, payload) = message.split_once('.').ok_or(Refused::Unknown)?;
        if payload.contains('.') {
            return Err(Refused::Unknown);
        }
        let part = |text: &str| BASE64.decode(text).map_err(|_| Refused::Unknown);
        let (header, payload, signature) = (part(header)?, part(payload)?, part(signature)?);
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        let issuer: Issuer = serde_json::from_slice(&payload).map_err(|_| Refused::Unknown)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| Refused::Unknown)?;
        if ![ISSUER, LEGACY_ISSUER].contains(&issuer.iss.as_str()) || !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(Refused::Unknown);
        }
        let because = |why: &str| Refused::Because(why.to_owned());
        let key = self.0.known().filter(|key| header.kid.is_empty() || header.kid == key.kid());
        let Some(key) = key else { return Err(because("invalid signature, no keys found")) };
        if header.alg != "RS256" {
            return Err(because("go-jose/go-jose: unknown/unsupported algorithm"));
        }
        if !key.verifies(message.as_bytes(), &signature) {
            return Err(because("go-jose/go-jose: error in cryptographic primitive"));
        }
        serde_json::from_slice(&payload).map_err(|error| Refused::Because(error.to_string()))
    }

    /// `/openid/v1/jwks`: the public keys that check these tokens.
    pub(crate) fn key_set(&self) -> Result<Value, IdentityError> {
        let key = self.0.get()?;
        let (n, e) = key.modulus_and_exponent();
        Ok(json!({"keys": [{"use": "sig", "kty": "RSA", "kid": key.kid(), "alg": "RS256", "n": n, "e": e}]}))
    }
}

/// `/.well-known/openid-configuration`: where relying parties find the keys. `host`: this server's address for others.
pub(crate) fn openid_configuration(host: &str) -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("https://{host}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(TokenKey::load(None).unwrap())
    }

    fn claims() -> Claims {
        Claims { iss: ISSUER.to_owned(), exp: Some(1000), iat: Some(100), nbf: Some(100), ..Claims::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn because(why: &str) -> Refused {
        Refused::Because(why.to_owned())
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let tokens = tokens();
        let bound = Bound {
            namespace: "ns".to_owned(),
            serviceaccount: Named { name: "a".to_owned(), uid: "u".to_owned() },
            pod: Some(Named { name: "p".to_owned(), uid: "v".to_owned() }),
            ..Bound::default()
        };
        let claims = Claims { aud: vec!["x".to_owned()], bound: Some(bound), jti: "1".to_owned(), ..claims() };
        assert_eq!(tokens.read(&tokens.sign(&claims).unwrap()), Ok(claims));
    }

    #[test]
    fn a_token_of_another_key_is_refused() {
        let (mine, other) = (tokens(), tokens());
        mine.sign(&claims()).unwrap();
        let token = other.sign(&claims()).unwrap();
        assert_eq!(mine.read(&token), Err(because("invalid signature, no keys found")));
    }

    #[test]
    fn who_never_signed_makes_no_key_to_refuse_a_token() {
        let (mine, other) = (tokens(), tokens());
        let token = other.sign(&claims()).unwrap();
        assert_eq!(mine.read(&token), Err(because("invalid signature, no keys found")));
        assert!(mine.0.known().is_none());
    }

    #[test]
    fn a_changed_payload_is_refused() {
        let tokens = tokens();
        let token = tokens.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = BASE64.encode(serde_json::to_vec(&Claims { exp: Some(i64::MAX), ..claims() }).unwrap());
        let forged = format!("{}.{other}.{}", parts[0], parts[2]);
        assert_eq!(tokens.read(&forged), Err(because("go-jose/go-jose: error in cryptographic primitive")));
    }

    #[test]
    fn a_token_without_a_signature_algorithm_is_unknown() {
        let tokens = tokens();
        let payload = BASE64.encode(serde_json::to_vec(&claims()).unwrap());
        for alg in ["none", "HS256", ""] {
            let header = BASE64.encode(json!({"alg": alg}).to_string());
            assert_eq!(tokens.read(&format!("{header}.{payload}.")), Err(Refused::Unknown), "{alg}");
        }
    }

    #[test]
    fn a_token_of_another_issuer_is_unknown() {
        let tokens = tokens();
        let token = tokens.sign(&Claims { iss: "https://elsewhere".to_owned(), ..claims() }).unwrap();
        assert_eq!(tokens.read(&token), Err(Refused::Unknown));
    }

    #[test]
    fn a_huge_token_is_not_looked_at() {
        let tokens = tokens();
        let token = tokens.sign(&Claims { jti: "x".repeat(MAX_LENGTH), ..claims() }).unwrap();
        assert_eq!(tokens.read(&token), Err(Refused::Unknown));
    }

    #[test]
    fn a_token_holds_from_nbf_to_exp_with_a_minute_of_leeway() {
        assert_eq!(claims().in_time(at(40)), Ok(()));
        assert_eq!(claims().in_time(at(1060)), Ok(()));
        assert_eq!(claims().in_time(at(39)), Err(because("service account token is not valid yet")));
        assert_eq!(claims().in_time(at(1061)), Err(because("service account token has expired")));
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let far = Claims { exp: Some(i64::MIN), nbf: Some(i64::MAX), iat: Some(i64::MAX), ..claims() };
        assert_eq!(far.in_time(Timestamp::MAX), Err(because("service account token is not valid yet")));
    }

    #[test]
    fn the_audience_may_be_one_text() {
        let claims: Claims = serde_json::from_str(r#"{"iss": "i", "aud": "x"}"#).unwrap();
        assert_eq!(claims.aud, ["x"]);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,200}", a in "[A-Za-z0-9_-]{0,40}", b in "[A-Za-z0-9_-]{0,80}") {
            static TOKENS: LazyLock<Tokens> = LazyLock::new(tokens);
            let tokens = &*TOKENS;
            tokens.key_set().unwrap();
            let (shaped, encoded) = (format!("{a}.{b}.{a}"), format!("{a}.{}.{b}", BASE64.encode(&text)));
            for token in [text, shaped, encoded] {
                prop_assert!(tokens.read(&token).is_err());
            }
        }
    }
}
