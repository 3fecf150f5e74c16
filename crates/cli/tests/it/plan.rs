//! `paddock gateways plan` without a cluster: exit codes and messages.

use std::io::Write;
use std::process::Stdio;

use crate::process::{paddock, run, stderr, stdout};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn plan(file: &tempfile::NamedTempFile, more: &[&str]) -> std::process::Output {
    let path = file.path().to_str().unwrap();
    run(&[&["gateways", "plan", "--offline", "--file", path], more].concat())
}

#[test]
fn gw_w21_something_to_do_exits_1() {
    let output = plan(&file("- name: tenant-a\n- name: tenant-b\n"), &["--tenant", "tenant-b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).ends_with("tenant-b starts: it is new\n\n"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("tenant-a") && !stdout(&output).contains('\x1b'));
    assert_eq!(stderr(&output), "1 of 1 gateways would change, 0 would restart\n");
}

#[test]
fn gw_w21_a_mistake_exits_2_with_its_place_in_the_file() {
    let text = "kind: ConfigMap\nmetadata: {name: platform-config}\ndata:\n  namespaces: |\n    - name: tenant-a\n      gateway: {imagee: x}\n";
    let output = plan(&file(text), &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("entry tenant-a: gateway.imagee (line 6, column 17): "), "{text}");
}

#[test]
fn gw_w21_no_document_changes_nothing_and_exits_0() {
    let output = plan(&file("[]\n"), &[]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
}

#[test]
fn gw_w21_the_document_is_read_from_stdin() {
    let mut child = paddock(&["gateways", "plan", "--offline", "--file", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"- name: tenant-a\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(text.lines().count() == 1 && text.contains(r#""summary":"tenant-a starts: it is new""#), "{text}");
    assert!(!text.contains("BEGIN") && !text.contains("LS0tLS1CRUdJTi"), "a secret");
}

#[test]
fn gw_w21_an_unreachable_cluster_exits_3() {
    let kubeconfig = file(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
         clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n",
    );
    for command in ["plan", "status"] {
        let output = run(&["gateways", command, "--kubeconfig", kubeconfig.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    }
}
