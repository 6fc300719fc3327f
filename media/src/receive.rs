//! What arrived of a peer's stream, and what did not (RFC 3550 §6.4.1, §A.1, §A.3, §A.8).
//!
//! Loss is counted over distinct sequence numbers: a duplicate does not make up for a loss. A new
//! source, or a restart of the same one, closes one account and opens the next; the sums go on.

use dialtone_core::Mono;

use crate::line::{CLOCK_JUMP_MAX, DROPOUT_MAX, units};
use crate::rtcp::ReportBlock;
use crate::rtp::Header;

/// How far back duplicates are told from late packets, in sequence numbers: bits of `window`.
const WINDOW: u16 = 128;

/// The account of one leg.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    packets: u64,
    bytes: u64,
    closed_lost: u64,
    source: Option<Source>,
    jitter_us: u32,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    base: u32,
    highest: u32,
    distinct: u64,
    /// Bit n: whether `highest − n` arrived.
    window: u128,
    confirming: Option<u16>,
    rate: u32,
    transit: Option<u32>,
    /// Sixteen times the jitter, clock units (RFC 3550 §A.8).
    jitter: u32,
    expected_before: u64,
    distinct_before: u64,
}

impl Reception {
    /// Takes a valid packet of the peer into account. `sound` is false for telephone events, whose
    /// timestamp says nothing about when they were sent.
    pub fn note(&mut self, now: Mono, header: &Header, rate: u32, sound: bool) {
        self.packets += 1;
        self.bytes += header.payload.len() as u64;
        let restarted = match &mut self.source {
            Some(source) if source.ssrc == header.ssrc => source.restarted(header.sequence),
            Some(_) | None => true,
        };
        if restarted {
            self.closed_lost += self.source.take().map_or(0, |source| source.lost());
            self.source = Some(Source::new(header, rate));
        }
        if let Some(source) = &mut self.source {
            if !restarted {
                source.count(header.sequence);
            }
            if sound {
                self.jitter_us = source.time(now, header.timestamp, rate);
            }
        }
    }

    /// Packets that arrived.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Their payload, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sequence numbers that never arrived, over all sources.
    pub fn lost(&self) -> u64 {
        self.closed_lost + self.source.as_ref().map_or(0, Source::lost)
    }

    /// Interarrival jitter, microseconds; that of the last source.
    pub fn jitter_us(&self) -> u32 {
        self.jitter_us
    }

    /// The block about the present source for a report of ours; `None` before the first packet. Each
    /// call closes the interval of the fraction lost. The last two fields are the caller's.
    pub fn report(&mut self) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let interval = expected.saturating_sub(source.expected_before);
        let arrived = source.distinct.saturating_sub(source.distinct_before);
        (source.expected_before, source.distinct_before) = (expected, source.distinct);
        let lost = interval.saturating_sub(arrived);
        let fraction = (lost * 256).checked_div(interval).unwrap_or(0).min(255);
        Some(ReportBlock {
            about: source.ssrc,
            fraction_lost: fraction as u8,
            lost: source.lost().min(0x7F_FFFF) as i32,
            highest: source.highest,
            jitter: source.jitter >> 4,
            last_report: 0,
            delay: 0,
        })
    }
}

impl Source {
    fn new(header: &Header, rate: u32) -> Self {
        let first = u32::from(header.sequence);
        Self {
            ssrc: header.ssrc,
            base: first,
            highest: first,
            distinct: 1,
            window: 1,
            confirming: None,
            rate,
            transit: None,
            jitter: 0,
            expected_before: 0,
            distinct_before: 0,
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base)) + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.distinct)
    }

    /// Whether this number, after another one like it, says that the source counts anew (RFC 3550 §A.1).
    fn restarted(&mut self, sequence: u16) -> bool {
        let highest = self.highest as u16;
        if sequence.wrapping_sub(highest) <= DROPOUT_MAX || highest.wrapping_sub(sequence) < WINDOW {
            return false;
        }
        let confirmed = self.confirming == Some(sequence);
        self.confirming = Some(sequence.wrapping_add(1));
        confirmed
    }

    fn count(&mut self, sequence: u16) {
        let highest = self.highest as u16;
        let (ahead, behind) = (sequence.wrapping_sub(highest), highest.wrapping_sub(sequence));
        if behind < WINDOW {
            let bit = 1u128 << behind;
            // What lies before the source's first packet was never expected.
            let expected = u64::from(behind) < self.expected();
            if expected && self.window & bit == 0 {
                self.window |= bit;
                self.distinct += 1;
            }
        } else if ahead <= DROPOUT_MAX {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.distinct += 1;
            self.confirming = None;
        }
    }

    /// Returns the jitter in microseconds.
    fn time(&mut self, now: Mono, timestamp: u32, rate: u32) -> u32 {
        if rate != self.rate {
            (self.rate, self.transit, self.jitter) = (rate, None, 0);
        }
        let transit = units(now.since(Mono::ZERO), rate).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let change = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A source that restarts its clock has not sent late.
            if change < units(CLOCK_JUMP_MAX, rate) {
                self.jitter = (self.jitter + change).saturating_sub((self.jitter + 8) >> 4);
            }
        }
        (u64::from(self.jitter >> 4) * 1_000_000 / u64::from(rate.max(1))) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc, payload: 12..172 }
    }

    fn after(sequences: &[u16]) -> Reception {
        let mut reception = Reception::default();
        for sequence in sequences {
            reception.note(Mono::ZERO, &packet(1, *sequence, 0), 8000, true);
        }
        reception
    }

    #[test]
    fn loss_is_counted_over_distinct_numbers() {
        let cases: [(&[u16], u64); 8] = [
            (&[], 0),
            (&[5], 0),
            (&[5, 6, 8], 1),
            (&[5, 8, 7, 6], 0),
            (&[5, 8, 8, 8, 8], 2),
            (&[65_534, 65_535, 1], 1),
            // Numbers from before the first packet are not expected and make up for nothing.
            (&[5, 4, 3, 8], 2),
            // A restart: what the old count lost stays lost, the jump itself is no loss.
            (&[5, 8, 30_000, 30_001, 30_003], 3),
        ];
        for (sequences, lost) in cases {
            assert_eq!(after(sequences).lost(), lost, "{sequences:?}");
            assert_eq!(after(sequences).packets(), sequences.len() as u64);
        }
    }

    #[test]
    fn a_report_covers_its_interval() {
        let mut reception = after(&[1, 2, 4, 5]);
        let first = reception.report().unwrap();
        assert_eq!((first.fraction_lost, first.lost, first.highest), (51, 1, 5));
        let second = reception.report().unwrap();
        assert_eq!((second.fraction_lost, second.lost), (0, 1), "nothing came since");
        assert!(Reception::default().report().is_none());
    }

    #[test]
    fn jitter_converges_on_the_variation_of_arrival() {
        let mut reception = Reception::default();
        for step in 0..1000u16 {
            // Every other packet is 5 ms late: the difference between neighbors is 5 ms.
            let at = u64::from(step) * 20 + if step % 2 == 0 { 0 } else { 5 };
            let header = packet(1, step, u32::from(step) * 160);
            reception.note(Mono::from_millis(at), &header, 8000, true);
        }
        assert!((4_500..=5_000).contains(&reception.jitter_us()), "{}", reception.jitter_us());
    }

    #[test]
    fn a_restarted_clock_is_not_jitter() {
        let mut reception = Reception::default();
        for (step, timestamp) in [(0, 0), (1, 160), (2, 4_000_000_000), (3, 4_000_000_160)] {
            reception.note(Mono::from_millis(step * 20), &packet(1, step as u16, timestamp), 8000, true);
        }
        assert_eq!(reception.jitter_us(), 0);
    }

    proptest! {
        /// Any mix of loss, doubling and disorder within the window: lost = never seen.
        #[test]
        fn lost_is_what_never_came(
            base: u16,
            fates in proptest::collection::vec((0u8..4, 0u64..40), 2..400),
        ) {
            let mut arrivals = Vec::new();
            for (index, (copies, delay)) in fates.iter().enumerate() {
                // The first packet arrives first and the last one arrives, so that both ends are known.
                let ends = index == 0 || index + 1 == fates.len();
                let copies = if ends { 1 } else { *copies };
                let delay = if ends { 0 } else { *delay };
                for copy in 0..u64::from(copies) {
                    arrivals.push((index as u64 + delay + copy, index));
                }
            }
            arrivals.sort_unstable_by_key(|(at, index)| (*at, *index));
            let sequences: Vec<u16> =
                arrivals.iter().map(|(_, index)| base.wrapping_add(*index as u16)).collect();
            let lost = fates[1..fates.len() - 1].iter().filter(|(copies, _)| *copies == 0).count();
            prop_assert_eq!(after(&sequences).lost(), lost as u64);
        }
    }
}
