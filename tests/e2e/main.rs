//! Dialtone as it is shipped, with real clients on a loopback of each scenario's own.
//!
//! Each test is a scenario: it starts the release binary and its phones inside a private network
//! namespace, so that scenarios run side by side on port 5060. At the end the server must have forgotten
//! everything but the records, and stop when told.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests of processes read the clock: a peer that says nothing is waited for until a deadline"
)]

mod harness;
#[path = "../support/torture.rs"]
#[allow(dead_code, reason = "the ladders use the rest")]
mod torture_cases;

mod applications;
mod baresip_calls;
mod faults;
mod linphone_calls;
mod names;
mod nat;
mod outbound;
mod overload;
mod power_failure;
mod reach;
mod register;
mod sipp_calls;
mod sipp_dialogs;
mod stopping;
mod tls;
mod torture;
mod transfers;
