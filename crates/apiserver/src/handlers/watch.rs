//! GET with `watch=true`: a stream of events, from a revision on or after an initial list.
//!
//! The store keeps one history for all; a watch is a cursor into it. Plain JSON watches without selectors share the encoded
//! frame of each event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use serde_json::{Value, json};

use super::Call;
use super::get::Selection;
use crate::api::{Answer, Api};
use crate::request::{Encoding, Format, ResourcePath, Shape};
use crate::resource::Resource;
use crate::status::Status;
use crate::store::listing::{self, Start};
use crate::store::{Event, EventKind, ListRequest, Object, Watch, WatchError};
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
        let mut pending = VecDeque::new();
        let namespace = self.namespace();
        let from = match start {
            Start::After(revision) => revision,
            Start::Now => self.api.store.revision(),
            Start::Initial { bookmark: wants_bookmark } => {
                let listing = self
                    .api
                    .store
                    .list(&ListRequest { namespace, ..ListRequest::all(&self.resource.storage) })
                    .map_err(|_| Status::internal("the current revision is always there"))?;
                for object in &listing.objects {
                    let value = self.decode_stored(object)?;
                    if selection.matches(self, &value) {
                        pending.push_back(self.frame("ADDED", value)?);
                    }
                }
                if wants_bookmark {
                    pending.push_back(self.frame("BOOKMARK", bookmark(&self.resource, listing.revision, true))?);
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
        let watcher = Watcher {
            api: self.api.clone(),
            resource: self.resource.clone(),
            path: self.path.clone(),
            format: self.format,
            selection,
            namespace: self.path.namespace.clone(),
            cursor,
            pending,
            bookmarks: options.allow_watch_bookmarks,
            ends: tokio::time::Instant::now() + lifetime,
            done: false,
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

/// A running watch.
struct Watcher {
    api: Api,
    resource: Arc<Resource>,
    path: ResourcePath,
    format: Format,
    selection: Selection,
    namespace: String,
    cursor: Watch,
    pending: VecDeque<Bytes>,
    bookmarks: bool,
    ends: tokio::time::Instant,
    done: bool,
    headers: http::HeaderMap,
    query: crate::request::Query,
    user: crate::user::User,
}

impl Watcher {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        stream::unfold(self, |mut watcher| async move { watcher.next().await.map(|frame| (Ok(frame), watcher)) })
    }

    /// The next frame; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Some(frame);
            }
            if self.done {
                return None;
            }
            let quiet = tokio::time::Instant::now() + BOOKMARK_EVERY;
            let closing = self.api.closing.clone();
            let batch = tokio::select! {
                batch = self.cursor.next() => batch,
                () = tokio::time::sleep_until(self.ends) => return None,
                () = closing.cancelled() => return None,
                () = tokio::time::sleep_until(quiet), if self.bookmarks => {
                    let revision = self.cursor.progress();
                    if let Ok(frame) = self.call().frame("BOOKMARK", bookmark(&self.resource, revision, false)) {
                        self.pending.push_back(frame);
                    }
                    continue;
                }
            };
            let frames: Vec<Bytes> = match batch {
                Ok(events) => events.iter().filter_map(|event| self.event_frame(event)).collect(),
                Err(WatchError::Closed) => return None,
                Err(WatchError::Compacted(compacted)) => {
                    self.done = true;
                    let status = listing::watch_expired(&compacted);
                    self.call().frame("ERROR", status.to_json()).into_iter().collect()
                }
            };
            self.pending.extend(frames);
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
            raw: None,
        }
    }

    /// What this watcher sees of an event: an object that enters the selection is ADDED, one that leaves it DELETED.
    fn event_frame(&self, event: &Event) -> Option<Bytes> {
        if !self.namespace.is_empty() && *event.key.namespace != *self.namespace {
            return None;
        }
        let call = self.call();
        let plain = self.format == Format::JSON && call.stored_as_served();
        if plain && self.selection.is_everything() {
            return Some(event.frame.clone());
        }
        let decode = |object: &Object| self.api.decode_stored(&self.resource, object).ok();
        let object = decode(&event.object)?;
        let now_in = event.kind != EventKind::Deleted && self.selection.matches(&call, &object);
        let was_in = match &event.previous {
            Some(previous) => {
                self.selection.is_everything() || decode(previous).is_some_and(|p| self.selection.matches(&call, &p))
            }
            None => false,
        };
        let kind = match (was_in, now_in) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        // What left is shown as it was, at the revision at which it left.
        let shown = if kind == "DELETED" && event.kind != EventKind::Deleted {
            let mut previous = decode(event.previous.as_ref()?)?;
            super::meta::metadata(&mut previous)
                .insert("resourceVersion".to_owned(), event.revision.to_string().into());
            previous
        } else {
            object
        };
        call.frame(kind, shown).ok()
    }
}
