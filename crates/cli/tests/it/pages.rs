//! Pages that must follow the code.

use std::path::Path;

fn page(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = page("Cargo.toml");
    let table = manifest.split_once("[workspace.dependencies]").unwrap().1.split_once("\n[workspace.lints").unwrap().0;
    let reasons = page("docs/dependencies.md");
    for line in table.lines() {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        if name.starts_with("paddock-") || name.starts_with('#') {
            continue;
        }
        assert!(reasons.contains(&format!("`{name}`")), "docs/dependencies.md says nothing of {name}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["README.md", "CONTRIBUTING.md"] {
        for target in page(name).split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)) {
            if !target.starts_with("http") {
                assert!(root.join(target).exists(), "{name} links to {target}");
            }
        }
    }
}
