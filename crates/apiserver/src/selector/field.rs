//! Field selectors: a conjunction of `field=value` and `field!=value`.

use std::fmt;

use serde_json::Value;

use super::SelectorError;
use crate::resource::Strategy;

/// All terms must hold; without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// `fields.ParseSelector`. In values `\`, `,` and `=` are written after a backslash.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, equal, value)) = split_term(part) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            terms.push(Term { field: field.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self { terms })
    }

    /// Refuses the first field that the kind cannot be selected by, in the kind's words: the message of a 400.
    pub fn check(&self, strategy: &dyn Strategy) -> Result<(), SelectorError> {
        let known = |field: &str| match field {
            "metadata.name" => true,
            "metadata.namespace" => strategy.selectable_by_namespace(),
            field => strategy.selectable().iter().any(|f| f == field),
        };
        match self.terms.iter().find(|term| !known(&term.field)) {
            Some(term) => Err(SelectorError(strategy.unselectable(&term.field))),
            None => Ok(()),
        }
    }

    /// Matches everything: nothing needs to be looked at.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Only name and namespace are looked at, so [`FieldSelector::matches_key`] decides without the object.
    pub fn is_key_only(&self) -> bool {
        self.terms.iter().all(|term| matches!(term.field.as_str(), "metadata.name" | "metadata.namespace"))
    }

    /// Whether the terms on `metadata.name` and `metadata.namespace` hold.
    pub fn matches_key(&self, namespace: &str, name: &str) -> bool {
        self.terms.iter().all(|term| match term.field.as_str() {
            "metadata.name" => (term.value == name) == term.equal,
            "metadata.namespace" => (term.value == namespace) == term.equal,
            _ => true,
        })
    }

    /// Whether every term holds for an object of the kind. The selector has passed [`FieldSelector::check`].
    pub fn matches(&self, object: &Value, strategy: &dyn Strategy) -> bool {
        self.terms.iter().all(|term| {
            let equal = match term.field.as_str() {
                "metadata.name" => object["metadata"]["name"].as_str().unwrap_or_default() == term.value,
                "metadata.namespace" => object["metadata"]["namespace"].as_str().unwrap_or_default() == term.value,
                field => strategy.select(object, field) == term.value,
            };
            equal == term.equal
        })
    }

    /// Adds `field=value`: a request for one name is a list or watch of that name.
    pub fn require(&mut self, field: &str, value: &str) {
        self.terms.push(Term { field: field.to_owned(), value: value.to_owned(), equal: true });
    }

    /// The value that `field` must have, if a term says so: `metadata.name=x` is a read of one object.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }
}

/// The text that parses to the same selector.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Term { field, value, equal }) in self.terms.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            let (comma, sign) = (if i == 0 { "" } else { "," }, if *equal { "=" } else { "!=" });
            write!(f, "{comma}{field}{sign}{value}")?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut escaped = false;
    let separator = |c| {
        let splits = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    };
    text.split(separator).collect()
}

/// Field, whether it is to be equal, and the escaped value; split at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let rests = term.char_indices().map(|(at, _)| term.split_at(at));
    rests.into_iter().find_map(|(field, rest)| {
        let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
            (false, value)
        } else {
            (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?)
        };
        Some((field, equal, value))
    })
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let invalid =
        |sequence: String| SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}"));
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => value.push(c),
                Some(c) => return Err(invalid(format!("\\{c}"))),
                None => return Err(invalid("\\".to_owned())),
            },
            // Go prints the character as a number.
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                )));
            }
            c => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        FieldSelector::parse(text).unwrap_err().to_string()
    }

    fn printed(text: &str) -> String {
        FieldSelector::parse(text).unwrap().to_string()
    }

    #[test]
    fn terms_are_ordered_and_empty_ones_left_out() {
        assert_eq!(printed("b!=2,,a==1"), "a=1,b!=2");
    }

    #[test]
    fn a_term_without_an_operator_is_an_error() {
        assert_eq!(error("a=1,b"), "invalid selector: 'a=1,b'; can't understand 'b'");
    }

    #[test]
    fn escaped_characters_belong_to_the_value() {
        assert_eq!(FieldSelector::parse(r"a=1\,b\=\\").unwrap().required("a"), Some(r"1,b=\"));
    }

    #[test]
    fn an_unescaped_equals_sign_in_a_value_is_an_error() {
        assert_eq!(error("a=1=2"), "invalid field selector: unescaped character in value: 61");
    }

    #[test]
    fn an_unknown_escape_is_an_error() {
        assert_eq!(error(r"a=\x"), r"invalid field selector: invalid escape sequence: \x");
    }

    #[test]
    fn a_backslash_at_the_end_is_an_error() {
        assert_eq!(error(r"a=\"), r"invalid field selector: invalid escape sequence: \");
    }

    #[test]
    fn the_key_decides_terms_on_name_and_namespace() {
        let selector = FieldSelector::parse("metadata.name!=a,metadata.namespace=n").unwrap();
        let matched =
            [("n", "a"), ("n", "b"), ("m", "b")].map(|(namespace, name)| selector.matches_key(namespace, name));
        assert_eq!(matched, [false, true, false]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[ab,=!\\\\\u{e9}.]{0,16}") {
            let _ = FieldSelector::parse(&text);
        }

        #[test]
        fn what_is_printed_parses_to_the_same(text in "([ab.]{0,2}(=|==|!=)([ab]|\\\\[\\\\,=]){0,3},?){0,3}") {
            if let Ok(selector) = FieldSelector::parse(&text) {
                // Terms are ordered by their text, which the other spelling of `==` changes.
                let again = FieldSelector::parse(&selector.to_string()).unwrap();
                let mut terms = [selector, again].map(|s| s.terms.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>());
                terms.iter_mut().for_each(|terms| terms.sort());
                prop_assert_eq!(&terms[0], &terms[1]);
            }
        }
    }
}
