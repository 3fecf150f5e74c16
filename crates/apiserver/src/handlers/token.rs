//! `serviceaccounts/NAME/token`: a TokenRequest is answered with a token of that account. Nothing is stored.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Call;
use super::meta::{metadata, text};
use crate::api::Answer;
use crate::authn::{Bound, Claims, ISSUER, Named};
use crate::clock::rfc3339_seconds;
use crate::field::FieldError;
use crate::status::Status;

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

/// Seconds that a token lives when the request names none.
const DEFAULT_LIFE: i64 = 3600;
const SHORTEST_LIFE: i64 = 600;
const LONGEST_LIFE: i64 = 1 << 32;
/// The life that pods' projected tokens are asked for. Clients of old read a token once and never again, so these hold for a
/// year and only say when they should have been renewed.
const PROJECTED_LIFE: i64 = 3607;
const EXTENDED_LIFE: i64 = 365 * 24 * 3600;

impl Call<'_> {
    pub(super) async fn request_token(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let mut request = self.decode_subresource(body, options.validation).await?;
        self.settle_namespace(&mut request)?;
        let name = self.path.name.clone();
        let sent_name = text(&request, "name");
        if !sent_name.is_empty() && sent_name != name {
            let why = "must match the service account name if specified";
            let error = FieldError::invalid("metadata.name", &json!(sent_name), why);
            return Err(Status::invalid(GROUP, KIND, &name, &[error]));
        }
        let (_, account) = self.current()?;
        let (uid, sent_uid) = (text(&account, "uid"), text(&request, "uid"));
        if !sent_uid.is_empty() && sent_uid != uid {
            let why = format!(
                "the UID in the token request ({sent_uid}) does not match the UID of the service account ({uid})"
            );
            return Err(Status::conflict(GROUP, KIND, &name, &why));
        }
        let audiences = audiences(&request);
        let life = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_LIFE);
        check_life(life)?;
        let mut bound = Bound {
            namespace: self.path.namespace.clone(),
            serviceaccount: Named { name: name.clone(), uid: uid.to_owned() },
            ..Bound::default()
        };
        let reference = request.pointer("/spec/boundObjectRef").filter(|r| r.is_object());
        if let Some(reference) = reference {
            self.bind_to(reference, &mut bound)?;
        }
        let projected = life == PROJECTED_LIFE && bound.pod.is_some() && audiences.iter().all(|a| a == ISSUER);
        if projected {
            bound.warnafter = Some(after(self.now, life).as_second());
        }
        let expires = after(self.now, if projected { EXTENDED_LIFE } else { life });
        let claims = Claims {
            aud: audiences.clone(),
            exp: Some(expires.as_second()),
            iat: Some(self.now.as_second()),
            nbf: Some(self.now.as_second()),
            iss: ISSUER.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!("system:serviceaccount:{}:{name}", self.path.namespace),
            bound: Some(bound),
            ..Claims::default()
        };
        let token =
            self.api.tokens.sign(&claims).map_err(|e| Status::internal(format!("failed to generate token: {e}")))?;
        let reference = reference.cloned().unwrap_or_default();
        let uid = uid.to_owned();
        let metadata = metadata(&mut request);
        metadata.insert("name".to_owned(), name.into());
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), rfc3339_seconds(self.now).into());
        request["spec"] = json!({"audiences": audiences, "expirationSeconds": life, "boundObjectRef": reference});
        request["status"] = json!({"token": token, "expirationTimestamp": rfc3339_seconds(after(self.now, life))});
        self.answer_object(201, &request)
    }

    /// Puts the object that the token shall end with into its claims.
    fn bind_to(&self, reference: &Value, bound: &mut Bound) -> Result<(), Status> {
        let field = |name: &str| reference[name].as_str().unwrap_or_default();
        let (kind, name, sent_uid) = (field("kind"), field("name"), field("uid"));
        // An API version that cannot be read counts as none, as Go's FromAPIVersionAndKind has it.
        let (group, version) = match field("apiVersion").split('/').collect::<Vec<_>>().as_slice() {
            [version] => ("", *version),
            [group, version] => (*group, *version),
            _ => ("", ""),
        };
        let namespace = self.path.namespace.as_str();
        let (storage, plural, namespace) = match (group, kind) {
            ("", "Pod") => ("/pods", "pods", namespace),
            ("", "Secret") => ("/secrets", "secrets", namespace),
            ("", "Node") => ("/nodes", "nodes", ""),
            _ => {
                let what = format!("{group}/{version}, Kind={kind}");
                return Err(Status::bad_request(format!("cannot bind token to object of type {what}")));
            }
        };
        let live = self.api.lookup(storage, namespace, name).ok_or_else(|| Status::not_found("", plural, name))?;
        let uid = text(&live, "uid");
        let account = &bound.serviceaccount.name;
        let runs_as = live.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        if kind == "Pod" && runs_as != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            )));
        }
        if !sent_uid.is_empty() && sent_uid != uid {
            let why = format!(
                "the UID in the bound object reference ({sent_uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(group, kind, name, &why));
        }
        let named = Some(Named { name: name.to_owned(), uid: uid.to_owned() });
        match kind {
            "Pod" => {
                bound.pod = named;
                // The node is told even when there is none of that name (yet): then without its uid.
                let node = live.pointer("/spec/nodeName").and_then(Value::as_str).filter(|node| !node.is_empty());
                bound.node = node.map(|name| {
                    let live = self.api.lookup("/nodes", "", name);
                    let uid = live.as_ref().map_or("", |node| text(node, "uid"));
                    Named { name: name.to_owned(), uid: uid.to_owned() }
                });
            }
            "Secret" => bound.secret = named,
            _ => bound.node = named,
        }
        Ok(())
    }
}

/// The audiences that are asked for; this server when there are none.
fn audiences(request: &Value) -> Vec<String> {
    let list = request.pointer("/spec/audiences").and_then(Value::as_array);
    let list: Vec<String> = list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if list.is_empty() { vec![ISSUER.to_owned()] } else { list }
}

fn check_life(life: i64) -> Result<(), Status> {
    let why = match life {
        ..SHORTEST_LIFE => "may not specify a duration less than 10 minutes",
        SHORTEST_LIFE..=LONGEST_LIFE => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(Status::invalid(GROUP, KIND, "", &[FieldError::invalid("spec.expirationSeconds", &json!(life), why)]))
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
