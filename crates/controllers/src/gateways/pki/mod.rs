//! Certificates and keys of one gateway: what exists is judged, what is missing or due is made.
//!
//! | module | what it is for |
//! |---|---|
//! | `authority` | the authority's Secret, with what it replaces |
//! | `rotation` | the stages of a replacement |
//! | `leaf` | the two certificates |
//! | `adoption` | Secrets that somebody else made |
//! | `jwt` | token keys and the key of stored credentials |
//!
//! The authority's key stays in the control plane's namespace. Everything that exists and is good stays byte for byte;
//! a change of names re-issues the server's leaf and nothing else. Secrets that somebody else keeps are never written.
//! No I/O; randomness comes from `paddock-pki`, which is why this runs in the snapshot and not in the plan.

mod adoption;
mod authority;
mod jwt;
mod leaf;
mod rotation;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::{annotations, labels};
use paddock_pki::{CertificateInfo, PkiError, inspect};
use paddock_reconcile::{Adopt, Desired, Error, OnImmutable};

use self::authority::{Held, Previous};
use self::leaf::{Issuers, Want};
use self::rotation::{Next, Observed, Stage};
use super::intent::Intent;
use super::key::GatewayKey;
use super::{names, render};

pub(super) use self::rotation::Sandboxes;

pub(super) type Data = BTreeMap<String, ByteString>;

/// The Secrets as they are in the cluster, and what else the decision depends on.
#[derive(Clone, Default)]
pub(super) struct Existing {
    pub(super) authority: Option<Secret>,
    pub(super) server: Option<Secret>,
    pub(super) client: Option<Secret>,
    pub(super) jwt: Option<Secret>,
    pub(super) kek: Option<Secret>,
    /// Whether a gateway was already given the key, so that credentials may be encrypted with it.
    pub(super) kek_in_use: bool,
    /// The sandboxes of the gateway; only asked for while [`replaces_authority`].
    pub(super) sandboxes: Sandboxes,
    /// Whether the gateway was seen to serve the server's certificate as it is stored; `None` when it cannot be seen.
    pub(super) served: Option<bool>,
}

/// Never prints what is in the Secrets.
impl fmt::Debug for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Existing").field("sandboxes", &self.sandboxes).finish_non_exhaustive()
    }
}

/// The Secrets as they shall be. `None`: not ours to write, or not needed.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Material {
    authority: Option<Data>,
    server: Option<Data>,
    client: Option<Data>,
    jwt: Option<Data>,
    kek: Option<Data>,
    /// The clients' certificate for the other namespaces that sandboxes live in, whoever made it.
    pub(super) clients_elsewhere: Option<Data>,
    /// Whether Secrets that are not ours yet may be taken over.
    adopt: bool,
    /// What was made in this pass and why, one sentence each.
    pub(super) made: Vec<String>,
    /// What is wrong and left as it is: a reason in CamelCase and a sentence.
    pub(super) trouble: Option<(&'static str, String)>,
    /// What is worth knowing though everything is in order.
    pub(super) note: Option<(&'static str, String)>,
    /// Whom a step of this pass takes something from, one sentence each.
    pub(super) losses: Vec<String>,
    /// What a restart depends on: the token keys' public part.
    pub(super) restart_token: String,
    /// End of the server certificate's life.
    pub(super) not_after: Option<Timestamp>,
    /// When to look again, though nothing happens.
    pub(super) renew_at: Option<Timestamp>,
}

/// Never prints what is in the Secrets.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made, trouble, note, losses, not_after, renew_at, .. } = self;
        f.debug_struct("Material")
            .field("made", made)
            .field("trouble", trouble)
            .field("note", note)
            .field("losses", losses)
            .field("not_after", not_after)
            .field("renew_at", renew_at)
            .finish_non_exhaustive()
    }
}

/// Whose Secrets these are, and when.
struct Scope<'a> {
    key: &'a GatewayKey,
    adopt: bool,
    now: Timestamp,
}

impl Scope<'_> {
    /// The Secret's content when it is ours to write, or becomes so.
    fn kept(&self, secret: &Secret) -> Option<Data> {
        adoption::may_write(secret, self.adopt).then(|| data(secret))
    }
}

/// Whether the authority with this Secret is being replaced, so that sandboxes have to be counted.
pub(super) fn replaces_authority(authority: Option<&Secret>) -> bool {
    authority.and_then(|secret| secret.data.as_ref()).is_some_and(|data| data.contains_key("rotation"))
        && authority.is_some_and(|secret| Held::read(secret).is_ok_and(|held| held.previous.is_some()))
}

/// What a client needs for a look at the gateway: the fingerprint of the leaf that shall be served, and the client's `ca.crt`,
/// `tls.crt` and `tls.key`, all as they are stored.
///
/// # Errors
/// Which Secret is missing or unreadable, in a sentence.
pub(super) fn presented(existing: &Existing) -> Result<(String, [paddock_pki::Secret; 3]), String> {
    let server = existing.server.as_ref().ok_or("there is no server certificate")?;
    let client = existing.client.as_ref().ok_or("there is no client certificate")?;
    let leaf = inspect(&text(server, "tls.crt")).map_err(|error| format!("the server certificate: {error}"))?;
    Ok((leaf.fingerprint, ["ca.crt", "tls.crt", "tls.key"].map(|key| paddock_pki::Secret::new(text(client, key)))))
}

/// Completes and renews the material. With `adopt`, Secrets that nobody keeps any more become ours.
///
/// # Errors
/// Only when the cryptographic provider fails; everything about the existing Secrets is a [`Material::trouble`].
pub(super) fn ensure(existing: &Existing, intent: &Intent, adopt: bool, now: Timestamp) -> Result<Material, PkiError> {
    let mut material = Material { adopt, ..Material::default() };
    let scope = Scope { key: &intent.key, adopt, now };
    jwt::ensure_token_keys(existing.jwt.as_ref(), &scope, &mut material)?;
    if render::needs_kek(intent.version) {
        jwt::ensure_encryption_key(existing, &scope, &mut material)?;
    }
    certificates(existing, intent, &scope, &mut material)?;
    if intent.serves.is_some() {
        material.clients_elsewhere = material.client.clone().or_else(|| existing.client.as_ref().map(data));
    }
    Ok(material)
}

fn certificates(
    existing: &Existing,
    intent: &Intent,
    scope: &Scope<'_>,
    material: &mut Material,
) -> Result<(), PkiError> {
    let now = scope.now;
    let held = match existing.authority.as_ref().map(Held::read).transpose() {
        Ok(held) => held,
        Err(error) => {
            material.keep(existing, scope);
            let hint = "restore it, or delete it to get a new one, which the old one's leaves overlap with";
            material.trouble("AuthorityUnreadable", format!("Secret {}: {error}; {hint}", scope.key.ca_secret()));
            return Ok(());
        }
    };
    let pair = || [&existing.server, &existing.client].into_iter().flatten();
    if let Some(theirs) = pair().find(|secret| !adoption::may_write(secret, scope.adopt)) {
        material.keep(existing, scope);
        stand_by(theirs, held.is_some(), existing, intent, scope, material);
        return Ok(());
    }
    let request = requested(existing);
    let held = match held {
        Some(held) if held.active.info().not_before > now => {
            material.keep(existing, scope);
            let message = format!(
                "the authority is valid from {}, and the clock says {now}: nothing is issued by a clock that is behind",
                held.active.info().not_before
            );
            material.trouble("ClockBehind", message);
            return Ok(());
        }
        Some(held) => advance(held, existing, request, scope, material)?,
        None if pair().next().is_none() => {
            material.made.push("certificate authority: there was none".to_owned());
            Held::new(&authority_name(scope.key), now)?
        }
        None => {
            let asked = (!request.is_empty()).then(|| "it was asked for".to_owned());
            let Some(why) = asked.or_else(|| adoption::must_change(existing, intent, now)) else {
                material.keep(existing, scope);
                material.note(
                    "AuthorityKeptElsewhere",
                    "the key of the certificates' authority is not here; it is replaced when something has to be issued",
                );
                let leaves = pair().filter_map(|secret| inspect(&text(secret, "tls.crt")).ok());
                leaves.for_each(|leaf| material.look_again(leaf.renew_at()));
                return Ok(());
            };
            material.made.push(format!("certificate authority, because the old one's key is not here: {why}"));
            let held = Held::new(&authority_name(scope.key), now)?;
            match adoption::believed(existing) {
                believed if believed.is_empty() => held,
                believed => held.replacing(Previous::without_key(believed), request),
            }
        }
    };
    let issuers = Issuers::of(&held);
    let (server, client) = (Want::server(intent), Want::client());
    let (server_data, info) = leaf::ensure(&server, existing.server.as_ref(), &issuers, scope, material)?;
    material.not_after = info.map(|info| info.not_after);
    material.server = server_data;
    material.client = leaf::ensure(&client, existing.client.as_ref(), &issuers, scope, material)?.0;
    material.authority = held.writable.then(|| held.into_data());
    Ok(())
}

/// The next step of a replacement, or its beginning.
fn advance(
    mut held: Held,
    existing: &Existing,
    request: &str,
    scope: &Scope<'_>,
    material: &mut Material,
) -> Result<Held, PkiError> {
    let now = scope.now;
    let Some(previous) = &held.previous else {
        let due = held.due(&format!("{} authority", scope.key));
        let asked = !request.is_empty() && request != held.rotation.handled;
        let why = if asked { format!("asked for by {request:?}") } else { format!("due since {due}") };
        match (asked || now >= due, held.writable) {
            (false, _) => material.look_again(due),
            (true, false) => {
                let message = format!("{why}, but Secret {} is not ours to write", scope.key.ca_secret());
                material.trouble("AuthorityNotOurs", message);
            }
            (true, true) => {
                material.made.push(format!("certificate authority that replaces the old one: {why}"));
                held.succeed(&authority_name(scope.key), now, request)?;
                material.note("ReplacingAuthority", "the new authority is being published");
            }
        }
        return Ok(held);
    };
    let issuers = Issuers::of(&held);
    let pair = [existing.server.as_ref(), existing.client.as_ref()];
    let published = pair.iter().all(|secret| secret.is_some_and(|secret| text(secret, "ca.crt") == issuers.bundle));
    let switched = pair.iter().all(|secret| {
        secret.is_some_and(|secret| inspect(&text(secret, "tls.crt")).is_ok_and(|leaf| issuers.is_of_active(&leaf)))
    });
    let observed = Observed {
        published,
        switched: published && switched,
        sandboxes: &existing.sandboxes,
        served: existing.served,
        old_ends: previous.ends(),
    };
    match rotation::next(held.rotation.stage, observed, now) {
        Next::Stay { message, look_again } => {
            material.note("ReplacingAuthority", message);
            if let Some(at) = look_again {
                material.look_again(at);
            }
        }
        Next::Go { stage, loss } => {
            let step = match stage {
                Stage::Steady => "certificate authority the only one again: the old one is not believed any more",
                Stage::Publishing | Stage::Overlapping { .. } => {
                    "two authorities believed: sandboxes of before are waited for"
                }
                Stage::Switching => "switch to the new authority: every sandbox knows it, or the wait is over",
                Stage::Retiring { .. } => "new authority the one that issues: sandboxes of before are waited for",
            };
            material.made.push(step.to_owned());
            material.losses.extend(loss);
            if stage != Stage::Steady {
                material.note("ReplacingAuthority", step);
                material.look_again(now.checked_add(rotation::SETTLING).unwrap_or(now));
            }
            held.enter(stage);
        }
    }
    Ok(held)
}

/// Says how certificates fare that somebody else keeps.
fn stand_by(
    theirs: &Secret,
    held: bool,
    existing: &Existing,
    intent: &Intent,
    scope: &Scope<'_>,
    material: &mut Material,
) {
    let name = theirs.metadata.name.clone().unwrap_or_default();
    let keeper = adoption::keeper(theirs);
    match (adoption::must_change(existing, intent, scope.now), keeper) {
        (None, _) => {
            material
                .note("ForeignCertificates", "the certificates were made by somebody else and are kept as they are");
        }
        (Some(why), Some(keeper)) => {
            let message = format!("{why}; Secret {name} belongs to {keeper}, which has to put it right");
            material.trouble("ForeignCertificate", message);
        }
        (Some(why), None) => {
            let reason = if held { "ForeignCertificate" } else { "ForeignAuthority" };
            let message = format!(
                "{why}; Secret {name} was made by somebody else and is kept: --gateways-adopt lets Paddock take it over"
            );
            material.trouble(reason, message);
        }
    }
}

/// The request for another authority: the annotation on the authority's Secret, else on the server certificate's.
fn requested(existing: &Existing) -> &str {
    let secrets = [&existing.authority, &existing.server].into_iter().flatten();
    let annotations = secrets.filter_map(|secret| secret.metadata.annotations.as_ref());
    annotations.filter_map(|all| all.get(annotations::ROTATE_AUTHORITY)).next().map_or("", String::as_str)
}

impl Material {
    fn trouble(&mut self, reason: &'static str, message: String) {
        self.trouble.get_or_insert((reason, message));
    }

    fn note(&mut self, reason: &'static str, message: impl Into<String>) {
        self.note.get_or_insert((reason, message.into()));
    }

    fn look_again(&mut self, at: Timestamp) {
        self.renew_at = Some(self.renew_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Leaves the certificates as they are and says when they end.
    fn keep(&mut self, existing: &Existing, scope: &Scope<'_>) {
        let kept = |secret: &Option<Secret>| secret.as_ref().and_then(|secret| scope.kept(secret));
        (self.server, self.client) = (kept(&existing.server), kept(&existing.client));
        self.authority = existing.authority.as_ref().filter(|secret| ours(secret)).map(data);
        let info = existing.server.as_ref().and_then(|secret| inspect(&text(secret, "tls.crt")).ok());
        self.not_after = info.map(|info: CertificateInfo| info.not_after);
    }

    /// The Secrets to apply, the authority's first: a crash in between then leaves nothing that cannot be completed.
    /// `control_plane` is the namespace that holds the authority.
    pub(super) fn secrets(
        &self,
        key: &GatewayKey,
        control_plane: &str,
    ) -> Result<(Option<Desired>, Vec<Desired>), Error> {
        let secret = |metadata, type_: &str, data: &Data| {
            let (type_, data) = (Some(type_.to_owned()), Some(data.clone()));
            Desired::of(&Secret { metadata, type_, data, ..Secret::default() })
        };
        let tls = "kubernetes.io/tls";
        let elsewhere = ObjectMeta {
            name: Some(key.ca_secret()),
            namespace: Some(control_plane.to_owned()),
            ..render::meta(key, "openshell-ca")
        };
        // Its key exists nowhere else: nobody takes it down to make it anew.
        let authority = self.authority.as_ref().map(|data| secret(elsewhere, tls, data)).transpose()?;
        let authority = authority.map(|authority| authority.on_immutable(OnImmutable::Invalid));
        let secrets = [
            (names::SERVER_TLS, tls, &self.server),
            (names::CLIENT_TLS, tls, &self.client),
            (names::JWT_KEYS, "Opaque", &self.jwt),
            (names::KEK, "Opaque", &self.kek),
        ];
        let secrets = secrets.into_iter().filter_map(|(name, type_, data)| Some((name, type_, data.as_ref()?)));
        let adopt = if self.adopt { Adopt::Always } else { Adopt::Never };
        let secrets =
            secrets.map(|(name, type_, data)| Ok(secret(render::meta(key, name), type_, data)?.adopt(adopt.clone())));
        Ok((authority, secrets.collect::<Result<_, _>>()?))
    }
}

/// The subject of a gateway's authority.
fn authority_name(key: &GatewayKey) -> String {
    if key.is_default() { format!("openshell-ca {}", key.namespace) } else { format!("openshell-ca {key}") }
}

fn ours(secret: &Secret) -> bool {
    let by = secret.metadata.labels.as_ref().and_then(|all| all.get(labels::MANAGED_BY));
    by.is_some_and(|by| by == labels::MANAGED_BY_PADDOCK)
}

fn data(secret: &Secret) -> Data {
    secret.data.clone().unwrap_or_default()
}

fn text(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes.0).into_owned())
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

/// The rule for fuzzers: see `fuzzing::gateway_secrets`. The first byte says which Secrets are there and which key of which one
/// is damaged; the rest is put in its place.
///
/// # Panics
/// When the rule is broken.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(input: &[u8]) {
    use super::intent::{Intents, Rules};

    let (&first, rest) = input.split_first().unwrap_or((&0, &[]));
    let now: Timestamp = "2026-11-21T05:00:00Z".parse().expect("a time");
    let rules = Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.111".parse().expect("a reference"));
    let intents = Intents::default().next(Some("- name: t\n"), &rules);
    let intent = intents.entries["t"].intent.clone().expect("an intent");
    let stored = |data: &Option<Data>| -> Option<Secret> {
        let metadata = render::meta(&intent.key, "x");
        Some(Secret { metadata, data: Some(data.clone()?), ..Secret::default() })
    };
    let of = |material: &Material| Existing {
        authority: stored(&material.authority),
        server: stored(&material.server),
        client: stored(&material.client),
        jwt: stored(&material.jwt),
        kek: stored(&material.kek),
        ..Existing::default()
    };
    let mut existing = of(&ensure(&Existing::default(), &intent, false, now).expect("a provider"));
    let keys = ["tls.crt", "tls.key", "ca.crt", "rotation", "previous.crt", "previous.key", "kid", "signing.pem"];
    let key = keys[usize::from(first & 7)];
    let slots = [&mut existing.authority, &mut existing.server, &mut existing.client, &mut existing.jwt];
    for (bit, slot) in slots.into_iter().enumerate() {
        if first & (16 << bit) != 0 {
            continue;
        }
        match slot.as_mut().and_then(|secret| secret.data.as_mut()) {
            Some(data) if first & 8 == 0 || bit == 0 => drop(data.insert(key.to_owned(), ByteString(rest.to_vec()))),
            _ => *slot = None,
        }
    }
    let first = ensure(&existing, &intent, true, now).expect("a provider");
    let second = ensure(&of(&first), &intent, true, now).expect("a provider");
    assert!(first.trouble.is_some() || second.trouble.is_none(), "{first:?} {second:?}");
    let third = ensure(&of(&second), &intent, true, now).expect("a provider");
    assert!(second.trouble.is_some() || third.trouble.is_none(), "{second:?} {third:?}");
}

#[cfg(test)]
mod tests;
