//! Which gateways are looked at, how often, and who is woken when what is seen changes.
//!
//! Each gateway has one task, so a slow one keeps nobody waiting; how many look at once is bounded. A pass only reads what was
//! seen last: it never waits for the network, and between two equal outcomes there is no pass at all.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use paddock_pki::spread;
use paddock_reconcile::{Context, Dependency};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{Caller, Health, Seen};

/// A gateway that serves is looked at this often, less up to a tenth by its name.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);
/// One that does not, or not with the certificate that is wanted, first after this; the wait doubles up to [`INTERVAL`].
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// How many are looked at together.
const AT_ONCE: usize = 16;

/// Where a gateway is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its namespace.
    pub namespace: String,
    /// Its Service.
    pub service: String,
    /// The Service's address, when it has one.
    pub cluster_ip: Option<IpAddr>,
    /// The Service's port.
    pub port: u16,
}

/// From an endpoint to an address. The default takes the Service's own address, else its DNS name.
pub type Resolver = Arc<dyn Fn(Endpoint) -> BoxFuture<'static, std::io::Result<SocketAddr>> + Send + Sync>;

/// What is to be seen: equal targets are one and the same watch.
#[derive(Clone)]
pub struct Target {
    /// Where.
    pub endpoint: Endpoint,
    /// The name in the certificate: the one that sandboxes use.
    pub name: String,
    /// SHA-256 of the leaf that shall be served.
    pub fingerprint: String,
    /// Stands for the client's certificate and authorities: another one is another target.
    pub identity: String,
    /// Who calls.
    pub caller: Caller,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let of = |target: &Self| {
            let Self { endpoint, name, fingerprint, identity, caller: _ } = target;
            (endpoint.clone(), name.clone(), fingerprint.clone(), identity.clone())
        };
        of(self) == of(other)
    }
}

struct Watched {
    target: Target,
    seen: Option<Seen>,
    /// Which of several watches of one gateway this is: a late word of an earlier one does not count.
    turn: u64,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    watched: HashMap<String, Watched>,
    turns: u64,
}

/// The gateways that are looked at. Clones share everything; with the last one every look ends.
#[derive(Clone)]
pub struct Probes {
    state: Arc<Mutex<State>>,
    resolver: Resolver,
    places: Arc<Semaphore>,
    looks: watch::Sender<Looks>,
}

/// How many looks there were, which tests wait by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looks {
    /// Begun.
    pub begun: u64,
    /// Ended, or given up because nobody wants to know any more.
    pub ended: u64,
}

/// A look from its beginning to its end, however that comes.
struct Begun(watch::Sender<Looks>);

impl Begun {
    fn now(looks: &watch::Sender<Looks>) -> Self {
        looks.send_modify(|looks| looks.begun += 1);
        Self(looks.clone())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.send_modify(|looks| looks.ended += 1);
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::new(Arc::new(|endpoint| Box::pin(by_service(endpoint))))
    }
}

impl Probes {
    /// Nothing is looked at yet. A test, or a machine whose Services have no address that leads anywhere, brings its own
    /// resolver.
    pub fn new(resolver: Resolver) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { state: Arc::default(), resolver, places, looks: watch::Sender::default() }
    }

    /// How many looks there were so far.
    pub fn looks(&self) -> watch::Receiver<Looks> {
        self.looks.subscribe()
    }

    /// What wakes a key that listens to what is seen of `gateway`.
    pub(crate) fn dependency(gateway: &str) -> Dependency {
        Dependency::Named(format!("a look at gateway {gateway}"))
    }

    /// Looks at `gateway` from now on, and says what was seen last of this target; `None` before the first look ended.
    pub(crate) fn look_at(&self, cx: &Context, gateway: &str, target: Target) -> Option<Seen> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = state.watched.get(gateway)
            && watched.target == target
        {
            return watched.seen.clone();
        }
        state.turns += 1;
        let turn = state.turns;
        // The task holds the state weakly: it must not keep alive what ends it.
        let this = Look {
            state: Arc::downgrade(&self.state),
            resolver: Arc::clone(&self.resolver),
            places: Arc::clone(&self.places),
            looks: self.looks.clone(),
            cx: cx.clone(),
            gateway: gateway.to_owned(),
            turn,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(this.run(target.clone(), Begun::now(&self.looks))));
        state.watched.insert(gateway.to_owned(), Watched { target, seen: None, turn, _task: task });
        None
    }

    /// Looks at `gateway` no longer.
    pub(crate) fn forget(&self, gateway: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).watched.remove(gateway);
    }
}

struct Look {
    state: std::sync::Weak<Mutex<State>>,
    resolver: Resolver,
    places: Arc<Semaphore>,
    looks: watch::Sender<Looks>,
    cx: Context,
    gateway: String,
    turn: u64,
}

impl Look {
    async fn run(self, target: Target, first: Begun) {
        let (mut failures, mut begun) = (0_u32, Some(first));
        loop {
            let begun = begun.take().unwrap_or_else(|| Begun::now(&self.looks));
            let Ok(place) = self.places.acquire().await else { return };
            let seen = self.once(&target).await;
            drop(place);
            let good = matches!(
                &seen,
                Seen::Answered { fingerprint, health: Ok(Health::Healthy) } if *fingerprint == target.fingerprint
            );
            failures = if good { 0 } else { failures.saturating_add(1) };
            if self.tell(seen).is_none() {
                return;
            }
            drop(begun);
            self.cx.clock().sleep(wait(&self.gateway, failures)).await;
        }
    }

    async fn once(&self, target: &Target) -> Seen {
        let resolving = (self.resolver)(target.endpoint.clone());
        let address = tokio::select! {
            address = resolving => address,
            () = self.cx.clock().sleep(super::DEADLINE) => return Seen::Deadline,
        };
        match address {
            Ok(address) => target.caller.look(address, &target.name).await,
            Err(error) => Seen::Unreachable(error.to_string()),
        }
    }

    /// Writes down what was seen and wakes the gateway's key when it is news. `None` when nobody wants to know any more.
    fn tell(&self, seen: Seen) -> Option<()> {
        let state = self.state.upgrade()?;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = state.watched.get_mut(&self.gateway).filter(|watched| watched.turn == self.turn)?;
        let news = watched.seen.as_ref() != Some(&seen);
        watched.seen = Some(seen);
        drop(state);
        if news {
            self.cx.wake(&Probes::dependency(&self.gateway));
        }
        Some(())
    }
}

/// How long until the next look, after so many in a row that were not good.
fn wait(gateway: &str, failures: u32) -> Duration {
    let full = match failures.checked_sub(1) {
        None => INTERVAL,
        Some(before) => FIRST_RETRY.saturating_mul(2_u32.saturating_pow(before.min(16))).min(INTERVAL),
    };
    let most = jiff::SignedDuration::try_from(full / 10).unwrap_or_default();
    full.saturating_sub(Duration::try_from(spread(gateway, most)).unwrap_or_default())
}

async fn by_service(endpoint: Endpoint) -> std::io::Result<SocketAddr> {
    if let Some(address) = endpoint.cluster_ip {
        return Ok(SocketAddr::new(address, endpoint.port));
    }
    let host = format!("{}.{}.svc", endpoint.service, endpoint.namespace);
    let mut found = tokio::net::lookup_host((host.as_str(), endpoint.port)).await?;
    found.next().ok_or_else(|| std::io::Error::other(format!("{host} has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_interval_and_differ_by_gateway() {
        let gateway = |failures| wait("tenant-a/openshell-gateway", failures);
        assert!(gateway(1) <= FIRST_RETRY && gateway(1) > FIRST_RETRY * 8 / 10);
        assert!(gateway(3) > gateway(2) && gateway(u32::MAX) == gateway(0));
        assert!(gateway(0) <= INTERVAL && gateway(0) >= INTERVAL * 9 / 10);
        assert_ne!(wait("a", 0), wait("b", 0));
    }
}
