//! The extension libraries of Kubernetes and of cel-go: what expressions in Kubernetes may call besides the language itself.
//!
//! | module | functions |
//! |---|---|
//! | `text`, `string_format` | cel-go's strings, version 2 |
//! | `lists`, `sort_by` | Kubernetes' lists; cel-go's lists, version 3, and sets |
//! | `regex` | `find`, `findAll` |
//! | `opaque` | URLs, IP addresses, networks, quantities, versions, named formats, `jsonpatch.escapeKey` |
//! | `url`, `ip`, `quantity`, `semver`, `names` | what stands behind those: pure reading and arithmetic |
//! | [`authorizer`] | `authorizer` |

mod authorizer;
mod go;
mod ip;
mod lists;
mod names;
mod opaque;
mod quantity;
mod regex;
mod semver;
mod sort_by;
mod string_format;
#[cfg(test)]
mod tests;
mod text;
mod url;

pub use authorizer::{
    AUTHORIZER, Access, Authorizer, Decision, RESOURCE_CHECK, ResourceAccess, Subject, authorizer, resource_check,
};
pub(crate) use lists::{is_sort, is_sort_by};
pub(crate) use opaque::{format_regex_size, is_unit_comparable, size};
pub(crate) use string_format::check as check_format;

use crate::function::Library;
use crate::macros;

/// All libraries that Kubernetes 1.36 gives its expressions.
///
/// Functions that depend on `authorizer` are there, but no expression reaches them without that variable.
pub fn kubernetes() -> Vec<Library> {
    vec![
        lists::kubernetes(),
        regex::library(),
        opaque::library(),
        authorizer::library(),
        text::library(),
        lists::extension(),
    ]
}

/// cel-go's `cel.bind(x, value, body)`. Kubernetes does not switch it on.
pub fn bindings() -> Library {
    Library { macros: vec![macros::binding()], ..Library::default() }
}

/// `jsonpatch.escapeKey`: only mutating admission policies have it.
pub fn json_patch() -> Library {
    opaque::json_patch()
}
