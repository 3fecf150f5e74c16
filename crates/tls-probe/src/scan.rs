//! Everything that a server accepts: versions, suites, groups, whose order counts, which application protocols, which keys.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;
use tokio::time::timeout;

use crate::catalogue::{self, Exchange};
use crate::handshake;
use crate::sweep::Sweep;
use crate::{Answer, Certificate, Dialer, Observed, Offer, Order, Protocol, Spoken, Trouble};

/// Finds out what a server accepts. It takes one handshake for each thing that is accepted, and some twenty for what is not.
///
/// # Errors
/// When that cannot be determined: the server cannot be reached, does not answer in time, or speaks no TLS at all.
pub async fn scan(dialer: &Dialer) -> Result<Observed, Trouble> {
    let whole = dialer.limits().whole;
    let scan = Scan { dialer, handshakes: AtomicUsize::new(0) };
    timeout(whole, scan.run()).await.map_err(|_| Trouble::Slow(dialer.address(), whole))?
}

/// Most certificates that are looked at for one version: servers have one for each kind of key.
const MAX_CERTIFICATES: usize = 4;

struct Scan<'a> {
    dialer: &'a Dialer,
    handshakes: AtomicUsize,
}

/// One version, and the certificates that were seen on the way.
struct Found {
    spoken: Spoken,
    certificates: Vec<Vec<u8>>,
}

impl Scan<'_> {
    async fn run(&self) -> Result<Observed, Trouble> {
        let old = try_join_all(
            Protocol::ALL
                .into_iter()
                .filter(|protocol| *protocol != Protocol::TLS13)
                .map(|protocol| self.older(protocol)),
        );
        let (old, new) = futures::future::try_join(old, self.tls13()).await?;
        let mut observed = Observed::default();
        let mut shown: Vec<Vec<u8>> = Vec::new();
        for version in old.into_iter().flatten() {
            observed.spoken.push(version.spoken);
            shown.extend(version.certificates);
        }
        observed.spoken.extend(new);
        shown.sort_unstable();
        shown.dedup();
        observed.certificates = shown.iter().filter_map(|der| Certificate::read(der)).collect();
        if observed.spoken.is_empty() {
            return Err(Trouble::Nothing(self.dialer.address()));
        }
        if let Some(newest) = observed.newest_before_tls13().cloned() {
            let groups = self.older_groups(&newest, &observed.certificates).await?;
            if let Some(spoken) = observed.spoken.iter_mut().find(|spoken| spoken.protocol == newest.protocol) {
                spoken.groups = groups;
            }
            observed.alpn = Some(self.alpn(&newest).await?);
        }
        for spoken in &mut observed.spoken {
            spoken.order = self.order(spoken).await?;
        }
        if let Some(spoken) = observed.spoken.last() {
            let offer = Offer { grease: true, ..everything(spoken) };
            observed.tolerant = !matches!(self.ask(&offer).await?, Answer::Refused { .. });
        }
        if observed.certificates.is_empty() {
            observed.certificates = handshake::certificates(self.dialer).await;
            self.handshakes.fetch_add(handshake::HANDSHAKES, Ordering::Relaxed);
        }
        observed.handshakes = self.handshakes.load(Ordering::Relaxed);
        Ok(observed)
    }

    async fn ask(&self, offer: &Offer) -> Result<Answer, Trouble> {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        self.dialer.ask(offer).await
    }

    /// Makes a sweep's offers one after the other; hands every answer to `note`.
    async fn sweep(&self, mut sweep: Sweep, mut note: impl FnMut(&Answer)) -> Result<Vec<u16>, Trouble> {
        while let Some(offer) = sweep.offer() {
            let answer = self.ask(&offer).await?;
            note(&answer);
            sweep.learn(&answer).map_err(|nonsense| self.dialer.nonsense(nonsense))?;
        }
        Ok(sweep.found())
    }

    async fn older(&self, protocol: Protocol) -> Result<Option<Found>, Trouble> {
        let all: Vec<u16> = catalogue::older_suites().collect();
        let template = Offer::new(protocol, Vec::new(), catalogue::groups().collect());
        let mut certificates: Vec<Vec<u8>> = Vec::new();
        let note = |answer: &Answer| {
            if let Answer::Accepted(accepted) = answer
                && let Some(der) = &accepted.certificate
                && certificates.len() < MAX_CERTIFICATES
                && !certificates.contains(der)
            {
                certificates.push(der.clone());
            }
        };
        let suites = self.sweep(Sweep::suites(template, &all), note).await?;
        if suites.is_empty() {
            return Ok(None);
        }
        let spoken = Spoken { protocol, suites, groups: Vec::new(), order: None };
        Ok(Some(Found { spoken, certificates }))
    }

    /// The groups of TLS 1.2 or older: those of key exchanges on a named curve.
    async fn older_groups(&self, spoken: &Spoken, certificates: &[Certificate]) -> Result<Vec<u16>, Trouble> {
        let on_curves = |suite: &u16| catalogue::exchange(*suite) == Some(Exchange::NamedCurve);
        let suites: Vec<u16> = spoken.suites.iter().copied().filter(on_curves).collect();
        if suites.is_empty() || spoken.protocol == Protocol::Ssl30 {
            return Ok(Vec::new());
        }
        let template = Offer::new(spoken.protocol, suites, Vec::new());
        let all: Vec<u16> = catalogue::groups().collect();
        let mut found = self.sweep(Sweep::groups(template.clone(), all.clone(), None), |_| {}).await?;
        // A server with an ECDSA key may refuse who does not know the key's curve (RFC 8422, section 5.1.1), and so may have
        // hidden the groups that come after it.
        for curve in certificates.iter().filter_map(|certificate| certificate.curve) {
            let left = all.iter().copied().filter(|group| !found.contains(group) && *group != curve).collect();
            found.extend(self.sweep(Sweep::groups(template.clone(), left, Some(curve)), |_| {}).await?);
        }
        Ok(found)
    }

    async fn tls13(&self) -> Result<Option<Spoken>, Trouble> {
        let suites: Vec<u16> = catalogue::tls13_suites().collect();
        // Without key shares the server says which group it would have.
        let template = Offer::new(Protocol::TLS13, suites.clone(), Vec::new());
        let wanted = self.sweep(Sweep::groups(template.clone(), catalogue::groups().collect(), None), |_| {}).await?;
        // That it names a group does not prove that it can use it.
        let proofs = wanted.iter().map(|group| self.takes(*group, &template));
        let proofs = try_join_all(proofs).await?;
        let groups: Vec<u16> =
            wanted.into_iter().zip(proofs).filter_map(|(group, works)| works.then_some(group)).collect();
        let template = Offer {
            groups: groups.clone(),
            share: groups.iter().copied().find(|group| Offer::can_share(*group)),
            ..template
        };
        let suites =
            if groups.is_empty() { Vec::new() } else { self.sweep(Sweep::suites(template, &suites), |_| {}).await? };
        Ok((!suites.is_empty()).then_some(Spoken { protocol: Protocol::TLS13, suites, groups, order: None }))
    }

    /// Whether the server goes on with a key share of the group; for groups without one its word has to do.
    async fn takes(&self, group: u16, template: &Offer) -> Result<bool, Trouble> {
        if !Offer::can_share(group) {
            return Ok(true);
        }
        let offer = Offer { groups: vec![group], share: Some(group), ..template.clone() };
        Ok(matches!(self.ask(&offer).await?, Answer::Accepted(accepted) if accepted.group == Some(group)))
    }

    /// Offers the same suites in two orders: a server with an order of its own chooses the same twice.
    async fn order(&self, spoken: &Spoken) -> Result<Option<Order>, Trouble> {
        if spoken.suites.len() < 2 {
            return Ok(None);
        }
        let ahead = everything(spoken);
        let back = Offer { suites: ahead.suites.iter().rev().copied().collect(), ..ahead.clone() };
        let chosen = (self.ask(&ahead).await?, self.ask(&back).await?);
        Ok(match (suite(&chosen.0), suite(&chosen.1)) {
            (Some(one), Some(other)) if one == other => Some(Order::Server),
            (Some(_), Some(_)) => Some(Order::Client),
            _ => None,
        })
    }

    async fn alpn(&self, spoken: &Spoken) -> Result<Vec<String>, Trouble> {
        let mut taken = Vec::new();
        for name in ["h2", "http/1.1"] {
            let offer = Offer { alpn: vec![name.to_owned()], ..everything(spoken) };
            if let Answer::Accepted(accepted) = self.ask(&offer).await?
                && accepted.alpn.as_deref() == Some(name.as_bytes())
            {
                taken.push(name.to_owned());
            }
        }
        Ok(taken)
    }
}

/// An offer of what a server accepts, with any group.
fn everything(spoken: &Spoken) -> Offer {
    Offer::new(spoken.protocol, spoken.suites.clone(), catalogue::groups().collect())
}

fn suite(answer: &Answer) -> Option<u16> {
    match answer {
        Answer::Accepted(accepted) => Some(accepted.suite),
        Answer::Retry { suite, .. } => Some(*suite),
        Answer::Refused { .. } => None,
    }
}
