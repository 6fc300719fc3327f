//! SIP: bytes to leg events, leg commands to bytes.
//!
//! Everything but `transport/` is pure and told the time. `transport/` is the tokio shell: sockets,
//! framing, parsing and the digest hash.

pub mod auth;
pub mod locate;
pub mod message;
pub mod net;
pub mod registrar;
pub mod sdp;
pub mod stack;
pub mod transaction;
pub mod transport;
pub mod ua;
pub mod wire;
