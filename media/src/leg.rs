//! One port's state: where its peer is, what came, what goes out and who feeds it.
//!
//! ```text
//!  reserved ──Configure──▶ configured ──Release──▶ gone
//!                            │  ▲
//!                            └──┘ Configure, Bridge, packets, rounds
//! ```
//!
//! A leg never touches another one: a packet that was heard here is handed to the hearing leg by the
//! worker.

use std::net::SocketAddr;
use std::time::Duration;

use dialtone_core::codec::Codec;
use dialtone_core::media::{Quality, ReadyPort, Stream};
use dialtone_core::{BridgeId, Mono};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;

use crate::counters::DropReason;
use crate::g711::Law;
use crate::generator::Generator;
use crate::latch::{Latch, Verdict};
use crate::line::Line;
use crate::outbox::{Channel, Outbox, Slot};
use crate::receive::Reception;
use crate::reports::{Reports, Sent};
use crate::rtcp::{self, COMPOUND_MAX};
use crate::rtp::{self, Fixed, HEADER_LEN, Header};
use crate::tone::SAMPLE_RATE;

/// Milliseconds of the tick.
pub(crate) const TICK_MS: u8 = 20;
/// Bounds of a generated packet's duration, milliseconds.
const PTIME_MS: (u8, u8) = (10, 120);
/// Samples of the longest generated packet.
const FRAME_MAX: usize = PTIME_MS.1 as usize * SAMPLE_RATE as usize / 1000;

/// How long a peer may be silent before somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilenceLimits {
    /// While sound flows both ways.
    pub rtp: Duration,
    /// On hold. Who holds may play music or nothing at all, so it is the same for both directions.
    pub hold: Duration,
}

/// Who feeds a leg.
#[derive(Clone, Debug)]
pub(crate) enum Hears {
    Nothing,
    Leg(Slot),
    Itself,
    Generator {
        generator: Generator,
        /// Milliseconds of sound that are due but have not made a packet yet.
        owed_ms: u8,
    },
}

/// What a re-negotiation fixes.
struct Session {
    stream: Stream,
    rtp: Latch,
    rtcp: Latch,
}

impl Session {
    /// Whether somebody holds. A peer that holds with `sendonly` may send nothing all the same: most
    /// phones have no music.
    fn is_held(&self) -> bool {
        let direction = self.stream.direction;
        !(direction.sends() && direction.receives())
    }
}

/// A packet that is the peer's and that we understand.
pub(crate) struct Heard {
    pub header: Header,
    pub codec: Codec,
    pub latched: bool,
    /// Whether the peer may be heard at all, as negotiated.
    pub audible: bool,
}

pub(crate) struct Leg {
    pub ready: ReadyPort,
    pub bridge: Option<BridgeId>,
    pub hears: Hears,
    /// Its place in the worker's list of legs with a tick.
    pub ticking: Option<u32>,
    session: Option<Session>,
    line: Line,
    reception: Reception,
    reports: Reports,
    /// RTP clock of what we send, Hz.
    rate: u32,
    sent_packets: u64,
    sent_bytes: u64,
    dropped: u64,
    sign_of_life: Mono,
    silence_told: bool,
}

impl Leg {
    pub fn new(now: Mono, ready: ReadyPort, random: &mut ChaCha12Rng) -> Self {
        // RFC 3550 §5.1: all three start at random.
        let line = Line::new(random.next_u32(), random.next_u32() as u16, random.next_u32(), now);
        Self {
            ready,
            bridge: None,
            hears: Hears::Nothing,
            ticking: None,
            session: None,
            line,
            reception: Reception::default(),
            reports: Reports::new(random),
            rate: SAMPLE_RATE,
            sent_packets: 0,
            sent_bytes: 0,
            dropped: 0,
            sign_of_life: now,
            silence_told: false,
        }
    }

    /// Takes over what was negotiated. Returns whether it was for the first time.
    pub fn configure(&mut self, now: Mono, stream: Stream, random: &mut ChaCha12Rng) -> bool {
        (self.sign_of_life, self.silence_told) = (now, false);
        let voice = stream.send.iter().map(|(codec, _)| *codec).find(|codec| codec.is_voice());
        self.rate = voice.map_or(SAMPLE_RATE, Codec::clock_rate);
        if let Some(session) = &mut self.session {
            session.rtp.signal(now, stream.rtp, stream.relatch);
            session.rtcp.signal(now, stream.rtcp, stream.relatch);
            session.stream = stream;
            return false;
        }
        self.reports.begin(now, random);
        let (rtp, rtcp) = (Latch::new(stream.rtp), Latch::new(stream.rtcp));
        self.session = Some(Session { stream, rtp, rtcp });
        true
    }

    pub fn is_configured(&self) -> bool {
        self.session.is_some()
    }

    /// Changes who feeds the leg. What comes next is a new source.
    pub fn hear(&mut self, hears: Hears) {
        self.hears = hears;
        self.line.interrupt();
    }

    /// A frame of a generator, at once after the bridge was made.
    pub fn generator(&self, generator: Generator) -> Hears {
        Hears::Generator { generator, owed_ms: self.ptime_ms().saturating_sub(TICK_MS) }
    }

    /// Whether the leg needs the tick: its generator can be heard, or comes to an end that somebody
    /// waits for even while the peer is on hold.
    pub fn wants_tick(&self) -> bool {
        let (Hears::Generator { generator, .. }, Some(session)) = (&self.hears, &self.session) else {
            return false;
        };
        self.g711().is_some() && (generator.ends() || session.stream.direction.sends())
    }

    /// The first G.711 format that the peer takes, and its payload type.
    pub fn g711(&self) -> Option<(Law, u8)> {
        let session = self.session.as_ref()?;
        session.stream.send.iter().find_map(|(codec, payload_type)| match codec {
            Codec::Pcmu => Some((Law::Mu, *payload_type)),
            Codec::Pcma => Some((Law::A, *payload_type)),
            Codec::G722 | Codec::Opus | Codec::TelephoneEvent => None,
        })
    }

    /// An RTP packet arrived. What is not the peer's leaves no trace but a count.
    pub fn rtp(&mut self, now: Mono, source: SocketAddr, packet: &[u8]) -> Result<Heard, DropReason> {
        let heard = self.recognize(now, source, packet);
        match &heard {
            Ok(heard) => {
                let rate = heard.codec.clock_rate();
                self.reception.note(now, &heard.header, rate, heard.codec.is_voice());
                (self.sign_of_life, self.silence_told) = (now, false);
            }
            Err(DropReason::Unconfigured) => {}
            Err(_) => self.dropped += 1,
        }
        heard
    }

    fn recognize(&mut self, now: Mono, source: SocketAddr, packet: &[u8]) -> Result<Heard, DropReason> {
        let session = self.session.as_mut().ok_or(DropReason::Unconfigured)?;
        // Before anything is read: what comes from elsewhere must not even cost a parse.
        if !session.rtp.admits(source) {
            return Err(DropReason::WrongSource);
        }
        let header = rtp::peek(packet).map_err(|_| DropReason::Malformed)?;
        let format = session.stream.receive.iter().find(|(number, _)| *number == header.payload_type);
        let codec = format.ok_or(DropReason::UnknownPayload)?.1;
        let latched = match session.rtp.learn(now, source) {
            Verdict::Known => false,
            Verdict::Latched => true,
            Verdict::Wrong => return Err(DropReason::WrongSource),
        };
        Ok(Heard { header, codec, latched, audible: session.stream.direction.receives() })
    }

    /// An RTCP packet arrived.
    pub fn rtcp(
        &mut self,
        now: Mono,
        wall_us: u64,
        source: SocketAddr,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let session = self.session.as_mut().ok_or(DropReason::Unconfigured)?;
        if !session.rtcp.admits(source) {
            return Err(DropReason::WrongSourceRtcp);
        }
        let report = rtcp::parse(packet, self.line.ssrc()).map_err(|_| DropReason::MalformedRtcp)?;
        if session.rtcp.learn(now, source) == Verdict::Wrong {
            return Err(DropReason::WrongSourceRtcp);
        }
        // On hold, reports are the only sign of life that a peer has to give.
        if session.is_held() {
            (self.sign_of_life, self.silence_told) = (now, false);
        }
        self.reports.note(now, wall_us, &report);
        Ok(())
    }

    /// Sends what another leg (or this one, for an echo) heard.
    pub fn relay(
        &mut self,
        now: Mono,
        slot: Slot,
        heard: &Heard,
        payload: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let session = self.session.as_ref().ok_or(DropReason::Unconfigured)?;
        if !heard.audible || !session.stream.direction.sends() {
            // When sound may flow again, the pause must not look like a loss.
            self.line.interrupt();
            return Err(DropReason::Direction);
        }
        let Some((_, payload_type)) = session.stream.send.iter().find(|(codec, _)| *codec == heard.codec)
        else {
            self.line.omit(&heard.header);
            return Err(DropReason::NoFormat);
        };
        let to = session.rtp.destination().ok_or(DropReason::NoDestination)?;
        let sound = heard.codec.is_voice();
        if sound {
            self.rate = heard.codec.clock_rate();
        }
        let place = self.line.relay(now, &heard.header, self.rate, sound).ok_or(DropReason::Stray)?;
        let fixed = Fixed {
            marker: place.marker,
            payload_type: *payload_type,
            sequence: place.sequence,
            timestamp: place.timestamp,
            ssrc: self.line.ssrc(),
        };
        if !out.push(slot, Channel::Rtp, to, &fixed.to_bytes(), payload) {
            return Err(DropReason::NoDestination);
        }
        self.sent_packets += 1;
        self.sent_bytes += payload.len() as u64;
        Ok(())
    }

    /// The tick of `at`. Sends what the generator owes by now; returns whether it came to its end.
    pub fn tick(&mut self, at: Mono, late: bool, slot: Slot, out: &mut Outbox) -> bool {
        let ptime_ms = self.ptime_ms();
        let (Some((law, payload_type)), Some(session)) = (self.g711(), &self.session) else { return false };
        let Hears::Generator { generator, owed_ms } = &mut self.hears else { return false };
        let to = session.rtp.destination().filter(|_| session.stream.direction.sends());
        if late {
            // The clock moves past the skipped frames; the sound goes on where it was.
            self.line.interrupt();
        }
        self.rate = SAMPLE_RATE;
        *owed_ms += TICK_MS;
        while *owed_ms >= ptime_ms {
            *owed_ms -= ptime_ms;
            let mut samples = [0; FRAME_MAX];
            let mut codes = [0; FRAME_MAX];
            let length = usize::from(ptime_ms) * SAMPLE_RATE as usize / 1000;
            let ended = generator.fill(law, &mut samples[..length]);
            match to {
                Some(to) => {
                    law.encode_into(&samples[..length], &mut codes[..length]);
                    let place = self.line.generate(at, length as u32, SAMPLE_RATE);
                    let fixed = Fixed {
                        marker: place.marker,
                        payload_type,
                        sequence: place.sequence,
                        timestamp: place.timestamp,
                        ssrc: self.line.ssrc(),
                    };
                    if out.push(slot, Channel::Rtp, to, &fixed.to_bytes(), &codes[..length]) {
                        self.sent_packets += 1;
                        self.sent_bytes += length as u64;
                    }
                }
                // A prompt plays on unheard while the peer holds us.
                None => self.line.interrupt(),
            }
            if ended {
                self.hears = Hears::Nothing;
                return true;
            }
        }
        false
    }

    /// How long the peer has been silent, when that is too long and nobody was told yet.
    pub fn silence(&mut self, now: Mono, limits: SilenceLimits) -> Option<Duration> {
        let session = self.session.as_ref()?;
        let limit = if session.is_held() { limits.hold } else { limits.rtp };
        let silence = now.since(self.sign_of_life);
        if self.silence_told || silence < limit {
            return None;
        }
        self.silence_told = true;
        Some(silence)
    }

    /// Sends a report when one is due.
    pub fn report(
        &mut self,
        now: Mono,
        wall_us: u64,
        random: &mut ChaCha12Rng,
        slot: Slot,
        out: &mut Outbox,
    ) {
        if self.session.is_some() && self.reports.due(now, random) {
            self.send_report(now, wall_us, false, slot, out);
        }
    }

    /// Says goodbye, when the peer has heard of us.
    pub fn farewell(&mut self, now: Mono, wall_us: u64, slot: Slot, out: &mut Outbox) {
        if self.reports.known_to_peer(&self.sent(now)) {
            self.send_report(now, wall_us, true, slot, out);
        }
    }

    fn send_report(&mut self, now: Mono, wall_us: u64, goodbye: bool, slot: Slot, out: &mut Outbox) {
        let Some(to) = self.session.as_ref().and_then(|session| session.rtcp.destination()) else { return };
        let sent = self.sent(now);
        let mut bytes = [0; COMPOUND_MAX];
        let length = self.reports.write(now, wall_us, &sent, &mut self.reception, goodbye, &mut bytes);
        out.push(slot, Channel::Rtcp, to, &bytes[..length], &[]);
    }

    fn sent(&self, now: Mono) -> Sent {
        Sent {
            ssrc: self.line.ssrc(),
            packets: self.sent_packets,
            bytes: self.sent_bytes,
            clock: self.line.clock(now, self.rate),
        }
    }

    fn ptime_ms(&self) -> u8 {
        let wanted = self.session.as_ref().map_or(TICK_MS, |session| session.stream.ptime_ms);
        wanted.clamp(PTIME_MS.0, PTIME_MS.1)
    }

    /// What is known about its packets.
    pub fn quality(&self) -> Quality {
        let mut quality = Quality {
            received_packets: self.reception.packets(),
            received_bytes: self.reception.bytes(),
            sent_packets: self.sent_packets,
            sent_bytes: self.sent_bytes,
            lost_packets: self.reception.lost(),
            dropped_packets: self.dropped,
            jitter_us: self.reception.jitter_us(),
            ..Quality::default()
        };
        self.reports.fill(self.rate, &mut quality);
        quality
    }
}

/// The largest datagram that a tick makes fits the outbox's share per step.
const _: () = assert!(HEADER_LEN + FRAME_MAX <= 1024);
