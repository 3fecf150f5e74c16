//! Flag > environment > default, and where each value came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::value::Value;
use super::{Default, Row, Setting, table};
use crate::exit::Failure;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Environment(&'static str),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The settings of one command as they hold in this process. Every value has been checked against its type.
#[derive(Debug)]
pub(crate) struct Effective {
    command: &'static str,
    values: BTreeMap<String, (String, Source)>,
}

impl Effective {
    /// Settles every row of `command` from what was typed and from the environment, read through `env`.
    pub(crate) fn resolve(
        command: &'static str,
        typed: &ArgMatches,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        for row in table::rows_of(command) {
            let Some((text, source)) = find(row, typed, &env)? else { continue };
            (row.check)(&text).map_err(|expected| {
                let place = match source {
                    Source::Environment(name) => name.to_owned(),
                    Source::Flag | Source::Default => row.title(),
                };
                Failure::usage(format!("{place}: {text:?} is not {expected}"))
            })?;
            values.insert(row.title(), (text, source));
        }
        Ok(Self { command, values })
    }

    /// The value of a row that has a default.
    ///
    /// # Panics
    /// When the command has no such row or the row may be absent: both are mistakes in the table, which its tests find.
    pub(crate) fn get<T: Value>(&self, setting: &'static Setting<T>) -> T {
        match self.find(setting) {
            Some(value) => value,
            None => panic!("the table has no value of {} for `{}`", setting.row.title(), self.command),
        }
    }

    /// The value of a row that may be absent.
    pub(crate) fn find<T: Value>(&self, setting: &'static Setting<T>) -> Option<T> {
        let (text, _) = self.values.get(&setting.row.title())?;
        T::read(text).ok()
    }

    /// Where a row's value came from; `None` when it has none.
    pub(crate) fn source<T: Value>(&self, setting: &'static Setting<T>) -> Option<Source> {
        self.values.get(&setting.row.title()).map(|(_, source)| *source)
    }

    /// Every row with its value and source, for the one log line at start.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|(title, (text, source))| format!("{title}={text} ({source})"))
    }

    /// Logs the configuration once.
    pub(crate) fn log(&self) {
        let all: Vec<_> = self.lines().collect();
        tracing::info!(command = self.command, settings = all.join(", "), "effective configuration");
    }
}

fn find(
    row: &'static Row,
    typed: &ArgMatches,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Option<(String, Source)>, Failure> {
    if !row.flag.is_empty() && typed.value_source(row.flag) == Some(ValueSource::CommandLine) {
        let text = if row.is_switch {
            typed.get_flag(row.flag).to_string()
        } else {
            typed.get_one::<String>(row.flag).cloned().unwrap_or_default()
        };
        return Ok(Some((text, Source::Flag)));
    }
    for name in row.env.iter().copied() {
        let Some(value) = env(name).filter(|value| !value.is_empty()) else { continue };
        let text =
            value.into_string().map_err(|value| Failure::usage(format!("{name}: {value:?} is not a text in UTF-8")))?;
        return Ok(Some((text, Source::Environment(name))));
    }
    match row.default {
        Default::Is(text) => Ok(Some((text.to_owned(), Source::Default))),
        Default::Absent(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments;

    fn settle(line: &[&str], env: &[(&str, &str)]) -> Result<Effective, Failure> {
        let matches = arguments::command().try_get_matches_from(line).unwrap();
        let (name, typed) = matches.subcommand().unwrap();
        let command = table::COMMANDS.iter().find(|known| **known == name).unwrap();
        Effective::resolve(command, typed, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn listen(effective: &Effective) -> String {
        effective.lines().find(|line| line.starts_with("--listen")).unwrap()
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let line = ["paddock", "up", "--listen", "127.0.0.1:1"];
        let settled = settle(&line, &[("PADDOCK_LISTEN", "127.0.0.1:2")]).unwrap();
        assert_eq!(listen(&settled), "--listen=127.0.0.1:1 (flag)");
    }

    #[test]
    fn the_environment_wins_over_the_default() {
        let settled = settle(&["paddock", "up"], &[("PADDOCK_LISTEN", "127.0.0.1:2")]).unwrap();
        assert_eq!(listen(&settled), "--listen=127.0.0.1:2 (environment PADDOCK_LISTEN)");
    }

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        let settled = settle(&["paddock", "up"], &[("PADDOCK_LISTEN", "")]).unwrap();
        assert_eq!(listen(&settled), "--listen=127.0.0.1:6443 (default)");
    }

    #[test]
    fn a_bad_value_is_reported_where_it_was_written() {
        let error = settle(&["paddock", "up"], &[("PADDOCK_LISTEN", "here")]).unwrap_err();
        assert_eq!(error.message(), "PADDOCK_LISTEN: \"here\" is not an address and a port, such as `127.0.0.1:6443`");
    }
}
