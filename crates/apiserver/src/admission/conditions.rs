//! `matchConditions`: expressions that keep a write from a webhook or policy.
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions`.

use paddock_cel::Value;

use super::expressions::{Compiled, Run, Stopped};

/// Whether a write is to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    No,
    /// No condition is false and some went wrong: `failurePolicy` decides.
    Unclear(String),
}

/// Asks all conditions: one that is false decides, whatever went wrong with others.
pub(crate) fn judge(conditions: &[Compiled], run: &mut Run<'_>) -> Match {
    let mut wrong: Vec<String> = Vec::new();
    let mut values = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match run.evaluate(condition) {
            Err(Stopped::OutOfBudget(text)) => return Match::Unclear(text),
            value => values.push(value),
        }
    }
    for value in values {
        match value {
            Ok(Value::Bool(false)) => return Match::No,
            Ok(_) => {}
            Err(error) => {
                let text = error.into_text();
                if !wrong.contains(&text) {
                    wrong.push(text);
                }
            }
        }
    }
    match wrong.as_slice() {
        [] => Match::Yes,
        [one] => Match::Unclear(one.clone()),
        several => Match::Unclear(format!("[{}]", several.join(", "))),
    }
}
