//! A webhook: an HTTPS listener in this process that answers what it is told and remembers what it was asked.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use paddock_pki::{CertificateAuthority, LeafRequest, SubjectAltName, Usage};
use paddock_serve::{Listener, Options, Tls, TlsSource, serve};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What comes back for a review.
pub(super) enum Reply {
    /// `response`, its uid filled in.
    Response(Value),
    /// This status and body.
    Raw(u16, &'static str),
    /// Allowed, and the connection is closed.
    Last,
    /// Nothing, ever.
    Silence,
}

type Answer = Arc<dyn Fn(&str, &Value) -> Reply + Send + Sync>;

/// A running listener; it ends with this value.
pub(super) struct Listening {
    pub(super) url: String,
    pub(super) authority: CertificateAuthority,
    calls: Arc<Mutex<Vec<Value>>>,
    _stop: DropGuard,
}

impl Listening {
    /// `answer` is given the path and the request of the review.
    pub(super) async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_name("127.0.0.1", answer).await
    }

    /// With a certificate for another name.
    pub(super) async fn with_name(name: &str, answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let now = Timestamp::now();
        let authority =
            CertificateAuthority::generate("hooks", now, SignedDuration::from_hours(1)).expect("an authority");
        let name = SubjectAltName::from(name);
        let leaf = authority
            .issue(&LeafRequest {
                common_name: "hook".to_owned(),
                organization: None,
                organizational_unit: None,
                names: BTreeSet::from([name]),
                usage: Usage::Server,
                now,
                not_after: now + SignedDuration::from_hours(1),
            })
            .expect("a leaf");
        let tls = Tls::from_pem(leaf.certificate_pem.as_bytes(), leaf.key_pem.expose().as_bytes(), None)
            .expect("TLS material");
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let url = format!("https://{}", listener.local_addr());
        let calls = Arc::<Mutex<Vec<Value>>>::default();
        let (answer, seen): (Answer, _) = (Arc::new(answer), calls.clone());
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (answer, seen) = (answer.clone(), seen.clone());
            async move { Ok::<_, Infallible>(respond(&*answer, &seen, request).await) }
        });
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Some(TlsSource::new(tls)), service, Options::default(), stop.clone()));
        Self { url, authority, calls, _stop: stop.drop_guard() }
    }

    /// The `caBundle` that believes this listener.
    pub(super) fn bundle(&self) -> String {
        STANDARD.encode(self.authority.certificate_pem())
    }

    /// The reviews so far; `query` is the request's, added to each.
    pub(super) fn calls(&self) -> Vec<Value> {
        self.calls.lock().expect("no test panics with it").clone()
    }

    /// A webhook of this listener about ConfigMaps; `more` is merged in.
    pub(super) fn webhook(&self, name: &str, more: Value) -> Value {
        let mut webhook = json!({
            "name": format!("{name}.hooks.example.com"),
            "clientConfig": {"url": format!("{}/{name}", self.url), "caBundle": self.bundle()},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        });
        for (key, value) in more.as_object().expect("an object") {
            webhook[key] = value.clone();
        }
        webhook
    }
}

async fn respond(
    answer: &(dyn Fn(&str, &Value) -> Reply + Send + Sync),
    seen: &Mutex<Vec<Value>>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let mut review: Value = serde_json::from_slice(&body).expect("a review");
    let reply = answer(path.trim_start_matches('/'), &review["request"]);
    let uid = review["request"]["uid"].clone();
    review["query"] = query.into();
    seen.lock().expect("no test panics with it").push(review);
    let last = matches!(reply, Reply::Last);
    let mut answer = match reply {
        Reply::Last => reviewed(json!({"allowed": true, "uid": uid})),
        Reply::Response(mut response) => {
            if response["uid"].is_null() {
                response["uid"] = uid;
            }
            reviewed(response)
        }
        Reply::Raw(code, body) => Response::builder().status(code).body(Full::from(body)).expect("a response"),
        Reply::Silence => std::future::pending().await,
    };
    if last {
        answer.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
    }
    answer
}

fn reviewed(response: Value) -> Response<Full<Bytes>> {
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Response::new(Full::from(body.to_string()))
}

/// A response that allows with a JSON patch.
pub(super) fn patch(operations: Value) -> Reply {
    let patch = STANDARD.encode(operations.to_string());
    Reply::Response(json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

/// A response that allows.
pub(super) fn allow() -> Reply {
    Reply::Response(json!({"allowed": true}))
}
