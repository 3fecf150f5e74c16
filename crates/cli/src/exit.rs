//! How a command ends: four exit codes and one for start-up data that never came, one clear line.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was asked to. Each kind has its exit code; 0 is success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1: a difference, a denial or a failed check was found.
    Found(String),
    /// 2: the command line, the environment or a local file is wrong; trying again will not help.
    Usage(String),
    /// 3: it could not be determined: unreachable, forbidden, out of time.
    Undetermined(String),
    /// 78 (`EX_CONFIG`): no valid start-up data were there in time, so there is nothing to serve. Distinct, because the restart that
    /// follows is waited for and not a crash.
    Startup(String),
}

/// The exit code of a command that was stopped before it could tell: as [`Failure::Undetermined`].
pub(crate) const STOPPED: i32 = 3;

/// What every command returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self::Usage(one_line(&what))
    }

    pub(crate) fn undetermined(what: impl fmt::Display) -> Self {
        Self::Undetermined(one_line(&what))
    }

    pub(crate) fn startup(what: impl fmt::Display) -> Self {
        Self::Startup(one_line(&what))
    }

    pub(crate) fn found(what: impl fmt::Display) -> Self {
        Self::Found(one_line(&what))
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Found(text) | Self::Usage(text) | Self::Undetermined(text) | Self::Startup(text) => text,
        }
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Found(_) => 1,
            Self::Usage(_) => 2,
            Self::Undetermined(_) => 3,
            Self::Startup(_) => 78,
        })
    }
}

/// Errors of libraries may span lines; people and log collectors read one.
fn one_line(what: &impl fmt::Display) -> String {
    what.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// An error with all its causes, outermost first, without a cause that its parent already quotes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::usage("a\n\n  b\n").message(), "a; b");
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the file: {0}")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("gone"))), "cannot read the file: gone");
    }
}
