//! Dialtone: a PBX and call center in one binary.
//!
//! The root package knows every crate and has no domain rules of its own: it holds the [`switch::Switch`],
//! the loop that drives it, and the shells around it.

pub mod cli;
pub mod clock;
pub mod config;
pub mod ladder;
pub mod recorder;
pub mod run;
pub mod site;
pub mod switch;
mod tls;
