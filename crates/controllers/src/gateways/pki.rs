//! Certificates and keys of one gateway: what exists is judged, what is missing or due is made.
//!
//! The authority's key stays in the control plane's namespace. Everything that exists and is good stays byte for byte;
//! a change of names re-issues the server's leaf and nothing else. Secrets that somebody else made are never written.
//! No I/O; randomness comes from `paddock-pki`, which is why this runs in the snapshot and not in the plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::labels;
use paddock_pki::{
    CertificateAuthority, CertificateInfo, JwtKeys, LeafRequest, PkiError, SubjectAltName, Usage, inspect, key_belongs,
};
use paddock_policy::dns::SubjectName;
use paddock_reconcile::{Desired, Error};

use super::intent::Intent;
use super::key::GatewayKey;
use super::{names, render};

/// An authority lives ten years; a leaf one, so that its renewal is exercised.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

type Data = BTreeMap<String, ByteString>;

/// The Secrets as they are in the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Existing {
    pub(super) authority: Option<Secret>,
    pub(super) server: Option<Secret>,
    pub(super) client: Option<Secret>,
    pub(super) jwt: Option<Secret>,
    pub(super) kek: Option<Secret>,
    /// Whether a gateway was already given the key, so that credentials may be encrypted with it.
    pub(super) kek_in_use: bool,
}

/// The Secrets as they shall be. `None`: not ours to write, or not needed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Material {
    authority: Option<Data>,
    server: Option<Data>,
    client: Option<Data>,
    jwt: Option<Data>,
    kek: Option<Data>,
    /// What was made in this pass and why, one sentence each.
    pub(super) made: Vec<String>,
    /// What is wrong and left as it is: a reason in CamelCase and a sentence.
    pub(super) trouble: Option<(&'static str, String)>,
    /// What a restart depends on: the token keys' public part.
    pub(super) restart_token: String,
    /// End of the server certificate's life.
    pub(super) not_after: Option<Timestamp>,
    /// When the next leaf is due.
    pub(super) renew_at: Option<Timestamp>,
}

/// Completes and renews the material.
///
/// # Errors
/// Only when the cryptographic provider fails; everything about the existing Secrets is a [`Material::trouble`].
pub(super) fn ensure(existing: &Existing, intent: &Intent, now: Timestamp) -> Result<Material, PkiError> {
    let mut material = Material::default();
    let key = &intent.key;
    ensure_jwt(key, existing.jwt.as_ref(), &mut material)?;
    if render::needs_kek(intent.version) {
        material.kek = match &existing.kek {
            Some(secret) => ours(secret).then(|| data(secret)),
            // A new key could not read what the lost one encrypted. Its Secret has to come back from a backup.
            None if existing.kek_in_use => {
                let message = format!(
                    "Secret {} with the key of the stored credentials is gone; restore it, or delete the gateway's data and \
                     StatefulSet to begin anew",
                    key.name_of(names::KEK)
                );
                material.trouble("EncryptionKeyMissing", message);
                None
            }
            None => {
                material.made.push("key that encrypts stored credentials: there was none".to_owned());
                let made = paddock_pki::random_key()?;
                Some([(names::KEK_KEY.to_owned(), bytes(made.expose()))].into())
            }
        };
    }
    let authority = match &existing.authority {
        Some(secret) => match CertificateAuthority::from_pem(&text(secret, "tls.crt"), &text(secret, "tls.key")) {
            Ok(authority) => authority,
            Err(error) => {
                material.keep(existing);
                material.trouble("AuthorityUnreadable", format!("Secret {}: {error}", key.ca_secret()));
                return Ok(material);
            }
        },
        None if existing.server.is_some() || existing.client.is_some() => {
            material.keep(existing);
            material.trouble(
                "ForeignAuthority",
                format!(
                    "the certificates exist, but the key of their authority ({}) does not; they are kept and cannot be renewed",
                    key.ca_secret()
                ),
            );
            return Ok(material);
        }
        None => {
            material.made.push("certificate authority: there was none".to_owned());
            CertificateAuthority::generate(&authority_name(key), now, AUTHORITY_LIFE)?
        }
    };
    material.authority = match &existing.authority {
        Some(secret) => ours(secret).then(|| data(secret)),
        None => Some(
            [
                ("tls.crt".to_owned(), bytes(authority.certificate_pem())),
                ("tls.key".to_owned(), bytes(authority.key_pem()?.expose())),
            ]
            .into(),
        ),
    };
    let server = Want {
        secret: key.name_of(names::SERVER_TLS),
        what: "server certificate",
        names: Some(intent.server_names.iter().map(san).collect()),
        usage: Usage::Server,
        common_name: "openshell-server",
        unit: None,
    };
    let client = Want {
        secret: key.name_of(names::CLIENT_TLS),
        what: "client certificate",
        names: None,
        usage: Usage::Client,
        common_name: "openshell-client",
        unit: Some("openshell-user"),
    };
    let (server_data, info) = ensure_leaf(&server, existing.server.as_ref(), &authority, now, &mut material)?;
    material.not_after = info.map(|info| info.not_after);
    material.server = server_data;
    material.client = ensure_leaf(&client, existing.client.as_ref(), &authority, now, &mut material)?.0;
    Ok(material)
}

impl Material {
    fn trouble(&mut self, reason: &'static str, message: String) {
        self.trouble.get_or_insert((reason, message));
    }

    /// Leaves the certificates as they are and says when they end.
    fn keep(&mut self, existing: &Existing) {
        let kept = |secret: &Option<Secret>| secret.as_ref().filter(|secret| ours(secret)).map(data);
        (self.authority, self.server, self.client) =
            (kept(&existing.authority), kept(&existing.server), kept(&existing.client));
        let info = existing.server.as_ref().and_then(|secret| inspect(&text(secret, "tls.crt")).ok());
        self.not_after = info.map(|info| info.not_after);
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
        let authority = self.authority.as_ref().map(|data| secret(elsewhere, tls, data)).transpose()?;
        let secrets = [
            (names::SERVER_TLS, tls, &self.server),
            (names::CLIENT_TLS, tls, &self.client),
            (names::JWT_KEYS, "Opaque", &self.jwt),
            (names::KEK, "Opaque", &self.kek),
        ];
        let secrets = secrets.into_iter().filter_map(|(name, type_, data)| Some((name, type_, data.as_ref()?)));
        let secrets = secrets.map(|(name, type_, data)| secret(render::meta(key, name), type_, data));
        Ok((authority, secrets.collect::<Result<_, _>>()?))
    }
}

/// The subject of a gateway's authority.
fn authority_name(key: &GatewayKey) -> String {
    if key.is_default() { format!("openshell-ca {}", key.namespace) } else { format!("openshell-ca {key}") }
}

fn ensure_jwt(key: &GatewayKey, existing: Option<&Secret>, material: &mut Material) -> Result<(), PkiError> {
    let keys = match existing {
        Some(secret) => {
            let keys = JwtKeys {
                signing_pem: paddock_pki::Secret::new(text(secret, "signing.pem")),
                public_pem: text(secret, "public.pem"),
                kid: text(secret, "kid"),
            };
            if !keys.is_consistent() {
                // New keys would end every live session, so that is for a person to decide.
                let message = format!(
                    "the keys in Secret {} do not belong together; delete it to get new ones",
                    key.name_of(names::JWT_KEYS)
                );
                material.trouble("TokenKeysInconsistent", message);
            }
            material.jwt = ours(secret).then(|| data(secret));
            keys
        }
        None => {
            material.made.push("token keys: there were none".to_owned());
            let keys = JwtKeys::generate()?;
            let fields =
                [("signing.pem", keys.signing_pem.expose()), ("public.pem", &keys.public_pem), ("kid", &keys.kid)];
            material.jwt = Some(fields.map(|(key, value)| (key.to_owned(), bytes(value))).into());
            keys
        }
    };
    material.restart_token = format!("{}\n{}", keys.kid, keys.public_pem);
    Ok(())
}

struct Want {
    secret: String,
    what: &'static str,
    /// `None`: whatever it carries is good.
    names: Option<BTreeSet<SubjectAltName>>,
    usage: Usage,
    common_name: &'static str,
    unit: Option<&'static str>,
}

fn ensure_leaf(
    want: &Want,
    existing: Option<&Secret>,
    authority: &CertificateAuthority,
    now: Timestamp,
    material: &mut Material,
) -> Result<(Option<Data>, Option<CertificateInfo>), PkiError> {
    let fault = match existing {
        None => Some("there was none".to_owned()),
        Some(secret) => fault(want, secret, authority, now),
    };
    if let (Some(secret), Some(fault)) = (existing, &fault)
        && !ours(secret)
    {
        let message = format!("Secret {} was made by somebody else and is kept, but {fault}", want.secret);
        material.trouble("ForeignCertificate", message);
    }
    let (data, info) = match (existing, &fault) {
        (Some(secret), None) => (ours(secret).then(|| data(secret)), inspect(&text(secret, "tls.crt")).ok()),
        (Some(secret), Some(_)) if !ours(secret) => (None, inspect(&text(secret, "tls.crt")).ok()),
        (_, fault) => {
            material.made.push(format!("{}: {}", want.what, fault.as_deref().unwrap_or_default()));
            let leaf = authority.issue(&LeafRequest {
                common_name: want.common_name.to_owned(),
                organization: None,
                organizational_unit: want.unit.map(str::to_owned),
                names: want.names.clone().unwrap_or_default(),
                usage: want.usage,
                now,
                not_after: now.checked_add(LEAF_LIFE).unwrap_or(now),
            })?;
            let info = inspect(&leaf.certificate_pem)?;
            let fields = [
                ("tls.crt", leaf.certificate_pem.as_str()),
                ("tls.key", leaf.key_pem.expose()),
                ("ca.crt", authority.certificate_pem()),
            ];
            (Some(fields.map(|(key, value)| (key.to_owned(), bytes(value))).into()), Some(info))
        }
    };
    if data.is_some()
        && let Some(info) = &info
    {
        let due = info.renew_at();
        material.renew_at = Some(material.renew_at.map_or(due, |earlier| earlier.min(due)));
    }
    Ok((data, info))
}

/// Why a leaf must be made anew; `None` when it is good.
fn fault(want: &Want, secret: &Secret, authority: &CertificateAuthority, now: Timestamp) -> Option<String> {
    let certificate = text(secret, "tls.crt");
    let info = match inspect(&certificate) {
        Ok(info) => info,
        Err(error) => return Some(error.to_string()),
    };
    if !info.is_issued_by(authority.info()) || text(secret, "ca.crt") != authority.certificate_pem() {
        return Some("it was not issued by the tenant's authority".to_owned());
    }
    if !key_belongs(&certificate, &text(secret, "tls.key")) {
        return Some("its key does not belong to it".to_owned());
    }
    if let Some(names) = &want.names
        && info.names != *names
    {
        let list = |some: Vec<&SubjectAltName>| some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (added, removed) =
            (list(names.difference(&info.names).collect()), list(info.names.difference(names).collect()));
        return Some(match (added.is_empty(), removed.is_empty()) {
            (false, true) => format!("names added: {added}"),
            (true, false) => format!("names removed: {removed}"),
            _ => format!("names added: {added}; removed: {removed}"),
        });
    }
    let due = info.renew_at();
    // A leaf that already ends with its authority would be due again at once.
    (now >= due && info.not_after < authority.info().not_after).then(|| format!("due for renewal since {due}"))
}

fn san(name: &SubjectName) -> SubjectAltName {
    match name {
        SubjectName::Dns(name) => SubjectAltName::Dns(name.clone()),
        SubjectName::Ip(address) => SubjectAltName::Ip(*address),
    }
}

fn ours(secret: &Secret) -> bool {
    secret
        .metadata
        .labels
        .as_ref()
        .and_then(|all| all.get(labels::MANAGED_BY))
        .is_some_and(|by| by == labels::MANAGED_BY_PADDOCK)
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

#[cfg(test)]
mod tests;
