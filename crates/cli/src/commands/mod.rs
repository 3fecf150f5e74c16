//! One module per command. Each is thin: it settles what was asked, calls the crate that does it, and reports.

pub(crate) mod docs;
pub(crate) mod manifests;
