//! RTP for Dialtone: packets to frames, bridges, generators and statistics.
//!
//! [`worker::Worker`] is the media engine without its sockets: a plain value that is told the time.
//! [`engine::Engine`] runs a few of them, each on a thread of its own with its own sockets. A packet
//! is received, handled and sent on one thread.
//!
//! ```text
//!  MediaCommand ──ring──▶ engine ──▶ Worker ──▶ Leg ──▶ Line     one leg's outgoing numbers
//!  MediaEvent ◀──sink──── sockets      │         ├────▶ Latch    where the peer really is
//!                         epoll        │         ├────▶ Reception, Reports
//!                         reserve      │         └────▶ Generator ──▶ Tone, Prompt ──▶ G.711
//!                                      └── who hears whom
//! ```
//!
//! Not here: transcoding, mixing, recording, SRTP. Each is a kind of bridge, a tap, or a layer
//! between socket and [`worker::Worker::datagram`].
//!
//! **Invariants**: no `unsafe` outside `engine/sys.rs`; no clock outside `engine`; in a tick and per
//! packet nothing is allocated, locked, logged or read from a file.

pub mod counters;
pub mod engine;
pub mod g711;
pub mod generator;
pub mod grid;
pub mod latch;
mod leg;
pub mod line;
pub mod outbox;
pub mod prompt;
pub mod receive;
pub mod reports;
pub mod rtcp;
pub mod rtp;
pub mod tone;
pub mod wav;
pub mod worker;

pub use engine::{Engine, EngineConfig, EngineError, EngineMetrics};
pub use leg::SilenceLimits;
pub use prompt::{PromptError, PromptLibrary};
