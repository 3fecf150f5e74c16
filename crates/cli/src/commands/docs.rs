//! `paddock docs`: the pages that are generated from the code.

use std::fs;
use std::path::Path;

use super::metrics_page;
use crate::exit::{Failure, Outcome};
use crate::settings::reference;

/// Where each generated page belongs, and its text.
fn pages() -> [(&'static str, String); 2] {
    [("docs/reference/configuration.md", reference::page()), ("docs/reference/metrics.md", metrics_page::page())]
}

/// Writes the pages below `root`, or reports the first that is stale.
pub(crate) fn run(root: &Path, write: bool) -> Outcome {
    for (name, text) in pages() {
        let file = root.join(name);
        if write {
            fs::write(&file, text).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        } else if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            tracing::debug!(page = name, "up to date");
        } else {
            return Err(Failure::found(format!("{name} is stale; run: cargo run -p paddock -- docs --write")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_pages_are_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        if let Err(stale) = run(&root, false) {
            panic!("{}", stale.message());
        }
    }
}
