//! One watch: kube's watcher feeding a cache and telling who is concerned. May touch the API server.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use serde_json::Value;
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, Changed, Sync};
use crate::context::Context;
use crate::controller::{Change, Selection};
use crate::error::{Dependency, Error};
use crate::object::{self, Kind, ObjectRef};

/// Told of every change.
pub(crate) type Listener = Box<dyn Fn(&Change<'_>) + Send + std::marker::Sync>;

/// A watch shared by everybody who asked for the same selection.
pub(crate) struct Watch {
    pub(crate) cache: Cache,
    pub(crate) listeners: Vec<Listener>,
    /// Held from a change to the last listener's knowing of it: passes tell what they wrote while the watch tells what others
    /// did, and what is told last has to be the newest.
    telling: Mutex<()>,
    /// The last failure; `None` when the watch works.
    pub(crate) failure: Mutex<Option<Error>>,
}

impl Watch {
    pub(crate) fn new(selection: Selection) -> Self {
        Self {
            cache: Cache::new(selection),
            listeners: Vec::new(),
            telling: Mutex::default(),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_failure(&self, failure: Option<Error>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Changes the cache and tells of it.
    pub(crate) fn change(&self, cx: &Context, change: impl FnOnce(&Cache) -> Option<Changed>) {
        self.change_all(cx, |cache| change(cache).into_iter());
    }

    fn change_all<I: Iterator<Item = Changed>>(&self, cx: &Context, change: impl FnOnce(&Cache) -> I) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        change(&self.cache).for_each(|changed| self.tell(cx, &changed));
    }

    fn tell(&self, cx: &Context, (before, after): &Changed) {
        let change = Change { before: before.as_deref(), after: after.as_deref() };
        for listener in &self.listeners {
            listener(&change);
        }
        cx.wake(&Dependency::Object(name(&self.cache.selection.kind, change.object())));
    }
}

fn name(kind: &Kind, object: &Value) -> ObjectRef {
    let text = |pointer| object::text(object, pointer);
    kind.named(Some(text("/metadata/namespace")), text("/metadata/name"))
}

/// Shortest and longest wait between attempts of a failing watch.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A kind that is not served is asked for this often even when no CustomResourceDefinition changes: it may come from an
/// aggregated API server.
const MISSING_RETRY: Duration = Duration::from_secs(300);

/// Objects in a page of a list. What one page takes while it is read is some twenty times its text, of every watch at once, and
/// stays with the process.
const PAGE: u32 = 100;

/// What a watch hears of others.
pub(crate) struct Heard {
    /// Ticks when a CustomResourceDefinition changed.
    pub(crate) definitions: signal::Receiver<u64>,
    /// Ticks when the API server answers after a silence.
    pub(crate) back: signal::Receiver<u64>,
}

/// Runs a watch until cancelled. `changed` is told whenever its state (synced, missing, failing) may have changed.
pub(crate) async fn run(
    cx: Context,
    watch: Arc<Watch>,
    changed: signal::Sender<u64>,
    heard: Heard,
    cancel: CancellationToken,
) {
    let Heard { mut definitions, mut back } = heard;
    let selection = watch.cache.selection.clone();
    let api = selection.kind.api(cx.client.clone(), selection.namespace.as_deref());
    let metadata = selection.kind.metadata_api(cx.client.clone(), selection.namespace.as_deref());
    let mut config = watcher::Config::default().page_size(PAGE);
    if !selection.labels.is_empty() {
        config = config.labels(&selection.labels);
    }
    if !selection.fields.is_empty() {
        config = config.fields(&selection.fields);
    }
    let target = selection.kind.named(selection.namespace.as_deref(), "");
    let mut failures = 0_u32;
    'anew: loop {
        let mut events = match selection.metadata_only {
            true => watcher(metadata.clone(), config.clone()).map_ok(whole).boxed(),
            false => watcher(api.clone(), config.clone()).boxed(),
        };
        // A stream is read until it fails; a new one lists anew, and the cache reports what was missed.
        let error = loop {
            let event = tokio::select! {
                () = cancel.cancelled() => return,
                // Its connection may be dead, and nothing would tell so for minutes.
                Ok(()) = back.changed() => continue 'anew,
                event = events.next() => event,
            };
            match event {
                None => break Error::transient(format!("{selection}: the watch ended")),
                Some(Ok(event)) => {
                    let listed = matches!(event, watcher::Event::InitDone);
                    if !matches!(event, watcher::Event::Init) {
                        failures = 0;
                    }
                    on_event(&cx, &watch, event);
                    if listed {
                        watch.set_failure(None);
                        changed.send_modify(|n| *n += 1);
                    }
                }
                // The watcher resumes by itself: a broken or expired watch is normal.
                Some(Err(watcher::Error::WatchFailed(_))) if failures == 0 => failures = 1,
                Some(Err(watcher::Error::WatchError(status))) if status.code == 410 => {}
                Some(Err(error)) => break classify(error, &target),
            }
        };
        let missing = matches!(&error, Error::Waiting { on, .. } if matches!(**on, Dependency::Kind(_)));
        if missing {
            watch.cache.mark_missing();
        }
        tracing::debug!(%selection, %error, "watch failed");
        watch.set_failure(Some(error));
        changed.send_modify(|n| *n += 1);
        let longest = if missing { MISSING_RETRY } else { RETRY.1 };
        let wait = cx.chance().jitter(RETRY.0.saturating_mul(2_u32.saturating_pow(failures)).min(longest), 0.1);
        failures = failures.saturating_add(1);
        definitions.mark_unchanged();
        tokio::select! {
            () = cancel.cancelled() => return,
            () = cx.clock().sleep(wait) => {}
            Ok(()) = definitions.changed(), if missing => failures = 0,
            Ok(()) = back.changed() => failures = 0,
        }
    }
}

/// What a watch of metadata tells, as one of objects with nothing else in them.
fn whole(event: watcher::Event<PartialObjectMeta<DynamicObject>>) -> watcher::Event<DynamicObject> {
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(part) => watcher::Event::InitApply(object::whole(part)),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(part) => watcher::Event::Apply(object::whole(part)),
        watcher::Event::Delete(part) => watcher::Event::Delete(object::whole(part)),
    }
}

fn on_event(cx: &Context, watch: &Watch, event: watcher::Event<DynamicObject>) {
    let target = || watch.cache.selection.kind.named(None, "");
    let read = |object: DynamicObject| cx.slimmed(&object, &target()).ok();
    match event {
        watcher::Event::Init => watch.cache.begin_list(),
        watcher::Event::InitApply(object) => {
            if let Some(object) = read(object) {
                watch.cache.list_item(object);
            }
        }
        watcher::Event::InitDone => {
            let was_missing = watch.cache.sync() == Sync::Missing;
            watch.change_all(cx, Cache::finish_list);
            if was_missing {
                cx.wake(&Dependency::Kind(watch.cache.selection.kind.clone()));
            }
        }
        watcher::Event::Apply(object) => {
            if let Some(object) = read(object) {
                watch.change(cx, |cache| cache.apply(object));
            }
        }
        watcher::Event::Delete(object) => {
            if let Some(object) = read(object) {
                watch.change(cx, |cache| cache.delete(object));
            }
        }
    }
}

fn classify(error: watcher::Error, target: &ObjectRef) -> Error {
    match error {
        watcher::Error::InitialListFailed(e) | watcher::Error::WatchStartFailed(e) | watcher::Error::WatchFailed(e) => {
            Error::from_kube(&e, target)
        }
        watcher::Error::WatchError(status) => Error::from_kube(&kube::Error::Api(status), target),
        watcher::Error::NoResourceVersion => Error::transient(format!("{target}: the list has no resourceVersion")),
    }
}

/// Ticks whenever a CustomResourceDefinition changes, once some kind is missing; before that it asks nothing.
pub(crate) async fn definitions(
    cx: Context,
    mut needed: signal::Receiver<bool>,
    tick: signal::Sender<u64>,
    cancel: CancellationToken,
) {
    tokio::select! {
        () = cancel.cancelled() => return,
        started = needed.wait_for(|needed| *needed) => if started.is_err() { return },
    }
    let kind = Kind::of::<CustomResourceDefinition>();
    let api = kind.api(cx.client.clone(), None);
    let mut failures = 0_u32;
    let mut events = pin!(watcher(api, watcher::Config::default()));
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Ok(watcher::Event::Init | watcher::Event::InitApply(_))) => {}
            Some(Ok(_)) => {
                failures = 0;
                tick.send_modify(|n| *n += 1);
            }
            Some(Err(_)) => {
                let wait = RETRY.0.saturating_mul(2_u32.saturating_pow(failures)).min(MISSING_RETRY);
                failures = failures.saturating_add(1);
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = cx.clock().sleep(cx.chance().jitter(wait, 0.1)) => {}
                }
            }
        }
    }
}
