//! Regular expressions in Go's syntax (RE2), run by the `regex` crate: linear time, bounded size.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use crate::budget::Budget;
use crate::error::EvalError;

/// How large a compiled pattern may be, in octets.
const MAX_COMPILED: usize = 1 << 20;

/// How many compiled patterns are kept.
const KEPT: usize = 64;

/// How much work it is to compile a pattern, at least, in steps of [`Budget::work`]: repetitions make short patterns large.
const COMPILE: usize = 200_000;

/// Compiling takes long for what one call costs, so the patterns of the last calls are kept.
static COMPILED: LazyLock<Mutex<HashMap<Box<str>, Arc<Regex>>>> = LazyLock::new(Mutex::default);

/// A pattern that a call brings along, compiled now or lately.
pub(crate) fn cached(budget: &mut Budget, pattern: &str) -> Result<Arc<Regex>, EvalError> {
    let kept = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = kept().get(pattern) {
        return Ok(Arc::clone(regex));
    }
    budget.work(COMPILE.saturating_add(pattern.len().saturating_mul(100)))?;
    let regex = Arc::new(compile(pattern)?);
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(pattern.into(), Arc::clone(&regex));
    Ok(regex)
}

/// Compiles a pattern.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| EvalError::new(format!("error parsing regexp: {}: `{pattern}`", reason(&error))))
}

/// Go's words for the common mistakes; others keep the crate's.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let known = [
        ("unclosed group", "missing closing )"),
        ("unopened group", "unexpected )"),
        ("unclosed character class", "missing closing ]"),
        ("repetition operator missing expression", "missing argument to repetition operator"),
        ("invalid character class range", "invalid character class range"),
        ("unrecognized escape sequence", "invalid escape sequence"),
        ("look-around", "invalid or unsupported Perl syntax"),
        ("exceeds size limit", "expression too large"),
    ];
    let go = known.iter().find(|(ours, _)| text.contains(ours)).map(|(_, go)| *go);
    go.unwrap_or_else(|| text.lines().last().unwrap_or_default().trim_start_matches("error: ")).to_owned()
}

/// Go's syntax → the crate's: classes like `\d` are ASCII in Go, and there are no operators inside of brackets.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    // Inside of brackets: how many members came before, so that a first `]` is a member.
    let mut members: Option<usize> = None;
    while let Some(letter) = rest.next() {
        let inside = members.is_some();
        match letter {
            '\\' => match rest.next() {
                Some('Q') => quoted(&mut out, &mut rest),
                Some(escaped) => out.push_str(&escape(escaped, inside)),
                None => out.push('\\'),
            },
            '[' if !inside => {
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                members = Some(0);
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
                continue;
            }
            '[' if rest.peek() == Some(&':') => {
                // `[:alpha:]`
                out.push('[');
                for letter in rest.by_ref() {
                    out.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            ']' if inside => {
                out.push(']');
                members = None;
                continue;
            }
            '[' | '&' | '~' if inside => out.extend(['\\', letter]),
            '-' if inside && rest.peek() == Some(&'-') => out.push_str("\\-"),
            _ => out.push(letter),
        }
        members = members.map(|count| count + 1);
    }
    out
}

/// `\Q...\E`
fn quoted(out: &mut String, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(letter) = rest.next() {
        if letter == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
    }
}

fn escape(letter: char, inside: bool) -> String {
    let class = match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\x0C\\r ]",
        'S' => "[^\\t\\n\\x0C\\r ]",
        'b' if !inside => "(?-u:\\b)",
        'B' if !inside => "(?-u:\\B)",
        'C' if !inside => "(?s:.)",
        other => return format!("\\{other}"),
    };
    class.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text)
    }

    #[test]
    fn classes_are_ascii() {
        assert!(matches(r"^\d\w\s$", "1a "));
        assert!(!matches(r"^\d$", "٣"));
        assert!(!matches(r"^\w$", "é"));
        assert!(matches(r"^[\D]$", "é"));
        assert!(matches(r"^\W$", "é"));
        assert!(matches(r"\bé", "aé"));
    }

    #[test]
    fn brackets_have_no_operators() {
        assert!(matches(r"^[[a]+$", "[a"));
        assert!(matches(r"^[]a]+$", "]a"));
        assert!(matches(r"^[a&&b]+$", "a&b"));
        assert!(matches(r"^[[:alpha:]1]+$", "a1"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
    }

    #[test]
    fn mistakes_are_told_in_gos_words() {
        assert_eq!(compile("(").unwrap_err().to_string(), "error parsing regexp: missing closing ): `(`");
        assert_eq!(compile("[a").unwrap_err().to_string(), "error parsing regexp: missing closing ]: `[a`");
    }

    #[test]
    fn large_patterns_are_refused() {
        assert!(compile("((a{1000}){1000}){1000}").is_err());
        assert!(compile("(").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_pattern_compiles_or_errs(pattern in ".{0,50}") {
            let _ = compile(&pattern);
        }
    }
}
