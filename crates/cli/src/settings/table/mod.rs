//! The rows: every flag and environment variable of every command, each once, in a module for each topic; to its readers a row
//! is `table::NAME`, whatever its module.
//!
//! | module | rows |
//! |---|---|
//! | `embedded` | the embedded API server: where it listens, where it keeps things, what runs in it |
//! | `operator` | where the controllers work, and which of them run |
//! | `gateway_commands` | what `gateways plan`, `gateways status` and `gateways convert` ask, of whom |
//! | `gateways` | how gateways shall be: `--gateways-*`. What the operator does and what `gateways plan` foretells come from the same rows |
//! | `listeners` | health, metrics, and what TLS listeners serve: `--health-listen`, `--metrics-listen`, `--tls-*` of processes that serve |
//! | `tls_commands` | what `tls scan` and `tls explain` ask, and by what they judge |
//! | `manifests` | what the printed manifests install |
//! | `bench` | how much the benchmarks do |
//! | `output` | how commands log and print |

mod bench;
mod embedded;
mod gateway_commands;
mod gateways;
mod listeners;
mod manifests;
mod operator;
mod output;
mod tls_commands;

pub(crate) use self::bench::*;
pub(crate) use self::embedded::*;
pub(crate) use self::gateway_commands::*;
pub(crate) use self::gateways::*;
pub(crate) use self::listeners::*;
pub(crate) use self::manifests::*;
pub(crate) use self::operator::*;
pub(crate) use self::output::*;
pub(crate) use self::tls_commands::*;

use super::Row;

/// The commands that have settings, in the order of the reference.
pub(crate) const COMMANDS: &[&str] = &[
    "demo",
    "up",
    "apiserver",
    "operator",
    "gateways plan",
    "gateways status",
    "gateways convert",
    "tls scan",
    "tls explain",
    "manifests",
    "bench",
    "completions",
    "docs",
];

/// Every row, in the order of the reference.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    [
        EMBEDDED_ROWS,
        OPERATOR_ROWS,
        GATEWAY_COMMANDS_ROWS,
        GATEWAYS_ROWS,
        LISTENERS_ROWS,
        TLS_COMMANDS_ROWS,
        MANIFESTS_ROWS,
        BENCH_ROWS,
        OUTPUT_ROWS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The rows of one command.
pub(crate) fn rows_of(command: &str) -> impl Iterator<Item = &'static Row> {
    rows().filter(move |row| row.commands.contains(&command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Default;

    #[test]
    fn every_default_is_a_value_of_its_type() {
        for row in rows() {
            if let Default::Is(text) = row.default {
                assert_eq!((row.check)(text), Ok(()), "{}", row.title());
            }
        }
    }

    #[test]
    fn a_command_has_each_row_once() {
        for command in COMMANDS {
            let mut titles: Vec<_> = rows_of(command).map(Row::title).collect();
            titles.sort();
            let count = titles.len();
            titles.dedup();
            assert_eq!(titles.len(), count, "{command}");
        }
    }

    #[test]
    fn every_row_belongs_to_a_command() {
        for row in rows() {
            assert!(!row.commands.is_empty() && row.commands.iter().all(|c| COMMANDS.contains(c)), "{}", row.title());
        }
    }

    #[test]
    fn the_default_gateway_is_the_one_that_the_controller_knows() {
        let options = paddock_controllers::gateways::Options::new("paddock-system", None).unwrap();
        assert_eq!(options.rules.default_image.to_string(), DEFAULT_GATEWAY_IMAGE);
    }

    #[test]
    fn every_row_can_be_set_somehow() {
        for row in rows() {
            assert!(!(row.flag.is_empty() && row.env.is_empty()), "{}", row.help);
        }
    }

    #[test]
    fn help_is_one_sentence_without_a_full_stop() {
        for row in rows() {
            assert!(!row.help.ends_with('.') && !row.help.contains('\n'), "{}", row.title());
        }
    }
}
