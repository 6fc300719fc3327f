//! Golden ladders: one picture for each flow of a call or a registration, on virtual time.
#![allow(unused_crate_dependencies)]

#[allow(dead_code, unused_imports, reason = "each test uses a part of it")]
mod support;

#[path = "ladder/calls.rs"]
mod calls;
