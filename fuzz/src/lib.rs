//! What must hold for any bytes, a function for each fuzz target.
//!
//! The fuzz targets call these, and so does `tests/fuzz_seeds.rs` with every file under `fuzz/seeds/` and damaged
//! copies of it: an input that once failed is put there and tried for ever.
//!
//! A check does nothing with more bytes than its parser ever gets, and panics when a promise is broken.

mod authorization;
mod configuration;
mod framer;
mod media;
mod sdp;
mod sip_message;
mod stun;
#[allow(dead_code, unused_imports, reason = "each test uses a part of it")]
#[path = "../../tests/support/mod.rs"]
mod support;
mod switch_inputs;

pub use authorization::{authorization, is_let_in};
pub use configuration::{configuration, site};
pub use framer::framer;
pub use media::{rtcp, rtp, wav};
pub use sdp::sdp;
pub use sip_message::sip_message;
pub use stun::stun;
pub use switch_inputs::{answered, switch_inputs};

/// A target: takes any bytes, panics when something does not hold.
pub type Check = fn(&[u8]);

/// Every target under the name of its file in `fuzz_targets/` and its folder in `seeds/`.
pub const CHECKS: [(&str, Check); 11] = [
    ("authorization", authorization),
    ("configuration", configuration),
    ("framer", framer),
    ("rtcp", rtcp),
    ("rtp", rtp),
    ("sdp", sdp),
    ("sip_message", sip_message),
    ("site", site),
    ("stun", stun),
    ("switch_inputs", switch_inputs),
    ("wav", wav),
];
