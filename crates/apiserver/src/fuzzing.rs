//! What fuzzers call: one function for every parser of foreign bytes, and the rule that must hold for all bytes. Only compiled
//! for tests and with the feature `fuzzing`; the fuzzers themselves are in the repository's `fuzz/`.
//!
//! A target panics when the rule is broken, and on nothing else. Targets that need two inputs split at the first newline.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderValue, Method, header};
use paddock_cel::{Budget, Env, Type};
use serde_json::{Value, json};

use crate::api::Request;
use crate::authn::Claims;
use crate::incoming::RequestBody;
use crate::patch::{PatchType, apply_patch};
use crate::request::{Query, ResourcePath, segments};
use crate::resource::{Cx, Lookup, Resource};
use crate::schema::{Typed, body, decode, quantity};
use crate::selector::{FieldSelector, LabelSelector};
use crate::server::Server;
use crate::store::{ContinueToken, fuzz_record};
use crate::streaming::spdy::Decoder;
use crate::{crd, kinds, protobuf};

/// Panics when a rule is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, as in `fuzz/fuzz_targets/NAME.rs`.
pub const TARGETS: &[(&str, Target)] = &[
    ("label_selector", label_selector),
    ("field_selector", field_selector),
    ("path", path),
    ("continue_token", continue_token),
    ("body", body),
    ("protobuf_body", protobuf_body),
    ("json_patch", json_patch),
    ("merge_patch", merge_patch),
    ("strategic_patch", strategic_patch),
    ("apply", apply),
    ("quantity", quantity),
    ("token", token),
    ("cel_rule", cel_rule),
    ("admission_answer", admission_answer),
    ("definition", definition),
    ("request", request),
    ("spdy", spdy),
    ("data_record", data_record),
];

/// What is read as a record of the data files is written as the same record.
pub fn data_record(data: &[u8]) {
    fuzz_record(data);
}

/// The frames inside a port-forward do not depend on how their bytes are cut.
pub fn spdy(data: &[u8]) {
    let frames = |step: usize| {
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        for piece in data.chunks(step) {
            decoder.push(piece);
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => out.push(frame),
                    Ok(None) => break,
                    Err(error) => return (out, Some(error)),
                }
            }
        }
        (out, None)
    };
    assert_eq!(frames(usize::MAX), frames(3));
}

/// A selector that is read prints as one that is read again to the same.
pub fn label_selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(selector) = LabelSelector::parse(text) else { return };
    let printed = selector.to_string();
    let again = LabelSelector::parse(&printed).map(|s| s.to_string());
    assert_eq!(again.as_deref(), Ok(printed.as_str()));
}

/// A selector that is read prints as one that can be read. (Not always in the same order: terms are ordered by their text,
/// and `==` prints as `=`.)
pub fn field_selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(selector) = FieldSelector::parse(text) else { return };
    assert!(FieldSelector::parse(&selector.to_string()).is_ok());
}

/// No segment of a path is empty, however it is written.
pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    let query = Query::parse(Some(query));
    let _ = (query.flag("watch"), query.integer("limit"));
    if let Some(parsed) = segments(path).and_then(|segments| ResourcePath::parse(&segments)) {
        assert!(!parsed.resource.is_empty());
        let _ = parsed.verb(&Method::GET, &query);
    }
}

/// A token that is read is written as one that says the same.
pub fn continue_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for namespace in [None, Some("default")] {
        if let Ok(token) = ContinueToken::decode(text, namespace) {
            assert_eq!(ContinueToken::decode(&token.encode(namespace), namespace), Ok(token));
        }
    }
}

/// What is read as JSON is what `serde_json` reads.
pub fn body(data: &[u8]) {
    if let Ok(read) = body::parse(data, body::Format::Json) {
        assert_eq!(serde_json::from_slice::<Value>(data).ok().as_ref(), Some(&read.value));
    }
    let _ = body::parse(data, body::Format::Yaml);
}

/// Only names what it is: an object with version and kind.
pub fn protobuf_body(data: &[u8]) {
    if let Ok(object) = protobuf::decode(data) {
        assert!(object["kind"].is_string());
    }
}

/// `CURRENT\nPATCH`; the result may be refused, and is never out of proportion to both.
pub fn json_patch(data: &[u8]) {
    patch(PatchType::Json, data, None);
}

/// A merge patch that was applied changes nothing when it is applied again (RFC 7386).
pub fn merge_patch(data: &[u8]) {
    let Some(once) = patch(PatchType::Merge, data, None) else { return };
    let (_, patch) = split(data);
    let twice = apply_patch(PatchType::Merge, None, &once, patch).map(|patched| patched.object);
    assert_eq!(twice.ok(), Some(once));
}

/// What a webhook answers: a denial is an error, and who only validates changes nothing.
pub fn admission_answer(data: &[u8]) {
    crate::admission::read_any(data);
}

/// A patch of a Deployment by its merge keys.
pub fn strategic_patch(data: &[u8]) {
    let deployment = resource("deployments");
    patch(PatchType::Strategic, data, Some(Typed::new(&deployment.definitions, &deployment.schema)));
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', data) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (b"{}", data),
    }
}

fn patch(kind: PatchType, data: &[u8], schema: Option<Typed<'_>>) -> Option<Value> {
    let (current, patch) = split(data);
    let current = serde_json::from_slice::<Value>(current).ok().filter(Value::is_object)?;
    apply_patch(kind, schema, &current, patch).ok().map(|patched| patched.object)
}

/// Nobody gets in with bytes that the server did not sign, and claims that it signs are read back as they are.
pub fn token(data: &[u8]) {
    let api = server().1.api();
    let text = String::from_utf8_lossy(data);
    assert!(api.authenticate_token(&text, &[]).is_err());
    let Ok(claims) = serde_json::from_slice::<Claims>(data) else { return };
    let signed = api.tokens.sign(&claims).expect("claims can be signed");
    if let Ok(read) = api.tokens.read(&signed) {
        assert_eq!(read, claims);
    }
    let _ = api.authenticate_token(&signed, &[]);
}

/// What is read as a quantity has a canonical text of the same value. (Not always its own canonical text: `1000001` may be the
/// binary form, as in Kubernetes.)
pub fn quantity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(canonical) = quantity::canonical(text) {
        assert!(quantity::Quantity::parse(&canonical) == quantity::Quantity::parse(text), "{canonical}");
    }
}

/// `RULE\nSELF`: a rule that compiles can be estimated, and costs and answers the same each time it runs.
pub fn cel_rule(data: &[u8]) {
    static ENV: OnceLock<Env> = OnceLock::new();
    let (rule, value) = split(data);
    let (Ok(rule), value) = (std::str::from_utf8(rule), serde_json::from_slice::<Value>(value).unwrap_or_default())
    else {
        return;
    };
    let env = ENV.get_or_init(|| Env::builder().variable("self", Type::Dyn).build());
    let Ok(program) = env.compile(rule) else { return };
    let _ = program.cost(&paddock_cel::cost::UnknownSizes);
    let run = || {
        let mut budget = Budget::new(100_000);
        let value = paddock_cel::Value::from_json(&value, &Type::Dyn).expect("anything is dyn");
        let result = program.evaluate(&[("self", value)], &mut budget);
        (format!("{result:?}"), budget.spent())
    };
    assert_eq!(run(), run());
}

/// A definition that validation lets in can be served, and what it serves can be decoded, defaulted and validated.
/// `DEFINITION\nOBJECT`: the definition may leave out everything but the schema.
pub fn definition(data: &[u8]) {
    let (definition, object) = split(data);
    let Ok(read) = body::parse(definition, body::Format::Json) else { return };
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": read.value}}]},
    });
    let Ok(decoded) = decode::of_resource(resource("customresourcedefinitions"), definition) else { return };
    definition = decoded.value;
    let cx = Cx::new(jiff::Timestamp::UNIX_EPOCH, &Nothing);
    let strategy = &resource("customresourcedefinitions").strategy;
    strategy.default(&mut definition);
    if strategy.prepare_create(&mut definition, &cx).is_err() || !strategy.validate_create(&definition, &cx).is_empty()
    {
        return;
    }
    let served = crd::resources(&definition).expect("what was let in can be served");
    let widgets = served.first().expect("the only version is served");
    let Ok(read) = body::parse(object, body::Format::Json) else { return };
    let Ok(decoded) = decode::of_resource(widgets, read.value) else { return };
    let mut object = decoded.value;
    widgets.strategy.default(&mut object);
    let _ = widgets.strategy.validate_create(&object, &cx);
}

/// `LIVE\nCONFIGURATION`: applied to a ConfigMap of the running server, see [`request`].
pub fn apply(data: &[u8]) {
    let headers = [(header::CONTENT_TYPE, "application/apply-patch+yaml")];
    let path = "/api/v1/namespaces/default/configmaps/a";
    answered(Method::PATCH, path, "fieldManager=fuzz&force=true", &headers, data);
}

/// `METHOD PATH?QUERY\nCONTENT-TYPE\nBODY` to a running server as its administrator: whatever is asked, the answer is not a
/// failure of the server.
pub fn request(data: &[u8]) {
    let (line, rest) = split(data);
    let (content_type, body) = split(rest);
    let line = String::from_utf8_lossy(line);
    let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let content_type = String::from_utf8_lossy(content_type);
    answered(method, path, query, &[(header::CONTENT_TYPE, &content_type)], body);
}

/// One server for all inputs of a process.
fn server() -> &'static (tokio::runtime::Runtime, Server) {
    static SERVER: OnceLock<(tokio::runtime::Runtime, Server)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let server = runtime.block_on(Server::builder().in_memory().loops(false).start()).expect("a server");
        (runtime, server)
    })
}

fn answered(method: Method, path: &str, query: &str, headers: &[(http::HeaderName, &str)], body: &[u8]) {
    let (runtime, server) = server();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.insert(name.clone(), value);
        }
    }
    let request = Request {
        method,
        path: path.to_owned(),
        query: Query::parse(Some(query)),
        headers: map,
        user: crate::User::admin().into(),
        record: None,
    };
    let mut body = RequestBody::whole(body.to_vec());
    let answer = runtime.block_on(server.api().handle(request, &mut body));
    let text = answer.body.whole().map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned());
    // 501 and 504 are answers to what asks for a node or for the future. An apply that does not fit the schema, and a
    // resourceVersion that is no number, are a 500 of kube-apiserver's too.
    let misfit = text.contains("failed to create typed patch object") || text.contains("strconv.ParseUint");
    let sound = answer.code < 500 || matches!(answer.code, 501 | 504) || misfit;
    assert!(sound, "{}: {text}", answer.code);
}

fn resource(plural: &str) -> &'static Resource {
    static ALL: OnceLock<Vec<Resource>> = OnceLock::new();
    let all = ALL.get_or_init(kinds::resources);
    all.iter().find(|r| *r.plural == *plural).expect("a built-in resource")
}

/// An empty store.
struct Nothing;

impl Lookup for Nothing {
    fn get(&self, _storage: &str, _namespace: &str, _name: &str) -> Option<Value> {
        None
    }
    fn list(&self, _storage: &str, _namespace: &str) -> Vec<Value> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::TARGETS;

    /// Inputs that reach far, and every input that once broke a rule: `fuzz/corpus/TARGET/*`.
    #[test]
    fn the_corpus_breaks_no_rule() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let mut ran = 0;
        for (name, target) in TARGETS {
            for file in std::fs::read_dir(root.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")) {
                target(&std::fs::read(file.unwrap().path()).unwrap());
                ran += 1;
            }
        }
        assert!(ran >= TARGETS.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_break_no_rule(data in proptest::collection::vec(any::<u8>(), 0..200), which in 0..TARGETS.len()) {
            TARGETS[which].1(&data);
        }
    }
}
