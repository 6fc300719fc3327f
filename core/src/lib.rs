//! What a phone system is: calls, legs, bridges, routes and events, as plain values.
//!
//! Nothing here reads a clock, opens a socket, draws a random number or knows a SIP word. The crate is
//! told the time and what happened, and answers with what must be done.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | endpoint | something that can be called by its number: an extension (a trunk, later) |
//! | contact | one place where an endpoint can be reached now; an endpoint has several |
//! | leg | one party's connection with us: one SIP dialog, one audio stream |
//! | call | one caller's attempt and all legs that serve it |
//! | conversation | what a human calls "the call": kept across transfers, queues and parks |
//! | branch | an outbound leg that rings while the call has not been answered |
//! | bridge | what joins the audio of legs: relay, transcode, mix or hold |
//! | description | one side's view of a stream: address, formats, direction (SDP, without the syntax) |
//! | port | a bound RTP/RTCP socket pair of a media worker |
//! | early media | audio before the answer |
//! | flow | a short program a call runs: answer, play, echo, tone, hang up |
//! | site | everything that an administrator configures: extensions, groups, numbers |

pub mod app;
mod call;
pub mod cause;
pub mod cdr;
pub mod codec;
pub mod command;
pub mod description;
pub mod endpoint;
pub mod event;
pub mod id;
pub mod leg;
pub mod machine;
pub mod media;
pub mod negotiate;
pub mod pbx;
pub mod ports;
pub mod route;
pub mod site;
pub mod time;

pub use cause::Cause;
pub use codec::Codec;
pub use description::{Description, Direction, Format};
pub use event::{Event, Fact};
pub use id::{BridgeId, CallId, ContactId, ConversationId, IdMap, IdSource, LegId, NodeId, PortId, TextMap};
pub use leg::{Diversion, DiversionReason, HungUpBy, Journey, LegCommand, LegEvent, Number, Party};
pub use machine::Machine;
pub use time::{Mono, Now, Wall};
