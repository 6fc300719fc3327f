//! The outgoing line of one leg: one synchronization source whose sequence numbers and timestamps run
//! on for the leg's life, whatever feeds it (RFC 3550 §5.1).
//!
//! A receiver must not notice that the source behind us changed, except by the marker and by the time
//! that really passed. Within one source nothing is smoothed: what is lost, doubled or late upstream is so
//! downstream, because only the receiver's jitter buffer and its reports can deal with it.

use std::time::Duration;

use dialtone_core::Mono;

use crate::rtp::Header;

/// A forward jump beyond this many packets is a restart, not a loss (RFC 3550 §A.1, MAX_DROPOUT).
pub const DROPOUT_MAX: u16 = 3000;
/// A packet this far behind is a restart, not reordering (RFC 3550 §A.1, MAX_MISORDER).
pub const MISORDER_MAX: u16 = 100;
/// A timestamp that runs ahead of or behind the clock by more is a restart of the source's clock.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(10);
/// A step between two packets beyond this is a pause, not a packet's duration.
const STEP_MAX: Duration = Duration::from_millis(120);

/// Where the next packet stands on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Whether the sound starts anew here.
    pub marker: bool,
}

/// One leg's outgoing line.
#[derive(Clone, Debug)]
pub struct Line {
    ssrc: u32,
    /// Highest number sent.
    sequence: u16,
    /// Timestamp of the newest sound sent, and when that was.
    timestamp: u32,
    at: Mono,
    /// Duration of the last packet, clock units: the least by which a new source must move on.
    step: u32,
    started: bool,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// Nobody, or somebody who must be taken for new.
    New,
    Generator,
    Relay(Mapping),
}

/// How one source's numbers become ours.
#[derive(Clone, Debug)]
struct Mapping {
    ssrc: u32,
    sequence_offset: u16,
    timestamp_offset: u32,
    highest: u16,
    newest: u32,
    /// Clock units between the last two neighbors.
    step: u32,
    /// How many numbers below `highest` belong to this source; older ones would fall on the line of
    /// the source before it.
    room_behind: u16,
    /// After a stray number: the one that would confirm a restart (RFC 3550 §A.1).
    confirming: Option<u16>,
}

impl Line {
    /// A line that starts at these numbers, which the caller draws at random (RFC 3550 §5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32, now: Mono) -> Self {
        Self { ssrc, sequence, timestamp, at: now, step: 0, started: false, source: Source::New }
    }

    /// Our synchronization source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// What follows is a new source, even if its numbers would continue those of the last one.
    pub fn interrupt(&mut self) {
        self.source = Source::New;
    }

    /// The line's clock at `now`, for a sender report (RFC 3550 §6.4.1).
    pub fn clock(&self, now: Mono, rate: u32) -> u32 {
        self.timestamp.wrapping_add(units(now.since(self.at), rate))
    }

    /// The place of the next packet of a generator that makes `samples` clock units per packet.
    pub fn generate(&mut self, now: Mono, samples: u32, rate: u32) -> Place {
        let fresh = !matches!(self.source, Source::Generator);
        let (sequence, timestamp) = if fresh {
            self.source = Source::Generator;
            self.begin(now, rate)
        } else {
            (self.sequence.wrapping_add(1), self.timestamp.wrapping_add(self.step))
        };
        self.advance(sequence, timestamp, now);
        self.step = samples;
        Place { sequence, timestamp, marker: fresh }
    }

    /// The place of a packet of another source, or `None` when it has none: it is older than the
    /// source's first packet, or a stray that may be the first of a restart.
    ///
    /// `sound` is false for what does not carry the sound's clock (telephone events, whose timestamp
    /// stands still while they last: RFC 4733 §2.3.1).
    pub fn relay(&mut self, now: Mono, header: &Header, rate: u32, sound: bool) -> Option<Place> {
        let mapping = match &mut self.source {
            Source::Relay(mapping) if mapping.ssrc == header.ssrc => mapping,
            Source::New | Source::Generator | Source::Relay(_) => return Some(self.adopt(now, header, rate)),
        };
        let ahead = header.sequence.wrapping_sub(mapping.highest);
        let behind = mapping.highest.wrapping_sub(header.sequence);
        if behind <= MISORDER_MAX {
            return (behind <= mapping.room_behind).then(|| Place {
                sequence: header.sequence.wrapping_add(mapping.sequence_offset),
                timestamp: header.timestamp.wrapping_add(mapping.timestamp_offset),
                marker: header.marker,
            });
        }
        if ahead > DROPOUT_MAX {
            if mapping.confirming == Some(header.sequence) {
                return Some(self.adopt(now, header, rate));
            }
            mapping.confirming = Some(header.sequence.wrapping_add(1));
            return None;
        }
        mapping.confirming = None;
        mapping.highest = header.sequence;
        mapping.room_behind = mapping.room_behind.saturating_add(ahead).min(MISORDER_MAX);
        let sequence = header.sequence.wrapping_add(mapping.sequence_offset);
        let mut place = Place { sequence, timestamp: 0, marker: header.marker };
        if sound {
            let passed = header.timestamp.wrapping_sub(mapping.newest);
            mapping.newest = header.timestamp;
            let elapsed = units(now.since(self.at), rate);
            if passed.wrapping_sub(elapsed).cast_signed().unsigned_abs() > units(CLOCK_JUMP_MAX, rate) {
                let timestamp = self.timestamp.wrapping_add(elapsed.max(self.step));
                mapping.timestamp_offset = timestamp.wrapping_sub(header.timestamp);
                place.marker = true;
            } else if ahead == 1 && passed != 0 && passed <= units(STEP_MAX, rate) {
                // Once may be a short pause; twice is how long this source's packets are.
                if std::mem::replace(&mut mapping.step, passed) == passed {
                    self.step = passed;
                }
            }
        }
        place.timestamp = header.timestamp.wrapping_add(mapping.timestamp_offset);
        self.sequence = sequence;
        if sound {
            self.advance(sequence, place.timestamp, now);
        }
        Some(place)
    }

    /// A packet of the running source that is deliberately not passed on: the number it would have
    /// had goes to the next one, so that it does not look like a loss.
    pub fn omit(&mut self, header: &Header) {
        let Source::Relay(mapping) = &mut self.source else { return };
        let ahead = header.sequence.wrapping_sub(mapping.highest);
        if mapping.ssrc == header.ssrc && (1..=DROPOUT_MAX).contains(&ahead) {
            mapping.highest = header.sequence;
            mapping.sequence_offset = mapping.sequence_offset.wrapping_sub(1);
            // What is still under way from before would now fall on numbers that are taken.
            mapping.room_behind = 0;
        }
    }

    fn adopt(&mut self, now: Mono, header: &Header, rate: u32) -> Place {
        let (sequence, timestamp) = self.begin(now, rate);
        self.source = Source::Relay(Mapping {
            ssrc: header.ssrc,
            sequence_offset: sequence.wrapping_sub(header.sequence),
            timestamp_offset: timestamp.wrapping_sub(header.timestamp),
            highest: header.sequence,
            newest: header.timestamp,
            step: 0,
            room_behind: 0,
            confirming: None,
        });
        self.advance(sequence, timestamp, now);
        Place { sequence, timestamp, marker: true }
    }

    /// Numbers for the first packet of a new source: the next sequence number, and the clock moved
    /// by the time that passed, but at least past the sound that was sent.
    fn begin(&mut self, now: Mono, rate: u32) -> (u16, u32) {
        if !self.started {
            self.started = true;
            self.step = units(Duration::from_millis(20), rate);
            return (self.sequence, self.timestamp);
        }
        let elapsed = units(now.since(self.at), rate);
        (self.sequence.wrapping_add(1), self.timestamp.wrapping_add(elapsed.max(self.step)))
    }

    fn advance(&mut self, sequence: u16, timestamp: u32, now: Mono) {
        self.sequence = sequence;
        if timestamp.wrapping_sub(self.timestamp).cast_signed() >= 0 {
            (self.timestamp, self.at) = (timestamp, now);
        }
    }
}

/// A duration in clock units, modulo 2³² like the timestamps that it is added to.
pub fn units(duration: Duration, rate: u32) -> u32 {
    let whole = (duration.as_secs() as u32).wrapping_mul(rate);
    let part = u64::from(duration.subsec_nanos()) * u64::from(rate) / 1_000_000_000;
    whole.wrapping_add(part as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: u32 = 8000;

    fn ms(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc, payload: 12..172 }
    }

    fn place(sequence: u16, timestamp: u32, marker: bool) -> Option<Place> {
        Some(Place { sequence, timestamp, marker })
    }

    #[test]
    fn a_new_source_moves_the_clock_by_the_time_that_passed() {
        let mut line = Line::new(1, 65_535, u32::MAX - 159, ms(0));
        assert_eq!(line.relay(ms(0), &packet(7, 10, 1000), RATE, true), place(65_535, u32::MAX - 159, true));
        assert_eq!(line.relay(ms(20), &packet(7, 11, 1160), RATE, true), place(0, 0, false));
        // Half a second of nothing, then a generator: 500 ms are 4000 units.
        assert_eq!(Some(line.generate(ms(520), 160, RATE)), place(1, 4000, true));
        assert_eq!(Some(line.generate(ms(540), 160, RATE)), place(2, 4160, false));
        // Back to the relay, too early for the last packet's sound to be over.
        assert_eq!(line.relay(ms(545), &packet(7, 40, 9000), RATE, true), place(3, 4320, true));
        // The peer starts a new source of its own.
        assert_eq!(line.relay(ms(565), &packet(8, 9000, 5), RATE, true), place(4, 4480, true));
    }

    #[test]
    fn within_a_source_nothing_is_smoothed() {
        let mut line = Line::new(1, 100, 0, ms(0));
        line.relay(ms(0), &packet(7, 10, 0), RATE, true);
        assert_eq!(
            line.relay(ms(60), &packet(7, 13, 480), RATE, true),
            place(103, 480, false),
            "a loss stays"
        );
        assert_eq!(
            line.relay(ms(61), &packet(7, 12, 320), RATE, true),
            place(102, 320, false),
            "so does disorder"
        );
        assert_eq!(
            line.relay(ms(62), &packet(7, 12, 320), RATE, true),
            place(102, 320, false),
            "and a double"
        );
        assert_eq!(
            line.relay(ms(63), &packet(7, 9, 0), RATE, true),
            None,
            "before the source's first packet"
        );
        assert_eq!(line.relay(ms(80), &packet(7, 14, 640), RATE, true), place(104, 640, false));
    }

    #[test]
    fn a_restarted_sequence_is_believed_at_its_second_packet() {
        let mut line = Line::new(1, 100, 0, ms(0));
        line.relay(ms(0), &packet(7, 10, 0), RATE, true);
        assert_eq!(line.relay(ms(20), &packet(7, 40_000, 160), RATE, true), None);
        assert_eq!(
            line.relay(ms(40), &packet(7, 11, 160), RATE, true),
            place(101, 160, false),
            "it was a stray"
        );
        assert_eq!(line.relay(ms(60), &packet(7, 50_000, 9), RATE, true), None);
        assert_eq!(line.relay(ms(80), &packet(7, 50_001, 169), RATE, true), place(102, 480, true));
    }

    #[test]
    fn a_restarted_clock_is_moved_back_onto_ours() {
        let mut line = Line::new(1, 100, 0, ms(0));
        line.relay(ms(0), &packet(7, 10, 0), RATE, true);
        assert_eq!(line.relay(ms(20), &packet(7, 11, 3_000_000), RATE, true), place(101, 160, true));
        assert_eq!(line.relay(ms(40), &packet(7, 12, 3_000_160), RATE, true), place(102, 320, false));
        // A pause in which the source's clock ran on is no restart.
        let after = 3_000_160 + 30 * 8000;
        assert_eq!(
            line.relay(ms(30_040), &packet(7, 13, after), RATE, true),
            place(103, 320 + 240_000, false)
        );
    }

    #[test]
    fn an_event_neither_moves_nor_restarts_the_clock() {
        let mut line = Line::new(1, 100, 0, ms(0));
        line.relay(ms(0), &packet(7, 10, 0), RATE, true);
        for step in 1..=10 {
            let event = packet(7, 10 + step, 160);
            let at = ms(20 * u64::from(step));
            assert_eq!(line.relay(at, &event, RATE, false), place(100 + step, 160, false));
        }
        assert_eq!(line.relay(ms(220), &packet(7, 21, 1760), RATE, true), place(111, 1760, false));
    }

    #[test]
    fn what_is_left_out_on_purpose_leaves_no_gap() {
        let mut line = Line::new(1, 100, 0, ms(0));
        line.relay(ms(0), &packet(7, 10, 0), RATE, true);
        line.omit(&packet(7, 11, 0));
        assert_eq!(line.relay(ms(40), &packet(7, 12, 320), RATE, true), place(101, 320, false));
        line.omit(&packet(7, 15, 0));
        assert_eq!(line.relay(ms(60), &packet(7, 14, 0), RATE, true), None, "its number is taken");
        assert_eq!(
            line.relay(ms(100), &packet(7, 16, 960), RATE, true),
            place(104, 960, false),
            "two were lost"
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Relay { ssrc: u32, lost: u16 },
        Generate { packets: u16 },
        Interrupt,
        Pause { ms: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..3, 0u16..5).prop_map(|(ssrc, lost)| Step::Relay { ssrc, lost }),
            1 => (1u16..5).prop_map(|packets| Step::Generate { packets }),
            1 => Just(Step::Interrupt),
            1 => (1u64..20_000).prop_map(|ms| Step::Pause { ms }),
        ]
    }

    proptest! {
        /// Whatever feeds the line: numbers rise by one (and by what the source lost), the clock
        /// follows real time to within a packet, and only a new source carries our marker.
        #[test]
        fn the_line_runs_on(
            steps in proptest::collection::vec(step(), 1..120),
            sequence: u16,
            timestamp: u32,
            bases in any::<[(u16, u32); 3]>(),
        ) {
            let mut line = Line::new(1, sequence, timestamp, ms(0));
            let (mut now_ms, mut sources) = (0u64, bases);
            let mut last: Option<(Place, u64)> = None;
            let mut current = None;
            for step in steps {
                let mut sent = Vec::new();
                match step {
                    Step::Pause { ms } => now_ms += ms,
                    Step::Interrupt => { line.interrupt(); current = None; }
                    Step::Generate { packets } => for _ in 0..packets {
                        now_ms += 20;
                        let fresh = current != Some(99);
                        current = Some(99);
                        sent.push((line.generate(ms(now_ms), 160, RATE), fresh, 0, now_ms));
                    },
                    Step::Relay { ssrc, lost } => {
                        now_ms += 20 * (1 + u64::from(lost));
                        let (next, clock) = &mut sources[ssrc as usize];
                        *next = next.wrapping_add(lost);
                        // Each source's clock runs with real time from its own start.
                        let header = packet(ssrc, *next, clock.wrapping_add((now_ms * 8) as u32));
                        *next = next.wrapping_add(1);
                        let fresh = current != Some(ssrc);
                        current = Some(ssrc);
                        if let Some(place) = line.relay(ms(now_ms), &header, RATE, true) {
                            sent.push((place, fresh, if fresh { 0 } else { lost }, now_ms));
                        }
                    }
                }
                for (place, fresh, lost, at) in sent {
                    prop_assert_eq!(place.marker, fresh);
                    if let Some((before, before_ms)) = last {
                        prop_assert_eq!(place.sequence, before.sequence.wrapping_add(1 + lost));
                        let passed = i64::from(place.timestamp.wrapping_sub(before.timestamp));
                        let real = ((at - before_ms) * 8) as i64;
                        // A generator paused without being interrupted goes on where it was.
                        if fresh || current != Some(99) {
                            prop_assert!((passed - real).abs() <= 160, "{passed} for {real}");
                        }
                        prop_assert!(passed > 0);
                    } else {
                        prop_assert_eq!((place.sequence, place.timestamp), (sequence, timestamp));
                    }
                    last = Some((place, at));
                }
            }
        }
    }
}
