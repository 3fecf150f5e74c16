//! Writes `schemas/protobuf.txt.gz`: the field numbers of the built-in kinds' protobuf messages.
//!
//! `cargo run -p paddock-apiserver --example generate_protobuf -- DIRECTORY` with the published source of the k8s-pb crate
//! (`DIRECTORY/src/api/core/v1/mod.rs` …), whose attributes carry the numbers of Kubernetes' `generated.proto` files. Which
//! messages there are and what their fields are called in JSON is in `schemas/typed.json.gz`; which fields count as absent
//! when they are zero is in `schemas/protobuf-omitempty.tsv`. Only these facts are taken; nothing depends on the crate.

#![expect(clippy::print_stdout, reason = "a command line program")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Value};

/// Answers only: no client sends them.
const ANSWERS: &[&str] = &["Status", "APIGroup", "APIVersions"];
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// Fields that are younger than the crate.
const LATER: &[(&str, &str)] = &[
    ("api.core.v1.PodSpec", "43 schedulingGroup api.core.v1.PodSchedulingGroup"),
    ("api.storage.v1.CSIDriverSpec", "11 preventPodSchedulingIfMissing bool"),
];
/// A message that is younger than the crate.
const LATER_MESSAGE: (&str, &str) = ("api.core.v1.PodSchedulingGroup", "1 podGroupName string");

/// Module and letters of the name: `("api.core.v1", "csivolumesource")`.
type Id = (String, String);

struct Message {
    /// The name in the crate's spelling.
    name: String,
    fields: Vec<Field>,
}

struct Field {
    number: u32,
    /// Letters of the name.
    name: String,
    /// prost's words: `message`, `repeated`, `btree_map = "string, message"`.
    words: String,
    of: Option<Id>,
}

/// What is the same in `clusterIPs`, `cluster_i_ps` and `x-kubernetes-…`: lower-case letters and digits.
fn letters(name: &str) -> String {
    name.trim_start_matches("r#").chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The message that a Rust type names: the last path that is not one of prost's or core's wrappers.
fn target(module: &str, of: &str) -> Option<Id> {
    let path = of
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .rfind(|path| !path.is_empty() && !path.starts_with("::"))?;
    let mut at: Vec<&str> = module.split('.').collect();
    let mut parts: Vec<&str> = path.split("::").collect();
    let name = parts.pop()?;
    for part in parts {
        if part == "super" {
            at.pop();
        } else {
            at.push(part);
        }
    }
    Some((at.join("."), letters(name)))
}

fn parse(module: &str, text: &str, messages: &mut HashMap<Id, Rc<Message>>) -> Option<()> {
    let mut lines = text.lines().map(str::trim);
    let mut current: Option<Message> = None;
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("pub struct ") {
            let empty = name.strip_suffix(" {}");
            let name = empty.unwrap_or(name.trim_end_matches(" {")).to_owned();
            let message = Message { name, fields: Vec::new() };
            if empty.is_some() {
                messages.insert((module.to_owned(), letters(&message.name)), Rc::new(message));
            } else {
                current = Some(message);
            }
        } else if let Some(words) = line.strip_prefix("#[prost(") {
            let (words, number) = words.split_once(", tag = \"")?;
            let number = number.trim_end_matches("\")]").parse().ok()?;
            let mut declaration = String::new();
            while !declaration.ends_with(',') || declaration.matches('<').count() != declaration.matches('>').count() {
                declaration += lines.next()?;
            }
            let (name, of) = declaration.strip_prefix("pub ")?.split_once(':')?;
            let of = if words.contains("message") { Some(target(module, of)?) } else { None };
            current.as_mut()?.fields.push(Field { number, name: letters(name), words: words.to_owned(), of });
        } else if line == "}"
            && let Some(message) = current.take()
        {
            messages.insert((module.to_owned(), letters(&message.name)), Rc::new(message));
        }
    }
    Some(())
}

fn walk(directory: &Path, module: &str, messages: &mut HashMap<Id, Rc<Message>>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() {
            walk(&path, &format!("{module}.{name}"), messages)?;
        } else if name == "mod.rs" {
            parse(module, &std::fs::read_to_string(&path)?, messages)
                .ok_or_else(|| format!("{} is not as expected", path.display()))?;
        }
    }
    Ok(())
}

struct Generator {
    messages: HashMap<Id, Rc<Message>>,
    /// Definitions without their `io.k8s.`, by the id of their message.
    definitions: HashMap<Id, (String, Map<String, Value>)>,
    omitempty: BTreeSet<(String, String)>,
    out: BTreeMap<String, String>,
    used: BTreeSet<(String, String)>,
    /// Messages that were visited or are being visited.
    names: HashMap<Id, String>,
}

impl Generator {
    /// Adds a message and all that it leads to; `parent` has the fields of a message that is inlined.
    fn visit(&mut self, id: &Id, parent: &Map<String, Value>) -> Result<String, Box<dyn Error>> {
        if let Some(name) = self.names.get(id) {
            return Ok(name.clone());
        }
        // A kind keeps its numbers when it becomes stable.
        let beta = (id.0.replace(".v1", ".v1beta1"), id.1.clone());
        let message = self.messages.get(id).or_else(|| self.messages.get(&beta)).cloned();
        let message = message.ok_or_else(|| format!("no message {id:?}"))?;
        let (name, properties) = match self.definitions.get(id) {
            Some((name, properties)) => (name.clone(), properties.clone()),
            None => (format!("{}.{}", id.0, message.name), parent.clone()),
        };
        self.names.insert(id.clone(), name.clone());
        let json: HashMap<String, &String> = properties.keys().map(|k| (letters(k), k)).collect();
        let mut fields = Vec::new();
        for field in &message.fields {
            let Some(json_name) = json.get(&field.name) else {
                match self.inlined(field, &json) {
                    Some(of) => fields.push(format!("{} - <{}", field.number, self.visit(&of, &properties)?)),
                    None => println!("{name}: no JSON name for field {} ({})", field.number, field.name),
                }
                continue;
            };
            let mut of = match &field.of {
                None => scalar(&field.words)?.to_owned(),
                Some(of) => match special(&of.1) {
                    Some(special) => {
                        if let Some(props) = special.strip_prefix("Props") {
                            let schema = (of.0.clone(), "jsonschemaprops".to_owned());
                            format!("{props}:{}", self.visit(&schema, &properties)?)
                        } else {
                            special.to_owned()
                        }
                    }
                    None => self.visit(&self.served(of), &properties)?,
                },
            };
            if field.words.starts_with("btree_map") {
                of = format!("{{}}{of}");
            } else if field.words.contains("repeated") {
                of = format!("[]{of}");
            }
            let fact = (name.clone(), (*json_name).clone());
            if self.omitempty.contains(&fact) {
                of += "?";
                self.used.insert(fact);
            }
            fields.push(format!("{} {json_name} {of}", field.number));
        }
        for (letters, json_name) in &json {
            let inherited = matches!(json_name.as_str(), "kind" | "apiVersion");
            if self.definitions.contains_key(id)
                && !inherited
                && !message.fields.iter().any(|f| &f.name == letters || self.inlined(f, &json).is_some())
            {
                println!("{name}: no number for {json_name}");
            }
        }
        for (_, later) in LATER.iter().filter(|(of, _)| *of == name) {
            fields.push((*later).to_owned());
        }
        self.out.insert(name.clone(), fields.join(", "));
        Ok(name)
    }

    /// A beta's message that is served as v1: it keeps its numbers when it becomes stable.
    fn served(&self, id: &Id) -> Id {
        let stable = (id.0.replace(".v1beta1", ".v1"), id.1.clone());
        if self.definitions.contains_key(&stable) { stable } else { id.clone() }
    }

    /// The message whose fields are the parent's in JSON: one whose fields the parent has, under a name that it has not.
    fn inlined(&self, field: &Field, json: &HashMap<String, &String>) -> Option<Id> {
        let of = self.served(field.of.as_ref().filter(|_| !json.contains_key(&field.name))?);
        let all = match self.definitions.get(&of) {
            Some((_, properties)) => properties.keys().all(|f| json.contains_key(&letters(f))),
            None => {
                let fields = &self.messages.get(&of)?.fields;
                fields.iter().all(|f| json.contains_key(&f.name) || self.inlined(f, json).is_some())
            }
        };
        all.then_some(of)
    }
}

fn scalar(words: &str) -> Result<&'static str, String> {
    let of = match words.strip_prefix("btree_map = \"string, ") {
        Some(value) => value.trim_end_matches('"'),
        None => words.split([',', ' ']).next().unwrap_or_default(),
    };
    Ok(match of {
        "string" => "string",
        "bool" => "bool",
        "int32" | "int64" => "int",
        "double" => "double",
        "bytes" => "bytes",
        _ => return Err(format!("an unknown type: {words}")),
    })
}

/// Messages that are no objects in JSON.
fn special(name: &str) -> Option<&'static str> {
    Some(match name {
        "time" => "Time",
        "microtime" => "MicroTime",
        "quantity" => "Quantity",
        "intorstring" => "IntOrString",
        "rawextension" | "fieldsv1" | "json" => "raw",
        "extravalue" => "strings",
        "jsonschemapropsorarray" => "PropsOrArray",
        "jsonschemapropsorbool" => "PropsOrBool",
        "jsonschemapropsorstringarray" => "PropsOrStrings",
        _ => return None,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args().nth(1).ok_or("usage: generate_protobuf DIRECTORY-OF-K8S-PB")?;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut messages = HashMap::new();
    for package in ["api", "apimachinery", "apiextensions_apiserver", "kube_aggregator"] {
        walk(&Path::new(&source).join("src").join(package), package, &mut messages)?;
    }

    let mut typed = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(directory.join("typed.json.gz"))?).read_to_end(&mut typed)?;
    let typed: BTreeMap<String, Value> = serde_json::from_slice(&typed)?;
    let mut definitions = HashMap::new();
    let mut roots = Vec::new();
    for (name, node) in &typed {
        let short = name.strip_prefix("io.k8s.").unwrap_or(name);
        let (module, last) = short.rsplit_once('.').ok_or("a definition without a package")?;
        let id = (module.replace('-', "_"), letters(last));
        let properties = node["properties"].as_object().cloned().unwrap_or_default();
        let listed = typed.contains_key(
            last.strip_suffix("List").map(|kind| format!("io.k8s.{module}.{kind}")).as_deref().unwrap_or_default(),
        );
        if (node["x-kubernetes-group-version-kind"].is_array() && !listed && !ANSWERS.contains(&last))
            || name == DELETE_OPTIONS
        {
            roots.push(id.clone());
        }
        definitions.insert(id, (short.to_owned(), properties));
    }
    let facts = std::fs::read_to_string(directory.join("protobuf-omitempty.tsv"))?;
    let omitempty: BTreeSet<(String, String)> = facts
        .lines()
        .filter_map(|line| line.split_once('\t').filter(|_| !line.starts_with('#')))
        .flat_map(|(name, fields)| fields.split(' ').map(|f| (name.to_owned(), f.to_owned())))
        .collect();

    let mut generator = Generator {
        messages,
        definitions,
        omitempty,
        out: BTreeMap::new(),
        used: BTreeSet::new(),
        names: HashMap::new(),
    };
    for root in roots {
        generator.visit(&root, &Map::new())?;
    }
    generator.out.insert(LATER_MESSAGE.0.to_owned(), LATER_MESSAGE.1.to_owned());
    for (name, field) in generator.omitempty.difference(&generator.used) {
        println!("protobuf-omitempty.tsv: {name} has no {field}");
    }
    let mut text = String::new();
    for (name, fields) in &generator.out {
        writeln!(text, "{name}: {fields}")?;
    }
    let mut out = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    out.write_all(text.as_bytes())?;
    let packed = out.finish()?;
    println!("{} messages, {} bytes, {} compressed", generator.out.len(), text.len(), packed.len());
    std::fs::write(directory.join("protobuf.txt.gz"), packed)?;
    Ok(())
}
