//! The schemas of the built-in kinds: generated data (`schemas/*.json.gz`, see `examples/generate_schemas.rs`), held
//! compressed in the binary and read on first use.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::sharing::Sharing;
use super::{Definitions, Schema};

static TYPED: &[u8] = include_bytes!("../../schemas/typed.json.gz");

/// Definitions and, by group, version and kind, the name of the definition.
struct Builtin {
    definitions: Arc<Definitions>,
    kinds: HashMap<(String, String, String), String>,
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    let mut kinds = HashMap::new();
    let mut definitions = Definitions::new();
    let mut nodes = Sharing::default();
    for (name, node) in read(TYPED) {
        for gvk in node["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |key: &str| gvk[key].as_str().unwrap_or_default().to_owned();
            kinds.insert((text("group"), text("version"), text("kind")), name.clone());
        }
        definitions.insert(name, nodes.read(&node).unwrap_or_default());
    }
    Builtin { definitions: Arc::new(definitions), kinds }
});

/// The generated file's definitions.
fn read(packed: &[u8]) -> BTreeMap<String, Value> {
    let mut text = Vec::new();
    let read = flate2::read::GzDecoder::new(packed).read_to_end(&mut text);
    debug_assert!(read.is_ok(), "the generated schemas are damaged");
    serde_json::from_slice(&text).unwrap_or_default()
}

/// All definitions of built-in kinds, by their Kubernetes names (`io.k8s.api.core.v1.Pod`).
pub fn definitions() -> Arc<Definitions> {
    BUILTIN.definitions.clone()
}

/// Name of the definition of a kind (`io.k8s.api.core.v1.Pod`), when it is built in.
pub fn definition_name(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    BUILTIN.kinds.get(&(group.to_owned(), version.to_owned(), kind.to_owned())).map(String::as_str)
}

/// Schema of a built-in kind and where its references lead. A kind that is not built in has an empty schema: anything
/// goes.
pub fn builtin(group: &str, version: &str, kind: &str) -> (Arc<Definitions>, Arc<Schema>) {
    let schema = definition_name(group, version, kind).and_then(|name| BUILTIN.definitions.get(name)).cloned();
    (definitions(), schema.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Typed;

    #[test]
    fn every_reference_leads_to_a_definition() {
        let text = serde_json::to_string(&read(TYPED)).unwrap();
        let definitions = definitions();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_cursor_follows_references_into_a_pod() {
        let (definitions, schema) = builtin("", "v1", "Pod");
        let pod = Typed::new(&definitions, &schema);
        let ports = pod.property("spec").unwrap().property("containers").unwrap().items().unwrap().property("ports");
        let ports = ports.unwrap();
        assert_eq!(ports.node.list_map_keys, ["containerPort", "protocol"]);
        assert_eq!(ports.items().unwrap().property("protocol").unwrap().node.default, Some("TCP".into()));
    }

    #[test]
    fn a_kind_that_is_not_built_in_has_an_empty_schema() {
        assert!(builtin("example.com", "v1", "Pod").1.properties.is_empty());
    }
}
