//! Tokens in Secrets: one of the type `kubernetes.io/service-account-token` gets a token of the account that it names, the CA
//! and the namespace, and goes when the account goes. Such a token has no end of its own; TokenRequest is the better way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::Caller;
use crate::authn::Claims;
use crate::handlers::{is_terminating, text};
use crate::identity::IdentityError;
use crate::kinds::at::At;
use crate::resource::Lookup;
use crate::store::{Event, EventKind};

const SECRETS: &str = "/secrets";
const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "/metadata/annotations/kubernetes.io~1service-account.name";
const ACCOUNT_UID: &str = "/metadata/annotations/kubernetes.io~1service-account.uid";

/// How soon a Secret that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Namespace and name of a Secret.
type Place = (String, String);

pub(super) async fn run(caller: Caller, root_ca: String) {
    let store = &caller.api.store;
    while store.is_open() {
        let from = store.revision();
        let (Ok(mut secrets), Ok(mut accounts)) = (store.watch(SECRETS, from), store.watch("/serviceaccounts", from))
        else {
            continue;
        };
        let mut dirty = tokens(&caller, "");
        // Until a watch falls out of the history: then everything is looked at again.
        loop {
            let mut left = BTreeSet::new();
            for (namespace, name) in std::mem::take(&mut dirty) {
                if !settle(&caller, &namespace, &name, &root_ca).await {
                    left.insert((namespace, name));
                }
            }
            dirty = left;
            let seen = tokio::select! {
                events = secrets.next() => events.map(|events| written(&events)),
                events = accounts.next() => events.map(|events| orphaned(&caller, &events)),
                () = tokio::time::sleep(RETRY), if !dirty.is_empty() => Ok(BTreeSet::new()),
            };
            match seen {
                Ok(seen) => dirty.extend(seen),
                Err(_) => break,
            }
        }
    }
}

/// The token Secrets of a namespace, or of all when it is empty.
fn tokens(caller: &Caller, namespace: &str) -> BTreeSet<Place> {
    Lookup::list(&caller.api, SECRETS, namespace).iter().filter_map(place).collect()
}

/// Where the Secret is, if it is one for a token.
fn place(secret: &Value) -> Option<Place> {
    let of_type = secret.str_at("/type") == TYPE;
    of_type.then(|| (text(secret, "namespace").to_owned(), text(secret, "name").to_owned()))
}

fn written(events: &[Arc<Event>]) -> BTreeSet<Place> {
    let there = events.iter().filter(|event| event.kind != EventKind::Deleted);
    there.filter_map(|event| event.object.decode().ok().as_ref().and_then(place)).collect()
}

/// The token Secrets where accounts were deleted.
fn orphaned(caller: &Caller, events: &[Arc<Event>]) -> BTreeSet<Place> {
    let deleted = events.iter().filter(|event| event.kind == EventKind::Deleted);
    let namespaces: BTreeSet<&str> = deleted.map(|event| &*event.key.namespace).collect();
    namespaces.into_iter().flat_map(|namespace| tokens(caller, namespace)).collect()
}

/// Brings one Secret to where it should be. `false`: look again soon.
async fn settle(caller: &Caller, namespace: &str, name: &str, root_ca: &str) -> bool {
    let secret = caller.api.lookup(SECRETS, namespace, name).filter(|secret| !is_terminating(secret));
    let Some(secret) = secret.filter(|secret| secret.str_at("/type") == TYPE) else { return true };
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let uid = secret.str_at(ACCOUNT_UID);
    let account = caller.api.lookup("/serviceaccounts", namespace, secret.str_at(ACCOUNT));
    let account = account.filter(|account| uid.is_empty() || text(account, "uid") == uid);
    let done = match account {
        Some(account) => match filled(caller, &secret, &account, root_ca) {
            Ok(None) => return true,
            Ok(Some(full)) => caller.call(Method::PUT, &path, "", Some(&full)).await,
            Err(why) => {
                tracing::error!(%why, namespace, name, "no token could be signed for a Secret");
                return false;
            }
        },
        None => {
            let options = json!({"preconditions": {"uid": text(&secret, "uid")}});
            caller.call(Method::DELETE, &path, "", Some(&options)).await
        }
    };
    match done {
        Ok(_) => true,
        // Someone was faster, or it may not be: the events of that bring us back.
        Err(status) => (400..500).contains(&status.code) && status.code != 429,
    }
}

/// The Secret with everything that it lacks; `None`: it lacks nothing.
fn filled(caller: &Caller, secret: &Value, account: &Value, root_ca: &str) -> Result<Option<Value>, IdentityError> {
    let data = |key: &str| secret["data"][key].as_str().unwrap_or_default();
    let (ca, token, namespace) = (STANDARD.encode(root_ca), data("token"), data("namespace"));
    if data("ca.crt") == ca && !token.is_empty() && !namespace.is_empty() {
        return Ok(None);
    }
    let (account_name, uid, place) = (text(account, "name"), text(account, "uid"), text(secret, "namespace"));
    let mut full = secret.clone();
    if token.is_empty() {
        let token = caller.api.tokens.sign(&Claims::in_secret(place, account_name, uid, text(secret, "name")))?;
        full.set_at("/data/token", STANDARD.encode(token));
    }
    if namespace.is_empty() {
        full.set_at("/data/namespace", STANDARD.encode(place));
    }
    full.set_at("/data/ca.crt", ca);
    full.set_at(ACCOUNT, account_name);
    full.set_at(ACCOUNT_UID, uid);
    Ok(Some(full))
}
