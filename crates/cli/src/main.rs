//! Paddock: a control plane for AI agents on Kubernetes, in one binary.
//!
//! | module | what it is for |
//! |---|---|
//! | `arguments` | the command line |
//! | `settings` | the typed configuration table: flags, environment, defaults, reference page |
//! | `commands` | one module per command; thin |
//! | `exit`, `logging`, `signals`, `version` | how a command ends, what it logs, when it stops, what it is |

mod arguments;
mod commands;
mod exit;
mod logging;
mod output;
mod settings;
mod signals;
mod version;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;
use clap_complete::Shell;

use crate::arguments::Stop;
use crate::exit::{Failure, Outcome};
use crate::settings::{Effective, table};

/// The root `Cargo.toml` says why it is not the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match arguments::parse() {
        Ok(matches) => run(&matches),
        Err(Stop::Wrong(failure)) => Err(failure),
        Err(Stop::Show(text)) => {
            // A reader that has seen enough closes the pipe; that is no failure.
            let _ = text.print();
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message().is_empty() {
                output::complain(failure.message());
            }
            failure.code()
        }
    }
}

fn run(matches: &ArgMatches) -> Outcome {
    let Some((name, typed)) = matches.subcommand() else { return Err(Failure::usage("a command is required")) };
    match name {
        "completions" => {
            let shell = typed.get_one::<Shell>("shell").copied().unwrap_or(Shell::Bash);
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut arguments::command(), "paddock", &mut script);
            output::data(&String::from_utf8_lossy(&script))
        }
        "docs" => {
            let root = typed.get_one::<String>("root").map_or(".", String::as_str);
            commands::docs::run(Path::new(root), typed.get_flag("write"))
        }
        "bench-listener" => {
            let which = typed.get_one::<String>("which").map_or("", String::as_str);
            let dir = typed.get_one::<PathBuf>("dir").map_or(Path::new("."), PathBuf::as_path);
            commands::bench::tls::run_listener(which, dir)
        }
        "manifests" => commands::manifests::run(&settle("manifests", typed)?, chosen(typed)),
        "gateways" => match typed.subcommand() {
            Some((below, typed)) => run_for_a_while(&format!("gateways {below}"), typed),
            None => Err(Failure::usage("a command is required: plan or status")),
        },
        "tls" => match typed.subcommand() {
            Some(("explain", typed)) => commands::tls::explain::run(&settle("tls explain", typed)?, chosen(typed)),
            Some((below, typed)) => run_for_a_while(&format!("tls {below}"), typed),
            None => Err(Failure::usage("a command is required: scan or explain")),
        },
        _ => run_for_a_while(name, typed),
    }
}

/// The commands that run for a while: they log, and they stop on a signal.
fn run_for_a_while(name: &str, typed: &ArgMatches) -> Outcome {
    let Some(command) = table::COMMANDS.iter().copied().find(|known| *known == name) else {
        return Err(Failure::usage(format!("unknown command {name:?}")));
    };
    let settings = settle(command, typed)?;
    logging::start(&settings)?;
    settings.log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::undetermined(format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        let stop =
            signals::stop_token().map_err(|error| Failure::undetermined(format!("cannot catch signals: {error}")))?;
        match command {
            "apiserver" => commands::apiserver::run(&settings, stop).await,
            "up" => commands::up::run(&settings, stop).await,
            "operator" => commands::operator::run(&settings, stop).await,
            "bench" => commands::bench::run(&settings, chosen(typed), stop).await,
            "gateways plan" => {
                signals::end_when_stopped(stop);
                commands::gateways::plan::run(&settings).await
            }
            "gateways convert" => {
                signals::end_when_stopped(stop);
                commands::gateways::convert::run(&settings).await
            }
            "gateways status" => commands::gateways::status::run(&settings, stop).await,
            "tls scan" => tokio::select! {
                outcome = commands::tls::scan::run(&settings, chosen(typed)) => outcome,
                () = stop.cancelled() => Err(Failure::undetermined("stopped")),
            },
            "demo" => commands::demo::run(&settings, stop).await,
            _ => Err(Failure::usage(format!("`{command}` is not a command that runs"))),
        }
    })
}

fn settle(command: &'static str, typed: &ArgMatches) -> Result<Effective, Failure> {
    Effective::resolve(command, typed, |name| std::env::var_os(name))
}

fn chosen(typed: &ArgMatches) -> &str {
    typed.get_one::<String>("what").map_or("", String::as_str)
}
