//! The port between calls and any media engine: commands that move sound, and what comes back.
//!
//! The engine knows ports, streams and bridges, and nothing of calls. Every command names a port; a
//! command for a port that is gone is ignored. A port's life: `Ready` → `Configure` (repeated on every
//! re-negotiation) → `Bridge` (repeated whenever what it hears changes) → `Release` → `Released`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::codec::Codec;
use crate::description::Direction;
use crate::id::{BridgeId, PortId};

/// How one leg's packets look, both ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Where the peer says that it receives RTP; where it really sends from is latched once.
    pub rtp: SocketAddr,
    /// Where the peer says that it receives RTCP.
    pub rtcp: SocketAddr,
    /// What the peer may send us: payload type and meaning, as our description said.
    pub receive: SmallVec<[(u8, Codec); 4]>,
    /// What we may send: meaning and payload type, as their description said, preferred first.
    pub send: SmallVec<[(Codec, u8); 4]>,
    /// Which way sound may flow, from our point of view.
    pub direction: Direction,
    /// Milliseconds of sound in a packet that we generate.
    pub ptime_ms: u8,
    /// Whether the source may be learned anew: true after the peer offered a new address.
    pub relatch: bool,
}

/// What a port hears when no other leg feeds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Feed {
    /// Nothing is sent.
    Nothing,
    /// What it says, at once.
    Echo,
    /// A sine.
    Tone {
        /// Frequency, 50 to 3400 Hz.
        hz: u16,
        /// Level, −60 to 0 dBm0.
        level_dbm0: i8,
    },
    /// The ringing tone that a caller hears.
    Ringback,
    /// A prompt; [`MediaEvent::PlayEnded`] follows.
    Prompt {
        /// Its name, without folder or extension.
        prompt: String,
    },
}

/// What joins ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BridgeKind {
    /// Two legs with a codec in common: headers are rewritten, payload is not touched.
    Relay {
        /// One leg.
        a: PortId,
        /// The other; on the same worker.
        b: PortId,
    },
    /// One leg that hears a generator, or nothing.
    Hold {
        /// The leg.
        port: PortId,
        /// What it hears.
        feed: Feed,
    },
}

/// What calls tell the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MediaCommand {
    /// Say, or say anew, how a port's packets look.
    Configure {
        /// Which port.
        port: PortId,
        /// How.
        stream: Stream,
    },
    /// Make or replace a bridge. A port leaves the bridge that it was in.
    Bridge {
        /// Its name, for events and traces.
        bridge: BridgeId,
        /// What it joins.
        kind: BridgeKind,
    },
    /// Give a port back; its sockets are closed and its number quarantined.
    Release {
        /// Which port.
        port: PortId,
    },
}

impl MediaCommand {
    /// The worker that must carry it out.
    pub fn worker(&self) -> u16 {
        match self {
            MediaCommand::Configure { port, .. } | MediaCommand::Release { port } => port.worker,
            MediaCommand::Bridge { kind: BridgeKind::Relay { a, .. }, .. } => a.worker,
            MediaCommand::Bridge { kind: BridgeKind::Hold { port, .. }, .. } => port.worker,
        }
    }
}

/// A bound port that may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyPort {
    /// Its id.
    pub port: PortId,
    /// Where it receives RTP. The address may be every one of the machine; signaling knows which one, or which other
    /// one, the peer is told.
    pub rtp: SocketAddr,
    /// Where it receives RTCP.
    pub rtcp: SocketAddr,
}

/// What is known about one leg's packets, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// RTP packets that arrived and were used.
    pub received_packets: u64,
    /// Their payload, bytes.
    pub received_bytes: u64,
    /// RTP packets that we sent.
    pub sent_packets: u64,
    /// Their payload, bytes.
    pub sent_bytes: u64,
    /// Packets that never arrived, by sequence number (RFC 3550 §A.3); duplicates do not make up for loss.
    pub lost_packets: u64,
    /// Packets that were not used: wrong source, wrong payload type, malformed.
    pub dropped_packets: u64,
    /// Interarrival jitter of what arrived, microseconds (RFC 3550 §A.8).
    pub jitter_us: u32,
    /// Packets of ours that the peer says never arrived, from its RTCP reports.
    pub peer_lost_packets: u64,
    /// Jitter that the peer reports, microseconds.
    pub peer_jitter_us: u32,
    /// Round trip from RTCP (RFC 3550 §6.4.1), microseconds; `None` until a report allowed it.
    pub round_trip_us: Option<u32>,
}

impl Quality {
    /// The sum of this stream and the one that followed it on another port. What is no count is that of the
    /// later one, if that was measured.
    pub fn and_then(self, later: Quality) -> Quality {
        Quality {
            received_packets: self.received_packets + later.received_packets,
            received_bytes: self.received_bytes + later.received_bytes,
            sent_packets: self.sent_packets + later.sent_packets,
            sent_bytes: self.sent_bytes + later.sent_bytes,
            lost_packets: self.lost_packets + later.lost_packets,
            dropped_packets: self.dropped_packets + later.dropped_packets,
            peer_lost_packets: self.peer_lost_packets + later.peer_lost_packets,
            jitter_us: if later.received_packets > 0 { later.jitter_us } else { self.jitter_us },
            peer_jitter_us: if later.sent_packets > 0 { later.peer_jitter_us } else { self.peer_jitter_us },
            round_trip_us: later.round_trip_us.or(self.round_trip_us),
        }
    }
}

/// What the engine tells calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MediaEvent {
    /// Ports were bound and may be handed out.
    Ready {
        /// Which.
        ports: Vec<ReadyPort>,
    },
    /// The first valid packet fixed where the peer really is.
    Latched {
        /// Which port.
        port: PortId,
        /// The peer's source.
        source: SocketAddr,
    },
    /// The peer should be heard and has been silent for the limit of its state.
    Silent {
        /// Which port.
        port: PortId,
        /// For how long.
        silence: Duration,
    },
    /// A prompt has come to its end, or could not be played.
    PlayEnded {
        /// Which port.
        port: PortId,
        /// The bridge that it played on, so that a late end of an older prompt is told apart.
        bridge: BridgeId,
        /// Whether it was played to its end.
        complete: bool,
    },
    /// A released port is gone; what it had measured.
    Released {
        /// Which port.
        port: PortId,
        /// The sum of its life.
        quality: Quality,
    },
}
