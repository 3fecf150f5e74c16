//! What goes wrong: when an expression is compiled, and when it runs. Texts are cel-go's. Pure.

use std::fmt;

/// How many issues are written; cel-go's limit.
const MAX_ISSUES: usize = 100;
/// How long a source line may be to be shown, in octets; cel-go's limit.
const MAX_LINE: usize = 16_384;

/// An expression that does not parse or does not check.
///
/// `Display` is cel-go's: one `ERROR: <input>:LINE:COLUMN: message` with the source line and a pointer for each issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    pub(crate) issues: Vec<Issue>,
    pub(crate) source: String,
}

/// One thing that is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// What is wrong.
    pub message: String,
    /// Where, as an offset in code points; None when it is about the whole.
    pub offset: Option<u32>,
}

impl CompileError {
    /// What is wrong, in the order of the source.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.issues.iter().take(MAX_ISSUES).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            issue.write(&self.source, f)?;
        }
        if let Some(more) = self.issues.len().checked_sub(MAX_ISSUES).filter(|more| *more > 0) {
            write!(f, "\n{more} more errors were truncated")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

impl Issue {
    fn write(&self, source: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(offset) = self.offset else {
            return write!(f, "ERROR: <input>:-1:0: {}", self.message);
        };
        let before = source.chars().take(offset as usize);
        let line = before.clone().filter(|&letter| letter == '\n').count();
        let column = before.collect::<Vec<_>>().iter().rev().take_while(|&&letter| letter != '\n').count();
        write!(f, "ERROR: <input>:{}:{}: {}", line + 1, column + 1, self.message)?;
        let Some(text) = source.split('\n').nth(line).filter(|text| text.len() <= MAX_LINE) else { return Ok(()) };
        write!(f, "\n | {}\n | ", text.replace('\t', " "))?;
        for letter in text.chars().take(column) {
            f.write_str(if is_wide(letter) { "．" } else { "." })?;
        }
        f.write_str(if text.chars().nth(column).is_some_and(is_wide) { "＾" } else { "^" })
    }
}

/// Whether a letter takes more than one octet; cel-go draws a wide mark below those.
fn is_wide(letter: char) -> bool {
    letter.len_utf8() > 1
}

/// An evaluation that has no value. `Display` is cel-go's text: `division by zero`, `no such key: b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    message: Box<str>,
    over_budget: bool,
}

impl EvalError {
    /// An error with a text of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into().into_boxed_str(), over_budget: false }
    }

    /// The budget is used up. No operator absorbs this one.
    pub fn over_budget() -> Self {
        Self { message: "operation cancelled: actual cost limit exceeded".into(), over_budget: true }
    }

    /// Arguments of types that the function does not take.
    pub fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    /// A key or field that is not there.
    pub fn no_such_key(key: impl fmt::Display) -> Self {
        Self::new(format!("no such key: {key}"))
    }

    /// Whether the budget is used up.
    pub fn is_over_budget(&self) -> bool {
        self.over_budget
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EvalError {}
