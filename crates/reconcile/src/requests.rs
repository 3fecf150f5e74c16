//! Counts what is asked of the API server, by verb, resource and answer. Changes nothing on the way.

use http::{Method, Request, Uri};
use kube::client::Body;
use tower::service_fn;

use crate::metrics::Metrics;

/// The same client, whose requests are counted.
pub(crate) fn counted(client: kube::Client, metrics: &Metrics) -> kube::Client {
    let (namespace, metrics) = (client.default_namespace().to_owned(), metrics.clone());
    let service = service_fn(move |request: Request<Body>| {
        let (client, metrics) = (client.clone(), metrics.clone());
        async move {
            let (verb, resource) = asked(request.method(), request.uri());
            let answer = client.send(request).await;
            metrics.request(verb, resource, answer.as_ref().ok().map(|response| response.status()));
            answer
        }
    });
    kube::Client::new(service, namespace)
}

/// What is asked: the verb as the API server's own rules call it, and the resource; without one the resource is empty.
fn asked(method: &Method, uri: &Uri) -> (&'static str, String) {
    let (resource, named) = resource(uri.path()).unwrap_or(("", true));
    let verb = match *method {
        Method::GET if uri.query().is_some_and(watches) => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, resource.to_owned())
}

fn watches(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

/// The resource of `/api/v1/…` and `/apis/GROUP/VERSION/…`, and whether one object of it is named.
fn resource(path: &str) -> Option<(&str, bool)> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match parts.next()? {
        "api" => parts.next(),
        "apis" => parts.next().and_then(|_| parts.next()),
        _ => None,
    }?;
    let rest: Vec<&str> = parts.take(4).collect();
    match rest.as_slice() {
        ["namespaces", _, resource, names @ ..] | [resource, names @ ..] => Some((resource, !names.is_empty())),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_verb_that_rights_are_given_for() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/namespaces", ("list", "namespaces")),
            (Method::GET, "/api/v1/namespaces/a", ("get", "namespaces")),
            (Method::GET, "/api/v1/namespaces/a/secrets?limit=500", ("list", "secrets")),
            (Method::GET, "/api/v1/namespaces/a/secrets/b", ("get", "secrets")),
            (Method::GET, "/apis/apps/v1/statefulsets?labelSelector=watch%3Dtrue", ("list", "statefulsets")),
            (Method::GET, "/apis/apps/v1/statefulsets?timeoutSeconds=290&watch=true", ("watch", "statefulsets")),
            (Method::GET, "/apis/apps/v1/namespaces/a/statefulsets/b/status", ("get", "statefulsets")),
            (Method::GET, "/version", ("get", "")),
            (Method::GET, "/apis/apps", ("get", "")),
            (Method::POST, "/api/v1/namespaces/a/secrets", ("create", "secrets")),
            (Method::PATCH, "/api/v1/namespaces/a/secrets/b", ("patch", "secrets")),
            (Method::OPTIONS, "/", ("other", "")),
        ] {
            let (verb, resource) = asked(&method, &uri.parse().expect("an address"));
            assert_eq!((verb, resource.as_str()), expected, "{method} {uri}");
        }
    }
}
