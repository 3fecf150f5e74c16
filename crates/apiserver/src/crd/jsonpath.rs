//! The JSONPaths of printer columns, scale and selectable fields: fields, indexes, wildcards and equality filters. Pure.

use serde_json::Value;

/// Longest path that is read.
const MAX_LENGTH: usize = 4096;

/// One step.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// `[?(@.a.b=="x")]`
    Filter {
        path: Vec<String>,
        equal: bool,
        to: Value,
    },
}

/// A parsed path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads `.spec.containers[0].image`, `.status.conditions[?(@.type=="Ready")].status`, `['a.b']`. `None`: malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        if text.len() > MAX_LENGTH {
            return None;
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let (name, left) = field(after);
                if name.is_empty() && !left.starts_with('[') {
                    return None;
                }
                match name.as_str() {
                    "" => {}
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Field(name)),
                }
                rest = left;
            } else if let Some(after) = rest.strip_prefix("[?(") {
                let (filter, left) = after.split_once(")]")?;
                steps.push(parse_filter(filter)?);
                rest = left;
            } else {
                let (inner, left) = rest.strip_prefix('[')?.split_once(']')?;
                steps.push(subscript(inner.trim())?);
                rest = left;
            }
        }
        Some(Self(steps))
    }

    /// A path that leads nowhere.
    pub(crate) fn nowhere() -> Self {
        // An object, which every root is, has no first element.
        Self(vec![Step::Index(0)])
    }

    /// Everything the path leads to, in order.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.apply(value)).collect();
        }
        found
    }

    /// The JSON pointer of a path of plain fields.
    pub(crate) fn pointer(&self) -> Option<String> {
        let mut out = String::new();
        for step in &self.0 {
            let Step::Field(name) = step else { return None };
            out.push('/');
            out.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        Some(out)
    }
}

/// A field's name up to an unescaped `.` or `[`, and the rest.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    name.push(escaped);
                }
            }
            '.' | '[' => return (name, &text[at..]),
            _ => name.push(c),
        }
    }
    (name, "")
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|q| text.strip_prefix(q)?.strip_suffix(q))
}

fn subscript(inner: &str) -> Option<Step> {
    match inner {
        "*" | "" => Some(Step::All),
        _ => match quoted(inner) {
            Some(name) => Some(Step::Field(name.to_owned())),
            None => inner.parse().ok().map(Step::Index),
        },
    }
}

fn parse_filter(text: &str) -> Option<Step> {
    let (left, equal, right) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((left, right)), _) => (left, true, right),
        (None, Some((left, right))) => (left, false, right),
        _ => return None,
    };
    let path = left.trim().strip_prefix("@.")?.split('.').map(str::to_owned).collect();
    let right = right.trim();
    let to = match quoted(right) {
        Some(text) => Value::from(text),
        None => serde_json::from_str(right).ok()?,
    };
    Some(Step::Filter { path, equal, to })
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name.as_str()).into_iter().collect(),
            Self::Index(at) => {
                let Some(list) = value.as_array() else { return Vec::new() };
                let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
                let at = if *at < 0 { at.saturating_add(length) } else { *at };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            Self::All => match value {
                Value::Array(list) => list.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Self::Filter { path, equal, to } => {
                let matches = |item: &&Value| {
                    let found = path.iter().try_fold(*item, |at, name| at.get(name.as_str()));
                    found.is_some_and(|found| (found == to) == *equal)
                };
                value.as_array().into_iter().flatten().filter(matches).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({"spec": {"l": [{"n": "a", "v": 1}, {"n": "b", "v": 2}], "a.b": true}});
        for (path, expected) in [
            (".spec.l[0].v", vec![json!(1)]),
            (".spec.l[-1].v", vec![json!(2)]),
            (".spec.l[*].n", vec![json!("a"), json!("b")]),
            (".spec.l[?(@.n==\"b\")].v", vec![json!(2)]),
            (".spec.l[?(@.v!=1)].n", vec![json!("b")]),
            (".spec['a.b']", vec![json!(true)]),
            (".spec.a\\.b", vec![json!(true)]),
            (".spec.nope", vec![]),
        ] {
            let found: Vec<Value> = JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn plain_paths_are_pointers() {
        assert_eq!(JsonPath::parse(".spec.replicas").unwrap().pointer().as_deref(), Some("/spec/replicas"));
        assert_eq!(JsonPath::parse(".spec[0]").unwrap().pointer(), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "[.a\\[\\]?(@=\"'*0-9\\\\{}$-]{0,30}") {
            if let Some(path) = JsonPath::parse(&text) {
                path.find(&json!({"a": [{"a": 1}]}));
            }
        }
    }
}
