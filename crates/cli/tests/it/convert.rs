//! `paddock gateways convert` without a cluster: what it prints, exit codes and messages.

use std::io::Write;

use serde_json::Value;

use crate::process::{Running, run, stderr, stdout};

fn convert(text: &str, more: &[&str]) -> std::process::Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    run(&[&["gateways", "convert", "--file", file.path().to_str().unwrap()], more].concat())
}

/// Values that a careless writer of YAML breaks.
const HOSTILE: &str = "kind: ConfigMap\nmetadata: {name: platform-config}\ndata:\n  namespaces: |\n    - name: tenant-a\n      gateway:\n        image: 'ghcr.io/nvidia/openshell/gateway:0.0.111'\n        serverDnsNames: ['*.a.example', '::1']\n        config: \"# \\\"quoted\\\" \\\\ $() {{ x }} NAMESPACE_PLACEHOLDER: - '\\n\\topenshell.gateway.log_level = 'debug' \\n\\n\"\n    - name: tenant-b\n";

#[test]
fn gw_w06_yaml_and_json_say_the_same_and_keep_every_character() {
    let yaml = convert(HOSTILE, &[]);
    assert_eq!(yaml.status.code(), Some(0), "{}", stderr(&yaml));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&stdout(&yaml)).unwrap();
    let json = convert(HOSTILE, &["--json"]);
    let lines: Vec<Value> = stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents, lines);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["metadata"], serde_json::json!({ "name": "openshell-gateway", "namespace": "tenant-a" }));
    assert_eq!(
        lines[0]["spec"]["config"],
        "# \"quoted\" \\ $() {{ x }} NAMESPACE_PLACEHOLDER: - '\n\topenshell.gateway.log_level = 'debug' \n\n"
    );
}

#[test]
fn gw_w06_toml_stays_readable() {
    let text = "- name: tenant-a\n  gateway:\n    config: |\n      [openshell.gateway]\n      log_level = \"debug\"\n";
    let yaml = stdout(&convert(text, &[]));
    assert!(yaml.contains("  config: |\n    [openshell.gateway]\n    log_level = \"debug\"\n"), "{yaml}");
}

#[test]
fn a_mistake_exits_2_with_its_place_and_converts_nothing() {
    let output = convert("- name: tenant-a\n- name: tenant-b\n  gateway: {imagee: x}\n", &[]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("entry tenant-b: gateway.imagee (line 3, column 13)"), "{}", stderr(&output));
    let output = convert("- name: tenant-a\n", &["--tenant", "tenant-b"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Nothing else is read or computed then: a file that takes long must not keep the process.
#[test]
fn sigterm_ends_a_command_that_only_reads_at_once() {
    for command in ["convert", "plan"] {
        let waiting = Running::waiting_for_input(&["gateways", command, "--file", "-"]);
        waiting.until_it_catches_signals();
        assert_eq!(waiting.terminate(), Some(3), "{command}");
    }
}
