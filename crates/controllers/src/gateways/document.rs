//! `platform-config`, key `namespaces`: strict YAML to raw entries. Pure.
//!
//! The document is read into a tree that keeps every key with its place, so that an unknown or doubled key spoils its own
//! entry only. What spoils the whole document (syntax, too large, not a list) is one [`Problem`] without an entry.

mod reading;

use std::collections::BTreeSet;
use std::fmt;

use paddock_policy::dns::SubjectName;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

pub(super) use reading::Reading;

use super::problem::{Position, Problem};
use super::rollout::short;

/// The most bytes of YAML that are read. A ConfigMap holds 1 MiB.
const MAX_BYTES: usize = 1024 * 1024;
/// The most values that are read.
const MAX_NODES: usize = 200_000;
/// The deepest meaningful nesting is 4; more is a mistake.
const MAX_DEPTH: usize = 16;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) position: Option<Position>,
    /// Where the text itself stands; for an alias that is its anchor.
    pub(super) defined: Option<Position>,
}

/// One entry, of the right shape, its values not yet judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct RawEntry {
    pub(super) name: Option<Placed<String>>,
    pub(super) image: Option<Placed<String>>,
    pub(super) version: Option<Placed<String>>,
    pub(super) names: Vec<Placed<String>>,
    pub(super) config: Option<Placed<String>>,
    pub(super) position: Option<Position>,
}

impl RawEntry {
    /// Whether both say the same, wherever they stand.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        fn of(entry: &RawEntry) -> ([Option<&str>; 4], impl Iterator<Item = &str>) {
            let texts = [&entry.name, &entry.image, &entry.version, &entry.config];
            (
                texts.map(|text| text.as_ref().map(|text| text.value.as_str())),
                entry.names.iter().map(|name| name.value.as_str()),
            )
        }
        let ((texts, names), (other_texts, other_names)) = (of(self), of(other));
        texts == other_texts && names.eq(other_names)
    }

    /// What a report says it is about. It changes with what the entry says, mistakes in its shape (`problems`) included, and
    /// neither with where it stands nor with the order or the spelling of names.
    pub(super) fn digest(&self, problems: &[Problem]) -> String {
        let text = |placed: &Option<Placed<String>>| placed.as_ref().map(|placed| placed.value.clone());
        let name = |name: &Placed<String>| match name.value.parse::<SubjectName>() {
            Ok(name) => name.to_string(),
            Err(_) => name.value.clone(),
        };
        let names: BTreeSet<String> = self.names.iter().map(name).collect();
        let wrong: Vec<_> = problems.iter().map(|problem| [&problem.key, &problem.message]).collect();
        let said = [text(&self.image), text(&self.version), text(&self.config)];
        short(&serde_json::json!([said, names, wrong]).to_string())
    }
}

/// Reads the document. Each entry comes with what is wrong about its shape.
///
/// # Errors
/// One problem when nothing can be said about single entries.
pub(super) fn read(text: &str) -> Result<Vec<(RawEntry, Vec<Problem>)>, Problem> {
    if text.len() > MAX_BYTES {
        return Err(whole(None, format!("{} bytes of YAML; at most {MAX_BYTES} are read", text.len()), ""));
    }
    if text.trim().is_empty() {
        return Err(whole(None, "the document is empty".to_owned(), "write [] when there shall be no tenant"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1, max_depth: MAX_DEPTH, max_anchors: 64, max_aliases: 256, max_nodes: MAX_NODES, max_events: 500_000,
        },
        // Doubled keys reach the tree, where they count against their entry alone.
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let position = error.location().and_then(place);
        match first_line(&error) {
            _ if is_many(text) => {
                let message = "more than one YAML document".to_owned();
                whole(position, message, "take the lines --- out: all tenants are one list")
            }
            text if text.starts_with("budget breached") => {
                let message = "too deep, or too many values or aliases: no list of tenants needs so many".to_owned();
                whole(position, message, "write values out instead of repeating them by aliases")
            }
            text => whole(position, format!("YAML error: {text}"), ""),
        }
    })?;
    match root.value {
        Node::List(entries) => Ok(entries.into_iter().enumerate().map(|(n, entry)| read_entry(n, entry)).collect()),
        other => {
            let message = format!("expected a list of tenants, found {}", other.describe());
            Err(whole(place(root.referenced), message, "start each tenant with \"- name: …\""))
        }
    }
}

/// Whether a line that begins another document comes after something else.
fn is_many(text: &str) -> bool {
    let mut has_content = false;
    text.lines().any(|line| {
        let begins = line == "---" || line.starts_with("--- ");
        let another = begins && has_content;
        has_content |= if begins { line.len() > 4 } else { !line.trim().is_empty() && !line.starts_with(['#', '%']) };
        another
    })
}

fn read_entry(index: usize, node: Spanned<Node>) -> (RawEntry, Vec<Problem>) {
    let position = place(node.referenced);
    let mut entry = RawEntry { position, ..RawEntry::default() };
    let mut problems = Vec::new();
    match node.value {
        Node::Map(pairs) => {
            for (key, value) in distinct(pairs, "", &mut problems) {
                match key.value.as_str() {
                    "name" => entry.name = text(value, "name", &mut problems),
                    "gateway" => read_gateway(value, &mut entry, &mut problems),
                    _ => problems.push(unknown(&key, "", "name, gateway")),
                }
            }
            if entry.name.is_none() && !problems.iter().any(|problem| problem.key == "name") {
                problems.push(at("name", position, "the key is missing".to_owned(), "name the tenant's namespace"));
            }
        }
        other => {
            let message = format!("expected a mapping with the key name, found {}", other.describe());
            problems.push(at("", position, message, "start the tenant with \"- name: …\""));
        }
    }
    let label = entry.name.as_ref().map_or_else(|| format!("#{}", index + 1), |name| name.value.clone());
    for problem in &mut problems {
        problem.entry.clone_from(&label);
    }
    (entry, problems)
}

fn read_gateway(node: Spanned<Node>, entry: &mut RawEntry, problems: &mut Vec<Problem>) {
    let pairs = match node.value {
        Node::Map(pairs) => pairs,
        // `gateway:` with nothing behind it asks for the defaults, like leaving it out.
        Node::Null => return,
        other => {
            let message = format!("expected a mapping, found {}", other.describe());
            problems.push(at("gateway", place(node.referenced), message, ""));
            return;
        }
    };
    for (key, value) in distinct(pairs, "gateway.", problems) {
        match key.value.as_str() {
            "image" => entry.image = text(value, "gateway.image", problems),
            "version" => entry.version = text(value, "gateway.version", problems),
            "config" => entry.config = text(value, "gateway.config", problems),
            "serverDnsNames" => match value.value {
                Node::List(items) => {
                    let names = items.into_iter().enumerate();
                    entry.names = names
                        .filter_map(|(n, item)| text(item, &format!("gateway.serverDnsNames[{n}]"), problems))
                        .collect();
                }
                other => {
                    let message = format!("expected a list of names, found {}", other.describe());
                    problems.push(at("gateway.serverDnsNames", place(value.referenced), message, ""));
                }
            },
            _ => problems.push(unknown(&key, "gateway.", "image, version, serverDnsNames, config")),
        }
    }
}

type Pair = (Spanned<String>, Spanned<Node>);

/// The pairs without doubled keys, each of which is a problem.
fn distinct(pairs: Vec<Pair>, prefix: &str, problems: &mut Vec<Problem>) -> Vec<Pair> {
    let mut kept: Vec<Pair> = Vec::with_capacity(pairs.len().min(8));
    for (key, value) in pairs {
        match kept.iter().find(|(earlier, _)| earlier.value == key.value) {
            Some((first, _)) => {
                let first = place(first.referenced).map_or_else(String::new, |place| format!(", first at {place}"));
                let message = format!("the key appears twice{first}");
                problems.push(at(
                    &format!("{prefix}{}", key.value),
                    place(key.referenced),
                    message,
                    "keep one of them",
                ));
            }
            // A flood of different unknown keys is told by its first ones.
            None if kept.len() < 64 => kept.push((key, value)),
            None => {}
        }
    }
    kept
}

fn text(node: Spanned<Node>, key: &str, problems: &mut Vec<Problem>) -> Option<Placed<String>> {
    let (position, defined) = (place(node.referenced), place(node.defined));
    match node.value {
        Node::Text(value) => Some(Placed { value, position, defined }),
        other => {
            let hint = if matches!(other, Node::Scalar(_)) { "put it in quotes" } else { "" };
            problems.push(at(key, position, format!("expected a string, found {}", other.describe()), hint));
            None
        }
    }
}

fn unknown(key: &Spanned<String>, prefix: &str, known: &str) -> Problem {
    let key_path = format!("{prefix}{}", key.value);
    at(&key_path, place(key.referenced), "unknown key".to_owned(), &format!("known here: {known}"))
}

fn at(key: &str, position: Option<Position>, message: String, hint: &str) -> Problem {
    Problem { entry: String::new(), key: key.to_owned(), position, message, hint: hint.to_owned() }
}

fn whole(position: Option<Position>, message: String, hint: &str) -> Problem {
    Problem { entry: String::new(), key: String::new(), position, message, hint: hint.to_owned() }
}

pub(super) fn place(location: Location) -> Option<Position> {
    let (line, column) = (usize::try_from(location.line()).ok()?, usize::try_from(location.column()).ok()?);
    (line > 0).then_some(Position { line, column })
}

/// The parser's words without its drawing of the source.
pub(super) fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

/// Any YAML, with places. Its depth is bounded by the parser's budget.
#[derive(Debug)]
enum Node {
    Null,
    Text(String),
    /// A boolean or number, as it reads.
    Scalar(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<Pair>),
}

impl Node {
    fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Text(text) => format!("the string {text:?}"),
            Self::Scalar(text) => format!("the value {text}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match read(text) {
            Ok(entries) => entries.into_iter().flat_map(|(_, problems)| problems).map(|p| p.to_string()).collect(),
            Err(problem) => vec![problem.to_string()],
        }
    }

    #[test]
    fn gw_f30_more_than_one_document_is_told_as_that() {
        for text in ["- name: a\n---\n- name: b\n", "---\n- name: a\n--- \n- name: b\n", "--- []\n---\n[]\n"] {
            let problem = read(text).unwrap_err();
            assert_eq!(problem.message, "more than one YAML document", "{text:?}");
        }
        for text in ["---\n- name: a\n", "# first\n---\n[]\n", "- name: a\n  gateway: {config: \"---\"}\n"] {
            assert!(read(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn name_alone_is_a_whole_entry() {
        let entries = read("- name: tenant-b\n").unwrap();
        assert_eq!(entries[0].0.name.as_ref().unwrap().value, "tenant-b");
        assert!(entries[0].1.is_empty());
    }

    #[test]
    fn empty_list_means_no_tenant() {
        assert_eq!(read("[]").unwrap(), []);
    }

    #[test]
    fn unknown_key_spoils_its_entry_alone() {
        let entries = read("- name: a\n  gateway:\n    imagee: x\n- name: b\n").unwrap();
        assert_eq!(
            entries[0].1[0].to_string(),
            "entry a: gateway.imagee (line 3, column 5): unknown key; known here: image, version, serverDnsNames, config"
        );
        assert!(entries[1].1.is_empty());
    }

    #[test]
    fn doubled_key_spoils_its_entry_alone() {
        let entries = read("- name: a\n  gateway: {}\n  gateway: {}\n- name: b\n").unwrap();
        assert_eq!(
            entries[0].1[0].to_string(),
            "entry a: gateway (line 3, column 3): the key appears twice, first at line 2, column 3; keep one of them"
        );
        assert!(entries[1].1.is_empty());
    }

    #[test]
    fn shapes_are_told_by_entry_key_and_place() {
        for (text, expected) in [
            (
                "- name: 12\n",
                "entry #1: name (line 1, column 9): expected a string, found the value 12; put it in quotes",
            ),
            ("- gateway:\n", "entry #1: name (line 1, column 3): the key is missing; name the tenant's namespace"),
            (
                "- x\n",
                "entry #1: line 1, column 3: expected a mapping with the key name, found the string \"x\"; start the tenant with \"- name: …\"",
            ),
            (
                "- name: a\n  gateway: 3\n",
                "entry a: gateway (line 2, column 12): expected a mapping, found the value 3",
            ),
            (
                "- name: a\n  gateway:\n    serverDnsNames: x\n",
                "entry a: gateway.serverDnsNames (line 3, column 21): expected a list of names, found the string \"x\"",
            ),
            (
                "a: b\n",
                "line 1, column 1: expected a list of tenants, found a mapping; start each tenant with \"- name: …\"",
            ),
            ("", "the document is empty; write [] when there shall be no tenant"),
        ] {
            assert_eq!(problems(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn gw_d17_syntax_error_is_one_problem_with_line_and_column() {
        let problem = read("- name: a\n  gateway: [\n").unwrap_err();
        assert!(problem.message.starts_with("YAML error: "), "{problem}");
        assert!(problem.position.is_some_and(|position| position.line >= 2), "{problem}");
    }

    #[test]
    fn second_document_is_refused() {
        assert!(read("- name: a\n---\n- name: b\n").is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(read(&format!("- {}", "[".repeat(100))).is_err());
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "\\PC{0,200}|[-a: \\n\\[\\]{}&*!|>'\"]{0,200}") {
            let _ = read(&text);
        }
    }
}
