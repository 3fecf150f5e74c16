//! Records the commit that is being built. Reads files under `.git`; needs neither git nor a network.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let commit = find_git().and_then(|git| commit(&git)).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=PADDOCK_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
}

/// The git directory of this checkout. In a worktree `.git` is a file that names it.
fn find_git() -> Option<PathBuf> {
    let dot_git = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join("../../.git");
    if dot_git.is_dir() {
        return Some(dot_git);
    }
    let text = fs::read_to_string(dot_git).ok()?;
    Some(PathBuf::from(text.strip_prefix("gitdir:")?.trim()))
}

fn commit(git: &Path) -> Option<String> {
    println!("cargo::rerun-if-changed={}", git.join("HEAD").display());
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let hash = match head.trim().strip_prefix("ref: ") {
        None => head.trim().to_owned(),
        Some(name) => resolve(git, name)?,
    };
    (hash.len() >= 12 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hash[..12].to_owned())
}

fn resolve(git: &Path, name: &str) -> Option<String> {
    // A worktree keeps its branches in the main git directory.
    let common = fs::read_to_string(git.join("commondir")).map_or_else(|_| git.to_owned(), |dir| git.join(dir.trim()));
    println!("cargo::rerun-if-changed={}", common.join(name).display());
    if let Ok(hash) = fs::read_to_string(common.join(name)) {
        return Some(hash.trim().to_owned());
    }
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
}
