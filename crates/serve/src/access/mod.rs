//! Who may read what is not for everyone: metrics and `/tlsz`. By a bearer token that the API server reviews, or by a client
//! certificate and a list, as the start-up contract says. What the platform is and which TLS profile is served do not matter here.
//!
//! Fails closed: a client is let in by a positive answer and by nothing else. Answers are kept for a while, questions that are
//! asked at the same time are asked once, and both are bounded.

mod cache;
mod review;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, WeakShared};
use http::{HeaderMap, Method, header};
use paddock_tls_profile::{Contract, MetricsAuth, hex_sha256};
use tokio::time::{Instant, sleep, timeout};

use crate::serve::Peer;
use cache::Cache;
pub use review::{KubeReviewer, Reviewer, Unreviewed, User, rules};

/// Answers of each kind that are kept.
const KEPT: usize = 1024;
/// Reviews that run at once; more are not begun.
const RUNNING: usize = 64;
/// How long one question may take, with all its attempts.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failed attempt, before the next; then half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often a question is asked.
const ATTEMPTS: u32 = 5;
/// How long it is remembered whose a token is.
const TOKEN_GOOD: Duration = Duration::from_secs(60);
/// How long it is remembered that a token is not good.
const TOKEN_BAD: Duration = Duration::from_secs(10);
/// How long a permission holds.
const ALLOWED: Duration = Duration::from_secs(300);
/// How long a denial holds.
const DENIED: Duration = Duration::from_secs(30);
/// Longest token that is reviewed, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Allowed,
    /// 401: nobody is named, or the credentials are not good.
    Unauthorized(&'static str),
    /// 403: this user may not.
    Forbidden(String),
    /// 503: nobody can tell now.
    Unavailable(String),
}

/// Decides who is let in.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    contract: Box<dyn Fn() -> Contract + Send + Sync>,
    reviewer: Option<Arc<dyn Reviewer>>,
    tokens: Desk<String, Option<User>>,
    access: Desk<(User, String, String), bool>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that goes by the contract of the moment. Without a reviewer tokens cannot be checked, and are answered with 503.
    pub fn new(contract: impl Fn() -> Contract + Send + Sync + 'static, reviewer: Option<Arc<dyn Reviewer>>) -> Self {
        let (tokens, access) = (Desk::new(), Desk::new());
        Self(Arc::new(Inner { contract: Box::new(contract), reviewer, tokens, access }))
    }

    /// Judges a request.
    pub async fn judge(&self, peer: Option<&Peer>, headers: &HeaderMap, method: &Method, path: &str) -> Verdict {
        let contract = (self.0.contract)();
        let mode = contract.metrics_auth;
        if mode == MetricsAuth::Off {
            return Verdict::Allowed;
        }
        let mut shown = None;
        if mode.certificates()
            && let Some(user) = peer.and_then(common_name)
        {
            let may =
                contract.clients.iter().any(|client| client.user == user && client.paths.iter().any(|p| p == path));
            if may && matches!(*method, Method::GET | Method::HEAD) {
                return Verdict::Allowed;
            }
            shown = Some(user);
        }
        if !mode.tokens() {
            return match shown {
                Some(user) => Verdict::Forbidden(format!("the contract does not let {user:?} read {path}")),
                None => Verdict::Unauthorized("a client certificate is needed"),
            };
        }
        match bearer(headers) {
            Some(token) if token.len() <= MAX_TOKEN => self.by_token(token, method, path).await,
            Some(_) => Verdict::Unauthorized("the token is too long"),
            None => match shown {
                Some(user) => Verdict::Forbidden(format!("the contract does not let {user:?} read {path}")),
                None => Verdict::Unauthorized("a bearer token is needed"),
            },
        }
    }

    async fn by_token(&self, token: &str, method: &Method, path: &str) -> Verdict {
        let Some(reviewer) = self.0.reviewer.clone() else {
            return Verdict::Unavailable("there is no API server to review tokens".to_owned());
        };
        // The token itself is not kept, only its hash.
        let key = hex_sha256(token.as_bytes());
        let (asked, token) = (reviewer.clone(), token.to_owned());
        let ask = move || asked.token(token.clone());
        let good_for = |user: &Option<User>| if user.is_some() { TOKEN_GOOD } else { TOKEN_BAD };
        let user = match self.0.tokens.ask(key, ask, good_for).await {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::Unauthorized("the token is not good"),
            Err(why) => return Verdict::Unavailable(why.to_string()),
        };
        let verb = method.as_str().to_ascii_lowercase();
        let name = user.name.clone();
        let question = (user, path.to_owned(), verb);
        let about = question.clone();
        let ask = move || reviewer.access(about.0.clone(), about.1.clone(), about.2.clone());
        let good_for = |allowed: &bool| if *allowed { ALLOWED } else { DENIED };
        match self.0.access.ask(question, ask, good_for).await {
            Ok(true) => Verdict::Allowed,
            Ok(false) => Verdict::Forbidden(format!("{name:?} may not {} {path}", method.as_str())),
            Err(why) => Verdict::Unavailable(why.to_string()),
        }
    }
}

/// Reads `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The common name of a client certificate that is to be believed.
fn common_name(peer: &Peer) -> Option<String> {
    let leaf = peer.certificates.first()?;
    paddock_pki::inspect_der(leaf).ok().map(|info| info.common_name).filter(|name| !name.is_empty())
}

type Answer<V> = Result<V, Unreviewed>;

/// Where one kind of question is asked.
struct Desk<K, V>(Arc<Mutex<Books<K, V>>>);

struct Books<K, V> {
    answers: Cache<K, V>,
    running: HashMap<K, WeakShared<BoxFuture<'static, Answer<V>>>>,
}

impl<K, V> Desk<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Books { answers: Cache::new(KEPT), running: HashMap::new() })))
    }

    /// The answer: one that is kept, one that somebody waits for already, or a new one.
    async fn ask(
        &self,
        key: K,
        ask: impl Fn() -> BoxFuture<'static, Answer<V>> + Send + Sync + 'static,
        good_for: impl Fn(&V) -> Duration + Send + 'static,
    ) -> Answer<V> {
        let shared = {
            let mut books = lock(&self.0);
            if let Some(answer) = books.answers.get(&key, Instant::now()) {
                return Ok(answer);
            }
            match books.running.get(&key).and_then(WeakShared::upgrade) {
                Some(running) => running,
                None => {
                    // Questions that nobody waits for any more are forgotten.
                    books.running.retain(|_, running| running.upgrade().is_some());
                    if books.running.len() >= RUNNING {
                        return Err(Unreviewed::Away("too many reviews are running".to_owned()));
                    }
                    let (desk, question) = (self.0.clone(), key.clone());
                    let fresh = async move {
                        let answer = persistently(ask).await;
                        let mut books = lock(&desk);
                        if let Ok(value) = &answer {
                            books.answers.put(question.clone(), value.clone(), Instant::now() + good_for(value));
                        }
                        books.running.remove(&question);
                        answer
                    };
                    let fresh = fresh.boxed().shared();
                    if let Some(weak) = fresh.downgrade() {
                        books.running.insert(key, weak);
                    }
                    fresh
                }
            }
        };
        shared.await
    }
}

fn lock<T>(books: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under this lock is left half done.
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks a few times, within bounds. Whoever is refused is not asked again.
async fn persistently<V>(ask: impl Fn() -> BoxFuture<'static, Answer<V>>) -> Answer<V> {
    let attempts = async {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match ask().await {
                Err(why @ Unreviewed::Away(_)) => tracing::debug!(%why, "asking again"),
                answered => return answered,
            }
            sleep(pause).await;
            pause = pause.mul_f32(1.5);
        }
        ask().await
    };
    let late = || Unreviewed::Away(format!("no answer within {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, attempts).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests;
