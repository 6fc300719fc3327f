//! Sockets: the only part of this crate that knows tokio.
