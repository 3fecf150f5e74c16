//! What a wrong or a simple command line gives.

use crate::process::{paddock, run, stderr, stdout};

#[test]
fn a_wrong_flag_exits_2_with_one_line() {
    let output = run(&["up", "--lisen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: unexpected argument '--lisen' found; a similar argument exists: '--listen' (see --help)\n"
    );
}

#[test]
fn a_bad_address_exits_2_with_one_line() {
    let output = run(&["up", "--listen", "localhost"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: --listen: \"localhost\" is not an address and a port, such as `127.0.0.1:6443`\n"
    );
}

#[test]
fn a_bad_variable_is_called_by_its_name() {
    let output = paddock(&["up"]).env("PADDOCK_CONTROLLERS", "all").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: PADDOCK_CONTROLLERS: \"all\" is not a comma-separated list of: gateways, tls-profile\n"
    );
}

#[test]
fn gw_f15_an_unreadable_kubeconfig_exits_2_and_is_named() {
    let output = run(&["operator", "--kubeconfig", "/does/not/exist", "--log-level", "off", "--health-listen", "off"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.starts_with("error: ") && text.contains("/does/not/exist"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// With the gateways off, a closed channel once hid every other failure.
#[test]
fn gw_d08_with_the_gateways_off_what_else_fails_ends_the_process() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let arguments = ["up", "--controllers", "tls-profile", "--data-dir", data, "--listen", "127.0.0.1:0"];
    let output = run(&[&arguments[..], &["--log-level", "off", "--health-listen", &address]].concat());
    let text = stderr(&output);
    assert!(output.status.code() == Some(2) && text.contains(&address), "{text}");
}

#[test]
fn a_taken_address_exits_2_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let arguments = [
        "apiserver",
        "--in-memory",
        "--listen",
        &address,
        "--kubeconfig-out",
        kubeconfig.to_str().unwrap(),
        "--log-level",
        "off",
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn the_version_names_commit_and_crypto() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.starts_with(concat!("paddock ", env!("CARGO_PKG_VERSION"), " (commit ")), "{text}");
    assert!(text.ends_with(", crypto aws-lc-rs)\n"), "{text}");
}

#[test]
fn the_custom_resources_are_printed() {
    let output = run(&["manifests", "crds"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("name: openshellgateways.paddock.dev"));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("apiserver"), "{shell}");
    }
}
