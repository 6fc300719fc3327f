//! One side's view of an audio stream: SDP's meaning without its syntax (RFC 3264, RFC 4566).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::codec::Codec;

/// Which way sound may flow, from the describer's point of view (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The describer only sends.
    SendOnly,
    /// The describer only receives.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// From whether the describer sends and receives.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether the describer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the describer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same stream seen from the other end.
    pub const fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both agree to.
    pub const fn and(self, other: Direction) -> Self {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

/// A codec under the payload type by which the describer wants to receive it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// What it is.
    pub codec: Codec,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// The `a=fmtp` parameters as they were written; empty when there were none.
    pub fmtp: String,
}

/// At most this many formats of a description are kept; the rest are treated as unknown.
pub const FORMATS_MAX: usize = 16;

/// The formats of a description, in order of preference.
pub type Formats = SmallVec<[Format; 4]>;

/// One side's view of an audio stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Where the describer receives RTP. Port 0: no audio.
    pub rtp: SocketAddr,
    /// Where the describer receives RTCP (RFC 3605), the next port unless it said otherwise.
    pub rtcp: SocketAddr,
    /// What it can receive, most wanted first. At most [`FORMATS_MAX`].
    pub formats: Formats,
    /// Which way sound may flow.
    pub direction: Direction,
    /// Milliseconds of sound that it wants in a packet, 10 to 120; `None` leaves the codec's 20.
    pub ptime_ms: Option<u8>,
}

impl Description {
    /// The voice codec that it would rather have.
    pub fn voice(&self) -> Option<Codec> {
        self.formats.iter().map(|format| format.codec).find(|codec| codec.is_voice())
    }

    /// The format for this codec.
    pub fn format(&self, codec: Codec) -> Option<&Format> {
        self.formats.iter().find(|format| format.codec == codec)
    }

    /// Whether it asks the other side to be silent: held in the sense of RFC 3264 §8.4, or in the
    /// older one of RFC 2543 with the unspecified address.
    pub fn is_hold(&self) -> bool {
        !self.direction.receives() || self.rtp.ip().is_unspecified()
    }
}
