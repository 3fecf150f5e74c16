//! What kube-controller-manager does for every namespace and object: namespaces get their ServiceAccount and root CA and are
//! emptied at their end, dependents follow their owners, objects of a deleted CustomResourceDefinition go, aggregated ClusterRoles
//! get their rules, quotas are counted, Secrets get their tokens.
//!
//! Each loop is level-triggered: an event only says where to look; what is done follows from what is there. They speak to the
//! API as any client, under their own user names, so the request log and faults see them.

mod aggregation;
mod crds;
mod directories;
mod garbage;
mod graph;
mod namespaces;
mod quotas;
mod tokens;
mod workloads;

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, Method};
use paddock_workloads::Workload;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Request};
use crate::incoming::RequestBody;
use crate::request::Query;
use crate::resource::Resource;
use crate::status::Status;
use crate::user::User;

/// One of the server's own loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// Gives each namespace its ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`, empties it at its end.
    Namespaces,
    /// Deletes dependents whose owners are gone; foreground and orphaning deletion.
    GarbageCollection,
    /// Deletes the objects of a CustomResourceDefinition that is being deleted.
    CustomResources,
    /// Fills the rules of aggregated ClusterRoles.
    ClusterRoleAggregation,
    /// Counts what the objects of a namespace use of its quotas.
    Quotas,
    /// Fills Secrets of the type `kubernetes.io/service-account-token`.
    ServiceAccountTokens,
    /// A controller of workloads, their endpoints or volumes.
    Workload(Workload),
}

impl Loop {
    /// Those of the server itself.
    const OWN: [Self; 6] = [
        Self::Namespaces,
        Self::GarbageCollection,
        Self::CustomResources,
        Self::ClusterRoleAggregation,
        Self::Quotas,
        Self::ServiceAccountTokens,
    ];

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
            Self::ClusterRoleAggregation => "clusterrole-aggregation",
            Self::Quotas => "quotas",
            Self::ServiceAccountTokens => "service-account-tokens",
            Self::Workload(workload) => workload.name(),
        }
    }
}

/// Starts loops; they end when `closing` is cancelled. Volumes of `paddock.dev/directory` are made below `volumes`, not at all without it.
pub(crate) fn spawn(
    wanted: &[Loop],
    api: &Api,
    root_ca: &str,
    volumes: Option<PathBuf>,
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
    if !workloads.is_empty() {
        let volumes = volumes.filter(|_| workloads.contains(&Workload::Volumes));
        if let Some(root) = &volumes {
            let caller = Caller::new(api, Workload::Volumes.account());
            tasks.spawn(stop(Box::pin(directories::run(caller, root.clone()))));
        }
        tasks.spawn(workloads::run(api.clone(), workloads, volumes, closing.clone()));
    }
    for which in wanted {
        tasks.spawn(stop(match which {
            Loop::Namespaces => {
                let callers = namespaces::Callers {
                    life: Caller::new(api, "namespace-controller"),
                    accounts: Caller::new(api, "service-account-controller"),
                    maps: Caller::new(api, "root-ca-cert-publisher"),
                };
                Box::pin(namespaces::run(callers, root_ca.to_owned()))
            }
            Loop::GarbageCollection => Box::pin(garbage::run(Caller::new(api, "generic-garbage-collector"))),
            // On a cluster this one is a part of the API server, and has its rights.
            Loop::CustomResources => {
                let user = User::new("system:apiserver", [crate::user::MASTERS]);
                Box::pin(crds::run(Caller { api: api.clone(), user }))
            }
            Loop::ClusterRoleAggregation => {
                Box::pin(aggregation::run(Caller::new(api, "clusterrole-aggregation-controller")))
            }
            Loop::Quotas => Box::pin(quotas::run(Caller::new(api, "resourcequota-controller"))),
            // On a cluster this one has no account of its own: it is what makes accounts usable.
            Loop::ServiceAccountTokens => {
                let user = User::new("system:kube-controller-manager", [] as [&str; 0]);
                Box::pin(tokens::run(Caller { api: api.clone(), user }, root_ca.to_owned()))
            }
            Loop::Workload(_) => continue,
        }));
    }
}

/// A loop's way to the API: its own user, bound to a role of its own as on a cluster, and the same handlers as everyone.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) api: Api,
    user: User,
}

impl Caller {
    fn new(api: &Api, name: &str) -> Self {
        Self { api: api.clone(), user: User::service_account("kube-system", name) }
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

    /// Server-side apply as `manager`, who takes over fields of others.
    async fn apply(&self, path: &str, manager: &str, config: &Value) -> Result<Value, Status> {
        let query = format!("force=true&fieldManager={manager}");
        self.send(Method::PATCH, path, &query, "application/apply-patch+yaml", Some(config)).await
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
        let request = Request {
            method,
            path: path.to_owned(),
            query: Query::parse(Some(query)),
            headers,
            user: self.user.clone(),
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
