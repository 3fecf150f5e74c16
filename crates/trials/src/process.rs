//! A controller process without tasks and without time: it lists what a watch would have told it, runs one pass after the
//! other and says what it wrote. The same test gives the same requests each time. May touch the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use paddock_reconcile::queue::Finish;
use paddock_reconcile::{
    Chance, Change, Clock, Context, Controller, Dependency, Error, Identity, Passed, Said, Source, run_pass,
};
use serde_json::Value;

use crate::World;
use crate::tap::Tap;

/// A controller to try: how a process makes one, who it is, and what two worlds may differ in.
pub struct Subject<C> {
    make: Box<dyn Fn() -> C + Send + Sync>,
    woken_by_others: bool,
    /// Who the process is.
    pub identity: Identity,
    /// The clock of the process; stands still unless the test moves it.
    pub clock: Clock,
    pub(crate) normalise: Box<dyn Fn(&mut Value) + Send + Sync>,
    pub(crate) adopts: Box<dyn Fn(&crate::Request) -> bool + Send + Sync>,
}

impl<C: Controller> Subject<C> {
    /// A controller that every process makes anew with `make`. Its clock stands at 2026-01-01T00:00:00Z.
    pub fn new(make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            make: Box::new(make),
            woken_by_others: false,
            identity: Identity::new("paddock", "paddock.dev", "trial"),
            clock: Clock::manual(start),
            normalise: Box::new(|_| {}),
            adopts: Box::new(|_| false),
        }
    }

    /// A controller whose news come by other controllers of its runtime, which are not there: when it settles, every key is
    /// looked at in every round.
    pub fn woken_by_others(make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self { woken_by_others: true, ..Self::new(make) }
    }

    /// Removes from an object what may differ between two runs: fresh keys and what is computed from them. Names, uids,
    /// versions and times are removed already; of Secrets only the names of the entries are compared.
    #[must_use]
    pub fn normalise(mut self, normalise: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.normalise = Box::new(normalise);
        self
    }

    /// Which writes may take over an object that somebody else made.
    #[must_use]
    pub fn adopts(mut self, adopts: impl Fn(&crate::Request) -> bool + Send + Sync + 'static) -> Self {
        self.adopts = Box::new(adopts);
        self
    }

    /// Starts a process in a world.
    pub fn start(&self, world: &impl World) -> Process<C> {
        let (client, tap) = Tap::around(world.client());
        let cx = Context::new(client, self.identity.clone()).with_clock(self.clock.clone());
        let cx = cx.with_chance(Chance::seeded(1));
        let calls = Arc::<Mutex<Vec<Dependency>>>::default();
        let heard = Arc::clone(&calls);
        cx.on_wake(Arc::new(move |on| heard.lock().unwrap_or_else(PoisonError::into_inner).push(on.clone())));
        let controller = (self.make)();
        let sources = controller.sources();
        Process {
            controller,
            cx,
            tap,
            sources,
            said: BTreeMap::new(),
            told: BTreeMap::new(),
            missing: BTreeSet::new(),
            woken: BTreeSet::new(),
            ended: BTreeMap::new(),
            calls,
            woken_by_others: self.woken_by_others,
        }
    }
}

/// A running process.
pub struct Process<C: Controller> {
    /// The controller, with the memory it has gathered.
    pub controller: C,
    /// Its context.
    pub cx: Context,
    /// Its requests.
    pub tap: Tap,
    sources: Vec<Source<C::Key>>,
    said: BTreeMap<C::Key, Said>,
    told: BTreeMap<(usize, String), Value>,
    /// The sources whose kind was not served when they were asked last.
    missing: BTreeSet<usize>,
    /// The keys that a change concerns and that were not looked at since.
    woken: BTreeSet<C::Key>,
    /// How each key ended last, and when it is due though nothing changes.
    ended: BTreeMap<C::Key, (Passed, Option<Duration>)>,
    /// What keys may wait for and what was called since.
    calls: Arc<Mutex<Vec<Dependency>>>,
    woken_by_others: bool,
}

/// More rounds than this are no convergence.
const ROUNDS: usize = 30;

impl<C: Controller> Process<C> {
    /// Tells the controller's sources what changed since the last time, as watches would. Returns the keys concerned by
    /// that; the first time, by everything that exists.
    ///
    /// # Errors
    /// When a source cannot be listed. A kind that is not served is empty.
    pub async fn observe(&mut self) -> Result<BTreeSet<C::Key>, Error> {
        let mut keys = BTreeSet::new();
        for (at, source) in self.sources.iter().enumerate() {
            let listed = match source.list(&self.cx).await {
                Ok(listed) => listed,
                Err(Error::Waiting { .. }) => {
                    self.missing.insert(at);
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            let kind = &source.selection().kind;
            if !listed.is_empty() && self.missing.remove(&at) {
                self.cx.wake(&Dependency::Kind(kind.clone()));
            }
            let text = |o: &Value, p| o.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut tell = |before: Option<&Value>, after: Option<&Value>| {
                let change = Change { before, after };
                keys.extend(source.keys_of(&change));
                let namespace = text(change.object(), "/metadata/namespace");
                let target = kind.named(Some(&namespace), text(change.object(), "/metadata/name"));
                self.cx.wake(&Dependency::Object(target));
            };
            let name = |o: &Value| format!("{}/{}", text(o, "/metadata/namespace"), text(o, "/metadata/name"));
            let now: BTreeMap<String, Value> = listed.into_iter().map(|o| (name(&o), o)).collect();
            let before: Vec<String> =
                self.told.keys().filter(|(of, _)| *of == at).map(|(_, name)| name.clone()).collect();
            for gone in before.iter().filter(|name| !now.contains_key(*name)) {
                let object = self.told.remove(&(at, gone.clone()));
                tell(object.as_ref(), None);
            }
            for (name, object) in now {
                let before = self.told.get(&(at, name.clone()));
                if before != Some(&object) {
                    tell(before, Some(&object));
                    self.told.insert((at, name), object);
                }
            }
        }
        self.woken.extend(keys.iter().cloned());
        Ok(keys)
    }

    /// One pass of one key.
    pub async fn pass(&mut self, key: &C::Key) -> Passed {
        self.woken.remove(key);
        let said = self.said.entry(key.clone()).or_default();
        let passed = run_pass(&self.controller, &self.cx, key, said).await;
        let now = self.cx.clock().monotonic();
        let resync = Some(now.saturating_add(self.controller.settings().resync));
        let due = match &passed.finish {
            Finish::Forgotten => {
                self.ended.remove(key);
                return passed;
            }
            // Between two rounds there is time enough.
            Finish::Transient { .. } => Some(now),
            Finish::Invalid { look_again } => *look_again,
            Finish::Settled { look_again } | Finish::Waiting { look_again, .. } => look_again.or(resync).min(resync),
        };
        self.ended.insert(key.clone(), (passed.clone(), due));
        passed
    }

    /// One pass of every key that was ever concerned, in order, as when all are looked at again. Stops when the process
    /// crashes.
    ///
    /// # Errors
    /// As [`Process::observe`].
    pub async fn round(&mut self) -> Result<BTreeMap<C::Key, Passed>, Error> {
        self.observe().await?;
        let every = self.ended.keys().chain(&self.woken).cloned().collect();
        Ok(self.passes(every).await)
    }

    /// One pass of each key that a change concerns, that waits for what was called, or whose time has come.
    async fn step(&mut self) -> Result<(), Error> {
        self.observe().await?;
        if self.woken_by_others {
            self.woken.extend(self.ended.keys().cloned());
        }
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        let now = self.cx.clock().monotonic();
        let is_next = |(passed, due): &(Passed, Option<Duration>)| {
            let waits = matches!(&passed.finish, Finish::Waiting { on, .. } if calls.contains(on));
            waits || due.is_some_and(|due| due <= now)
        };
        let next = self.ended.iter().filter(|(_, ended)| is_next(ended)).map(|(key, _)| key);
        let next = next.chain(&self.woken).cloned().collect();
        self.passes(next).await;
        Ok(())
    }

    async fn passes(&mut self, keys: BTreeSet<C::Key>) -> BTreeMap<C::Key, Passed> {
        let mut passed = BTreeMap::new();
        for key in keys {
            if self.tap.crashed() {
                break;
            }
            let end = self.pass(&key).await;
            passed.insert(key, end);
        }
        passed
    }

    /// Works until it writes nothing more, or the process crashes: looks only at what the sources, a call or the clock
    /// would make the engine look at, so that a change which wakes nobody changes nothing. Returns how each key stands then.
    ///
    /// # Panics
    /// When it does not come to rest, with what it kept writing.
    pub async fn settle(&mut self) -> BTreeMap<C::Key, Passed> {
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            let before = self.tap.writes().len();
            let step = self.step().await;
            last = self.tap.writes().split_off(before);
            match step {
                Ok(()) if last.is_empty() || self.tap.crashed() => {
                    return self.ended.iter().map(|(key, (passed, _))| (key.clone(), passed.clone())).collect();
                }
                Err(_) if self.tap.crashed() => return BTreeMap::new(),
                Ok(()) | Err(_) => {}
            }
        }
        panic!("no rest after {ROUNDS} rounds; the last one wrote {last:#?}")
    }
}
