//! What a worker counts: plain numbers, which the engine publishes.

/// Why a packet was not used, or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Longer than [`crate::rtp::DATAGRAM_MAX`].
    Truncated,
    /// Not RTP.
    Malformed,
    /// Not from the peer's address.
    WrongSource,
    /// A payload type that our description did not offer.
    UnknownPayload,
    /// The port has not been configured.
    Unconfigured,
    /// The direction forbids it, on the one side or on the other.
    Direction,
    /// Nobody hears the port.
    Unheard,
    /// The other leg has no payload type for it.
    NoFormat,
    /// Its number has no place on the outgoing line: older than its source's first packet, or a stray.
    Stray,
    /// Not RTCP.
    MalformedRtcp,
    /// RTCP that is not from the peer's address.
    WrongSourceRtcp,
    /// There is nowhere to send to: no address, or no room in the batch.
    NoDestination,
    /// The kernel did not take it.
    SendFailed,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [DropReason; 13] = [
        DropReason::Truncated,
        DropReason::Malformed,
        DropReason::WrongSource,
        DropReason::UnknownPayload,
        DropReason::Unconfigured,
        DropReason::Direction,
        DropReason::Unheard,
        DropReason::NoFormat,
        DropReason::Stray,
        DropReason::MalformedRtcp,
        DropReason::WrongSourceRtcp,
        DropReason::NoDestination,
        DropReason::SendFailed,
    ];

    /// The value of the metric's `reason` label.
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::Truncated => "truncated",
            DropReason::Malformed => "malformed",
            DropReason::WrongSource => "wrong_source",
            DropReason::UnknownPayload => "unknown_payload",
            DropReason::Unconfigured => "unconfigured",
            DropReason::Direction => "direction",
            DropReason::Unheard => "unheard",
            DropReason::NoFormat => "no_format",
            DropReason::Stray => "stray",
            DropReason::MalformedRtcp => "malformed_rtcp",
            DropReason::WrongSourceRtcp => "wrong_source_rtcp",
            DropReason::NoDestination => "no_destination",
            DropReason::SendFailed => "send_failed",
        }
    }
}

/// Everything that one worker has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received, RTP and RTCP.
    pub packets_in: u64,
    /// Their length without IP and UDP headers.
    pub bytes_in: u64,
    /// Datagrams handed to the kernel.
    pub packets_out: u64,
    /// Their length without IP and UDP headers.
    pub bytes_out: u64,
    /// Datagrams not used or not sent, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// 20 ms ticks that were run.
    pub ticks: u64,
    /// 20 ms ticks that began more than [`TICK_LATE`](crate::worker::TICK_LATE) after they were due.
    pub late_ticks: u64,
    /// 20 ms ticks that came too late and were skipped.
    pub skipped_ticks: u64,
    /// Generators that had no G.711 format to sound in.
    pub feeds_without_format: u64,
    /// Prompts that are not in the library.
    pub prompts_unknown: u64,
    /// Commands for a port that is gone, or of another worker.
    pub commands_ignored: u64,
    /// Sources latched.
    pub latches: u64,
    /// Silent periods told of.
    pub silences: u64,
}

impl Counters {
    /// Counts a packet that was not used.
    pub fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// How many packets were not used for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_the_order_of_their_numbers() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{}", reason.name());
        }
    }
}
