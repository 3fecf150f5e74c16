//! The patterns that calls bring along: kept compiled, and what is said of those that do not compile.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::Regex;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::go_regex;

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
    go_regex::compile(pattern)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
