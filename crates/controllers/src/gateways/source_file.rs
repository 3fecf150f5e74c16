//! `platform-config` as people keep it in a file: the ConfigMap's manifest, alone or among others, or the bare list. Pure.
//!
//! Places of problems count in the file, also where the list stands in it as a block of text.

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::controller::{NAMESPACES_KEY, PLATFORM_CONFIG};
use super::document::{first_line, place};
use super::embedded;
use super::problem::{Position, Problem};

/// The list of gateways from a file, and where it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The list, as the key `namespaces` has it.
    pub list: String,
    /// The manifest that holds it: its text, the line before it, and where the list starts in it. `None` for a bare list.
    within: Option<(String, usize, Position)>,
}

/// As much of a manifest as tells whether it is the one.
#[derive(serde::Deserialize)]
struct Manifest {
    kind: Option<String>,
    #[serde(default)]
    metadata: Named,
    data: Option<BTreeMap<String, Spanned<String>>>,
}

#[derive(Default, serde::Deserialize)]
struct Named {
    name: Option<String>,
}

impl SourceFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When a manifest cannot be read, or none of several is `platform-config`.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let mut manifests = 0;
        for (before, document) in documents(text) {
            let Some(kind) = document.lines().find_map(|line| line.strip_prefix("kind:")) else { continue };
            manifests += 1;
            if kind.trim().trim_matches(['"', '\'']) != "ConfigMap" {
                continue;
            }
            let manifest: Manifest = serde_saphyr::from_str(document).map_err(|error| {
                let at = error.location().and_then(place).map(|at| Position { line: at.line + before, ..at });
                problem(at, format!("YAML error: {}", first_line(&error)))
            })?;
            let is_ours = manifest.metadata.name.as_deref() == Some(PLATFORM_CONFIG);
            if manifest.kind.as_deref() != Some("ConfigMap") || !is_ours {
                continue;
            }
            let mut data = manifest.data.unwrap_or_default();
            let Some(list) = data.remove(NAMESPACES_KEY) else {
                return Err(problem(None, format!("the ConfigMap {PLATFORM_CONFIG} has no data.{NAMESPACES_KEY}")));
            };
            let start = place(list.defined).unwrap_or(Position { line: 1, column: 1 });
            return Ok(Self { list: list.value, within: Some((document.to_owned(), before, start)) });
        }
        match manifests {
            0 => Ok(Self { list: text.to_owned(), within: None }),
            _ => Err(problem(None, format!("the file has manifests, and none is the ConfigMap {PLATFORM_CONFIG}"))),
        }
    }

    /// The problem with its place in the file instead of its place in the list.
    #[must_use]
    pub fn locate(&self, mut problem: Problem) -> Problem {
        if let (Some(at), Some((document, before, start))) = (problem.position, &self.within) {
            match embedded::locate(document, *start, &self.list, at) {
                Some(found) => problem.position = Some(Position { line: found.line + before, ..found }),
                None => {
                    problem.message = format!("at {at} of data.{NAMESPACES_KEY}: {}", problem.message);
                    problem.position = Some(Position { line: start.line + before, ..*start });
                }
            }
        }
        problem
    }
}

fn problem(position: Option<Position>, message: String) -> Problem {
    Problem { entry: String::new(), key: String::new(), position, message, hint: String::new() }
}

/// The documents of a stream, each with the number of lines before it.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut start, mut first, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            found.push((first, text.get(start..at).unwrap_or_default()));
            (start, first) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    found.push((first, text.get(start..).unwrap_or_default()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::{Intents, Rules};

    const MANIFEST: &str = "# comment\napiVersion: v1\nkind: Secret\nmetadata: {name: other}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: platform-config\ndata:\n  namespaces: |\n    - name: tenant-a\n    - name: tenant-b\n      gateway:\n        imagee: x\n";

    fn problems(text: &str) -> Vec<String> {
        let file = SourceFile::read(text).unwrap();
        let rules = Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap());
        let intents = Intents::default().next(Some(&file.list), &rules);
        intents.problems().map(|problem| file.locate(problem.clone()).to_string()).collect()
    }

    #[test]
    fn gw_w07_places_count_in_the_file_that_was_given() {
        let found = problems(MANIFEST);
        assert!(found[0].starts_with("entry tenant-b: gateway.imagee (line 15, column 9)"), "{found:?}");
    }

    #[test]
    fn a_bare_list_is_itself() {
        let found = problems("- name: tenant-a\n  x: 1\n");
        assert!(found[0].contains("line 2, column 3"), "{found:?}");
    }

    #[test]
    fn manifests_without_ours_are_refused() {
        assert!(SourceFile::read("kind: Secret\nmetadata: {name: x}\n").is_err());
        assert!(SourceFile::read("kind: ConfigMap\nmetadata: {name: platform-config}\n").is_err());
        assert!(SourceFile::read("kind: ConfigMap\nmetadata: [\n").unwrap_err().position.is_some());
    }
}
