//! The command line: clap's commands, built from the table of settings.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::exit::Failure;
use crate::settings::{Default, Row, table};
use crate::version;

/// The whole command line.
pub(crate) fn command() -> Command {
    with_examples_in_long_help(all())
}

fn all() -> Command {
    Command::new("paddock")
        .about("A control plane for AI agents on Kubernetes")
        .long_version(version::LONG)
        .version(version::LONG)
        .styles(
            Styles::styled().header(AnsiColor::Green.on_default().bold()).usage(AnsiColor::Green.on_default().bold()),
        )
        .after_help(examples(&["paddock demo", "paddock up", "paddock operator --kubeconfig ~/.kube/config"]))
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(with_settings(
            "demo",
            "Watch two tenants get their gateways on a throw-away embedded Kubernetes API",
            &["paddock demo", "paddock demo --keep", "paddock demo --json | jq -c .event"],
        ))
        .subcommand(with_settings(
            "up",
            "Run Kubernetes' API and Paddock's controllers on this machine",
            &["paddock up", "paddock up --data-dir /var/lib/paddock --listen 127.0.0.1:0 --kubeconfig-out kubeconfig"],
        ))
        .subcommand(with_settings(
            "apiserver",
            "Run the embedded Kubernetes API server alone",
            &[
                "paddock apiserver --in-memory --listen 127.0.0.1:0 --kubeconfig-out kubeconfig",
                "paddock apiserver --data-dir /var/lib/paddock",
            ],
        ))
        .subcommand(with_settings(
            "operator",
            "Run Paddock's controllers against a cluster",
            &["paddock operator", "paddock operator --kubeconfig ~/.kube/config --controllers gateways"],
        ))
        .subcommand(
            with_settings(
                "manifests",
                "Print what to install on a cluster",
                &[
                    "paddock manifests install | kubectl apply -f -",
                    "paddock manifests rbac --namespace platform",
                    "paddock manifests network | kubectl -n team-a apply -f -",
                ],
            )
            .arg(Arg::new("what").required(true).value_parser(["crds", "rbac", "install", "alerts", "network"]).help(
                "crds: custom resources; rbac: what the operator may do; install: all of it, namespace, Deployment and who may write \
                 TLS profiles; alerts: a PrometheusRule; network: a NetworkPolicy by which the operator reaches the pods that it asks",
            )),
        )
        .subcommand(
            with_settings(
                "bench",
                "Measure this machine: print Paddock's figures",
                &[
                    "paddock bench",
                    "paddock bench apiserver --json",
                    "paddock bench apiserver --against ~/.kube/config",
                    "paddock bench gateways --tenants 20",
                    "paddock bench tls",
                ],
            )
            .arg(
                Arg::new("what")
                    .default_value("all")
                    .value_parser(["all", "apiserver", "gateways", "tls"])
                    .help("Which figures to take"),
            ),
        )
        .subcommand(
            Command::new("bench-listener")
                .about("Serve for `paddock bench tls`, which starts it")
                .hide(true)
                .arg(Arg::new("which").required(true).value_parser(["ours", "bare"]))
                .arg(Arg::new("dir").required(true).value_parser(value_parser!(std::path::PathBuf))),
        )
        .subcommand(gateways())
        .subcommand(tls())
        .subcommand(
            Command::new("completions")
                .about("Print the completion script of a shell")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
                .after_help(examples(&["paddock completions bash > /etc/bash_completion.d/paddock"])),
        )
        .subcommand(
            Command::new("docs")
                .about("Compare the pages that are generated from the code with the code, or write them")
                .hide(true)
                .arg(Arg::new("write").long("write").action(ArgAction::SetTrue).help("Write the pages"))
                .arg(Arg::new("root").long("root").default_value(".").help("The root of the source tree")),
        )
}

fn tls() -> Command {
    Command::new("tls")
        .about("Look at TLS: what a server really accepts, and what becomes of a profile")
        .after_help(examples(&["paddock tls scan localhost:6443 --profile Intermediate", "paddock tls explain profile.json"]))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            with_settings(
                "tls scan",
                "Find out which versions, cipher suites and groups a server accepts, and whether that is a profile",
                &[
                    "paddock tls scan localhost:6443",
                    "paddock tls scan localhost:6443 --profile profile.json",
                    "kubectl get apiserver cluster -o json | paddock tls scan 10.0.0.7:8443 --profile - --json",
                ],
            )
            .arg(Arg::new("what").required(true).value_name("HOST:PORT").help("The server to ask"))
            .after_long_help(
                "It offers every version from SSL 3.0 on, every cipher suite and every group that has a number, with hellos of its own \
                 making: some thirty to sixty handshakes for a server of today, none of them finished. Suites that need a key of a kind \
                 that the server does not have are no difference.\n\n\
                 Exit codes: 0 exactly as the profile says (or no profile given); 1 something is accepted that must not be, or refused that the \
                 profile asks for; 2 wrong usage or no profile; 3 it could not be determined.",
            ),
        )
        .subcommand(
            with_settings(
                "tls explain",
                "Show what Paddock serves of a TLS profile, and why not the rest",
                &[
                    "paddock tls explain Old",
                    "paddock tls explain profile.json --key RSA",
                    "kubectl get apiserver cluster -o json | paddock tls explain -",
                ],
            )
            .arg(
                Arg::new("what")
                    .required(true)
                    .value_name("FILE")
                    .help("A `profile.json` or the directory of one, an object or manifest that holds one, `-` for stdin, or Old, Intermediate, Modern"),
            )
            .after_long_help("Exit codes: 0 it can be served, in full or in part; 1 it cannot be served; 2 it is no profile."),
        )
}

/// The commands about gateways.
fn gateways() -> Command {
    let lines = ["paddock gateways plan", "paddock gateways status --watch", "paddock gateways convert"];
    let plan = with_settings(
        "gateways plan",
        "Show what the operator would change, and which gateways would restart and why",
        &[
            "paddock gateways plan",
            "paddock gateways plan --file platform-config.yaml --tenant tenant-a",
            "paddock gateways plan --file platform-config.yaml --offline --kubernetes-version v1.35.0",
            "kubectl get -A all,cm,secret -o yaml > live.yaml; paddock gateways plan --file - --offline --against live.yaml",
        ],
    );
    let status = with_settings(
        "gateways status",
        "List gateways and how they stand",
        &[
            "paddock gateways status",
            "paddock gateways status --watch",
            "paddock gateways status --json | jq -r .phase",
        ],
    );
    let convert = with_settings(
        "gateways convert",
        "Print the entries of platform-config as OpenShellGateway manifests that ask for the same",
        &[
            "paddock gateways convert | kubectl apply -f -",
            "paddock gateways convert --tenant tenant-a > tenant-a.yaml",
            "paddock gateways convert --file platform-config.yaml --json | jq .spec",
        ],
    );
    Command::new("gateways")
        .about("Look at gateways: what would change, how they stand, and platform-config as objects")
        .after_help(examples(&lines))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(plan.after_long_help(
            "It gives the operator's own answer: give it the operator's --gateways-… flags. Nothing is written: objects \
             are compared by server-side dry runs, with the rights of whoever asks.\n\n\
             Exit codes: 0 nothing to do; 1 something to do; 2 a mistake in platform-config or in the command line; \
             3 it could not be determined.",
        ))
        .subcommand(status.after_long_help(
            "Exit codes: 0 every gateway is ready; 1 one is not; 2 wrong usage; 3 it could not be determined. \
             With --watch it ends with 0 when it is stopped.",
        ))
        .subcommand(convert.after_long_help(
            "Entries are judged by the operator's rules: give it the operator's --gateways-… flags. Nothing is written, \
             and nothing is printed while an entry is wrong. Once the objects are applied they are heard and the entries \
             are not; the gateways go on as they are. Then take the entries out of platform-config.\n\n\
             Exit codes: 0 done; 2 a mistake in platform-config or in the command line; 3 it could not be read.",
        ))
}

fn with_settings(name: &'static str, about: &'static str, lines: &[&str]) -> Command {
    let word = name.rsplit(' ').next().unwrap_or(name);
    let command = Command::new(word).about(about).after_help(examples(lines));
    table::rows_of(name).filter(|row| !row.flag.is_empty()).fold(command, |command, row| command.arg(argument(row)))
}

fn argument(row: &'static Row) -> Arg {
    let arg = Arg::new(row.flag).long(row.flag).help(help(row));
    if row.is_switch { arg.action(ArgAction::SetTrue) } else { arg.value_name(row.value_name) }
}

fn help(row: &Row) -> String {
    let mut text = row.help.to_owned();
    for name in row.env {
        text.push_str(&format!(" [env: {name}]"));
    }
    match row.default {
        Default::Is("false") if row.is_switch => {}
        Default::Is(default) => text.push_str(&format!(" [default: {default}]")),
        Default::Absent(meaning) => text.push_str(&format!(" [default: {}]", meaning.replace('`', ""))),
    }
    text
}

/// Long help shows only what is said for it: the examples that stand below the short one are said there, too.
fn with_examples_in_long_help(command: Command) -> Command {
    command.mut_subcommands(|command| {
        let command = with_examples_in_long_help(command);
        match (command.get_after_help(), command.get_after_long_help()) {
            (Some(examples), Some(notes)) => {
                let both = format!("{examples}\n\n{notes}");
                command.after_long_help(both)
            }
            _ => command,
        }
    })
}

fn examples(lines: &[&str]) -> String {
    let mut text = String::from("Examples:");
    for line in lines {
        text.push_str("\n  ");
        text.push_str(line);
    }
    text
}

/// What to do with a command line that clap did not turn into a command.
pub(crate) enum Stop {
    /// Help or the version was asked for: print it and succeed.
    Show(clap::Error),
    /// The line is wrong.
    Wrong(Failure),
}

/// Parses the command line of this process.
pub(crate) fn parse() -> Result<ArgMatches, Stop> {
    command().try_get_matches().map_err(|error| {
        if error.use_stderr() { Stop::Wrong(Failure::Usage(summary(&error))) } else { Stop::Show(error) }
    })
}

/// clap explains over several lines; a wrong flag deserves one, with clap's suggestion if it has one.
fn summary(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut summary = String::new();
    for line in lines.by_ref().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        match line.strip_prefix("tip: ") {
            Some(_) => summary.push_str("; "),
            None if !summary.is_empty() => summary.push(' '),
            None => {}
        }
        summary.push_str(line.strip_prefix("tip: ").unwrap_or(line));
    }
    summary.push_str(" (see --help)");
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &[&str]) -> String {
        summary(&command().try_get_matches_from(line).unwrap_err())
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_told_in_one_line_with_the_right_one() {
        assert_eq!(
            wrong(&["paddock", "up", "--lisen", "x"]),
            "unexpected argument '--lisen' found; a similar argument exists: '--listen' (see --help)"
        );
    }

    #[test]
    fn an_unknown_choice_is_told_in_one_line() {
        assert_eq!(
            wrong(&["paddock", "manifests", "sketch"]),
            "invalid value 'sketch' for '<what>' [possible values: crds, rbac, install, alerts, network] (see --help)"
        );
    }

    #[test]
    fn every_command_has_examples() {
        let all = command();
        let shown = || all.get_subcommands().filter(|command| !command.is_hide_set());
        for command in shown().chain(shown().flat_map(Command::get_subcommands)) {
            let short = command.get_after_help();
            for help in [short, command.get_after_long_help().or(short)] {
                let text = help.map(ToString::to_string).unwrap_or_default();
                assert!(text.contains("Examples:\n  "), "{}", command.get_name());
            }
        }
    }
}
