//! The keys that sign tokens and the key that encrypts stored credentials: made once, never renewed. No I/O.

use k8s_openapi::api::core::v1::Secret;
use paddock_pki::{JwtKeys, PkiError};

use super::{Existing, Material, Scope, bytes, text};
use crate::gateways::names;

/// The token keys. New ones would end every live session, so that is for a person to decide.
pub(super) fn ensure_token_keys(
    existing: Option<&Secret>,
    scope: &Scope<'_>,
    material: &mut Material,
) -> Result<(), PkiError> {
    let name = scope.key.name_of(names::JWT_KEYS);
    let keys = match existing {
        Some(secret) => {
            let keys = JwtKeys {
                signing_pem: paddock_pki::Secret::new(text(secret, "signing.pem")),
                public_pem: text(secret, "public.pem"),
                kid: text(secret, "kid"),
            };
            if !keys.is_consistent() {
                let message = format!("the keys in Secret {name} do not belong together; delete it to get new ones");
                material.trouble("TokenKeysInconsistent", message);
            }
            material.jwt = scope.kept(secret);
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

/// The key that encrypts stored credentials.
pub(super) fn ensure_encryption_key(
    existing: &Existing,
    scope: &Scope<'_>,
    material: &mut Material,
) -> Result<(), PkiError> {
    material.kek = match &existing.kek {
        Some(secret) => scope.kept(secret),
        // A new key could not read what the lost one encrypted. Its Secret has to come back from a backup.
        None if existing.kek_in_use => {
            let message = format!(
                "Secret {} with the key of the stored credentials is gone; restore it, or delete the gateway's data and \
                 StatefulSet to begin anew",
                scope.key.name_of(names::KEK)
            );
            material.trouble("EncryptionKeyMissing", message);
            None
        }
        None => {
            material.made.push("key that encrypts stored credentials: there was none".to_owned());
            let key = paddock_pki::random_key()?;
            Some([(names::KEK_KEY.to_owned(), bytes(key.expose()))].into())
        }
    };
    Ok(())
}
