//! Golden ladders: one picture for each flow of a call or a registration, on virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "each test uses a part of it")]
mod support;

#[path = "ladder/attended.rs"]
mod attended;
#[path = "ladder/calls.rs"]
mod calls;
#[path = "ladder/cancel.rs"]
mod cancel;
#[path = "ladder/changes.rs"]
mod changes;
#[path = "ladder/codecs.rs"]
mod codecs;
#[path = "ladder/detours.rs"]
mod detours;
#[path = "ladder/dialogs.rs"]
mod dialogs;
#[path = "ladder/flows.rs"]
mod flows;
#[path = "ladder/flows_of_phones.rs"]
mod flows_of_phones;
#[path = "ladder/forks.rs"]
mod forks;
#[path = "ladder/gruu.rs"]
mod gruu;
#[path = "ladder/hostile.rs"]
mod hostile;
#[path = "ladder/identity.rs"]
mod identity;
#[path = "ladder/late.rs"]
mod late;
#[path = "ladder/loops.rs"]
mod loops;
#[path = "ladder/losses.rs"]
mod losses;
#[path = "ladder/names.rs"]
mod names;
#[path = "ladder/nat.rs"]
mod nat;
#[path = "ladder/qualify.rs"]
mod qualify;
#[path = "ladder/reach.rs"]
mod reach;
#[path = "ladder/redirects.rs"]
mod redirects;
#[path = "ladder/refusals.rs"]
mod refusals;
#[path = "ladder/register.rs"]
mod register;
#[path = "ladder/reliable.rs"]
mod reliable;
#[path = "ladder/replaces.rs"]
mod replaces;
#[path = "ladder/timers.rs"]
mod timers;
#[path = "ladder/tls.rs"]
mod tls;
#[path = "ladder/torture.rs"]
mod torture;
#[path = "ladder/transfer_failures.rs"]
mod transfer_failures;
#[path = "ladder/transfers.rs"]
mod transfers;
#[path = "ladder/trust.rs"]
mod trust;
#[path = "ladder/updates.rs"]
mod updates;
