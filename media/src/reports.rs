//! One leg's RTCP: when it reports, what it says, and what the peer said (RFC 3550 §6).
//!
//! Two parties need neither group size estimation nor reconsideration (§6.3): each reports every five
//! seconds, drawn anew between half and one and a half of that.

use std::time::Duration;

use dialtone_core::Mono;
use dialtone_core::media::Quality;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;

use crate::receive::Reception;
use crate::rtcp::{self, CNAME_LEN, COMPOUND_MAX, Compound, PeerReport, SenderInfo};

/// The mean time between two reports (RFC 3550 §6.2).
pub const INTERVAL: Duration = Duration::from_secs(5);
/// A longer round trip is a peer's mistake.
const ROUND_TRIP_MAX_S: u32 = 60;

/// What is ours in a report: totals since the leg began.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Our source.
    pub ssrc: u32,
    /// RTP packets.
    pub packets: u64,
    /// Their payload, bytes.
    pub bytes: u64,
    /// The outgoing line's clock now.
    pub clock: u32,
}

/// One leg's reporting.
#[derive(Clone, Debug)]
pub struct Reports {
    cname: [u8; CNAME_LEN],
    next: Mono,
    /// Packets sent by the last report and by the one before it.
    sent_before: [u64; 2],
    reported: bool,
    heard: Option<(u32, Mono)>,
    peer_lost: u64,
    peer_jitter: u32,
    round_trip_us: Option<u32>,
}

impl Reports {
    /// Reporting under a fresh name, which says nothing of the machine (RFC 7022 §4.2).
    pub fn new(random: &mut ChaCha12Rng) -> Self {
        const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut cname = [0; CNAME_LEN];
        for letter in &mut cname {
            *letter = BASE64[random.next_u32() as usize % BASE64.len()];
        }
        Self {
            cname,
            next: Mono::ZERO,
            sent_before: [0; 2],
            reported: false,
            heard: None,
            peer_lost: 0,
            peer_jitter: 0,
            round_trip_us: None,
        }
    }

    /// The stream begins: the first report comes early (RFC 3550 §6.2).
    pub fn begin(&mut self, now: Mono, random: &mut ChaCha12Rng) {
        self.next = now + spread(random) / 2;
    }

    /// Whether a report is due; the next one is then set.
    pub fn due(&mut self, now: Mono, random: &mut ChaCha12Rng) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + spread(random);
        }
        due
    }

    /// Whether a goodbye would mean anything to the peer (RFC 3550 §6.3.7).
    pub fn known_to_peer(&self, sent: &Sent) -> bool {
        self.reported || sent.packets > 0
    }

    /// Writes a report and returns its length.
    pub fn write(
        &mut self,
        now: Mono,
        wall_us: u64,
        sent: &Sent,
        reception: &mut Reception,
        goodbye: bool,
        out: &mut [u8; COMPOUND_MAX],
    ) -> usize {
        let mut block = reception.report();
        if let (Some(block), Some((middle, at))) = (&mut block, self.heard) {
            block.last_report = middle;
            block.delay = sixteenth_bits(now.since(at));
        }
        // RFC 3550 §6.4: a sender is who has sent since the last report or the one before it.
        let sending = sent.packets > self.sent_before[1];
        self.sent_before = [sent.packets, self.sent_before[0]];
        self.reported = true;
        let sender = sending.then(|| SenderInfo {
            ntp: rtcp::ntp(wall_us),
            timestamp: sent.clock,
            packets: sent.packets as u32,
            octets: sent.bytes as u32,
        });
        Compound { ssrc: sent.ssrc, sender, block, cname: &self.cname, goodbye }.write(out)
    }

    /// Takes note of what the peer reports.
    pub fn note(&mut self, now: Mono, wall_us: u64, report: &PeerReport) {
        if let Some(middle) = report.sender_report {
            self.heard = Some((middle, now));
        }
        let Some(block) = report.about_us else { return };
        self.peer_lost = u64::try_from(block.lost).unwrap_or(0);
        self.peer_jitter = block.jitter;
        if block.last_report != 0 {
            // RFC 3550 §6.4.1: now − when we sent it − how long the peer held it, in 1/65536 s.
            let trip =
                rtcp::middle(rtcp::ntp(wall_us)).wrapping_sub(block.last_report).wrapping_sub(block.delay);
            if trip < ROUND_TRIP_MAX_S << 16 {
                self.round_trip_us = Some(((u64::from(trip) * 1_000_000) >> 16) as u32);
            }
        }
    }

    /// Adds what the peer said. `rate` is our sending clock, Hz.
    pub fn fill(&self, rate: u32, quality: &mut Quality) {
        quality.peer_lost_packets = self.peer_lost;
        let jitter_us = u64::from(self.peer_jitter) * 1_000_000 / u64::from(rate.max(1));
        quality.peer_jitter_us = u32::try_from(jitter_us).unwrap_or(u32::MAX);
        quality.round_trip_us = self.round_trip_us;
    }
}

/// Between half and one and a half intervals.
fn spread(random: &mut ChaCha12Rng) -> Duration {
    INTERVAL / 2 + INTERVAL.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX))
}

/// A duration in units of 1/65536 s.
fn sixteenth_bits(duration: Duration) -> u32 {
    u32::try_from((duration.as_micros() << 16) / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::rtcp::ReportBlock;

    fn reports() -> (Reports, ChaCha12Rng) {
        let mut random = ChaCha12Rng::from_seed([7; 32]);
        (Reports::new(&mut random), random)
    }

    fn sent(packets: u64) -> Sent {
        Sent { ssrc: 5, packets, bytes: packets * 160, clock: 77 }
    }

    #[test]
    fn reports_are_spread_around_five_seconds() {
        let (mut reports, mut random) = reports();
        reports.begin(Mono::ZERO, &mut random);
        let (mut now, mut times) = (Mono::ZERO, Vec::new());
        while times.len() < 200 {
            now = now + Duration::from_millis(10);
            if reports.due(now, &mut random) {
                times.push(now);
            }
        }
        assert!(times[0].since(Mono::ZERO) < Duration::from_millis(3_760));
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
        assert!(gaps.iter().all(|gap| (2_490..=7_520).contains(gap)), "{gaps:?}");
        let mean = gaps.iter().sum::<u128>() / gaps.len() as u128;
        assert!((4_500..5_500).contains(&mean), "{mean}");
    }

    #[test]
    fn who_stops_sending_becomes_a_receiver_after_two_reports() {
        let (mut reports, _) = reports();
        let mut reception = Reception::default();
        let mut kinds = Vec::new();
        for packets in [0, 10, 10, 10, 20] {
            let mut out = [0; COMPOUND_MAX];
            reports.write(Mono::ZERO, 0, &sent(packets), &mut reception, false, &mut out);
            kinds.push(out[1]);
        }
        assert_eq!(kinds, [201, 200, 200, 201, 200]);
    }

    #[test]
    fn the_round_trip_is_what_the_peer_did_not_hold() {
        let (mut reports, _) = reports();
        let sent_us = 1_000_000_000;
        let block = ReportBlock {
            about: 5,
            lost: 4,
            jitter: 80,
            last_report: rtcp::middle(rtcp::ntp(sent_us)),
            delay: 2 << 16,
            ..ReportBlock::default()
        };
        let report = PeerReport { about_us: Some(block), ..PeerReport::default() };
        reports.note(Mono::ZERO, sent_us + 2_030_000, &report);
        let mut quality = Quality::default();
        reports.fill(8000, &mut quality);
        assert_eq!((quality.peer_lost_packets, quality.peer_jitter_us), (4, 10_000));
        assert!(quality.round_trip_us.is_some_and(|us| us.abs_diff(30_000) < 50), "{quality:?}");

        // An answer from before the question: the value is kept out.
        let (mut reports, _) = self::reports();
        reports.note(Mono::ZERO, sent_us + 1_000_000, &report);
        let mut quality = Quality::default();
        reports.fill(8000, &mut quality);
        assert_eq!(quality.round_trip_us, None);
    }

    #[test]
    fn the_delay_since_the_last_sender_report_is_told() {
        let (mut reports, _) = reports();
        let heard = PeerReport { sender_report: Some(0xABCD), ..PeerReport::default() };
        reports.note(Mono::from_millis(1_000), 0, &heard);
        let mut reception = Reception::default();
        let header = crate::rtp::Header {
            marker: false,
            payload_type: 0,
            sequence: 1,
            timestamp: 0,
            ssrc: 9,
            payload: 12..172,
        };
        reception.note(Mono::ZERO, &header, 8000, true);
        let mut out = [0; COMPOUND_MAX];
        let length = reports.write(Mono::from_millis(2_500), 0, &sent(1), &mut reception, false, &mut out);
        let block = rtcp::parse(&out[..length], 9).unwrap().about_us.unwrap();
        assert_eq!((block.last_report, block.delay), (0xABCD, 3 << 15));
    }
}
