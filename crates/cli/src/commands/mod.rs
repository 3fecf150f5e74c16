//! One module per command. Each is thin: it settles what was asked, calls the crate that does it, and reports.

pub(crate) mod apiserver;
pub(crate) mod bench;
pub(crate) mod controllers;
pub(crate) mod demo;
pub(crate) mod docs;
pub(crate) mod embedded;
pub(crate) mod gateways;
pub(crate) mod listeners;
pub(crate) mod manifests;
mod metrics_page;
pub(crate) mod operator;
mod own_startup;
mod storage_class;
pub(crate) mod tls;
pub(crate) mod up;
