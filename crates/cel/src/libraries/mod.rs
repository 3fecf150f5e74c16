//! The extension libraries of Kubernetes and of cel-go: what expressions in Kubernetes may call besides the language itself.

use crate::function::Library;

/// All libraries that Kubernetes 1.36 gives its expressions.
pub fn kubernetes() -> Vec<Library> {
    Vec::new()
}
