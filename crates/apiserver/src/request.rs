//! The request line: path → resource, subresource and name; query → options; Accept → answer format. Pure.
//!
//! The grammar is that of `k8s.io/apiserver/pkg/endpoints/request.RequestInfo`.

use http::{HeaderMap, Method};

use crate::status::Status;

/// What a request wants to do, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// Changes of a collection.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// One object.
    Delete,
    /// A collection.
    DeleteCollection,
}

impl Verb {
    /// As RBAC rules and discovery write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A path below `/api/v1` or `/apis/GROUP/VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePath {
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Namespace, empty when the path has none.
    pub namespace: String,
    /// Object name, empty for a collection.
    pub name: String,
    /// Subresource, empty for the object itself.
    pub subresource: String,
    /// What follows the subresource (`proxy/…`): no resource of ours has any.
    pub rest: bool,
    /// The deprecated `/watch/` prefix was used.
    pub legacy_watch: bool,
}

/// Splits a path into decoded, non-empty segments. `None`: a segment is not valid UTF-8 after decoding.
pub fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .filter(|s| !s.is_empty())
        .map(|s| percent_encoding::percent_decode_str(s).decode_utf8().ok().map(std::borrow::Cow::into_owned))
        .collect()
}

impl ResourcePath {
    /// Parses segments of a path; `None` when they do not reach as far as a resource.
    pub fn parse(segments: &[String]) -> Option<Self> {
        let (group, version, mut parts) = match segments {
            [api, version, rest @ ..] if api == "api" => (String::new(), version.clone(), rest),
            [apis, group, version, rest @ ..] if apis == "apis" => (group.clone(), version.clone(), rest),
            _ => return None,
        };
        let legacy_watch = parts.first().is_some_and(|p| p == "watch") && parts.len() > 1;
        if legacy_watch {
            parts = &parts[1..];
        }
        let mut namespace = String::new();
        if let [first, ns, rest @ ..] = parts
            && first == "namespaces"
            && !rest.is_empty()
            && !matches!(rest[0].as_str(), "status" | "finalize")
        {
            namespace.clone_from(ns);
            parts = rest;
        }
        let at = |i: usize| parts.get(i).cloned().unwrap_or_default();
        Some(Self {
            group,
            version,
            resource: parts.first()?.clone(),
            namespace,
            name: at(1),
            subresource: at(2),
            rest: parts.len() > 3,
            legacy_watch,
        })
    }

    /// The verb of a method on this path; `None`: the method is not served there.
    pub fn verb(&self, method: &Method, query: &Query) -> Option<Verb> {
        let collection = self.name.is_empty();
        Some(match *method {
            Method::GET if self.legacy_watch => Verb::Watch,
            Method::GET if collection && query.flag("watch") => Verb::Watch,
            Method::GET if collection => Verb::List,
            Method::GET => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if collection => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            _ => return None,
        })
    }
}

/// Decoded query parameters, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part behind `?`.
    pub fn parse(raw: Option<&str>) -> Self {
        Self(form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value, empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }

    /// The first value if the parameter is there at all.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// All values of a repeated parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// A boolean as Go's conversion reads it: present and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.find(name).is_some_and(|v| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// An integer option; one that does not parse is a 400.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: std::num::ParseIntError| {
                use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                let why = match error.kind() {
                    PosOverflow | NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
            }),
        }
    }
}

/// What the body of an answer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}

/// What an object is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The object or list itself.
    Object,
    /// `meta.k8s.io` Table.
    Table,
    /// `PartialObjectMetadata` (or its list, for collections).
    Metadata,
}

/// The negotiated answer format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How it is written.
    pub encoding: Encoding,
    /// What is written.
    pub shape: Shape,
    /// Version of `meta.k8s.io` that was asked for.
    pub meta_version: &'static str,
}

impl Format {
    /// Plain JSON.
    pub const JSON: Self = Self { encoding: Encoding::Json, shape: Shape::Object, meta_version: "v1" };

    /// Chooses the first clause of Accept (by quality) that can be served. `collection`: a list is asked for.
    pub fn negotiate(headers: &HeaderMap, collection: bool) -> Result<Self, Status> {
        let accept =
            headers.get_all(http::header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(",");
        if accept.trim().is_empty() {
            return Ok(Self::JSON);
        }
        let mut clauses: Vec<Clause<'_>> = accept.split(',').take(64).filter_map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let mut known_type = false;
        for clause in &clauses {
            let encoding = match clause.media {
                "application/json" | "application/*" | "*/*" => Encoding::Json,
                "application/yaml" => Encoding::Yaml,
                _ => continue,
            };
            known_type = true;
            if let Some((shape, meta_version)) = clause.shape(collection) {
                return Ok(Self { encoding, shape, meta_version });
            }
        }
        if known_type {
            return Err(Status::new(
                406,
                "NotAcceptable",
                "only the following media types are accepted: application/json, application/yaml",
            ));
        }
        Err(Status::new(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml",
        )
        .with(crate::status::Details::default()))
    }
}

/// One clause of an Accept header.
pub(crate) struct Clause<'a> {
    pub(crate) media: &'a str,
    params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|m| !m.is_empty())?;
        let params: Vec<_> = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
        let quality = params.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
        Some(Self { media, params, quality })
    }

    pub(crate) fn param(&self, name: &str) -> &'a str {
        self.params.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| v)
    }

    fn shape(&self, collection: bool) -> Option<(Shape, &'static str)> {
        let kind = self.param("as");
        if kind.is_empty() {
            return Some((Shape::Object, "v1"));
        }
        let version = match (self.param("g"), self.param("v")) {
            ("meta.k8s.io", "v1") => "v1",
            ("meta.k8s.io", "v1beta1") => "v1beta1",
            _ => return None,
        };
        match (kind, collection) {
            ("Table", _) => Some((Shape::Table, version)),
            ("PartialObjectMetadata", false) | ("PartialObjectMetadataList", true) => Some((Shape::Metadata, version)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<ResourcePath> {
        ResourcePath::parse(&segments(text)?)
    }

    fn accept(value: &str, collection: bool) -> Result<Format, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, value.parse().unwrap());
        Format::negotiate(&headers, collection).map_err(|s| s.code)
    }

    #[test]
    fn a_namespaced_object_has_group_namespace_and_name() {
        let p = path("/apis/apps/v1/namespaces/a/deployments/d/scale").unwrap();
        assert_eq!(
            (p.group, p.version, p.namespace, p.resource, p.name, p.subresource),
            ("apps".into(), "v1".into(), "a".into(), "deployments".into(), "d".into(), "scale".into())
        );
    }

    #[test]
    fn a_namespace_is_an_object_of_its_own() {
        let p = path("/api/v1/namespaces/a").unwrap();
        assert_eq!((p.resource.as_str(), p.name.as_str(), p.namespace.as_str()), ("namespaces", "a", ""));
    }

    #[test]
    fn status_and_finalize_of_a_namespace_are_subresources() {
        let p = path("/api/v1/namespaces/a/finalize").unwrap();
        assert_eq!((p.resource.as_str(), p.name.as_str(), p.subresource.as_str()), ("namespaces", "a", "finalize"));
    }

    #[test]
    fn doubled_and_trailing_slashes_are_ignored() {
        assert_eq!(path("//api/v1//pods/"), path("/api/v1/pods"));
    }

    #[test]
    fn the_watch_prefix_watches() {
        let p = path("/api/v1/watch/namespaces/a/secrets").unwrap();
        assert_eq!(p.verb(&Method::GET, &Query::default()), Some(Verb::Watch));
    }

    #[test]
    fn invalid_utf8_in_a_path_is_refused() {
        assert_eq!(segments("/api/v1/%ff"), None);
    }

    #[test]
    fn quality_orders_what_is_acceptable() {
        assert_eq!(accept("image/png, application/json;q=0.5", true).map(|f| f.encoding), Ok(Encoding::Json));
    }

    #[test]
    fn a_list_is_never_a_single_partial_object() {
        assert_eq!(accept("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", true), Err(406));
    }

    #[test]
    fn the_first_table_clause_wins_over_plain_json() {
        let format = accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", true).unwrap();
        assert_eq!(format.shape, Shape::Table);
    }

    #[test]
    fn an_unknown_media_type_is_not_acceptable() {
        assert_eq!(accept("text/plain", true), Err(406));
    }
}
