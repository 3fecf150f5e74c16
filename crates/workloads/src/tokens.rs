//! Tokens in Secrets: one of the type `kubernetes.io/service-account-token` gets a token of the account that it names, the CA and
//! the namespace, and goes when the account goes. Such a token has no end of its own; TokenRequest is the better way. Reads
//! through the engine's context, signs through a [`Signer`]; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/serviceaccount/tokens_controller.go`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use paddock_reconcile::{Act, Change, Context, Controller, Error, ObjectRef, Plan, Settings, Source};
use serde_json::Value;

use crate::names::{Name, annotation, name, uid};

/// The type of the Secrets that are filled.
pub const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Makes tokens that the API server believes.
pub trait Signer: Send + Sync {
    /// A token without an end, of the account, bound to a Secret.
    ///
    /// # Errors
    /// Why it cannot be signed, for people.
    fn sign(&self, account: &ServiceAccount, secret: &Name) -> Result<String, String>;
}

/// The controller.
pub struct TokenSecrets {
    signer: Arc<dyn Signer>,
    root_ca: Arc<str>,
    /// The account that each Secret names.
    accounts: Arc<Mutex<BTreeMap<Name, String>>>,
}

impl TokenSecrets {
    /// Of the signer and the CA's certificate in PEM.
    pub fn new(signer: Arc<dyn Signer>, root_ca: impl Into<Arc<str>>) -> Self {
        Self { signer, root_ca: root_ca.into(), accounts: Arc::default() }
    }

    /// The Secret with everything that it lacks; `None`: it lacks nothing.
    fn filled(&self, key: &Name, secret: &Secret, account: &ServiceAccount) -> Result<Option<Secret>, Error> {
        let has =
            |field: &str| secret.data.as_ref().and_then(|data| data.get(field)).filter(|value| !value.0.is_empty());
        let ca = self.root_ca.as_bytes();
        if has("token").is_some() && has("namespace").is_some() && has("ca.crt").is_some_and(|live| live.0 == ca) {
            return Ok(None);
        }
        let mut full = secret.clone();
        let data = full.data.get_or_insert_default();
        if has("token").is_none() {
            let token = self.signer.sign(account, key);
            let token = token.map_err(|why| Error::transient(format!("no token for the Secret {key}: {why}")))?;
            data.insert("token".to_owned(), ByteString(token.into_bytes()));
        }
        if has("namespace").is_none() {
            data.insert("namespace".to_owned(), ByteString(key.namespace.clone().into_bytes()));
        }
        data.insert("ca.crt".to_owned(), ByteString(ca.to_vec()));
        let annotations = full.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT.to_owned(), name(&account.metadata).to_owned());
        annotations.insert(ACCOUNT_UID.to_owned(), uid(&account.metadata).to_owned());
        Ok(Some(full))
    }
}

fn account_of(secret: &Value) -> Option<&str> {
    secret.get("metadata")?.get("annotations")?.get(ACCOUNT)?.as_str()
}

/// Learns which account a Secret names.
fn of_secret(accounts: &Mutex<BTreeMap<Name, String>>, change: &Change<'_>) -> Vec<Name> {
    let Some(key) = Name::of(change.object()) else { return Vec::new() };
    let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
    match change.after {
        Some(secret) => accounts.insert(key.clone(), account_of(secret).unwrap_or_default().to_owned()),
        None => accounts.remove(&key),
    };
    vec![key]
}

/// The Secrets that name an account.
fn of_account(accounts: &Mutex<BTreeMap<Name, String>>, change: &Change<'_>) -> Vec<Name> {
    let Some(account) = Name::of(change.object()) else { return Vec::new() };
    let accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let here = accounts.range(Name::new(account.namespace.as_str(), "")..);
    let here = here.take_while(|(secret, _)| secret.namespace == account.namespace);
    here.filter(|(_, named)| **named == account.name).map(|(secret, _)| secret.clone()).collect()
}

impl Controller for TokenSecrets {
    type Key = Name;
    type Snapshot = Option<(Secret, Option<ServiceAccount>)>;

    fn name(&self) -> &'static str {
        "serviceaccount-token"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, finding) = (self.accounts.clone(), self.accounts.clone());
        vec![
            Source::of::<Secret>(move |change| of_secret(&learning, change)).fields(format!("type={TYPE}")),
            Source::of::<ServiceAccount>(move |change| of_account(&finding, change)),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(secret) = cx.get_as::<Secret>(Some(&key.namespace), &key.name).await? else { return Ok(None) };
        let account = annotation(&secret.metadata, ACCOUNT).unwrap_or_default().to_owned();
        let account = match account.as_str() {
            "" => None,
            account => cx.get_as::<ServiceAccount>(Some(&key.namespace), account).await?,
        };
        Ok(Some((secret, account)))
    }

    fn plan(&self, key: &Name, known: &Self::Snapshot, _: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let Some((secret, account)) = known else { return Ok(plan) };
        if secret.type_.as_deref() != Some(TYPE) || secret.metadata.deletion_timestamp.is_some() {
            return Ok(plan);
        }
        let wanted = annotation(&secret.metadata, ACCOUNT_UID).unwrap_or_default();
        // An account of the same name that came later is another one.
        match account.as_ref().filter(|account| wanted.is_empty() || uid(&account.metadata) == wanted) {
            Some(account) => {
                if let Some(full) = self.filled(key, secret, account)? {
                    plan.step(vec![Act::update(&full)?]);
                }
            }
            None => {
                let target = ObjectRef::of::<Secret>(Some(&key.namespace), &key.name);
                plan.step(vec![Act::delete(target, uid(&secret.metadata))]);
            }
        }
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

#[cfg(test)]
mod tests {
    use paddock_reconcile::Verb;
    use serde_json::json;

    use super::*;

    struct Fixed;

    impl Signer for Fixed {
        fn sign(&self, account: &ServiceAccount, secret: &Name) -> Result<String, String> {
            Ok(format!("token of {} in {secret}", name(&account.metadata)))
        }
    }

    fn verb(secret: Value, account: Option<Value>) -> Option<Verb> {
        let mut whole = json!({"type": TYPE, "metadata": {"name": "s", "namespace": "n", "uid": "1", "annotations": {ACCOUNT: "a"}}});
        json_merge(&mut whole, &secret);
        let secret: Secret = serde_json::from_value(whole).expect("a Secret");
        let account = account.map(|account| serde_json::from_value(json!({"metadata": account})).expect("an account"));
        let plan = TokenSecrets::new(Arc::new(Fixed), "PEM").plan(
            &Name::new("n", "s"),
            &Some((secret, account)),
            Timestamp::UNIX_EPOCH,
        );
        plan.expect("a plan").acts.first().map(|step| step[0].verb().clone())
    }

    fn json_merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    json_merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    fn account() -> Option<Value> {
        Some(json!({"name": "a", "namespace": "n", "uid": "9"}))
    }

    #[test]
    fn empty_secret_is_filled() {
        let Some(Verb::Update { body, .. }) = verb(json!({}), account()) else { panic!("no update") };
        let filled: Secret = serde_json::from_value(body).expect("a Secret");
        let data = filled.data.expect("data");
        assert_eq!(
            [&data["token"], &data["namespace"], &data["ca.crt"]].map(|value| value.0.as_slice()),
            [&b"token of a in n/s"[..], b"n", b"PEM"]
        );
        assert_eq!(filled.metadata.annotations.expect("annotations")[ACCOUNT_UID], "9");
    }

    #[test]
    fn full_secret_is_left_alone() {
        // "t", "n" and "PEM" in base64.
        assert_eq!(verb(json!({"data": {"token": "dA==", "namespace": "bg==", "ca.crt": "UEVN"}}), account()), None);
    }

    #[test]
    fn secret_goes_with_its_account() {
        assert!(matches!(verb(json!({}), None), Some(Verb::Delete { uid, .. }) if uid == "1"));
    }

    #[test]
    fn secret_of_an_earlier_account_of_the_name_goes() {
        let earlier = json!({"metadata": {"annotations": {ACCOUNT_UID: "8"}}});
        assert!(matches!(verb(earlier, account()), Some(Verb::Delete { .. })));
    }

    #[test]
    fn secret_of_another_type_is_not_touched() {
        assert_eq!(verb(json!({"type": "Opaque"}), None), None);
    }

    #[test]
    fn change_of_an_account_concerns_the_secrets_that_name_it() {
        let accounts = Mutex::new(BTreeMap::from([
            (Name::new("m", "s"), "a".to_owned()),
            (Name::new("n", "s"), "a".to_owned()),
            (Name::new("n", "t"), "b".to_owned()),
        ]));
        let account = json!({"metadata": {"name": "a", "namespace": "n"}});
        let change = Change { before: Some(&account), after: None };
        assert_eq!(of_account(&accounts, &change), [Name::new("n", "s")]);
    }
}
