//! The controller that looks: handshakes with the pods of every follower, and what came of them. Reads the API server, talks to pods,
//! writes nothing but events.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use paddock_reconcile::{Context, Controller, Dependency, Error, Event, Plan, Source};
use paddock_tls_probe::{Dialer, Expectation, Limits, certificates, verify};
use paddock_tls_profile::KeyKind;
use tokio::time::timeout;

use super::components::{Told, told};
use super::decider::Options;
use super::follower::{Follower, Workload};
use super::handover;
use super::memory::Memory;
use super::reads;
use super::verification::{Asked, Due, HANDED_OVER_AFTER, Seen, due};

/// Pods that are asked side by side.
const SIDE_BY_SIDE: usize = 8;
/// How hard a pod is asked.
const LIMITS: Limits = Limits { handshake: Duration::from_secs(2), whole: Duration::from_secs(20), connections: 1 };

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Verifier {
    namespace: String,
    memory: Memory,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// When to look again.
    next: Option<Timestamp>,
    /// A pod that does not serve what it should though it had the time, in words.
    wrong: Option<String>,
    follows: bool,
}

impl Verifier {
    pub(crate) fn new(options: &Options, memory: Memory) -> Self {
        Self { namespace: options.namespace.clone(), memory }
    }
}

impl Controller for Verifier {
    type Key = Workload;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "tls-profile-verification"
    }

    fn sources(&self) -> Vec<Source<Workload>> {
        let mut sources = reads::workloads(|_| {});
        sources.push(reads::marked_pods());
        sources
    }

    async fn snapshot(&self, cx: &Context, key: &Workload) -> Result<Snapshot, Error> {
        let Some(object) = cx.get(&key.target()).await? else { return Ok(Snapshot::default()) };
        let Some(Ok(mut follower)) = Follower::read(key, &object) else { return Ok(Snapshot::default()) };
        let follows = Snapshot { follows: true, ..Snapshot::default() };
        let Some(published) = reads::published(cx, &self.namespace, &self.memory).await? else { return Ok(follows) };
        let Told { published, .. } = told(published, key, &object, &mut follower);
        let Some(hash) = handover::wanted_hash(key, &follower, &published) else { return Ok(follows) };
        let options = published.contract.decision.options(None);
        let expectation = Expectation::new(&published.profile, &follower.backend, &options);
        if expectation.resolution.effective.is_none() {
            return Ok(follows);
        }
        let pods = reads::pods(cx, key, &object).await?;
        let since = self.memory.since(key);
        let (asks, _) = due(&follower, &pods, &self.memory.answers(key), &hash, since, cx.clock().now());
        let ask = |due: Due| {
            let expectation = &expectation;
            async move { (ask_in_time(&due, expectation).await, due) }
        };
        let answered: Vec<((Seen, Vec<KeyKind>), Due)> =
            stream::iter(asks).map(ask).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let now = cx.clock().now();
        let mut wrong = None;
        let answers = answered.into_iter().map(|((seen, keys), due)| {
            if let (Seen::Differs(why), None) = (&seen, &wrong) {
                wrong = Some(format!("{} does not serve its TLS profile: {why}", due.name));
            }
            (due.uid, Asked { hash: hash.clone(), at: now, seen, keys })
        });
        let answers: Vec<(String, Asked)> = answers.collect();
        if self.memory.answered(key, answers, &pods) {
            cx.wake(&Dependency::Named(handover::behind(&key.namespace)));
        }
        let (_, next) = due(&follower, &pods, &self.memory.answers(key), &hash, since, now);
        let had_time = since.is_none_or(|since| now.duration_since(since) >= HANDED_OVER_AFTER);
        Ok(Snapshot { next, wrong: wrong.filter(|_| had_time), follows: true })
    }

    fn plan(&self, key: &Workload, snapshot: &Snapshot, _now: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        if !snapshot.follows {
            return Ok(plan);
        }
        if let Some(wrong) = &snapshot.wrong {
            plan.event(Event::warning(key.target(), "TLSProfileNotServed", wrong.clone()));
        }
        if let Some(next) = snapshot.next {
            plan.look_again_at(next);
        }
        plan.listen = Some(Dependency::Named(handover::behind(&key.namespace)));
        Ok(plan)
    }
}

/// As [`ask`], as long as it takes no longer than it may: a pod that answers late, again and again, keeps others waiting.
async fn ask_in_time(due: &Due, expectation: &Expectation) -> (Seen, Vec<KeyKind>) {
    let slow = |_| (Seen::Unreachable(format!("it was not through within {} s", LIMITS.whole.as_secs())), Vec::new());
    timeout(LIMITS.whole, ask(&due.addresses, expectation)).await.unwrap_or_else(slow)
}

/// Asks every address of a pod, and looks at the keys behind them.
async fn ask(addresses: &[SocketAddr], expectation: &Expectation) -> (Seen, Vec<KeyKind>) {
    let dialers: Vec<Dialer> = addresses.iter().map(|address| Dialer::new(*address, None, LIMITS)).collect();
    let seen = look(&dialers, expectation).await;
    let mut keys = Vec::new();
    if !matches!(seen, Seen::Unreachable(_)) {
        for dialer in &dialers {
            let mut kinds: Vec<KeyKind> = certificates(dialer).await.iter().filter_map(|one| one.kind).collect();
            kinds.dedup();
            if let [only] = kinds[..]
                && !keys.contains(&only)
            {
                keys.push(only);
            }
        }
    }
    (seen, keys)
}

/// The worst answer counts.
async fn look(dialers: &[Dialer], expectation: &Expectation) -> Seen {
    let mut all = Vec::new();
    for dialer in dialers {
        let port = dialer.address().port();
        match verify(dialer, expectation).await {
            Ok(verified) if verified.holds() => all.push(format!("port {port}: {}", verified.summary())),
            Ok(verified) => return Seen::Differs(format!("port {port}: {}", verified.summary())),
            Err(trouble) => return Seen::Unreachable(trouble.to_string()),
        }
    }
    Seen::Holds(all.join("; "))
}
