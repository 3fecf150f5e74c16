//! The two leaves of a gateway: its own certificate and that of its clients. No I/O.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use paddock_pki::{
    CertificateAuthority, CertificateInfo, LeafRequest, PkiError, SubjectAltName, Usage, inspect, key_belongs, spread,
};
use paddock_policy::dns::SubjectName;

use super::authority::Held;
use super::rotation::Stage;
use super::{Data, Material, Scope, bytes, text};
use crate::gateways::intent::Intent;

/// A leaf lives one year, so that its renewal is exercised.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// What a leaf shall be.
pub(super) struct Want {
    pub(super) what: &'static str,
    /// `None`: whatever it carries is good.
    names: Option<BTreeSet<SubjectAltName>>,
    usage: Usage,
    common_name: &'static str,
    unit: Option<&'static str>,
}

impl Want {
    pub(super) fn server(intent: &Intent) -> Self {
        Self {
            what: "server certificate",
            names: Some(intent.server_names.iter().map(san).collect()),
            usage: Usage::Server,
            common_name: "openshell-server",
            unit: None,
        }
    }

    pub(super) fn client() -> Self {
        Self {
            what: "client certificate",
            names: None,
            usage: Usage::Client,
            common_name: "openshell-client",
            unit: Some("openshell-user"),
        }
    }
}

/// Who issues, and whose leaves are good, at the stage of a replacement.
pub(super) struct Issuers<'a> {
    held: &'a Held,
    /// `None` while the old authority's leaves shall stay and nobody has its key.
    signer: Option<&'a CertificateAuthority>,
    /// Whether leaves of the old authority are good.
    old_counts: bool,
    pub(super) bundle: String,
}

impl<'a> Issuers<'a> {
    pub(super) fn of(held: &'a Held) -> Self {
        let old_counts = matches!(held.rotation.stage, Stage::Publishing | Stage::Overlapping { .. });
        let signer = match &held.previous {
            Some(previous) if old_counts => previous.key.as_ref(),
            _ => Some(&held.active),
        };
        Self { held, signer, old_counts, bundle: held.bundle() }
    }

    /// Whether the certificate is of the authority that stays.
    pub(super) fn is_of_active(&self, certificate: &CertificateInfo) -> bool {
        certificate.is_issued_by(self.held.active.info())
    }

    fn is_of_old(&self, certificate: &CertificateInfo) -> bool {
        let previous = self.held.previous.iter().filter(|_| self.old_counts);
        previous.flat_map(|previous| &previous.certificates).any(|old| match self.signer {
            Some(_) => certificate.is_issued_by(old),
            // Somebody else's may sign with what we cannot verify.
            None => certificate.names_as_issuer(old),
        })
    }
}

/// Why a leaf is not as it shall be.
struct Fault {
    why: String,
    /// Nobody can use it as it is, so that nothing is lost when another authority issues the next one.
    unusable: bool,
}

/// Keeps a leaf or makes it anew. Returns the Secret's content and what the certificate says.
pub(super) fn ensure(
    want: &Want,
    existing: Option<&Secret>,
    issuers: &Issuers<'_>,
    scope: &Scope<'_>,
    material: &mut Material,
) -> Result<(Option<Data>, Option<CertificateInfo>), PkiError> {
    let why = match existing.map(|secret| (secret, judge(want, secret, issuers, scope))) {
        None => "there was none".to_owned(),
        Some((secret, Ok(info))) => {
            let mut data = scope.kept(secret);
            if let Some(data) = &mut data
                && text(secret, "ca.crt") != issuers.bundle
            {
                let why = match issuers.held.rotation.stage {
                    Stage::Steady => "it was another one",
                    _ => "the authority is being replaced",
                };
                material.made.push(format!("trust bundle beside the {}: {why}", want.what));
                data.insert("ca.crt".to_owned(), bytes(&issuers.bundle));
            }
            if data.is_some() {
                material.look_again(due(&info, scope));
            }
            return Ok((data, Some(info)));
        }
        Some((secret, Err(fault))) => match (issuers.signer, fault.unusable) {
            (None, false) => {
                let message = format!(
                    "the {} waits until the authority, whose key nobody has, is replaced: {}",
                    want.what, fault.why
                );
                material.trouble("WaitingForAuthority", message);
                let mut data = scope.kept(secret);
                if let Some(data) = &mut data {
                    data.insert("ca.crt".to_owned(), bytes(&issuers.bundle));
                }
                return Ok((data, inspect(&text(secret, "tls.crt")).ok()));
            }
            _ => fault.why,
        },
    };
    material.made.push(format!("{}: {why}", want.what));
    let authority = issuers.signer.unwrap_or(&issuers.held.active);
    let leaf = authority.issue(&LeafRequest {
        common_name: want.common_name.to_owned(),
        organization: None,
        organizational_unit: want.unit.map(str::to_owned),
        names: want.names.clone().unwrap_or_default(),
        usage: want.usage,
        now: scope.now,
        not_after: scope.now.checked_add(LIFE).unwrap_or(scope.now),
    })?;
    let info = inspect(&leaf.certificate_pem)?;
    material.look_again(due(&info, scope));
    let fields = [
        ("tls.crt", leaf.certificate_pem.as_str()),
        ("tls.key", leaf.key_pem.expose()),
        ("ca.crt", issuers.bundle.as_str()),
    ];
    Ok((Some(fields.map(|(key, value)| (key.to_owned(), bytes(value))).into()), Some(info)))
}

/// When a leaf is due: after two thirds of its life, up to a twentieth of it earlier. Both leaves of a gateway alike.
fn due(info: &CertificateInfo, scope: &Scope<'_>) -> Timestamp {
    let life = info.not_after.duration_since(info.not_before);
    let earlier = spread(&scope.key.to_string(), life / 20);
    info.renew_at().checked_sub(earlier).unwrap_or_else(|_| info.renew_at())
}

/// What a good leaf says, or why it is none.
fn judge(want: &Want, secret: &Secret, issuers: &Issuers<'_>, scope: &Scope<'_>) -> Result<CertificateInfo, Fault> {
    let fault = |why: &str, unusable| Err(Fault { why: why.to_owned(), unusable });
    let certificate = text(secret, "tls.crt");
    let info = match inspect(&certificate) {
        Ok(info) => info,
        Err(error) => return fault(&error.to_string(), true),
    };
    let of_active = issuers.is_of_active(&info);
    if !of_active && !issuers.is_of_old(&info) {
        return fault("it was not issued by the tenant's authority", true);
    }
    let of_others = !of_active && issuers.signer.is_none();
    if !of_others && !key_belongs(&certificate, &text(secret, "tls.key")) {
        return fault("its key does not belong to it", true);
    }
    if scope.now >= info.not_after {
        return fault(&format!("it ended at {}", info.not_after), true);
    }
    if let Some(names) = &want.names {
        let list = |some: Vec<&SubjectAltName>| some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let added = list(names.difference(&info.names).collect());
        // What somebody else added beyond what is wanted has its reason.
        let removed = if of_others { String::new() } else { list(info.names.difference(names).collect()) };
        match (added.is_empty(), removed.is_empty()) {
            (true, true) => {}
            (false, true) => return fault(&format!("names added: {added}"), false),
            (true, false) => return fault(&format!("names removed: {removed}"), false),
            (false, false) => return fault(&format!("names added: {added}; removed: {removed}"), false),
        }
    }
    let due = due(&info, scope);
    let ends = issuers.signer.unwrap_or(&issuers.held.active).info().not_after;
    // A leaf that already ends with its authority would be due again at once.
    if scope.now >= due && info.not_after < ends {
        return fault(&format!("due for renewal since {due}"), false);
    }
    Ok(info)
}

pub(super) fn san(name: &SubjectName) -> SubjectAltName {
    match name {
        SubjectName::Dns(name) => SubjectAltName::Dns(name.clone()),
        SubjectName::Ip(address) => SubjectAltName::Ip(*address),
    }
}
