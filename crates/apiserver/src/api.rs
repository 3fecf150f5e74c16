//! The heart of the server: one request in, one answer out, whatever carried it (HTTPS or a client in the same process).

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt};
use http::{HeaderMap, Method};
use paddock_serve::Traffic;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::admission::plugins::quota::Bookings;
use crate::audit::{Audit, Record};
use crate::authn::{LastModes, Tokens};
use crate::authz::{Attributes, Authorizer};
use crate::clock::Clock;
use crate::crd::Names;
use crate::documents::Documents;
use crate::fault::{Action, Faults};
use crate::handlers::{Call, Unchanged, Views};
use crate::incoming::{RequestBody, Room};
use crate::kinds::names;
use crate::log::{Entry, Log};
use crate::metrics::Metrics;
use crate::node::Nodes;
use crate::registry::Registry;
use crate::request::{Format, Query, ResourcePath, Verb, segments};
use crate::resource::{Lookup, Resource};
use crate::selector::FieldSelector;
use crate::status::Status;
use crate::store::{Committed, Encoded, ListRequest, Object, Store, Write, WriteError};
use crate::streaming::Session;
use crate::user::User;

/// Where CustomResourceDefinitions are stored: a write there changes what is served.
pub(crate) const CRDS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// One request, without its body.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: Arc<User>,
    /// Its place in the audit log, where there is one.
    pub(crate) record: Option<Record>,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Body,
}

/// The body of an answer.
pub(crate) enum Body {
    Whole(Bytes),
    /// Text that is made as it is sent, and its length if that is known. An error breaks it off.
    Chunks {
        size: Option<u64>,
        chunks: Box<dyn Iterator<Item = std::io::Result<Bytes>> + Send>,
    },
    Stream(BoxStream<'static, Result<Bytes, std::io::Error>>),
    /// The connection becomes a WebSocket.
    Upgrade(Session),
    /// The connection is closed without an answer: a fault on order.
    Dropped,
}

impl Body {
    /// All of it; `None` for a stream, which may have no end, for no answer, and for one that is broken off.
    pub(crate) fn whole(self) -> Option<Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Chunks { mut chunks, .. } => {
                let join = |mut text: Vec<u8>, chunk: std::io::Result<Bytes>| {
                    text.extend_from_slice(&chunk?);
                    std::io::Result::Ok(text)
                };
                chunks.try_fold(Vec::new(), join).ok().map(Bytes::from)
            }
            Self::Stream(_) | Self::Upgrade(_) | Self::Dropped => None,
        }
    }
}

impl Answer {
    pub(crate) fn bytes(code: u16, bytes: Bytes) -> Self {
        Self {
            code,
            content_type: "application/json",
            headers: Vec::new(),
            warnings: Vec::new(),
            body: Body::Whole(bytes),
        }
    }
    pub(crate) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, value.to_string().into())
    }
    pub(crate) fn text(code: u16, text: impl Into<String>) -> Self {
        Self { content_type: "text/plain; charset=utf-8", ..Self::bytes(code, text.into().into()) }
    }
    pub(crate) fn empty(code: u16) -> Self {
        Self { content_type: "text/plain", ..Self::bytes(code, Bytes::new()) }
    }
    pub(crate) fn stream(
        content_type: &'static str,
        stream: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    ) -> Self {
        Self { content_type, body: Body::Stream(stream.boxed()), ..Self::empty(200) }
    }
    pub(crate) fn dropped() -> Self {
        Self { body: Body::Dropped, ..Self::empty(0) }
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        let mut answer = Self::json(status.code, &status.to_json());
        if let Some(seconds) = status.details.as_ref().and_then(|d| d.retry_after) {
            answer.headers.push(("retry-after", seconds.to_string()));
        }
        answer
    }
}

/// A value as a YAML answer.
pub(crate) fn yaml(code: u16, value: &Value) -> Result<Answer, Status> {
    let text = serde_saphyr::to_string(value).map_err(|e| Status::internal(e.to_string()))?;
    Ok(Answer { content_type: "application/yaml", ..Answer::bytes(code, text.into()) })
}

/// The server without its sockets. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    /// Webhooks and policies.
    pub(crate) admission: Admission,
    pub(crate) documents: Documents,
    pub(crate) authorizer: Authorizer,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) audit: Audit,
    /// Signs and reads the tokens of service accounts.
    pub(crate) tokens: Tokens,
    /// Applies that changed nothing.
    pub(crate) unchanged: Unchanged,
    /// Events as watches of other formats are shown them.
    pub(crate) views: Views,
    /// What handlers count.
    pub(crate) metrics: Metrics,
    /// What the listener counts.
    pub(crate) traffic: Traffic,
    /// What the bodies of requests may fill.
    pub(crate) bodies: Room,
    /// The TLS profile that the listener follows, where one is given.
    pub(crate) startup: Option<paddock_serve::Startup>,
    /// What the listener counts of TLS.
    pub(crate) tls: paddock_serve::TlsMetrics,
    /// What is booked in quotas and not stored yet.
    pub(crate) bookings: Arc<Bookings>,
    /// How users impersonated others last.
    pub(crate) last_modes: LastModes,
    /// Who runs pods.
    pub(crate) nodes: Nodes,
    /// Sessions with containers that may be open at once.
    pub(crate) sessions: Arc<Semaphore>,
    /// Where the server listens, once it does.
    pub(crate) address: OnceLock<SocketAddr>,
    /// Cancelled when the server stops: watches end.
    pub(crate) closing: CancellationToken,
}

impl std::ops::Deref for Api {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("revision", &self.store.revision()).finish_non_exhaustive()
    }
}

impl Api {
    pub(crate) fn new(inner: Inner) -> Self {
        let api = Self(Arc::new(inner));
        api.reload_custom();
        api.admission.reload(&api);
        api
    }

    /// Serves exactly the custom resources that stored CRDs define.
    pub(crate) fn reload_custom(&self) {
        self.registry.reload_custom(|| {
            self.store.list(&ListRequest::all(CRDS)).map(|listing| listing.objects).unwrap_or_default()
        });
    }

    /// Answers a request.
    pub(crate) async fn handle(&self, mut request: Request, body: &mut RequestBody) -> Answer {
        let Some(mut record) = request.record.take() else { return self.judge(&mut request, body).await };
        record.caller(&request.user);
        let answer = self.judge(&mut request, body).await;
        record.answered(Some(&*request.user), answer)
    }

    async fn judge(&self, request: &mut Request, body: &mut RequestBody) -> Answer {
        let _running = Metrics::request(self);
        let Some(segments) = segments(&request.path) else {
            return Status::bad_request("the path is not valid UTF-8").into();
        };
        let path = ResourcePath::parse(&segments);
        let verb = path.as_ref().and_then(|path| path.verb(&request.method, &request.query));
        let method = request.method.as_str().to_ascii_lowercase();
        let decoded = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
        let selected = path.as_ref().and_then(|path| selected_name(path, verb, &request.query));
        let attributes = match &path {
            Some(path) => resource_attributes(path, verb.map_or("", Verb::as_str), selected.as_deref()),
            None => Attributes::Path { verb: &method, path: &decoded },
        };
        request.user = match self.acting(request.user.clone(), &request.headers, &attributes) {
            Ok(user) => user,
            Err(status) => return status.into(),
        };
        // Before anything is said of what there is.
        let refused = self.require(&request.user, &attributes).err();
        let Some(path) = path else {
            return refused.map_or_else(|| self.documents.answer(self, request, &segments), Answer::from);
        };
        let Some(verb) = verb else {
            return refused.unwrap_or_else(Status::method_not_allowed).into();
        };
        let fault = self.faults.decide(verb, &path);
        let answer = match fault {
            Some(Action::Status(code)) => fault_status(code).into(),
            Some(Action::Conflict) => Status::modified(&path.group, &path.resource, &path.name).into(),
            Some(Action::Gone) => Status::expired("too old resource version: injected").into(),
            Some(Action::Drop) => Answer::dropped(),
            Some(Action::DropAfter) => {
                self.answer(refused, verb, &path, request, body).await;
                Answer::dropped()
            }
            Some(Action::Latency(time)) => {
                tokio::time::sleep(time).await;
                self.answer(refused, verb, &path, request, body).await
            }
            Some(Action::CutWatch(events)) => cut(self.answer(refused, verb, &path, request, body).await, events),
            None => self.answer(refused, verb, &path, request, body).await,
        };
        self.log.push(|| Entry {
            verb,
            group: path.group.clone(),
            resource: path.resource.clone(),
            subresource: path.subresource.clone(),
            namespace: path.namespace.clone(),
            name: path.name.clone(),
            user: request.user.name.clone(),
            field_manager: request.query.get("fieldManager").to_owned(),
            code: answer.code,
            dry_run: request.query.get("dryRun") == "All",
        });
        answer
    }

    async fn answer(
        &self,
        refused: Option<Status>,
        verb: Verb,
        path: &ResourcePath,
        request: &Request,
        body: &mut RequestBody,
    ) -> Answer {
        if let Some(status) = refused {
            return status.into();
        }
        let served = self.registry.served();
        if !served.has_version(&path.group, &path.version) {
            return if served.has_group(&path.group) {
                Status::no_such_resource().into()
            } else {
                Answer::text(404, "404 page not found\n")
            };
        }
        let resource = served.find(&path.group, &path.version, &path.resource).cloned();
        drop(served);
        let Some(resource) = resource else { return Status::no_such_resource().into() };
        if resource.custom
            && resource.namespaced == path.namespace.is_empty()
            && !spans_namespaces(&resource, verb, path)
        {
            // A custom resource is not there at all in the other scope.
            return Answer::text(404, "404 page not found\n");
        }
        if resource.custom && !path.subresource.is_empty() && resource.subresource(&path.subresource).is_none() {
            return Status::not_found(&resource.group, &resource.plural, &path.name).into();
        }
        if !is_served(&resource, verb, path) {
            // The apiextensions server knows no path of the other scope; the built-in ones know no method there.
            let other_scope = resource.custom && resource.namespaced == path.namespace.is_empty();
            return if other_scope { Status::no_such_resource() } else { Status::method_not_allowed() }.into();
        }
        if !path.subresource.is_empty() && resource.subresource(&path.subresource).is_none() {
            let unknown = Status::no_such_resource();
            return if resource.custom { Status::not_found(&path.group, &path.resource, &path.name) } else { unknown }
                .into();
        }
        let collection = path.name.is_empty() && verb != Verb::Create && verb != Verb::Watch;
        let format = match Format::negotiate(&request.headers, collection) {
            Ok(format) => format,
            Err(status) => return status.into(),
        };
        let body = match verb {
            Verb::Get | Verb::List | Verb::Watch => Bytes::new(),
            _ => match body.read().await {
                Ok(body) => body,
                Err(status) => return status.into(),
            },
        };
        let call = Call {
            api: self,
            resource,
            path,
            query: &request.query,
            headers: &request.headers,
            user: &request.user,
            format,
            now: self.clock.now(),
            started: tokio::time::Instant::now(),
            warnings: Vec::new(),
            booking: None,
            raw: None,
        };
        call.run(verb, body).await
    }

    /// Hands a write to the store. The inner error: another writer was faster.
    pub(crate) async fn write(&self, write: Write) -> Result<Result<Committed, ()>, Status> {
        let custom = *write.key.resource == *CRDS;
        let admission = Admission::concerns(&write.key.resource);
        match self.store.write(write).await {
            Ok(committed) => {
                if custom {
                    self.reload_custom();
                }
                if admission {
                    self.admission.reload(self);
                }
                Ok(Ok(committed))
            }
            Err(WriteError::Conflict(_)) => Ok(Err(())),
            Err(WriteError::Full) => Err(Status::new(
                507,
                "InsufficientStorage",
                "the disk is full: nothing was written; reads go on, and writes will when there is space again",
            )),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }

    /// An object as it is stored: in the storage version of its resource.
    pub(crate) fn encode(&self, resource: &Resource, object: &Value) -> Result<Encoded, Status> {
        self.encode_with(resource, object, None)
    }

    /// As [`Self::encode`]; `raw` is the text of the kind's [`raw_field`](crate::resource::Strategy::raw_field).
    pub(crate) fn encode_with(
        &self,
        resource: &Resource,
        object: &Value,
        raw: Option<&[u8]>,
    ) -> Result<Encoded, Status> {
        let encoded = if resource.is_version(&resource.storage_version) {
            Encoded::with_raw(object, resource.strategy.raw_field().zip(raw))
        } else {
            resource.strategy.converts()?;
            let mut stored = object.clone();
            resource.strategy.to_storage(&mut stored);
            stored["apiVersion"] = (&*resource.storage_version).into();
            Encoded::new(&stored)
        };
        encoded.map_err(|e| Status::internal(e.to_string()))
    }

    /// Stored bytes as a version of the resource shows them.
    pub(crate) fn decode_stored(resource: &Resource, object: &Object) -> Result<Value, Status> {
        let mut object = object.decode().map_err(|e| Status::internal(format!("stored object: {e}")))?;
        let version = resource.api_version();
        let other = object["apiVersion"].as_str() != Some(version.as_str());
        if other {
            resource.strategy.converts()?;
        }
        if other || !resource.strategy.stored_verbatim() {
            resource.strategy.served_from_storage(&mut object);
            object["apiVersion"] = version.into();
            object["kind"] = (&*resource.kind).into();
        }
        if resource.custom {
            resource.strategy.default(&mut object);
        }
        Ok(object)
    }

    /// A stored object as it lies there.
    pub(crate) fn lookup(&self, storage: &str, namespace: &str, name: &str) -> Option<Value> {
        let object: Object = self.store.get(storage, namespace, name)?;
        object.decode().ok()
    }

    /// The path that kube-apiserver's storage errors print.
    pub(crate) fn registry_key(&self, resource: &Resource, namespace: &str, name: &str) -> String {
        let mut key = String::new();
        if resource.custom {
            key.push_str(&format!("/{}", resource.group));
        }
        key.push_str(&format!("/{}", resource.plural));
        if !namespace.is_empty() {
            key.push_str(&format!("/{namespace}"));
        }
        key.push_str(&format!("/{name}"));
        key
    }
}

impl Lookup for Api {
    fn get(&self, storage: &str, namespace: &str, name: &str) -> Option<Value> {
        self.lookup(storage, namespace, name)
    }

    fn list(&self, storage: &str, namespace: &str) -> Vec<Value> {
        let namespace = (!namespace.is_empty()).then_some(namespace);
        let Ok(listing) = self.store.list(&ListRequest { namespace, ..ListRequest::all(storage) }) else {
            return Vec::new();
        };
        listing.objects.iter().filter_map(|o| o.decode().ok()).collect()
    }

    fn names_of_group(&self, group: &str) -> Vec<Arc<Names>> {
        self.registry.served().names_of_group(group).to_vec()
    }
}

/// What a request to a resource is authorised for.
fn resource_attributes<'a>(path: &'a ResourcePath, verb: &'a str, selected: Option<&'a str>) -> Attributes<'a> {
    // A namespace is in itself.
    let is_namespace = path.namespace.is_empty() && path.resource == "namespaces";
    Attributes::Resource {
        verb,
        group: &path.group,
        version: &path.version,
        resource: &path.resource,
        subresource: &path.subresource,
        namespace: if is_namespace { &path.name } else { &path.namespace },
        name: selected.unwrap_or(&path.name),
    }
}

/// A list or watch of one name is one of that object.
fn selected_name(path: &ResourcePath, verb: Option<Verb>, query: &Query) -> Option<String> {
    let selector = query.get("fieldSelector");
    if !path.name.is_empty() || selector.is_empty() || !matches!(verb, Some(Verb::List | Verb::Watch)) {
        return None;
    }
    let selector = FieldSelector::parse(selector).ok()?;
    selector.required("metadata.name").filter(|name| names::path_segment(name).is_empty()).map(str::to_owned)
}

/// Whether the resource or subresource serves the verb on this form of path.
fn is_served(resource: &Resource, verb: Verb, path: &ResourcePath) -> bool {
    if path.rest {
        return false;
    }
    let verbs = match path.subresource.as_str() {
        "" => resource.verbs,
        name => match resource.subresource(name) {
            Some(subresource) => subresource.verbs,
            None => return true,
        },
    };
    // Collections are created in and listed, objects are named; creating without a namespace needs a cluster-scoped kind.
    let fits = match verb {
        Verb::Create => path.name.is_empty() == path.subresource.is_empty(),
        Verb::Update | Verb::Patch => !path.name.is_empty(),
        _ => true,
    };
    let scoped = resource.namespaced != path.namespace.is_empty() || spans_namespaces(resource, verb, path);
    fits && scoped && verbs.contains(&verb.as_str())
}

/// Lists and watches look into all namespaces when none is named.
fn spans_namespaces(resource: &Resource, verb: Verb, path: &ResourcePath) -> bool {
    resource.namespaced && path.name.is_empty() && matches!(verb, Verb::List | Verb::Watch)
}

fn fault_status(code: u16) -> Status {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    Status::new(code, reason, "injected fault")
}

/// At most `limit` of the events in a piece of a watch, and how many they are. Those of the initial list come several in one
/// piece, a line each.
fn first_events(text: &Bytes, limit: usize) -> (Bytes, usize) {
    let ends: Vec<usize> = memchr::memmem::find_iter(text, b"\n{").map(|end| end + 1).collect();
    match ends.get(limit - 1) {
        Some(end) => (text.slice(..*end), limit),
        None => (text.clone(), ends.len() + 1),
    }
}

/// Ends a watch in the middle of the stream.
fn cut(mut answer: Answer, events: usize) -> Answer {
    answer.body = match answer.body {
        Body::Stream(stream) => {
            let broken =
                futures::stream::once(async { Err(std::io::Error::other("injected fault: the watch is cut")) });
            let events = futures::stream::unfold((stream, events), |(mut stream, left)| async move {
                let item = if left > 0 { stream.next().await? } else { return None };
                let (item, left) = match item {
                    Ok(text) => {
                        let (text, taken) = first_events(&text, left);
                        (Ok(text), left - taken)
                    }
                    Err(error) => (Err(error), 0),
                };
                Some((item, (stream, left)))
            });
            Body::Stream(events.chain(broken).boxed())
        }
        other => other,
    };
    answer
}
