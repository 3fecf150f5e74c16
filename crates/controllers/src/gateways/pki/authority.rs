//! The authority's Secret: the authority that signs, and while it replaces another one that one, too. No I/O.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use paddock_pki::{CertificateAuthority, CertificateInfo, PkiError, inspect_bundle, spread};

use super::rotation::{Rotation, Stage};
use super::{Data, bytes, data, ours, text};

/// An authority lives ten years.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// The most certificates that a bundle of somebody else may have.
pub(super) const MAX_BUNDLE: usize = 8;

const PREVIOUS: &str = "previous.crt";
const PREVIOUS_KEY: &str = "previous.key";
const ROTATION: &str = "rotation";

/// What is held.
pub(super) struct Held {
    pub(super) active: CertificateAuthority,
    /// The one that is being replaced. Exactly while the stage is not `Steady`.
    pub(super) previous: Option<Previous>,
    pub(super) rotation: Rotation,
    data: Data,
    /// Whether the Secret is ours to write.
    pub(super) writable: bool,
}

/// An authority on its way out.
pub(super) struct Previous {
    pub(super) certificates: Vec<CertificateInfo>,
    /// It can still issue; not so when somebody else threw its key away.
    pub(super) key: Option<CertificateAuthority>,
}

impl Previous {
    /// The bundle that somebody else left, whose key nobody has.
    pub(super) fn without_key(certificates: Vec<CertificateInfo>) -> Self {
        Self { certificates, key: None }
    }

    fn pem(&self) -> String {
        self.certificates.iter().map(CertificateInfo::to_pem).collect()
    }

    pub(super) fn ends(&self) -> Timestamp {
        self.certificates.iter().map(|certificate| certificate.not_after).min().unwrap_or(Timestamp::MIN)
    }
}

impl Held {
    /// The first authority of a gateway.
    pub(super) fn new(name: &str, now: Timestamp) -> Result<Self, PkiError> {
        let active = CertificateAuthority::generate(name, now, LIFE)?;
        let data = pair(&active)?;
        Ok(Self { active, previous: None, rotation: Rotation::default(), data, writable: true })
    }

    /// Reads what is stored. A damaged record of a replacement counts as its beginning: the stages that follow are gone
    /// through again, and none of them takes trust away too early.
    pub(super) fn read(secret: &Secret) -> Result<Self, PkiError> {
        let active = CertificateAuthority::from_pem(&text(secret, "tls.crt"), &text(secret, "tls.key"))?;
        let previous = inspect_bundle(&text(secret, PREVIOUS), MAX_BUNDLE).ok().map(|certificates| {
            let first = certificates.first().map(CertificateInfo::to_pem).unwrap_or_default();
            Previous { key: CertificateAuthority::from_pem(&first, &text(secret, PREVIOUS_KEY)).ok(), certificates }
        });
        let mut rotation: Rotation = serde_json::from_str(&text(secret, ROTATION)).unwrap_or_default();
        match (&previous, rotation.stage) {
            (None, _) => rotation.stage = Stage::Steady,
            (Some(_), Stage::Steady) => rotation.stage = Stage::Publishing,
            (Some(_), _) => {}
        }
        Ok(Self { active, previous, rotation, data: data(secret), writable: ours(secret) })
    }

    /// When a successor is due: after two thirds of the life, up to a twentieth of it earlier.
    pub(super) fn due(&self, seed: &str) -> Timestamp {
        let info = self.active.info();
        let life = info.not_after.duration_since(info.not_before);
        info.renew_at().checked_sub(spread(seed, life / 20)).unwrap_or_else(|_| info.renew_at())
    }

    /// A successor of the name `name` takes over, with the overlap at its beginning, or without one when nobody can believe
    /// the old authority any more.
    pub(super) fn succeed(&mut self, name: &str, now: Timestamp, request: &str) -> Result<(), PkiError> {
        let ended = now >= self.active.info().not_after;
        let successor = CertificateAuthority::generate(name, now, LIFE)?;
        let mut data = pair(&successor)?;
        if let Some(key) = self.data.remove("tls.key") {
            data.insert(PREVIOUS_KEY.to_owned(), key);
        }
        self.data = data;
        let active = std::mem::replace(&mut self.active, successor);
        self.previous = Some(Previous { certificates: vec![active.info().clone()], key: Some(active) });
        request.clone_into(&mut self.rotation.handled);
        self.enter(if ended { Stage::Switching } else { Stage::Publishing });
        Ok(())
    }

    /// This new authority replaces one that somebody else left.
    pub(super) fn replacing(mut self, previous: Previous, request: &str) -> Self {
        self.previous = Some(previous);
        request.clone_into(&mut self.rotation.handled);
        self.enter(Stage::Publishing);
        self
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.rotation.stage = stage;
        match stage {
            Stage::Steady => self.previous = None,
            // From here on the old one issues nothing; a key that is not needed is not kept.
            Stage::Switching | Stage::Retiring { .. } => {
                if let Some(previous) = &mut self.previous {
                    previous.key = None;
                }
            }
            Stage::Publishing | Stage::Overlapping { .. } => {}
        }
    }

    /// Whom clients and the gateway shall believe, as `ca.crt` has it.
    pub(super) fn bundle(&self) -> String {
        let previous = self.previous.as_ref().map(Previous::pem).unwrap_or_default();
        if previous.is_empty() {
            self.active.certificate_pem().to_owned()
        } else {
            format!("{}{previous}", self.active.info().to_pem())
        }
    }

    /// The Secret's content.
    pub(super) fn into_data(self) -> Data {
        let mut data = self.data;
        match &self.previous {
            Some(previous) => {
                data.insert(PREVIOUS.to_owned(), bytes(&previous.pem()));
                if previous.key.is_none() {
                    data.remove(PREVIOUS_KEY);
                }
            }
            None => {
                data.remove(PREVIOUS);
                data.remove(PREVIOUS_KEY);
            }
        }
        if self.rotation == Rotation::default() {
            data.remove(ROTATION);
        } else {
            let record = serde_json::to_string(&self.rotation).unwrap_or_default();
            data.insert(ROTATION.to_owned(), bytes(&record));
        }
        data
    }
}

fn pair(authority: &CertificateAuthority) -> Result<Data, PkiError> {
    Ok([
        ("tls.crt".to_owned(), bytes(authority.certificate_pem())),
        ("tls.key".to_owned(), bytes(authority.key_pem()?.expose())),
    ]
    .into())
}
