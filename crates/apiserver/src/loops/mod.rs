//! What keeps the API's own invariants: namespaces are emptied at their end, dependents follow their owners, objects of a deleted
//! CustomResourceDefinition go, quotas are counted, Events go after an hour. Everything else that kube-controller-manager does is a controller of
//! `paddock_workloads`, run by `workloads`.
//!
//! Each loop is level-triggered: an event only says where to look; what is done follows from what is there. They speak to the
//! API as any client, under their own user names, so the request log and faults see them; but for Events, which go in the store.

mod crds;
mod directories;
mod events;
mod garbage;
mod graph;
mod namespaces;
mod quotas;
mod workloads;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use paddock_workloads::Workload;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Request};
use crate::audit::Received;
use crate::identity::new_uuid;
use crate::incoming::RequestBody;
use crate::request::Query;
use crate::resource::Resource;
use crate::status::Status;
use crate::user::User;

/// One of the server's own loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// Empties namespaces at their end.
    Namespaces,
    /// Deletes dependents whose owners are gone; foreground and orphaning deletion.
    GarbageCollection,
    /// Deletes the objects of a CustomResourceDefinition that is being deleted.
    CustomResources,
    /// Counts what the objects of a namespace use of its quotas.
    Quotas,
    /// Takes Events away an hour after they were last written.
    Events,
    /// A controller of workloads, their endpoints or volumes, of accounts or roles.
    Workload(Workload),
}

impl Loop {
    /// Those of the server itself.
    const OWN: [Self; 5] =
        [Self::Namespaces, Self::GarbageCollection, Self::CustomResources, Self::Quotas, Self::Events];

    /// All of them.
    pub fn all() -> Vec<Self> {
        Self::OWN.into_iter().chain(Workload::ALL.map(Self::Workload)).collect()
    }

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::GarbageCollection => "garbage-collection",
            Self::CustomResources => "custom-resources",
            Self::Quotas => "quotas",
            Self::Events => "events",
            Self::Workload(workload) => workload.name(),
        }
    }
}

/// What loops know besides what the API tells.
pub(crate) struct Surroundings {
    /// The certificate of the server's CA, PEM.
    pub(crate) root_ca: String,
    /// Volumes of `paddock.dev/directory` are made below this, not at all without it.
    pub(crate) volumes: Option<PathBuf>,
    /// Up to this revision there is nothing to do for accounts, authorities, tokens and roles: the store is new. `None`: it is not known.
    pub(crate) settled_at: Option<u64>,
}

/// Starts loops; they end when `closing` is cancelled.
pub(crate) fn spawn(
    wanted: &[Loop],
    api: &Api,
    surroundings: Surroundings,
    closing: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let stop = |task: futures::future::BoxFuture<'static, ()>| {
        let closing = closing.clone();
        async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = task => {}
            }
        }
    };
    let workloads: Vec<Workload> = wanted
        .iter()
        .filter_map(|which| if let Loop::Workload(workload) = which { Some(*workload) } else { None })
        .collect();
    let Surroundings { root_ca, volumes, settled_at } = surroundings;
    let volumes = volumes.filter(|_| workloads.contains(&Workload::Volumes));
    if let Some(root) = &volumes {
        let caller = Caller { api: api.clone(), user: workloads::user(Workload::Volumes).into() };
        tasks.spawn(stop(Box::pin(directories::run(caller, root.clone()))));
    }
    // Those that look after every cluster do not make the others begin.
    let (always, later): (Vec<Workload>, Vec<Workload>) = workloads.into_iter().partition(|w| w.kinds().is_empty());
    for (group, volumes) in [(always, None), (later, volumes)] {
        if !group.is_empty() {
            let surroundings = Surroundings { root_ca: root_ca.clone(), volumes, settled_at };
            tasks.spawn(workloads::run(api.clone(), group, surroundings, closing.clone()));
        }
    }
    for which in wanted {
        tasks.spawn(stop(match which {
            Loop::Namespaces => Box::pin(namespaces::run(Caller::new(api, "namespace-controller"))),
            Loop::GarbageCollection => Box::pin(garbage::run(Caller::new(api, "generic-garbage-collector"))),
            // On a cluster this one is a part of the API server, and has its rights.
            Loop::CustomResources => {
                let user = Arc::new(User::new("system:apiserver", [crate::user::MASTERS]));
                Box::pin(crds::run(Caller { api: api.clone(), user }))
            }
            Loop::Quotas => Box::pin(quotas::run(Caller::new(api, "resourcequota-controller"))),
            Loop::Events => Box::pin(events::run(api.clone())),
            Loop::Workload(_) => continue,
        }));
    }
}

/// A loop's way to the API: its own user, bound to a role of its own as on a cluster, and the same handlers as everyone.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) api: Api,
    user: Arc<User>,
}

impl Caller {
    fn new(api: &Api, name: &str) -> Self {
        Self { api: api.clone(), user: User::service_account("kube-system", name).into() }
    }

    /// One request; the answer's body, or the Status that refused it.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&Value>,
    ) -> Result<Value, Status> {
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        self.send(method, path, query, media, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &str,
        media: &'static str,
        body: Option<&Value>,
    ) -> Result<Value, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media));
        headers.insert(http::header::USER_AGENT, http::HeaderValue::from_static("kube-controller-manager"));
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let received = Received { id: &new_uuid(), method: &method, uri: &uri, headers: &headers, from: None };
        let record = self.api.audit.received(&self.api.clock, received);
        let request = Request {
            method,
            path: path.to_owned(),
            query: Query::parse(Some(query)),
            headers,
            user: self.user.clone(),
            record,
        };
        let mut body = RequestBody::whole(body.map_or_else(Bytes::new, |b| b.to_string().into()));
        let answer = self.api.handle(request, &mut body).await;
        let Some(bytes) = answer.body.whole() else { return Err(Status::internal("the request was dropped")) };
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| Status::internal(e.to_string()))?;
        if answer.code < 400 {
            return Ok(value);
        }
        let reason = match value["reason"].as_str() {
            Some("NotFound") => "NotFound",
            Some("AlreadyExists") => "AlreadyExists",
            Some("Conflict") => "Conflict",
            _ => "",
        };
        Err(Status::new(answer.code, reason, value["message"].as_str().unwrap_or_default()))
    }
}

/// The path of a collection or, with a name, of an object.
pub(crate) fn path(resource: &Resource, namespace: &str, name: &str) -> String {
    let mut path = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    if !namespace.is_empty() {
        path.push_str(&format!("/namespaces/{}", encode(namespace)));
    }
    path.push_str(&format!("/{}", resource.plural));
    if !name.is_empty() {
        path.push_str(&format!("/{}", encode(name)));
    }
    path
}

fn encode(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}
