//! Secrets that somebody else made: whether they may be taken over, and whether anything about them must change. Pure.
//!
//! The generator that comes with OpenShell throws its authority's key away and lets its certificates live until the year 4096.
//! They are kept as they are for as long as they do what is wanted.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use paddock_api::labels;
use paddock_pki::{CertificateInfo, PkiError, SubjectAltName, inspect, inspect_bundle};

use super::authority::MAX_BUNDLE;
use super::leaf::san;
use super::{Existing, ours, text};
use crate::gateways::intent::Intent;

/// The earlier provisioner.
pub(super) const PREDECESSOR: &str = "agent-control-plane";

/// Who keeps a Secret that is not ours, when that is somebody who still does; `None` when nobody says so, as on what OpenShell's
/// generator made, or when it is the earlier provisioner.
pub(super) fn keeper(secret: &Secret) -> Option<String> {
    let metadata = &secret.metadata;
    let annotated = metadata.annotations.iter().flatten().any(|(name, _)| name.starts_with("cert-manager.io/"));
    if annotated {
        return Some("cert-manager".to_owned());
    }
    if let Some(owner) = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)) {
        return Some(format!("{} {}", owner.kind, owner.name));
    }
    let label = metadata.labels.as_ref().and_then(|all| all.get(labels::MANAGED_BY));
    label.filter(|by| *by != PREDECESSOR).cloned()
}

/// Whether a Secret is ours, or may become ours.
pub(super) fn may_write(secret: &Secret, adopt: bool) -> bool {
    ours(secret) || (adopt && keeper(secret).is_none())
}

/// Why the pair of certificates cannot stay as it is, whoever made it and without its authority's key; `None` when it can.
pub(super) fn must_change(existing: &Existing, intent: &Intent, now: Timestamp) -> Option<String> {
    let (server, client) = match (&existing.server, &existing.client) {
        (Some(server), Some(client)) => (server, client),
        (None, _) => return Some("there is no server certificate".to_owned()),
        (_, None) => return Some("there is no client certificate".to_owned()),
    };
    let judged = || -> Result<Option<String>, PkiError> {
        let server_leaf = inspect(&text(server, "tls.crt"))?;
        let client_leaf = inspect(&text(client, "tls.crt"))?;
        for (what, leaf) in [("server", &server_leaf), ("client", &client_leaf)] {
            if now >= leaf.renew_at() {
                return Ok(Some(format!("the {what} certificate is due for renewal since {}", leaf.renew_at())));
            }
        }
        // The names that sandboxes do not use may be missing.
        let own = intent.key.mandatory_server_names();
        let host = intent.key.host();
        let needed = intent.server_names.iter().map(san).filter(|name| {
            let text = name.to_string();
            text == host || !own.contains(&text)
        });
        let missing: Vec<String> =
            needed.filter(|name| !covers(&server_leaf, name)).map(|name| name.to_string()).collect();
        if !missing.is_empty() {
            return Ok(Some(format!("the server certificate lacks the names {}", missing.join(", "))));
        }
        let believes = |bundle: &Secret, leaf: &CertificateInfo| -> Result<bool, PkiError> {
            Ok(inspect_bundle(&text(bundle, "ca.crt"), MAX_BUNDLE)?.iter().any(|one| leaf.names_as_issuer(one)))
        };
        Ok(match (believes(client, &server_leaf)?, believes(server, &client_leaf)?) {
            (true, true) => None,
            (false, _) => Some("the clients' ca.crt does not know the server certificate's authority".to_owned()),
            (_, false) => Some("the server's ca.crt does not know the client certificate's authority".to_owned()),
        })
    };
    judged().unwrap_or_else(|error| Some(error.to_string()))
}

fn covers(leaf: &CertificateInfo, name: &SubjectAltName) -> bool {
    leaf.names.contains(name)
        || match name {
            SubjectAltName::Dns(name) => name
                .split_once('.')
                .is_some_and(|(_, parent)| leaf.names.contains(&SubjectAltName::Dns(format!("*.{parent}")))),
            SubjectAltName::Ip(_) => false,
        }
}

/// Every authority that the two Secrets believe, each once: what stays believed while another one takes over.
pub(super) fn believed(existing: &Existing) -> Vec<CertificateInfo> {
    let mut found: Vec<CertificateInfo> = Vec::new();
    for secret in [&existing.server, &existing.client].into_iter().flatten() {
        for authority in inspect_bundle(&text(secret, "ca.crt"), MAX_BUNDLE).unwrap_or_default() {
            if found.len() < MAX_BUNDLE && found.iter().all(|known| known.fingerprint != authority.fingerprint) {
                found.push(authority);
            }
        }
    }
    found
}
