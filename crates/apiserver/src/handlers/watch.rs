//! GET with `watch=true`: a stream of events, from a revision on or after an initial list.
//!
//! The store keeps one history for all; a watch is a cursor into it. Plain JSON watches share the encoded frame of each event,
//! those of other formats share `views`. Events become frames one by one, as they are sent: a watch that does not read holds a
//! batch of events that all share, and one frame. It is cut when what it has not seen falls out of the history; no writer ever waits for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Call;
use super::get::Selection;
use super::views::View;
use crate::api::{Answer, Api};
use crate::metrics::{Metrics, Running};
use crate::request::{Encoding, Format, ResourcePath, Shape};
use crate::resource::Resource;
use crate::status::Status;
use crate::store::listing::{self, ListPlan, Start};
use crate::store::{Event, EventKind, Object, Watch, WatchError};
use crate::table;

/// How long a watch lasts when the client names no time: between one and two times this.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How often a bookmark is sent on a quiet watch.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

impl Call<'_> {
    pub(crate) async fn watch(&mut self) -> Result<Answer, Status> {
        let mut selection = self.selection()?;
        if self.path.legacy_watch && !self.path.name.is_empty() {
            selection.fields.require("metadata.name", &self.path.name);
        }
        if self.query.flag("sendInitialEvents") {
            self.reach_revision().await;
        }
        let options = self.list_options()?;
        let start = listing::plan_watch(&options, self.api.store.revision())?;
        let lifetime = match self.query.integer("timeoutSeconds")? {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
            _ => DEFAULT_LIFETIME.mul_f64(1.0 + rand::random::<f64>()),
        };
        let mut initial = Initial::default();
        let from = match start {
            Start::After(revision) => revision,
            Start::Now => self.api.store.revision(),
            Start::Initial { bookmark: wants_bookmark } => {
                let listing = self.read_page(&ListPlan { at: None, after: None, limit: None }, &selection)?;
                // What cannot be shown in this version is an answer, not an event.
                if let Some(first) = listing.objects.first().filter(|_| !self.is_plain()) {
                    self.decode_stored(first)?;
                }
                initial.objects = listing.objects.into_iter();
                if wants_bookmark {
                    initial.end = Some(self.frame("BOOKMARK", bookmark(&self.resource, listing.revision, true))?);
                }
                listing.revision
            }
        };
        let cursor = match self.api.store.watch(&self.resource.storage, from) {
            Ok(cursor) => cursor,
            // The stream begins and ends with the error, as a client that reads events expects.
            Err(compacted) => {
                let status = listing::watch_expired(&compacted);
                let frame = self.frame("ERROR", status.to_json())?;
                return Ok(Answer::stream(content_type(self.format), stream::iter([Ok(frame)])));
            }
        };
        let now = tokio::time::Instant::now();
        let ends = now + lifetime;
        let watcher = Watcher {
            api: self.api.clone(),
            resource: self.resource.clone(),
            path: self.path.clone(),
            format: self.format,
            selection,
            namespace: self.path.namespace.clone(),
            cursor,
            initial,
            pending: VecDeque::new(),
            bookmarks: options.allow_watch_bookmarks,
            quiet_since: now,
            ends,
            timer: Box::pin(tokio::time::sleep_until(ends.min(now + BOOKMARK_EVERY))),
            closing: Box::pin(self.api.closing.clone().cancelled_owned()),
            done: false,
            _counted: Metrics::watch(self.api),
            headers: self.headers.clone(),
            query: self.query.clone(),
            user: self.user.clone(),
        };
        Ok(Answer::stream(content_type(self.format), watcher.into_stream()))
    }

    /// One frame in the negotiated format.
    fn frame(&self, kind: &str, object: Value) -> Result<Bytes, Status> {
        let shown = match (self.format.shape, kind) {
            (_, "ERROR") | (Shape::Object, _) => object,
            (Shape::Metadata, _) => table::partial_object_metadata(&object),
            (Shape::Table, _) => {
                let meta = json!({"resourceVersion": super::meta::text(&object, "resourceVersion")});
                self.table(std::slice::from_ref(&object), &meta)?
            }
        };
        let event = json!({"type": kind, "object": shown});
        let mut text = event.to_string().into_bytes();
        if self.format.encoding == Encoding::Yaml {
            text = serde_saphyr::to_string(&event).map_err(|e| Status::internal(e.to_string()))?.into_bytes();
            text.extend_from_slice(b"---\n");
        } else {
            text.push(b'\n');
        }
        Ok(text.into())
    }
}

fn content_type(format: Format) -> &'static str {
    match format.encoding {
        Encoding::Json => "application/json",
        Encoding::Yaml => "application/yaml",
    }
}

/// A bookmark: nothing but its revision.
fn bookmark(resource: &Resource, revision: u64, initial_end: bool) -> Value {
    let mut object = json!({
        "kind": &*resource.kind, "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
    });
    if initial_end {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    object
}

/// Text of the initial list that is made at a time: what a watch that does not read holds besides shared objects.
const CHUNK: usize = 64 * 1024;

/// The objects that a watch begins with, made into events as they are sent.
#[derive(Default)]
struct Initial {
    objects: std::vec::IntoIter<Object>,
    /// The bookmark that ends them.
    end: Option<Bytes>,
}

/// What a watch is to send.
enum Pending {
    /// Made into a frame when its turn comes, if it is selected.
    Event(Arc<Event>),
    /// A bookmark or an error.
    Frame(Bytes),
}

/// A running watch.
struct Watcher {
    api: Api,
    resource: Arc<Resource>,
    path: ResourcePath,
    format: Format,
    selection: Selection,
    namespace: String,
    cursor: Watch,
    initial: Initial,
    /// What is to be sent: never more than one batch of the cursor.
    pending: VecDeque<Pending>,
    bookmarks: bool,
    /// When the last event or bookmark came.
    quiet_since: tokio::time::Instant,
    ends: tokio::time::Instant,
    /// For the end and for bookmarks. It is set anew only when it has run out, not with each event.
    timer: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    done: bool,
    _counted: Running,
    headers: http::HeaderMap,
    query: crate::request::Query,
    user: crate::user::User,
}

impl Watcher {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        // Boxed, because it is moved with each frame.
        stream::unfold(
            Box::new(self),
            |mut watcher| async move { watcher.next().await.map(|frame| (Ok(frame), watcher)) },
        )
    }

    /// The next frame; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            while let Some(pending) = self.pending.pop_front() {
                match pending {
                    Pending::Frame(frame) => return Some(frame),
                    Pending::Event(event) => {
                        if let Some(frame) = self.event_frame(&event) {
                            self.api.metrics.watch_event();
                            return Some(frame);
                        }
                    }
                }
            }
            if self.done {
                return None;
            }
            if let Some(frames) = self.initial_frames() {
                return Some(frames);
            }
            let batch = tokio::select! {
                batch = self.cursor.next() => batch,
                () = self.closing.as_mut() => return None,
                () = self.timer.as_mut() => {
                    let now = tokio::time::Instant::now();
                    if now >= self.ends {
                        return None;
                    }
                    if self.bookmarks && now >= self.quiet_since + BOOKMARK_EVERY {
                        self.quiet_since = now;
                        let revision = self.cursor.progress();
                        let frame = self.call().frame("BOOKMARK", bookmark(&self.resource, revision, false));
                        self.pending.extend(frame.map(Pending::Frame));
                    }
                    let next = if self.bookmarks { self.quiet_since + BOOKMARK_EVERY } else { self.ends };
                    self.timer.as_mut().reset(self.ends.min(next));
                    continue;
                }
            };
            self.quiet_since = tokio::time::Instant::now();
            match batch {
                Ok(events) => self.pending.extend(events.into_iter().map(Pending::Event)),
                Err(WatchError::Closed) => return None,
                Err(WatchError::Compacted(compacted)) => {
                    self.done = true;
                    self.api.metrics.watch_expired();
                    let status = listing::watch_expired(&compacted);
                    self.pending.extend(self.call().frame("ERROR", status.to_json()).map(Pending::Frame));
                }
            }
        }
    }

    fn call(&self) -> Call<'_> {
        Call {
            api: &self.api,
            resource: self.resource.clone(),
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            user: &self.user,
            format: self.format,
            now: self.api.clock.now(),
            started: tokio::time::Instant::now(),
            warnings: Vec::new(),
            booking: None,
            raw: None,
        }
    }

    /// The next events of the initial list, several at once.
    fn initial_frames(&mut self) -> Option<Bytes> {
        let mut text = Vec::new();
        while text.len() < CHUNK {
            let Some(object) = self.initial.objects.next() else { break };
            let call = self.call();
            if call.is_plain() {
                text.extend_from_slice(&added(&object));
            } else if let Ok(frame) = call.decode_stored(&object).and_then(|value| call.frame("ADDED", value)) {
                text.extend_from_slice(&frame);
            }
        }
        if text.is_empty() { self.initial.end.take() } else { Some(text.into()) }
    }

    /// What this watcher sees of an event: an object that enters the selection is ADDED, one that leaves it DELETED.
    fn event_frame(&self, event: &Event) -> Option<Bytes> {
        if !self.namespace.is_empty() && *event.key.namespace != *self.namespace {
            return None;
        }
        let call = self.call();
        let now_in = event.kind != EventKind::Deleted && self.selects(&call, event, &event.object);
        let was_in = event.previous.as_ref().is_some_and(|previous| self.selects(&call, event, previous));
        let kind = match (was_in, now_in) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        // What left is shown as it was, at the revision at which it left.
        let left = if kind == "DELETED" && event.kind != EventKind::Deleted { event.previous.as_ref() } else { None };
        if call.is_plain() {
            return Some(match left {
                Some(previous) => previous.deleted(event.revision).0,
                None if kind == event.kind.as_str() => event.frame.clone(),
                None => added(&event.object),
            });
        }
        let second = if self.format.shape == Shape::Table { call.now.as_second() } else { 0 };
        let include = self.query.get("includeObject").to_owned();
        let (revision, resource) = (event.revision, self.resource.clone());
        let view = View { revision, resource, format: self.format, kind, include, second };
        self.api.views.get(&view, || {
            let shown = match left {
                Some(previous) => Api::decode_stored(&self.resource, &previous.deleted(event.revision).1),
                None => Api::decode_stored(&self.resource, &event.object),
            };
            call.frame(kind, shown.ok()?).ok()
        })
    }

    /// Whether an object of an event is selected. Names and labels are looked at without decoding the rest.
    fn selects(&self, call: &Call<'_>, event: &Event, object: &Object) -> bool {
        let Selection { labels, fields } = &self.selection;
        if fields.is_key_only() {
            return fields.matches_key(&event.key.namespace, &event.key.name) && labels.matches_text(object.bytes());
        }
        call.decode_stored(object).is_ok_and(|value| self.selection.matches(call, &value))
    }
}

/// The frame that shows a stored object as new.
fn added(object: &Object) -> Bytes {
    let parts: [&[u8]; 3] = [br#"{"type":"ADDED","object":"#, object.bytes(), b"}\n"];
    parts.concat().into()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::BodyExt;

    use super::*;
    use crate::server::Server;

    async fn post(server: &Server, number: usize) {
        let body = json!({"metadata": {"name": format!("m{number}")}}).to_string().into_bytes();
        let request =
            http::Request::post("/api/v1/namespaces/default/configmaps").header("content-type", "application/json");
        assert_eq!(server.client().send(request.body(body.into()).unwrap()).await.unwrap().status(), 201);
    }

    #[tokio::test]
    async fn a_table_watch_that_does_not_read_has_no_frames_made_for_it() {
        let server = Server::builder().in_memory().loops(false).start().await.unwrap();
        let request = http::Request::get("/api/v1/namespaces/default/configmaps?watch=true")
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(kube::client::Body::empty())
            .unwrap();
        let answer = server.client().send(request).await.unwrap();
        let mut read = answer.into_body().into_data_stream();
        for number in 0..100 {
            post(&server, number).await;
        }
        let first = read.next().await.unwrap().unwrap();
        assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(server.api().views.len(), 1, "the rest are made when they are read");
        for _ in 1..100 {
            read.next().await.unwrap().unwrap();
        }
        assert_eq!(server.api().views.len(), 100);
    }
}
