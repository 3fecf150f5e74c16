//! The only place that prints: data to stdout, complaints to stderr.

use std::io::{self, IsTerminal, Write};

use crate::exit::{Failure, Outcome};

/// Writes data to stdout. A reader that closed the pipe has seen enough: that is success.
pub(crate) fn data(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::undetermined(format!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One line of data.
pub(crate) fn line(text: &str) -> Outcome {
    data(&format!("{text}\n"))
}

/// One line to stderr, marked as an error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "error: {}", plain_lines(text));
}

/// One line to stderr for a person who watches.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{}", plain_lines(text));
}

/// Foreign text for one line of a terminal, which it cannot steer.
pub(crate) fn plain(text: &str) -> String {
    plain_lines(text).replace(['\n', '\t'], " ")
}

/// Foreign text of several lines, which cannot steer the terminal that shows it.
pub(crate) fn plain_lines(text: &str) -> String {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whether to write colours to stdout: on a terminal that has them, unless <https://no-color.org>.
pub(crate) fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        let text = "a\x1b]0;title\x07\r\u{9b}31m\n\tb";
        assert_eq!(plain(text), "a\u{fffd}]0;title\u{fffd}\u{fffd}\u{fffd}31m  b");
        assert_eq!(plain_lines(text), "a\u{fffd}]0;title\u{fffd}\u{fffd}\u{fffd}31m\n\tb");
    }
}
