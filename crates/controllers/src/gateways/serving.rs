//! What a look at a gateway means: for the conditions, and for who looks at what. Pure.

use paddock_pki::sha256_hex;
use paddock_reconcile::Clock;
use serde_json::Value;

use super::condition::PROGRESSING;
use super::key::GatewayKey;
use super::names;
use super::pki;
use super::probe::{CallError, Caller, Endpoint, Health, Seen, Target};

/// What a condition says: whether it holds, the reason and the sentence.
pub(super) type Said = (bool, &'static str, String);

/// The reason of what shall come by itself.
pub(super) const WAITING: &str = "Waiting";

/// What was seen of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    /// Nobody looks: the operator switched it off.
    Off,
    /// The gateway does not run, so there is nothing to be seen.
    NotRunning,
    /// The first look has not ended.
    NotYet,
    /// The client's Secret cannot be used to look.
    Unable(String),
    /// What the last look came to.
    Last {
        seen: Seen,
        /// SHA-256 of the leaf that shall be served.
        wanted: String,
    },
}

impl View {
    /// Whether the gateway serves the leaf that is stored; `None` when that cannot be seen.
    pub(super) fn served(&self) -> Option<bool> {
        match self {
            Self::Last { seen: Seen::Answered { fingerprint, .. }, wanted } => Some(fingerprint == wanted),
            Self::Last { seen: Seen::WrongCertificate(_), .. } => Some(false),
            _ => None,
        }
    }

    /// What the gateway itself says against the revision that runs, over a connection that proved to be its own. That it
    /// cannot be reached, or that somebody on the way hangs up, may be another's fault.
    pub(super) fn objection(&self) -> Option<String> {
        let Self::Last { seen: Seen::Answered { .. }, .. } = self else { return None };
        self.serving().filter(|(serves, ..)| !serves).map(|(.., why)| why)
    }

    /// The condition `Serving`; `None` when nobody looks.
    pub(super) fn serving(&self) -> Option<Said> {
        let no = |reason, message: &str| Some((false, reason, message.to_owned()));
        let seen = match self {
            Self::Off => return None,
            Self::NotRunning => return no(WAITING, "the gateway does not run, so nothing could be asked of it"),
            Self::NotYet => return no(PROGRESSING, "the gateway is being asked"),
            Self::Unable(why) => return no("ClientCertificateUnusable", why),
            Self::Last { seen, .. } => seen,
        };
        match seen {
            Seen::Unreachable(why) => no("Unreachable", &format!("no connection to the gateway: {why}")),
            Seen::Deadline => no("DeadlineExceeded", "the gateway did not answer in time"),
            Seen::Refused(why) => no("TlsRefused", &format!("the gateway ended the TLS handshake: {why}")),
            Seen::WrongCertificate(why) => {
                no("WrongCertificate", &format!("sandboxes would not believe the gateway's certificate: {why}"))
            }
            Seen::Answered { health, .. } => match health {
                Ok(Health::Healthy) => Some((true, "Healthy", String::new())),
                Ok(Health::Degraded) => no("Degraded", "the gateway says that it works in part"),
                Ok(Health::Unhealthy) => no("Unhealthy", "the gateway says that it does not work"),
                Ok(Health::Unspecified) => no("Unhealthy", "the gateway says nothing that this version understands"),
                Err(CallError::Broken(why)) => no("ConnectionBroken", &format!("the connection broke: {why}")),
                Err(error) => no("HealthCheckFailed", &error.to_string()),
            },
        }
    }

    /// What the look takes from `PkiReady`, whose Secrets are in order.
    pub(super) fn certificate(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Last { seen: Seen::Answered { fingerprint, .. }, wanted } if fingerprint != wanted => {
                let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
                let message = format!(
                    "the gateway serves certificate {} and not yet {}: a node takes a minute or two to hand a Secret on",
                    short(fingerprint),
                    short(wanted)
                );
                Some((WAITING, message))
            }
            Self::Last { seen: Seen::WrongCertificate(why), .. } => Some(("WrongCertificate", why.clone())),
            _ => None,
        }
    }
}

/// Whom to look at, and as whom: with the client's certificate and authorities, as a sandbox would that starts now.
///
/// # Errors
/// Why the Secrets cannot be used for it, in a sentence.
pub(super) fn target(
    key: &GatewayKey,
    existing: &pki::Existing,
    service: Option<&Value>,
    clock: &Clock,
) -> Result<Target, String> {
    let (fingerprint, texts) = pki::presented(existing)?;
    let [ca, certificate, private] = &texts;
    let caller = Caller::new(ca.expose(), certificate.expose(), private.expose(), clock.clone());
    let address = service.and_then(|service| service["spec"]["clusterIP"].as_str()).and_then(|text| text.parse().ok());
    let identity = [ca.expose(), certificate.expose()].join("\0");
    Ok(Target {
        endpoint: Endpoint {
            namespace: key.namespace().to_owned(),
            service: key.gateway().to_owned(),
            cluster_ip: address,
            port: names::GRPC_PORT,
        },
        name: key.host(),
        fingerprint,
        identity: sha256_hex(identity.as_bytes()),
        caller: caller.map_err(|error| error.to_string())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(seen: Seen) -> View {
        View::Last { seen, wanted: "wanted".to_owned() }
    }

    fn answered(fingerprint: &str, health: Result<Health, CallError>) -> View {
        last(Seen::Answered { fingerprint: fingerprint.to_owned(), health })
    }

    #[test]
    fn gw_w13_outcomes_are_told_apart() {
        let why = || "why".to_owned();
        let status = CallError::Status { code: 12, message: "unknown".to_owned() };
        let outcomes = [
            (View::NotRunning, "Waiting"),
            (View::NotYet, "Progressing"),
            (View::Unable(why()), "ClientCertificateUnusable"),
            (last(Seen::Unreachable(why())), "Unreachable"),
            (last(Seen::Deadline), "DeadlineExceeded"),
            (last(Seen::Refused(why())), "TlsRefused"),
            (last(Seen::WrongCertificate(why())), "WrongCertificate"),
            (answered("wanted", Err(CallError::Broken(why()))), "ConnectionBroken"),
            (answered("wanted", Err(status)), "HealthCheckFailed"),
            (answered("wanted", Err(CallError::NotGrpc(404))), "HealthCheckFailed"),
            (answered("wanted", Ok(Health::Degraded)), "Degraded"),
            (answered("wanted", Ok(Health::Unhealthy)), "Unhealthy"),
            (answered("wanted", Ok(Health::Unspecified)), "Unhealthy"),
        ];
        for (view, reason) in outcomes {
            assert!(matches!(view.serving(), Some((false, found, _)) if found == reason), "{view:?}");
        }
        assert!(matches!(answered("wanted", Ok(Health::Healthy)).serving(), Some((true, "Healthy", _))));
        assert_eq!(View::Off.serving(), None);
    }

    #[test]
    fn gw_w08_only_what_the_gateway_itself_says_speaks_against_its_revision() {
        let quiet = [View::Off, View::NotRunning, View::NotYet, answered("wanted", Ok(Health::Healthy))];
        let unheard = [Seen::Deadline, Seen::Unreachable("no route".to_owned()), Seen::Refused("reset".to_owned())];
        for view in quiet.into_iter().chain(unheard.map(last)) {
            assert_eq!(view.objection(), None, "{view:?}");
        }
        assert!(answered("wanted", Ok(Health::Unhealthy)).objection().is_some());
    }

    #[test]
    fn gw_w05_another_certificate_than_the_stored_one_is_waited_for() {
        let view = answered("old", Ok(Health::Healthy));
        assert!(matches!(view.certificate(), Some((WAITING, _))));
        assert_eq!((view.served(), view.serving().map(|said| said.0)), (Some(false), Some(true)));
        assert_eq!(answered("wanted", Ok(Health::Healthy)).certificate(), None);
        assert_eq!(last(Seen::Deadline).served(), None);
    }
}
