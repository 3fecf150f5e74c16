//! Whether the token of a service account still holds: its account and the object that it is bound to must be the ones that
//! are there now. Reads the store on every request, so that a deletion is felt at once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use paddock_pki::Secret;
use serde_json::Value;

use super::impersonation;
use super::token::{Bound, Claims, ISSUER, LEEWAY_SECONDS, LEGACY_ISSUER, Named, Refused};
use crate::api::Api;
use crate::handlers::text;
use crate::user::User;

/// Which credential a user came with.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// The node that a token's pod runs on, or that the token is bound to.
pub(crate) const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Someone whose token holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authenticated {
    pub(crate) user: User,
    /// Those of the asked audiences that the token is for.
    pub(crate) audiences: Vec<String>,
    /// What the caller should be told.
    pub(crate) warning: Option<&'static str>,
}

impl Api {
    /// Whose token this is. `audiences`: for whom it must be; empty: for this server.
    pub(crate) fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Authenticated, Refused> {
        let claims = self.tokens.read(token)?;
        let audiences = common_audiences(&claims, audiences)?;
        let check = Check { api: self, now: self.clock.now() };
        let (user, warning) = if claims.iss == LEGACY_ISSUER {
            check.legacy(&claims, token)?
        } else {
            claims.in_time(check.now)?;
            (check.bound(&claims)?, None)
        };
        Ok(Authenticated { user, audiences, warning })
    }
}

/// The audiences that both the token and the asker name.
fn common_audiences(claims: &Claims, wanted: &[String]) -> Result<Vec<String>, Refused> {
    let implicit = [ISSUER.to_owned()];
    let or_implicit = |list: &[String]| if list.is_empty() { implicit.to_vec() } else { list.to_vec() };
    let (held, wanted) = (or_implicit(&claims.aud), or_implicit(wanted));
    let held_set: std::collections::HashSet<&String> = held.iter().collect();
    let common: Vec<String> = wanted.iter().filter(|audience| held_set.contains(audience)).cloned().collect();
    if common.is_empty() {
        let list = |list: &[String]| {
            let quoted: Vec<String> = list.iter().map(|a| format!("{a:?}")).collect();
            format!("[{}]", quoted.join(" "))
        };
        return Err(Refused::Because(format!(
            "token audiences {} is invalid for the target audiences {}",
            list(&held),
            list(&wanted)
        )));
    }
    Ok(common)
}

fn because<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Because(why.into()))
}

const INVALIDATED: &str = "service account token has been invalidated";

/// Looks at what is there now.
struct Check<'a> {
    api: &'a Api,
    now: Timestamp,
}

impl Check<'_> {
    fn bound(&self, claims: &Claims) -> Result<User, Refused> {
        let unbound = Bound::default();
        let bound = claims.bound.as_ref().unwrap_or(&unbound);
        let (namespace, account) = (bound.namespace.as_str(), &bound.serviceaccount);
        let Some(live) = self.api.lookup("/serviceaccounts", namespace, &account.name) else {
            return because(format!("serviceaccounts {:?} not found", account.name));
        };
        if text(&live, "uid") != account.uid {
            return because(format!(
                "service account UID ({}) does not match claim ({})",
                text(&live, "uid"),
                account.uid
            ));
        }
        if self.is_gone(&live) {
            return because(format!("service account {namespace}/{} has been deleted", account.name));
        }
        if let Some(secret) = &bound.secret {
            self.object("/secrets", namespace, secret, "secret")?;
        }
        if let Some(pod) = &bound.pod {
            self.object("/pods", namespace, pod, "pod")?;
        }
        // The node of a pod is only told; a token that is bound to the node itself ends with it.
        if let (Some(node), None) = (&bound.node, &bound.pod) {
            self.object("/nodes", "", node, "node")?;
        }
        let mut user = User { uid: account.uid.clone(), ..User::service_account(namespace, &account.name) };
        let mut tell = |key: &str, value: &str| {
            if !value.is_empty() {
                user.extra.insert(key.to_owned(), vec![value.to_owned()]);
            }
        };
        if !claims.jti.is_empty() {
            tell(CREDENTIAL_ID, &format!("JTI={}", claims.jti));
        }
        if let Some(pod) = &bound.pod {
            tell(POD_NAME, &pod.name);
            tell(POD_UID, &pod.uid);
        }
        if let Some(node) = &bound.node {
            tell(NODE_NAME, &node.name);
            tell(NODE_UID, &node.uid);
        }
        Ok(user)
    }

    /// The object that a token is bound to must be the one that is there.
    fn object(&self, storage: &str, namespace: &str, named: &Named, what: &str) -> Result<(), Refused> {
        let Some(live) = self.api.lookup(storage, namespace, &named.name) else { return because(INVALIDATED) };
        let uid = text(&live, "uid");
        if uid != named.uid {
            return because(format!(
                "{what} UID ({uid}) does not match service account {what} ref claim ({})",
                named.uid
            ));
        }
        if self.is_gone(&live) { because(INVALIDATED) } else { Ok(()) }
    }

    /// Deleted, though finalizers or a grace period may keep the object a while: a minute later its tokens end.
    fn is_gone(&self, object: &Value) -> bool {
        let deleted: Option<Timestamp> = text(object, "deletionTimestamp").parse().ok();
        deleted.is_some_and(|at| {
            at.saturating_add(SignedDuration::from_secs(LEEWAY_SECONDS)).is_ok_and(|at| at < self.now)
        })
    }

    /// A token without end that lies in a Secret: it holds as long as the Secret does.
    fn legacy(&self, claims: &Claims, token: &str) -> Result<(User, Option<&'static str>), Refused> {
        let (namespace, secret, account, uid) =
            (&claims.legacy_namespace, &claims.legacy_secret, &claims.legacy_account, &claims.legacy_uid);
        let needed = [
            ("sub", &claims.sub),
            ("namespace", namespace),
            ("secretName", secret),
            ("serviceAccountName", account),
            ("serviceAccountUID", uid),
        ];
        if let Some((name, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return because(format!("{name} claim is missing"));
        }
        if impersonation::service_account(&claims.sub) != Some((namespace, account)) {
            return because("sub claim is invalid");
        }
        let kept = self.api.lookup("/secrets", namespace, secret).filter(|s| text(s, "deletionTimestamp").is_empty());
        let Some(kept) = kept else { return because("Token has been invalidated") };
        let copy = kept.pointer("/data/token").and_then(Value::as_str).and_then(|data| STANDARD.decode(data).ok());
        let copy = copy.and_then(|copy| String::from_utf8(copy).ok()).unwrap_or_default();
        // Secrets compare in constant time.
        if Secret::new(copy) != Secret::new(token) {
            return because("Token does not match server's copy");
        }
        let Some(live) = self.api.lookup("/serviceaccounts", namespace, account) else {
            return because(format!("serviceaccounts {account:?} not found"));
        };
        if !text(&live, "deletionTimestamp").is_empty() {
            return because(format!("ServiceAccount {namespace}/{account} has been deleted"));
        }
        if text(&live, "uid") != uid {
            return because(format!("ServiceAccount UID ({}) does not match claim ({uid})", text(&live, "uid")));
        }
        let invalid = "kubernetes.io/legacy-token-invalid-since";
        if kept["metadata"]["labels"][invalid].as_str().is_some_and(|since| !since.is_empty()) {
            return because(format!(
                "the token in secret {namespace}/{secret} for service account {namespace}/{account} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{invalid}' label from the secret to temporarily allow use of this token"
            ));
        }
        let listed = live["secrets"].as_array().into_iter().flatten().any(|s| s["name"].as_str() == Some(secret));
        let warning = listed.then_some("Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.");
        Ok((User { uid: uid.clone(), ..User::service_account(namespace, account) }, warning))
    }
}
