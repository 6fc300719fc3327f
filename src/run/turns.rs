//! How long turns of the control thread take: a histogram, the longest ones, and a line in the log for a slow one.
//!
//! A turn begins when an input is taken, or timers are due, and is over when everything that it asked for has been
//! carried out: until then all others wait. What it was is noted as names of ours and ids, never as words of a peer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dialtone_api::{LongTurn, LongestTurns, MetricFamily};
use dialtone_core::command::Command;
use dialtone_core::media::MediaEvent;
use dialtone_core::{CallId, LegId, Mono, Now, Wall};
use dialtone_signaling::message::Message;
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::wire::TransportEvent;

use crate::switch::{Effect, Input};

/// Upper bounds of the histogram, microseconds.
const BOUNDS_US: [u64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 1_000_000];
/// Turns of which the particulars are kept.
const LONGEST_MAX: usize = 32;
/// A turn of so long is logged: at a thousand calls a second ten of them wait for it.
const SLOW: Duration = Duration::from_millis(10);
/// Between two lines about slow turns of one kind.
const QUIET: Duration = Duration::from_secs(1);

/// What kind of input a turn was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SipRequest,
    SipResponse,
    /// What the transport tells beside messages.
    Transport,
    /// What else signaling is told: bindings, addresses, sockets.
    Signaling,
    Media,
    Command,
    Site,
    Process,
    Timers,
}

const KINDS: usize = Kind::Timers as usize + 1;

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::SipRequest => "sip_request",
            Kind::SipResponse => "sip_response",
            Kind::Transport => "transport",
            Kind::Signaling => "signaling",
            Kind::Media => "media",
            Kind::Command => "command",
            Kind::Site => "site",
            Kind::Process => "process",
            Kind::Timers => "timers",
        }
    }
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct What {
    kind: Kind,
    name: &'static str,
    status: Option<u16>,
    /// The call that the input itself names.
    call: Option<CallId>,
}

impl What {
    /// Timers that are due.
    pub const TIMERS: What = What::named(Kind::Timers, "due");

    const fn named(kind: Kind, name: &'static str) -> What {
        What { kind, name, status: None, call: None }
    }

    /// Of an input, before it is used up.
    pub fn of(input: &Input) -> What {
        match input {
            Input::Sip(SipInput::Transport(event)) => What::of_transport(event),
            Input::Sip(SipInput::Leg { .. }) => What::named(Kind::Signaling, "leg"),
            Input::Sip(SipInput::Persisted(_)) => What::named(Kind::Signaling, "persisted"),
            Input::Sip(SipInput::NotPersisted(_)) => What::named(Kind::Signaling, "not_persisted"),
            Input::Sip(SipInput::Restore { .. }) => What::named(Kind::Signaling, "restore"),
            Input::Sip(SipInput::Subscribers(_)) => What::named(Kind::Signaling, "subscribers"),
            Input::Sip(SipInput::Sockets(_)) => What::named(Kind::Signaling, "sockets"),
            Input::Sip(SipInput::Addresses { .. }) => What::named(Kind::Signaling, "addresses"),
            Input::Media(MediaEvent::Ready { .. }) => What::named(Kind::Media, "ready"),
            Input::Media(MediaEvent::Latched { .. }) => What::named(Kind::Media, "latched"),
            Input::Media(MediaEvent::Silent { .. }) => What::named(Kind::Media, "silent"),
            Input::Media(MediaEvent::PlayEnded { .. }) => What::named(Kind::Media, "play_ended"),
            Input::Media(MediaEvent::Released { .. }) => What::named(Kind::Media, "released"),
            Input::Command { command: Command::HangUp { call, .. }, .. } => {
                What { call: Some(*call), ..What::named(Kind::Command, "hang_up") }
            }
            Input::Command { command: Command::Drain, .. } => What::named(Kind::Command, "drain"),
            Input::Command { command: Command::HangUpAll { .. }, .. } => {
                What::named(Kind::Command, "hang_up_all")
            }
            Input::Site { .. } => What::named(Kind::Site, "applied"),
            Input::Congested(true) => What::named(Kind::Process, "congested"),
            Input::Congested(false) => What::named(Kind::Process, "relieved"),
            Input::Process(_) => What::named(Kind::Process, "fact"),
        }
    }

    fn of_transport(event: &TransportEvent) -> What {
        match event {
            TransportEvent::Received { message: Message::Request(request), .. } => {
                What::named(Kind::SipRequest, request.method.name())
            }
            TransportEvent::Received { message: Message::Response(response), .. } => {
                // The transport has read it already: every message that comes here has one.
                let method = response.headers.cseq().map_or("other", |cseq| cseq.method.name());
                What { status: Some(response.status), ..What::named(Kind::SipResponse, method) }
            }
            TransportEvent::FlowUp { .. } => What::named(Kind::Transport, "flow_up"),
            TransportEvent::FlowDown { .. } => What::named(Kind::Transport, "flow_down"),
            TransportEvent::SendFailed { .. } => What::named(Kind::Transport, "send_failed"),
            TransportEvent::LookedUp { .. } => What::named(Kind::Transport, "looked_up"),
            TransportEvent::AuthFailed { .. } => What::named(Kind::Transport, "auth_failed"),
        }
    }
}

/// What a turn did, as far as it tells whom it was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Did {
    call: Option<CallId>,
    leg: Option<LegId>,
    effects: usize,
}

impl Did {
    /// Of the effects of a turn, before they are carried out.
    pub fn of(effects: &[Effect]) -> Did {
        let mut did = Did { effects: effects.len(), ..Did::default() };
        for effect in effects {
            match effect {
                Effect::Publish(event) => {
                    did.call = did.call.or_else(|| event.fact.call());
                    did.leg = did.leg.or_else(|| event.fact.leg());
                }
                Effect::Trace(traced) => did.leg = did.leg.or(Some(traced.leg)),
                Effect::Send(_)
                | Effect::Close(_)
                | Effect::LookUp(_)
                | Effect::Media(_)
                | Effect::Persist { .. }
                | Effect::Reply { .. } => {}
            }
            if did.call.is_some() && did.leg.is_some() {
                break;
            }
        }
        did
    }
}

/// What is known of all turns; written by the control thread alone, read by whoever asks.
#[derive(Default)]
pub(super) struct Turns {
    /// By bound, and above the last.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
    longest: Mutex<Vec<Kept>>,
}

#[derive(Clone, Copy)]
struct Kept {
    took: Duration,
    decided: Duration,
    at: Wall,
    what: What,
    did: Did,
}

/// The control thread's side: measures.
#[derive(Default)]
pub(super) struct Meter {
    /// The shortest turn that is kept, once so many are kept as may be.
    floor: Duration,
    /// When a slow turn of each kind was logged last, and how many were not since.
    logged: [Option<(Mono, u64)>; KINDS],
}

impl Meter {
    /// Notes a turn: when it began, when all was decided, when all was carried out.
    pub fn note(&mut self, turns: &Turns, what: What, did: Did, began: Mono, decided: Mono, over: Now) {
        let took = over.mono.since(began);
        turns.count(took);
        if took <= self.floor {
            return;
        }
        let decided = decided.since(began);
        let did = Did { call: what.call.or(did.call), ..did };
        self.floor = turns.keep(Kept { took, decided, at: over.wall, what, did });
        if took >= SLOW {
            self.log(what, did, took, decided, over.mono);
        }
    }

    fn log(&mut self, what: What, did: Did, took: Duration, decided: Duration, now: Mono) {
        let logged = &mut self.logged[what.kind as usize];
        let unsaid = match logged {
            Some((last, unsaid)) if now.since(*last) < QUIET => return *unsaid += 1,
            Some((_, unsaid)) => *unsaid,
            None => 0,
        };
        *logged = Some((now, 0));
        tracing::warn!(
            took_us = micros(took),
            decided_us = micros(decided),
            kind = what.kind.name(),
            what = what.name,
            status = what.status,
            call = did.call.map(tracing::field::display),
            leg = did.leg.map(tracing::field::display),
            effects = did.effects,
            unsaid,
            "a slow turn of the control thread; everything else waited for it"
        );
    }
}

impl Turns {
    fn count(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| nanos <= bound * 1000).unwrap_or(BOUNDS_US.len());
        // There is one writer, so this need not be one step.
        let add = |cell: &AtomicU64, more| cell.store(cell.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        add(&self.counts[bucket], 1);
        add(&self.sum_ns, nanos);
    }

    /// Keeps it among the longest; how long the next must take to be kept.
    fn keep(&self, kept: Kept) -> Duration {
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        let place = longest.partition_point(|other| other.took >= kept.took);
        longest.insert(place, kept);
        longest.truncate(LONGEST_MAX);
        longest.get(LONGEST_MAX - 1).map_or(Duration::ZERO, |last| last.took)
    }

    /// For who asks.
    pub fn longest(&self) -> LongestTurns {
        let kept = self.longest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = |kept: Kept| LongTurn {
            took_us: micros(kept.took),
            decided_us: micros(kept.decided),
            at: kept.at.to_string(),
            kind: kept.what.kind.name().into(),
            what: kept.what.name.into(),
            status: kept.what.status,
            call: kept.did.call,
            leg: kept.did.leg,
            effects: kept.did.effects,
        };
        let turns = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        LongestTurns { turns, longest: kept.into_iter().map(shown).collect() }
    }

    /// For `/metrics`.
    pub fn families(&self) -> Vec<MetricFamily> {
        let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let buckets = BOUNDS_US.iter().zip(&self.counts).map(|(us, cell)| (*us as f64 / 1e6, count(cell)));
        let above = self.counts.last().map_or(0, count);
        let longest =
            self.longest.lock().unwrap_or_else(PoisonError::into_inner).first().map(|kept| kept.took);
        vec![
            MetricFamily::histogram(
                "dialtone_turn_seconds",
                "How long turns of the control thread took, until everything was carried out",
                buckets,
                above,
                count(&self.sum_ns) as f64 / 1e9,
            ),
            MetricFamily::gauge("dialtone_turn_longest_seconds", "Longest turn since the start")
                .value(longest.unwrap_or_default().as_secs_f64()),
        ]
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dialtone_core::event::Fact;
    use dialtone_core::{Cause, Event, IdSource, NodeId};
    use dialtone_signaling::message::{Method, Request};
    use dialtone_signaling::wire::{FlowId, Path, Transport};

    use super::*;

    fn at(us: u64) -> Now {
        Now { mono: Mono::from_nanos(us * 1000), wall: Wall::from_micros(us as i64) }
    }

    fn noted(meter: &mut Meter, turns: &Turns, what: What, began: u64, took: u64) {
        let did = Did { effects: 2, ..Did::default() };
        meter.note(turns, what, did, at(began).mono, at(began + took / 2).mono, at(began + took));
    }

    #[test]
    fn the_longest_turns_are_kept_with_what_they_were_and_all_are_counted() {
        let (turns, mut meter) = (Turns::default(), Meter::default());
        let persisted = What::named(Kind::Signaling, "persisted");
        for round in 0..200 {
            noted(&mut meter, &turns, What::TIMERS, 1000 * round, round);
        }
        noted(&mut meter, &turns, persisted, 900_000, 5000);
        let shown = turns.longest();
        assert_eq!((shown.turns, shown.longest.len()), (201, LONGEST_MAX));
        let took: Vec<u64> = shown.longest.iter().map(|turn| turn.took_us).take(3).collect();
        assert_eq!(took, [5000, 199, 198]);
        assert_eq!(meter.floor, Duration::from_micros(200 - LONGEST_MAX as u64 + 1));
        let first = &shown.longest[0];
        assert_eq!((first.kind.as_str(), first.what.as_str()), ("signaling", "persisted"));
        assert_eq!(
            (first.decided_us, first.effects, first.at.as_str()),
            (2500, 2, "1970-01-01T00:00:00.905Z")
        );
        let text = dialtone_api::Registry::default().with(move || turns.families()).render();
        for line in [
            "dialtone_turn_seconds_bucket{le=\"0.000005\"} 6",
            "dialtone_turn_seconds_bucket{le=\"0.0001\"} 101",
            "dialtone_turn_seconds_bucket{le=\"0.0025\"} 200",
            "dialtone_turn_seconds_bucket{le=\"0.005\"} 201",
            "dialtone_turn_seconds_bucket{le=\"+Inf\"} 201",
            "dialtone_turn_seconds_count 201",
            "dialtone_turn_seconds_sum 0.0249",
            "dialtone_turn_longest_seconds 0.005",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_slow_turn_is_logged_once_a_second_for_each_kind() {
        let (turns, mut meter) = (Turns::default(), Meter::default());
        let slow = 20_000;
        for began in [0, 100_000, 200_000, 1_100_000] {
            noted(&mut meter, &turns, What::TIMERS, began, slow);
        }
        assert_eq!(meter.logged[Kind::Timers as usize], Some((at(1_120_000).mono, 0)));
        noted(&mut meter, &turns, What::TIMERS, 1_200_000, slow);
        assert_eq!(meter.logged[Kind::Timers as usize], Some((at(1_120_000).mono, 1)));
        assert_eq!(meter.logged[Kind::Media as usize], None);
    }

    /// A method that nobody knows is a peer's own word.
    #[test]
    fn an_input_is_named_without_the_words_of_a_peer() {
        let address = "192.0.2.1:5060".parse().unwrap();
        let path = Path { transport: Transport::Udp, flow: FlowId(1), local: address, remote: address };
        let request = |method: &str| {
            let message = Request::new(Method::from_token(method), "sip:a@b").into();
            let event = TransportEvent::Received { path, message, credentials: Default::default() };
            What::of(&Input::Sip(SipInput::Transport(event)))
        };
        assert_eq!(request("INVITE"), What::named(Kind::SipRequest, "INVITE"));
        assert_eq!(request("EVIL"), What::named(Kind::SipRequest, "other"));
    }

    #[test]
    fn effects_tell_whom_a_turn_was_about() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let (call, leg) = (ids.call(), ids.leg());
        let publish = |fact| Effect::Publish(Event { seq: 1, at: at(0), fact });
        let effects = [
            publish(Fact::LegHeld { leg }),
            publish(Fact::CallEnded { call, cause: Cause::NormalClearing, by: None }),
        ];
        assert_eq!(Did::of(&effects), Did { call: Some(call), leg: Some(leg), effects: 2 });
    }
}
