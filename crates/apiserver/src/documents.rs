//! Paths that name no resource: health, version, discovery and OpenAPI. Documents made from the registry are cached until the
//! registry changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::api::{Answer, Api, CRDS, Request, yaml};
use crate::registry::Served;
use crate::request::{Encoding, Format};
use crate::resource::Resource;
use crate::status::Status;
use crate::{authn, discovery, openapi};

/// Cached documents of one generation of the registry.
#[derive(Default)]
pub(crate) struct Documents(Mutex<(u64, HashMap<String, Document>)>);

/// One document as it goes out.
#[derive(Clone)]
struct Document {
    bytes: Bytes,
    etag: String,
}

/// What a health path checks, in the order of its answer.
const CHECKS: &[&str] = &["ping", "log", "etcd"];

impl Documents {
    pub(crate) fn answer(&self, api: &Api, request: &Request, segments: &[String]) -> Answer {
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if request.method != Method::GET && request.method != Method::HEAD {
            return Status::method_not_allowed().into();
        }
        if let [check @ ("healthz" | "livez" | "readyz"), rest @ ..] = path.as_slice() {
            return health(api, request, check, rest);
        }
        let served = api.registry.served();
        let custom = |resource: &Resource| custom_schema(api, resource);
        match path.as_slice() {
            [] => root_paths(&served),
            ["metrics"] => Answer {
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                ..Answer::text(200, crate::metrics::page(api))
            },
            ["tlsz"] => match &api.startup {
                Some(startup) => Answer::json(200, &startup.report()),
                None => not_found(),
            },
            ["version"] => Answer::json(200, &discovery::version()),
            ["api" | "apis"] if discovery::aggregated_version(&request.headers).is_some() => {
                let version = discovery::aggregated_version(&request.headers).unwrap_or("v2");
                let key = format!("{}?{version}", path[0]);
                let document =
                    self.cached(&served, &key, || discovery::aggregated(&served.resources, path[0] == "api", version));
                let content_type = match version {
                    "v2beta1" => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
                    _ => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                };
                conditional(request, document, content_type)
            }
            ["api"] => self.negotiated(request, &served, "api", |_| Some(discovery::api_versions())),
            ["apis"] => self.negotiated(request, &served, "apis", |s| Some(discovery::group_list(&s.resources))),
            ["api", version] => self
                .negotiated(request, &served, &path.join("/"), |s| discovery::resource_list(&s.resources, "", version)),
            ["apis", group] => {
                self.negotiated(request, &served, &path.join("/"), |s| discovery::group(&s.resources, group))
            }
            ["apis", group, version] => self.negotiated(request, &served, &path.join("/"), |s| {
                discovery::resource_list(&s.resources, group, version)
            }),
            [".well-known", "openid-configuration"] => {
                let host = api.address.get().map_or_else(|| authn::ISSUER_HOST.to_owned(), ToString::to_string);
                public("application/json", &authn::openid_configuration(&host))
            }
            ["openid", "v1", "jwks"] => match api.tokens.key_set() {
                Ok(keys) => public("application/jwk-set+json", &keys),
                Err(error) => Status::internal(error.to_string()).into(),
            },
            ["openapi", "v2"] => {
                let document = openapi::v2(&served.resources, &custom);
                if accepts(request, openapi::protobuf::MEDIA_TYPE) {
                    let bytes = openapi::protobuf::document(&document).into();
                    conditional(request, Document::of(bytes), openapi::protobuf::CONTENT_TYPE)
                } else {
                    conditional(request, Document::new(&document), "application/json")
                }
            }
            ["openapi", "v3"] => conditional(
                request,
                self.cached(&served, "openapi/v3", || openapi::v3_index(&served.resources, served.generation)),
                "application/json",
            ),
            ["openapi", "v3", rest @ ..] => {
                // Large and asked for once by a client: made anew, never kept.
                match openapi::v3_document(&served.resources, &rest.join("/"), &custom) {
                    Some(document) => conditional(request, Document::new(&document), "application/json"),
                    None => not_found(),
                }
            }
            _ => not_found(),
        }
    }

    fn cached(&self, served: &Served, key: &str, make: impl FnOnce() -> Value) -> Document {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.0 != served.generation {
            *cache = (served.generation, HashMap::new());
        }
        cache.1.entry(key.to_owned()).or_insert_with(|| Document::new(&make())).clone()
    }

    fn negotiated(
        &self,
        request: &Request,
        served: &Served,
        key: &str,
        make: impl FnOnce(&Served) -> Option<Value>,
    ) -> Answer {
        let format = match Format::negotiate(&request.headers, false) {
            Ok(format) => format,
            Err(status) => return status.into(),
        };
        // What is not there is not cached either: a client chooses its name.
        let Some(value) = make(served) else { return missing(served, key) };
        match format.encoding {
            Encoding::Json => Answer::bytes(200, self.cached(served, key, || value).bytes),
            Encoding::Yaml => yaml(200, &value).unwrap_or_else(Answer::from),
        }
    }
}

impl Document {
    fn new(value: &Value) -> Self {
        Self::of(Bytes::from(value.to_string()))
    }

    fn of(bytes: Bytes) -> Self {
        Self { etag: format!("\"{}\"", openapi::hash(&bytes)), bytes }
    }
}

/// The schema of a custom kind as its CRD holds it, descriptions and all.
fn custom_schema(api: &Api, resource: &Resource) -> Option<Value> {
    let crd = api.lookup(CRDS, "", &format!("{}.{}", resource.plural, resource.group))?;
    let version = crd["spec"]["versions"].as_array()?.iter().find(|v| v["name"] == *resource.version)?;
    version.pointer("/schema/openAPIV3Schema").cloned()
}

/// A version that a known group does not have is an API error; everything else is no API path at all.
fn missing(served: &Served, path: &str) -> Answer {
    let group = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", _] => "",
        ["apis", group, _] => *group,
        _ => return not_found(),
    };
    if served.has_group(group) { Status::no_such_resource().into() } else { not_found() }
}

/// Whether the client names this media type.
fn accepts(request: &Request, media: &str) -> bool {
    let accept = request.headers.get(http::header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.trim() == media)
}

/// What anyone may keep for an hour: how to check the tokens of service accounts.
fn public(content_type: &'static str, value: &Value) -> Answer {
    let headers = vec![("cache-control", "public, max-age=3600".to_owned())];
    Answer { content_type, headers, ..Answer::json(200, value) }
}

fn not_found() -> Answer {
    Answer::text(404, "404 page not found\n")
}

fn conditional(request: &Request, document: Document, content_type: &'static str) -> Answer {
    let matched =
        request.headers.get(http::header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(&document.etag);
    let mut answer = if matched { Answer::empty(304) } else { Answer::bytes(200, document.bytes) };
    answer.content_type = content_type;
    answer.headers.push(("etag", document.etag));
    answer.headers.push(("vary", "Accept".to_owned()));
    answer
}

/// The list of paths at `/`.
fn root_paths(served: &Arc<Served>) -> Answer {
    let mut paths = vec!["/api".to_owned(), "/apis".to_owned()];
    for (group, version) in served.versions() {
        if group.is_empty() {
            paths.push(format!("/api/{version}"));
        } else {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for path in [
        "/.well-known/openid-configuration",
        "/openid/v1/jwks",
        "/healthz",
        "/livez",
        "/readyz",
        "/openapi/v2",
        "/openapi/v3",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    paths.sort();
    paths.dedup();
    Answer::json(200, &json!({"paths": paths}))
}

/// `/healthz`, `/livez`, `/readyz`, each with `?verbose`, `?exclude=` and `/CHECK`.
fn health(api: &Api, request: &Request, name: &str, rest: &[&str]) -> Answer {
    let passes = |check: &str| match check {
        "etcd" => api.store.is_open(),
        _ => true,
    };
    match rest {
        [] => {}
        [check] if CHECKS.contains(check) => {
            return if passes(check) {
                Answer::text(200, "ok")
            } else {
                Answer::text(500, format!("{name} check failed\n"))
            };
        }
        _ => return not_found(),
    }
    let excluded: Vec<&str> = request.query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = Vec::new();
    for check in CHECKS {
        if excluded.contains(check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(check) {
            lines.push_str(&format!("[+]{check} ok\n"));
        } else {
            lines.push_str(&format!("[-]{check} failed: the store is closed\n"));
            failed.push(*check);
        }
    }
    for unknown in excluded.iter().filter(|e| !CHECKS.contains(e)) {
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {unknown:?}\n"));
    }
    if !failed.is_empty() {
        return Answer::text(500, format!("{lines}{name} check failed\n"));
    }
    if request.query.find("verbose").is_some() {
        return Answer::text(200, format!("{lines}{name} check passed\n"));
    }
    Answer::text(200, "ok")
}
