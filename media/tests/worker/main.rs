//! A worker in virtual time: no sockets, no threads, no waiting.
// A failed expectation is how a test reports.
#![allow(clippy::unwrap_used, clippy::panic)]

mod feeds;
mod lab;
mod random;
mod relay;
mod reports;
