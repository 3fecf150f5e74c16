//! A controller process without tasks and without time: it lists what a watch would have told it, runs one pass after the
//! other and says what it wrote. The same test gives the same requests each time. May touch the API server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use paddock_reconcile::{Chance, Change, Clock, Context, Controller, Error, Identity, Passed, Said, run_pass};
use serde_json::Value;

use crate::World;
use crate::tap::Tap;

/// A controller to try: how a process makes one, who it is, and what two worlds may differ in.
pub struct Subject<C> {
    make: Box<dyn Fn() -> C + Send + Sync>,
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
            identity: Identity::new("paddock", "paddock.dev", "trial"),
            clock: Clock::manual(start),
            normalise: Box::new(|_| {}),
            adopts: Box::new(|_| false),
        }
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
        Process { controller: (self.make)(), cx, tap, said: BTreeMap::new(), told: BTreeMap::new() }
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
    said: BTreeMap<C::Key, Said>,
    told: BTreeMap<(usize, String), Value>,
}

/// More rounds than this are no convergence.
const ROUNDS: usize = 30;

impl<C: Controller> Process<C> {
    /// Tells the controller's sources what changed since the last time, as watches would. Returns the keys concerned by
    /// everything that exists or has just gone.
    ///
    /// # Errors
    /// When a source cannot be listed. A kind that is not served is empty.
    pub async fn observe(&mut self) -> Result<BTreeSet<C::Key>, Error> {
        let mut keys = BTreeSet::new();
        for (at, source) in self.controller.sources().iter().enumerate() {
            let listed = match source.list(&self.cx).await {
                Ok(listed) => listed,
                Err(Error::Waiting { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
            let name = |o: &Value| {
                let text = |p| o.pointer(p).and_then(Value::as_str).unwrap_or_default();
                format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"))
            };
            let now: BTreeMap<String, Value> = listed.into_iter().map(|o| (name(&o), o)).collect();
            let before: Vec<String> =
                self.told.keys().filter(|(of, _)| *of == at).map(|(_, name)| name.clone()).collect();
            for gone in before.iter().filter(|name| !now.contains_key(*name)) {
                let object = self.told.remove(&(at, gone.clone()));
                keys.extend(source.keys_of(&Change { before: object.as_ref(), after: None }));
            }
            for (name, object) in now {
                let before = self.told.get(&(at, name.clone()));
                keys.extend(source.keys_of(&Change { before, after: Some(&object) }));
                self.told.insert((at, name), object);
            }
        }
        Ok(keys)
    }

    /// One pass of one key.
    pub async fn pass(&mut self, key: &C::Key) -> Passed {
        let said = self.said.entry(key.clone()).or_default();
        run_pass(&self.controller, &self.cx, key, said).await
    }

    /// One pass of every key, in order. Stops when the process crashes.
    ///
    /// # Errors
    /// As [`Process::observe`].
    pub async fn round(&mut self) -> Result<BTreeMap<C::Key, Passed>, Error> {
        let mut passed = BTreeMap::new();
        for key in self.observe().await? {
            if self.tap.crashed() {
                break;
            }
            let end = self.pass(&key).await;
            passed.insert(key, end);
        }
        Ok(passed)
    }

    /// Rounds until one writes nothing, or the process crashes. Returns how each key stands then.
    ///
    /// # Panics
    /// When it does not come to rest, with what it kept writing.
    pub async fn settle(&mut self) -> BTreeMap<C::Key, Passed> {
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            let before = self.tap.writes().len();
            let round = self.round().await;
            last = self.tap.writes().split_off(before);
            match round {
                Ok(passed) if last.is_empty() || self.tap.crashed() => return passed,
                Err(_) if self.tap.crashed() => return BTreeMap::new(),
                Ok(_) | Err(_) => {}
            }
        }
        panic!("no rest after {ROUNDS} rounds; the last one wrote {last:#?}")
    }
}
