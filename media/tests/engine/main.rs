//! The engine with real sockets on loopback. Nothing sleeps: every wait is for a packet or an event.
// A failed expectation is how a test reports.
#![allow(clippy::unwrap_used, clippy::panic)]

mod feeds;
mod lab;
mod ports;
mod relay;
mod running;
