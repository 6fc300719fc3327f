//! The audio formats that calls know by name.

use serde::{Deserialize, Serialize};

/// An RTP payload format (RFC 3551, RFC 7587, RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722, 16 kHz sound on an 8 kHz RTP clock (RFC 3551 §4.5.2).
    G722,
    /// Opus, 48 kHz RTP clock (RFC 7587).
    Opus,
    /// Keys as named events (RFC 4733): not a voice codec.
    TelephoneEvent,
}

impl Codec {
    /// Every voice codec, in the order in which we offer them when nobody says otherwise.
    pub const VOICE: &'static [Codec] = &[Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    /// The encoding name of `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::Opus => "opus",
            Codec::TelephoneEvent => "telephone-event",
        }
    }

    /// The RTP clock, Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::TelephoneEvent => 8000,
            Codec::Opus => 48_000,
        }
    }

    /// The channel count of `a=rtpmap`; Opus always says 2 (RFC 7587 §7).
    pub const fn channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::TelephoneEvent => 1,
        }
    }

    /// The payload type we propose: static where RFC 3551 assigns one.
    pub const fn default_payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::Opus => 107,
            Codec::TelephoneEvent => 101,
        }
    }

    /// Whether it carries voice.
    pub const fn is_voice(self) -> bool {
        !matches!(self, Codec::TelephoneEvent)
    }
}
