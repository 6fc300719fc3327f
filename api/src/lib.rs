//! Shows and commands: what the outside sees of a running server, and how it asks for something.
//!
//! - [`public`] is the HTTP port: `/healthz`, `/metrics`, the page, and for who asks on this machine
//!   `/debug/longest-turns`.
//! - [`admin`] is HTTP on a Unix socket for the owner of the data directory: calls, traces, draining.
//! - [`view`] is what both show: a fold over the event stream. No reading request reaches the control
//!   thread; only a [`Command`](dialtone_core::command::Command) does, through [`Control`].
//!
//! Errors are problem details (RFC 9457). Every request has a largest body and a longest time, every
//! listener a largest number of connections.

pub mod admin;
pub mod client;
pub mod metrics;
mod problem;
pub mod public;
mod serve;
pub mod turns;
pub mod view;

pub use admin::{AdminSocket, CallText, Certificates, Control, Traces, Unavailable, admin_router};
pub use client::{AdminClient, ClientError};
pub use metrics::{MetricFamily, MetricKind, Registry, Sample};
pub use problem::Problem;
pub use public::{Health, PageFacts, Public, Status, public_router};
pub use serve::{Limits, Tls, serve, serve_tls};
pub use turns::{LongTurn, LongestTurns, TurnSource};
pub use view::{CallView, LegView, View};
