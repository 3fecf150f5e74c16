//! `pattern` of a schema: regular expressions as Go reads them, compiled once. Pure but for the cache.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use paddock_cel::go_regex;

/// Patterns that are kept compiled.
const MAX_KNOWN: usize = 512;

/// A pattern from the cache: compiling costs far more than matching.
///
/// # Errors
/// When it is no regular expression, or one too large.
pub(crate) fn compiled(pattern: &str) -> Result<regex::Regex, regex::Error> {
    static KNOWN: LazyLock<Mutex<HashMap<String, regex::Regex>>> = LazyLock::new(Mutex::default);
    let known = |lock: &Mutex<HashMap<_, _>>| lock.lock().unwrap_or_else(PoisonError::into_inner).get(pattern).cloned();
    if let Some(regex) = known(&KNOWN) {
        return Ok(regex);
    }
    let regex = go_regex::compile(pattern)?;
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MAX_KNOWN {
        all.clear();
    }
    all.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}
