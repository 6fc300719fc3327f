//! What must hold for any bytes, a function for each fuzz target.
//!
//! The targets of `cargo fuzz` call these, and so does `tests/fuzz_seeds.rs` with every file under `fuzz/seeds/`
//! and damaged copies of it: an input that once failed is put there and tried for ever, on any toolchain.
//!
//! A check does nothing with more bytes than its parser ever gets, and panics when a promise is broken.

mod authorization;
mod framer;
mod media;
mod sdp;
mod sip_message;

pub use authorization::{authorization, is_let_in};
pub use framer::framer;
pub use media::{rtcp, rtp, wav};
pub use sdp::sdp;
pub use sip_message::sip_message;

/// A target: takes any bytes, panics when something does not hold.
pub type Check = fn(&[u8]);

/// Every target under the name of its file in `fuzz_targets/` and its folder in `seeds/`.
pub const CHECKS: [(&str, Check); 7] = [
    ("authorization", authorization),
    ("framer", framer),
    ("rtcp", rtcp),
    ("rtp", rtp),
    ("sdp", sdp),
    ("sip_message", sip_message),
    ("wav", wav),
];
