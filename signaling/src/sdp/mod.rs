//! Session descriptions: SDP to and from [`dialtone_core::Description`] (RFC 3264, RFC 4566, RFC 3605).
//!
//! [`parse`] bounds and tidies a body and gives it to `rtc-sdp`; what comes out is a [`RemoteSdp`] that keeps
//! every m-line, so that an answer has them all in the same order. [`SdpWriter`]
//! writes offers and answers for one dialog and keeps the version in `o=` honest.
//!
//! Deliberately not here: which formats to accept (core decides), SRTP (`RTP/SAVP` is refused until there
//! is one), ICE, and any media but audio.

#![forbid(unsafe_code)]

mod local;
mod remote;
#[cfg(test)]
mod tests;
mod tidy;
mod writer;

pub use local::{Origin, answer, offer};
pub use remote::{RemoteSdp, parse};
pub use writer::SdpWriter;

/// The media type of these bodies.
pub const CONTENT_TYPE: &str = "application/sdp";
/// Bytes of a body.
pub const BODY_MAX: usize = 32_768;
/// Bytes of one line.
pub const LINE_MAX: usize = 4_096;
/// Lines of a body.
pub const LINES_MAX: usize = 1_024;
/// m-lines of a body.
pub const MEDIA_MAX: usize = 32;
/// Formats of one m-line.
pub const LINE_FORMATS_MAX: usize = 64;

/// A body that is no session description. The peer is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`BODY_MAX`].
    #[error("body of {0} bytes, at most {BODY_MAX} are read")]
    BodyTooLong(usize),
    /// More than [`LINES_MAX`], or one longer than [`LINE_MAX`].
    #[error("more than {LINES_MAX} lines, or one of more than {LINE_MAX} bytes")]
    Lines,
    /// More than [`MEDIA_MAX`], or one with more than [`LINE_FORMATS_MAX`] formats.
    #[error("more than {MEDIA_MAX} m-lines, or one of more than {LINE_FORMATS_MAX} formats")]
    Media,
    /// A line that is none. Counted from 1.
    #[error("line {0} is malformed")]
    Line(usize),
    /// It does not follow the grammar.
    #[error("malformed: {0:?}")]
    Syntax(String),
}
