//! A client that records what passes through it and fails on order: before the request, after the server answered (the
//! lost response), or for good after the n-th write (the crash).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::client::Body;
use paddock_apiserver::request::{Query, ResourcePath, segments};
use tower::service_fn;

/// A request to a resource, as the URL and the method tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: String,
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Object name, empty for collections.
    pub name: String,
    /// Subresource, empty for the object itself.
    pub subresource: String,
    /// Whether it is a watch.
    pub watch: bool,
    /// Whether fields that the server does not know are refused.
    pub strict: bool,
    /// HTTP code of the answer; 0 when none came.
    pub code: u16,
}

impl Request {
    /// From a method and a path with query; `None` when it is not about a resource (discovery, `/version`).
    pub fn parse(method: &str, path: &str, query: &str) -> Option<Self> {
        let path = ResourcePath::parse(&segments(path)?)?;
        Some(Self {
            method: method.to_owned(),
            group: path.group,
            version: path.version,
            resource: path.resource,
            namespace: path.namespace,
            name: path.name,
            subresource: path.subresource,
            watch: path.legacy_watch || Query::parse(Some(query)).flag("watch"),
            strict: Query::parse(Some(query)).get("fieldValidation") == "Strict",
            code: 0,
        })
    }

    /// Whether it changes something. Creating reviews and dry runs count too: a settled controller sends none.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// The collection's path.
    pub fn collection(&self) -> String {
        let prefix = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        format!("{prefix}/{}/{}", self.version, self.resource)
    }
}

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The n-th write never reaches the server.
    Before(usize),
    /// The n-th write is done and its answer is lost.
    ResponseLost(usize),
    /// After the n-th write, answered or not, nothing gets through any more: the process is dead.
    CrashAfter(usize),
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    writes: usize,
    failures: Vec<Failure>,
    crashed: bool,
}

/// What passed through a tapped client, and what is to fail. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tap(Arc<Mutex<State>>);

impl Tap {
    /// Wraps a client.
    pub fn around(client: kube::Client) -> (kube::Client, Self) {
        let tap = Self::default();
        let (inner, namespace) = (tap.clone(), client.default_namespace().to_owned());
        let service = service_fn(move |request: http::Request<Body>| {
            let (client, tap) = (client.clone(), inner.clone());
            async move { tap.pass(client, request).await }
        });
        (kube::Client::new(service, namespace), tap)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a failure. Writes are counted from the last [`Tap::clear`].
    pub fn fail(&self, failure: Failure) {
        self.state().failures.push(failure);
    }

    /// Whether a [`Failure::CrashAfter`] happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Everything that passed since the last [`Tap::clear`], in order of its answers.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The writes among them.
    pub fn writes(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_write).collect()
    }

    /// Forgets what passed and what is to fail.
    pub fn clear(&self) {
        *self.state() = State::default();
    }

    async fn pass(
        &self,
        client: kube::Client,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, kube::Error> {
        let uri = request.uri();
        let seen = Request::parse(request.method().as_str(), uri.path(), uri.query().unwrap_or_default());
        let is_write = seen.as_ref().is_some_and(Request::is_write);
        let (nth, fails_before, loses_answer) = {
            let mut state = self.state();
            state.writes += usize::from(is_write);
            let nth = state.writes;
            let due = |failure: Failure| is_write && state.failures.contains(&failure);
            (nth, state.crashed || due(Failure::Before(nth)), due(Failure::ResponseLost(nth)))
        };
        let broken = |what: &str| kube::Error::Service(format!("trial: {what}").into());
        if fails_before {
            return Err(broken("the connection broke before the request"));
        }
        let answer = client.send(request).await;
        let mut state = self.state();
        if let Some(mut seen) = seen {
            seen.code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            state.requests.push(seen);
        }
        if is_write && state.failures.contains(&Failure::CrashAfter(nth)) {
            state.crashed = true;
        }
        if loses_answer { Err(broken("the answer was lost")) } else { answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> (String, String, String, String, String) {
        let r = Request::parse("GET", path, "").expect("a resource");
        (r.group, r.resource, r.namespace, r.name, r.subresource)
    }

    fn texts(of: [&str; 5]) -> (String, String, String, String, String) {
        let [group, resource, namespace, name, subresource] = of.map(str::to_owned);
        (group, resource, namespace, name, subresource)
    }

    #[test]
    fn resource_paths_are_read() {
        assert_eq!(parsed("/api/v1/namespaces/n"), texts(["", "namespaces", "", "n", ""]));
        assert_eq!(parsed("/api/v1/namespaces/n/status"), texts(["", "namespaces", "", "n", "status"]));
        assert_eq!(parsed("/api/v1/namespaces/n/pods"), texts(["", "pods", "n", "", ""]));
        assert_eq!(
            parsed("/apis/apps/v1/namespaces/n/deployments/d/scale"),
            texts(["apps", "deployments", "n", "d", "scale"])
        );
        assert_eq!(parsed("/apis/apps/v1/deployments"), texts(["apps", "deployments", "", "", ""]));
    }

    #[test]
    fn discovery_is_about_no_resource() {
        for path in ["/version", "/api", "/api/v1", "/apis/apps/v1", "/readyz"] {
            assert_eq!(Request::parse("GET", path, ""), None, "{path}");
        }
    }
}
