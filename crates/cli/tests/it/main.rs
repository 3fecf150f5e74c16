//! The binary as its users run it: exit codes, messages, a server that starts and stops, the demo.
#![expect(clippy::unwrap_used, reason = "test code: a panic is the report")]

mod command_line;
mod convert;
mod crash;
mod crowds;
mod demo;
mod pages;
mod plan;
mod process;
mod serving;
mod startup;
mod tls;
