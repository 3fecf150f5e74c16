//! Counts what is asked of the API server, by verb and answer. Changes nothing on the way.

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
            let verb = verb(request.method(), request.uri());
            let answer = client.send(request).await;
            metrics.request(verb, answer.as_ref().ok().map(|response| response.status()));
            answer
        }
    });
    kube::Client::new(service, namespace)
}

/// The verb as the API server's own rules call it; of what is no resource that is `get`, too.
fn verb(method: &Method, uri: &Uri) -> &'static str {
    match *method {
        Method::GET if uri.query().is_some_and(watches) => "watch",
        Method::GET if is_collection(uri.path()) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

fn watches(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

/// `/api/v1/…` and `/apis/GROUP/VERSION/…` with a resource at the end and no name.
fn is_collection(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let skipped = match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.next().and_then(|_| parts.next()),
        _ => None,
    };
    let rest: Vec<&str> = parts.take(4).collect();
    let below = match rest.as_slice() {
        ["namespaces", _, below @ ..] if !below.is_empty() => below,
        all => all,
    };
    skipped.is_some() && below.len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_verb_that_rights_are_given_for() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/namespaces", "list"),
            (Method::GET, "/api/v1/namespaces/a", "get"),
            (Method::GET, "/api/v1/namespaces/a/secrets?limit=500", "list"),
            (Method::GET, "/api/v1/namespaces/a/secrets/b", "get"),
            (Method::GET, "/apis/apps/v1/statefulsets?labelSelector=watch%3Dtrue", "list"),
            (Method::GET, "/apis/apps/v1/statefulsets?timeoutSeconds=290&watch=true", "watch"),
            (Method::GET, "/apis/apps/v1/namespaces/a/statefulsets/b/status", "get"),
            (Method::GET, "/version", "get"),
            (Method::GET, "/apis/apps", "get"),
            (Method::POST, "/api/v1/namespaces/a/secrets", "create"),
            (Method::PATCH, "/api/v1/namespaces/a/secrets/b", "patch"),
            (Method::OPTIONS, "/", "other"),
        ] {
            assert_eq!(verb(&method, &uri.parse().expect("an address")), expected, "{method} {uri}");
        }
    }
}
