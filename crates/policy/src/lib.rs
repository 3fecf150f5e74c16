//! The pure rules of Paddock: what a tenant may be called, which images it may run, which names it may claim.
//!
//! This room knows no Kubernetes object and does no I/O. Each rule takes foreign text and gives a typed value or an
//! error that says what is wrong; none of them panics, and what is accepted prints as it was accepted.

pub mod dns;
pub mod image;
pub mod tenant;
