//! `gateway.toml`: our defaults for a version, the tenant's patch checked against the schema, and the file that results.
//!
//! Pure. The tenant's text is parsed by a TOML library and merged as values, never as text, so nothing in it can reach
//! beyond its own key. The result is serialised by the same library: equal intent gives equal bytes.

use std::ops::Range;

use paddock_policy::image::{ImagePolicy, ImageReference};
use serde_json::{Map, Value};
use toml_edit::{Document, Item, TableLike};

use super::key::GatewayKey;
use super::platform::ClusterVersion;
use super::problem::{Position, Problem};
use super::resource::Served;
use super::schema::{self, Key, Lookup, Owner, Shape};
use super::version::GatewayVersion;

mod contradictions;
mod defaults;

/// The most bytes of TOML a tenant may give.
const MAX_BYTES: usize = 64 * 1024;
/// The most problems that are told of one text; whoever mends these sees the rest.
pub(super) const MAX_PROBLEMS: usize = 32;

/// Where the gateway's KEK (from 0.0.100 on) is found in its environment.
pub(super) const KEK_ENV: &str = "OPENSHELL_GATEWAY_CREDENTIAL_KEY_ENCRYPTION_KEY";

/// What our defaults depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) key: &'a GatewayKey,
    /// The other namespaces that it serves.
    pub(super) serves: Option<&'a Served>,
    /// Typed options below `openshell.gateway`, laid over the defaults; null for none.
    pub(super) options: &'a Value,
    pub(super) version: GatewayVersion,
    /// The image of sandboxes that name none.
    pub(super) sandbox_image: &'a str,
    /// Every name of the server certificate, sorted.
    pub(super) server_names: &'a [String],
    /// `None` while nobody could tell.
    pub(super) cluster: Option<ClusterVersion>,
    /// Whether the operator lets tenants open their gateway to everyone.
    pub(super) break_glass: bool,
}

/// The file for a tenant: our defaults with the tenant's patch, as TOML.
///
/// # Errors
/// What is wrong with the patch, at most [`MAX_PROBLEMS`], each with line and column within `patch`; entry and the key's
/// first part are left for the caller.
pub(super) fn render(inputs: Inputs<'_>, patch: Option<&str>, images: &ImagePolicy) -> Result<String, Vec<Problem>> {
    let mut defaults = defaults::defaults(inputs);
    if !inputs.options.is_null() {
        merge(&mut defaults["openshell"]["gateway"], inputs.options.clone());
    }
    let mut file = defaults.clone();
    let mut document = None;
    if let Some(text) = patch {
        let read = read(text).map_err(|problem| vec![problem])?;
        let patch = check(inputs, &defaults, text, &read, images)?;
        defaults::adapt(&mut file, &patch);
        merge(&mut file, patch);
        document = Some((text, read));
    }
    let document = document.as_ref().map(|(text, document)| (*text, document));
    let problems = contradictions::contradictions(&file, document, inputs);
    if !problems.is_empty() {
        return Err(problems);
    }
    toml_edit::ser::to_string_pretty(&file).map_err(|error| vec![problem_at("", None, error.to_string(), "")])
}

/// Objects are merged key by key; everything else replaces what was there.
fn merge(base: &mut Value, patch: Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, patch) => *base = patch,
    }
}

fn read(text: &str) -> Result<Document<String>, Problem> {
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes of TOML; at most {MAX_BYTES} are allowed", text.len());
        return Err(problem_at("", None, message, ""));
    }
    if text.contains('\0') {
        let position = text.find('\0').map(|at| Position::of(text, at));
        return Err(problem_at("", position, "the text contains a NUL character".to_owned(), ""));
    }
    Document::parse(text.to_owned()).map_err(|error| {
        let position = error.span().map(|span| Position::of(text, span.start));
        let message = error.message().trim().replace('\n', ", ");
        problem_at("", position, format!("TOML syntax error: {message}"), "")
    })
}

fn check(
    inputs: Inputs<'_>,
    defaults: &Value,
    text: &str,
    document: &Document<String>,
    images: &ImagePolicy,
) -> Result<Value, Vec<Problem>> {
    let mut check = Check { text, inputs, images, problems: Vec::new() };
    let value = check.table(document.as_table(), schema::FILE, "", Some(defaults));
    if check.problems.is_empty() { Ok(Value::Object(value)) } else { Err(check.problems) }
}

/// One walk over a tenant's document. Its depth is that of the schema; free tables are bounded by [`MAX_FREE_DEPTH`].
struct Check<'a> {
    text: &'a str,
    inputs: Inputs<'a>,
    images: &'a ImagePolicy,
    problems: Vec<Problem>,
}

const MAX_FREE_DEPTH: usize = 8;

impl Check<'_> {
    fn table(
        &mut self,
        table: &dyn TableLike,
        keys: &'static [Key],
        path: &str,
        ours: Option<&Value>,
    ) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, item) in table.iter() {
            let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let key = match schema::lookup(keys, name, self.inputs.version) {
                Lookup::Known(key) => key,
                Lookup::Since(since) => {
                    let message =
                        format!("the gateway knows this key from {since} on, this one is {}", self.inputs.version);
                    self.problem(&path, span, message, "leave it out, or run a newer gateway image");
                    continue;
                }
                Lookup::Unknown => {
                    let mut known: Vec<_> =
                        keys.iter().filter(|k| k.since <= self.inputs.version).map(|k| k.name).collect();
                    known.sort_unstable();
                    let message = format!("the gateway {} does not know this key", self.inputs.version);
                    self.problem(&path, span, message, &format!("known here: {}", known.join(", ")));
                    continue;
                }
            };
            let ours = ours.and_then(|ours| ours.get(key.name));
            let Some(value) = self.value(item, key.shape, &path, span.clone(), ours) else { continue };
            let given = self.may_set(key);
            if !given && !matches!(key.shape, Shape::Table(_)) && !repeats(key, &value, ours) {
                let message = match ours {
                    Some(ours) => format!("the control plane owns this key, its value is {ours}"),
                    None => "the control plane owns this key".to_owned(),
                };
                let hint =
                    if key.name == "server_sans" { "list names in gateway.serverDnsNames" } else { "leave it out" };
                self.problem(&path, span, message, hint);
                continue;
            }
            // Tables of ours may hold keys of the tenant's.
            let kept = given || matches!(key.shape, Shape::Table(_));
            let value = if kept { value } else { ours.cloned().unwrap_or(value) };
            if map.insert(key.name.to_owned(), value).is_some() {
                let message = format!("{} is given twice, in two spellings", key.name);
                self.problem(&path, span, message, "keep one of them");
            }
        }
        map
    }

    /// Whether a tenant decides about the key.
    fn may_set(&self, key: &Key) -> bool {
        key.owner == Owner::Tenant || (self.inputs.break_glass && key.name == schema::UNAUTHENTICATED)
    }

    fn value(
        &mut self,
        item: &Item,
        shape: Shape,
        path: &str,
        span: Option<Range<usize>>,
        ours: Option<&Value>,
    ) -> Option<Value> {
        let span = item.span().or(span);
        let expected = match shape {
            Shape::Text => match item.as_str() {
                Some(text) => return Some(text.into()),
                None => "a string".to_owned(),
            },
            Shape::Word(words) => match item.as_str().filter(|word| words.contains(word)) {
                Some(word) => return Some(word.into()),
                None => format!("one of {}", words.join(", ")),
            },
            Shape::Number(min, max) => match item.as_integer().filter(|number| (min..=max).contains(number)) {
                Some(number) => return Some(number.into()),
                None if max == i64::MAX => format!("a whole number from {min} on"),
                None => format!("a whole number from {min} to {max}"),
            },
            Shape::Flag => match item.as_bool() {
                Some(flag) => return Some(flag.into()),
                None => "true or false".to_owned(),
            },
            Shape::Texts => {
                let texts = item.as_array().map(|array| array.iter().map(|v| v.as_str().map(Value::from)).collect());
                match texts {
                    Some(Some(texts)) => return Some(Value::Array(texts)),
                    _ => "a list of strings".to_owned(),
                }
            }
            Shape::Image => match item.as_str() {
                Some(text) => {
                    let checked = text.parse::<ImageReference>().and_then(|image| self.images.check(&image));
                    if let Err(error) = checked {
                        self.problem(path, span, error.to_string(), "");
                        return None;
                    }
                    return Some(text.into());
                }
                None => "an image reference".to_owned(),
            },
            Shape::Table(keys) => match item.as_table_like() {
                Some(table) => return Some(Value::Object(self.table(table, keys, path, ours))),
                None => "a table".to_owned(),
            },
            Shape::Tables(keys) => match self.tables(item, keys, path) {
                Some(tables) => return Some(tables),
                None => "a list of tables".to_owned(),
            },
            Shape::Map => {
                match free(item, 1).filter(|map| map.as_object().is_some_and(|m| m.values().all(Value::is_string))) {
                    Some(map) => return Some(map),
                    None => "a table of strings".to_owned(),
                }
            }
            Shape::Of(grammar) => match item.as_str().filter(|text| grammar.holds(text)) {
                Some(text) => return Some(text.into()),
                None => grammar.expected().to_owned(),
            },
            Shape::Words(words) => {
                let word =
                    |value: &toml_edit::Value| value.as_str().filter(|word| words.contains(word)).map(Value::from);
                match item.as_array().and_then(|list| list.iter().map(word).collect::<Option<_>>()) {
                    Some(list) => return Some(Value::Array(list)),
                    None => format!("a list of {}", words.join(", ")),
                }
            }
            Shape::FreeTable => match free(item, MAX_FREE_DEPTH).filter(Value::is_object) {
                Some(table) => return Some(table),
                None => format!("a table of plain values, at most {MAX_FREE_DEPTH} levels deep"),
            },
            Shape::Free => match free(item, MAX_FREE_DEPTH) {
                Some(value) => return Some(value),
                None => format!("plain values, at most {MAX_FREE_DEPTH} levels deep"),
            },
        };
        self.problem(path, span, format!("expected {expected}, found {}", item.type_name()), "");
        None
    }

    fn tables(&mut self, item: &Item, keys: &'static [Key], path: &str) -> Option<Value> {
        let tables: Vec<&dyn TableLike> = match item {
            Item::ArrayOfTables(tables) => tables.iter().map(|table| table as &dyn TableLike).collect(),
            _ => item
                .as_array()?
                .iter()
                .map(|v| v.as_inline_table().map(|t| t as &dyn TableLike))
                .collect::<Option<_>>()?,
        };
        let each = tables.into_iter().enumerate();
        Some(each.map(|(n, table)| Value::Object(self.table(table, keys, &format!("{path}[{n}]"), None))).collect())
    }

    fn problem(&mut self, path: &str, span: Option<Range<usize>>, message: String, hint: &str) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let position = span.map(|span| Position::of(self.text, span.start));
        self.problems.push(problem_at(path, position, message, hint));
    }
}

/// Whether a tenant merely says what we render anyway. Names may be a part of ours, in any order.
fn repeats(key: &Key, given: &Value, ours: Option<&Value>) -> bool {
    match (key.name, given, ours) {
        ("server_sans", Value::Array(given), Some(Value::Array(ours))) => given.iter().all(|name| {
            let name = name.as_str().map(|name| name.trim_end_matches('.').to_ascii_lowercase().into());
            name.is_some_and(|name| ours.contains(&name))
        }),
        // Absent means false or none for these, and that is how we render them.
        ("disable_tls", Value::Bool(false), None) => true,
        (_, given, ours) => Some(given) == ours,
    }
}

/// TOML values that JSON can hold; `None` for dates, floats without a JSON form, or too deep a nesting.
fn free(item: &Item, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1);
    match item {
        Item::None => None,
        Item::Value(value) => free_value(value, depth),
        Item::Table(table) => table
            .iter()
            .map(|(key, item)| Some((key.to_owned(), free(item, depth?)?)))
            .collect::<Option<_>>()
            .map(Value::Object),
        Item::ArrayOfTables(tables) => tables
            .iter()
            .map(|table| free(&Item::Table(table.clone()), depth?))
            .collect::<Option<_>>()
            .map(Value::Array),
    }
}

fn free_value(value: &toml_edit::Value, depth: Option<usize>) -> Option<Value> {
    match value {
        toml_edit::Value::String(text) => Some(text.value().as_str().into()),
        toml_edit::Value::Integer(number) => Some((*number.value()).into()),
        toml_edit::Value::Float(number) => serde_json::Number::from_f64(*number.value()).map(Value::Number),
        toml_edit::Value::Boolean(flag) => Some((*flag.value()).into()),
        toml_edit::Value::Datetime(_) => None,
        toml_edit::Value::Array(array) => {
            let depth = depth?.checked_sub(1);
            array.iter().map(|value| free_value(value, depth)).collect::<Option<_>>().map(Value::Array)
        }
        toml_edit::Value::InlineTable(table) => {
            let depth = depth?.checked_sub(1);
            let pairs = table.iter().map(|(key, value)| Some((key.to_owned(), free_value(value, depth)?)));
            pairs.collect::<Option<_>>().map(Value::Object)
        }
    }
}

fn problem_at(path: &str, position: Option<Position>, message: String, hint: &str) -> Problem {
    Problem { entry: String::new(), key: path.to_owned(), position, message, hint: hint.to_owned() }
}

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
