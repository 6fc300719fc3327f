//! The flight recorder: every call's ladder, while it lasts and for a while after.
//!
//! A fold over events and the messages of legs. Bounded: so many calls, so many rungs a call; what does
//! not fit is counted, not kept. A call's ladder goes to the records a moment after its end, when the
//! last answers have come in.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use dialtone_core::event::{Fact, Side};
use dialtone_core::{BridgeId, CallId, Event, LegId, Mono, Wall};
use dialtone_signaling::message::{Message, Name};
use dialtone_signaling::stack::Wire;
use serde::{Deserialize, Serialize};

use crate::ladder::{Rung, What};
use crate::switch::Traced;

/// Rungs that one call may have.
const RUNGS_MAX: usize = 400;
/// Bytes that the messages of one call may have: several times what an eventful call needs.
const TEXT_MAX: usize = 256 * 1024;
/// Messages kept for a leg that no call has named yet.
const EARLY_MAX: usize = 8;
/// Letters shown of the status in a NOTIFY.
const FRAGMENT_MAX: usize = 40;
/// Legs that no call has named yet.
const STRAYS_MAX: usize = 1024;
/// Calls that are over and still remembered here.
const ENDED_MAX: usize = 500;
/// How long a call that is over waits for its last messages.
const LINGER: Duration = Duration::from_secs(2);

/// The ladder of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTrace {
    /// The call.
    pub call: CallId,
    /// When it began, RFC 3339 UTC.
    pub started: String,
    /// What happened, in order.
    pub rungs: Vec<Rung>,
    /// Rungs that did not fit.
    pub left_out: u64,
}

struct Flight {
    trace: CallTrace,
    /// Bytes of its messages.
    text: usize,
    began: Mono,
    legs: Vec<LegId>,
    ended: Option<Mono>,
}

struct LegInfo {
    call: CallId,
    side: Side,
    peer: String,
}

/// See the module.
#[derive(Default)]
pub struct Recorder {
    flights: HashMap<CallId, Flight>,
    legs: HashMap<LegId, LegInfo>,
    strays: HashMap<LegId, Vec<Traced>>,
    ended: VecDeque<CallId>,
    done: VecDeque<CallTrace>,
}

impl Recorder {
    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        match &event.fact {
            Fact::CallStarted { call, leg, from, .. } => {
                self.begin(*call, event.at.mono, event.at.wall);
                // The INVITE that began it stands before what it began.
                self.leg(*leg, *call, Side::Inbound, from.number.clone());
            }
            Fact::LegCreated { leg, call, endpoint, side, .. } => {
                self.leg(*leg, *call, *side, endpoint.clone());
            }
            Fact::LegMoved { leg, from, call } => self.moved(*leg, *from, *call),
            // No new leg. The end of a call counts below, once its rung stands.
            Fact::Started { .. }
            | Fact::Draining { .. }
            | Fact::Stopped
            | Fact::SiteApplied { .. }
            | Fact::ContactAdded { .. }
            | Fact::ContactRefreshed { .. }
            | Fact::ContactReached { .. }
            | Fact::ContactRemoved { .. }
            | Fact::DeviceStateChanged { .. }
            | Fact::AuthFailed { .. }
            | Fact::RouteTaken { .. }
            | Fact::ConnectedLine { .. }
            | Fact::DialBegan { .. }
            | Fact::DialProgressed { .. }
            | Fact::DialEnded { .. }
            | Fact::DialRedirected { .. }
            | Fact::LegStateChanged { .. }
            | Fact::LegNegotiated { .. }
            | Fact::LegLatched { .. }
            | Fact::LegHeld { .. }
            | Fact::LegResumed { .. }
            | Fact::CallAnswered { .. }
            | Fact::FlowStarted { .. }
            | Fact::FlowEnded { .. }
            | Fact::BridgeCreated { .. }
            | Fact::BridgeEntered { .. }
            | Fact::BridgeLeft { .. }
            | Fact::BridgeDestroyed { .. }
            | Fact::HangupRequested { .. }
            | Fact::LegSilent { .. }
            | Fact::LegEnded { .. }
            | Fact::LegMeasured { .. }
            | Fact::CallEnded { .. }
            | Fact::LegReplaced { .. }
            | Fact::TransferBegan { .. }
            | Fact::TransferEnded { .. }
            | Fact::ConversationMerged { .. }
            | Fact::Fault { .. } => {}
        }
        if let Some(call) = self.call_of(&event.fact) {
            let text = describe(&event.fact);
            self.push(call, event.at.mono, What::Event { text });
        }
        if let Fact::CallEnded { call, .. } = &event.fact
            && let Some(flight) = self.flights.get_mut(call)
        {
            flight.ended = Some(event.at.mono);
            self.ended.push_back(*call);
        }
    }

    /// Takes a message of a leg.
    pub fn message(&mut self, traced: Traced) {
        let Some(info) = self.legs.get(&traced.leg) else {
            if self.strays.len() < STRAYS_MAX {
                let early = self.strays.entry(traced.leg).or_default();
                if early.len() < EARLY_MAX {
                    early.push(traced);
                }
            }
            return;
        };
        let (call, side, peer) = (info.call, info.side, info.peer.clone());
        let (sent, message) = match traced.wire {
            Wire::Sent(bytes) => (true, Message::parse(bytes).ok()),
            Wire::Received(message) => (false, Some(*message)),
        };
        let Some(message) = message else { return };
        let summary = summary(&message);
        let text = printable(message);
        self.push(call, traced.at.mono, What::Message { side, peer, sent, summary, text });
    }

    /// A leg has a call, and with it what its messages said before.
    fn leg(&mut self, leg: LegId, call: CallId, side: Side, peer: String) {
        let known = self.legs.insert(leg, LegInfo { call, side, peer }).is_some();
        if let Some(flight) = self.flights.get_mut(&call).filter(|_| !known) {
            flight.legs.push(leg);
        }
        for early in self.strays.remove(&leg).unwrap_or_default() {
            self.message(early);
        }
    }

    /// What a leg says from now on belongs to another call.
    fn moved(&mut self, leg: LegId, from: CallId, to: CallId) {
        if let Some(info) = self.legs.get_mut(&leg) {
            info.call = to;
        }
        if let Some(flight) = self.flights.get_mut(&from) {
            flight.legs.retain(|other| *other != leg);
        }
        if let Some(flight) = self.flights.get_mut(&to) {
            flight.legs.push(leg);
        }
    }

    /// The ladder of a call that is up, or ended a moment ago.
    pub fn trace(&self, call: CallId) -> Option<CallTrace> {
        let done = self.done.iter().rev().find(|trace| trace.call == call);
        self.flights.get(&call).map(|flight| &flight.trace).or(done).cloned()
    }

    /// The ladders that are complete by `now`, for the records.
    pub fn complete(&mut self, now: Mono) -> Vec<CallTrace> {
        let mut complete = Vec::new();
        // What a peer still says of a leg whose call is forgotten belongs nowhere.
        self.strays.retain(|_, early| early.last().is_some_and(|last| now < last.at.mono + LINGER));
        while let Some(call) = self.ended.front().copied() {
            let ended = self.flights.get(&call).and_then(|flight| flight.ended);
            if ended.is_some_and(|ended| now < ended + LINGER) {
                break;
            }
            self.ended.pop_front();
            let Some(flight) = self.flights.remove(&call) else { continue };
            for leg in flight.legs {
                self.legs.remove(&leg);
            }
            complete.push(flight.trace.clone());
            self.done.push_back(flight.trace);
            if self.done.len() > ENDED_MAX {
                self.done.pop_front();
            }
        }
        complete
    }

    fn begin(&mut self, call: CallId, began: Mono, wall: Wall) {
        let trace = CallTrace { call, started: wall.to_string(), rungs: Vec::new(), left_out: 0 };
        self.flights.insert(call, Flight { trace, text: 0, began, legs: Vec::new(), ended: None });
    }

    fn push(&mut self, call: CallId, at: Mono, what: What) {
        let Some(flight) = self.flights.get_mut(&call) else { return };
        let more = match &what {
            What::Message { text, summary, .. } => text.len() + summary.len(),
            What::Event { text } => text.len(),
        };
        if flight.trace.rungs.len() >= RUNGS_MAX || flight.text + more > TEXT_MAX {
            flight.trace.left_out += 1;
            return;
        }
        flight.text += more;
        let at_us = u64::try_from(at.since(flight.began).as_micros()).unwrap_or(u64::MAX);
        flight.trace.rungs.push(Rung { at_us, what });
    }

    /// The call that a fact is about; most facts name their call or a leg of it.
    fn call_of(&self, fact: &Fact) -> Option<CallId> {
        fact.call().or_else(|| self.legs.get(&fact.leg()?).map(|info| info.call))
    }
}

/// A fact as one line of its call's ladder: its name, then its fields. Ids are cut to their number, as all
/// are of one call; what is empty, and in a group of fields what is zero, is left out.
pub fn describe(fact: &Fact) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(fact) else { return String::new() };
    let mut line = fields.get("event").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    for (key, value) in fields.iter().filter(|(key, _)| !["event", "call", "conversation"].contains(&&***key))
    {
        match value {
            serde_json::Value::Object(group) => {
                let group = group.iter().filter(|(_, value)| value.as_u64() != Some(0));
                let group: Vec<String> =
                    group.filter_map(|(key, value)| Some(format!("{key}={}", plain(value)?))).collect();
                line.push_str(&format!(" {key}=({})", group.join(" ")));
            }
            value => line.extend(plain(value).map(|value| format!(" {key}={value}"))),
        }
    }
    line
}

/// A value without quotes; an id as its number; `None` when there is nothing.
fn plain(value: &serde_json::Value) -> Option<String> {
    let number = |text: &str| {
        let leg = text.parse::<LegId>().map(LegId::number);
        leg.or_else(|_| text.parse::<BridgeId>().map(BridgeId::number)).map(|number| number.to_string())
    };
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) if text.is_empty() => None,
        serde_json::Value::String(text) => Some(number(text).unwrap_or_else(|_| text.clone())),
        other => Some(other.to_string()),
    }
}

/// `INVITE`, or `180 Ringing`; an INVITE within a dialog says so, and a NOTIFY of a transfer what it tells.
pub fn summary(message: &Message) -> String {
    let headers = message.headers();
    let body = if message.body().is_empty() {
        String::new()
    } else if headers.has(&Name::ContentType) && headers.has_content_type("message/sipfrag") {
        format!(" ({})", fragment(message.body()))
    } else {
        " (sdp)".to_owned()
    };
    match message {
        Message::Request(request) => {
            let within = request.to().is_ok_and(|to| to.tag().is_some());
            let again = if within && request.method.as_str() == "INVITE" { "re-" } else { "" };
            format!("{again}{}{body}", request.method.as_str())
        }
        Message::Response(response) => {
            format!("{} {}{body}", response.status, String::from_utf8_lossy(&response.reason))
        }
    }
}

/// The status in a fragment of a message (RFC 3420): `180 Ringing`.
fn fragment(body: &[u8]) -> String {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.trim_ascii());
    line.strip_prefix("SIP/2.0 ").unwrap_or("sipfrag").chars().take(FRAGMENT_MAX).collect()
}

/// The message as text, without credentials and without control characters that a terminal obeys.
fn printable(mut message: Message) -> String {
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        if message.headers().has(&name) {
            message.headers_mut().set(name, "(hidden)");
        }
    }
    let bytes = match &message {
        Message::Request(request) => request.to_bytes(),
        Message::Response(response) => response.to_bytes(),
    };
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_core::event::LegState;
    use dialtone_core::media::Quality;
    use dialtone_core::{IdSource, NodeId, Now, Party};
    use dialtone_signaling::message::{Method, Request};

    fn received(leg: LegId, at: Mono) -> Traced {
        let mut request = Request::new(Method::Invite, "sip:1002@pbx");
        request.headers.push(Name::Authorization, "Digest response=\"secret\"");
        let wire = Wire::Received(Box::new(request.into()));
        Traced { at: Now { mono: at, wall: Wall::default() }, leg, peer: ([10, 0, 0, 1], 5060).into(), wire }
    }

    fn event(fact: Fact) -> Event {
        Event { seq: 1, at: Now::default(), fact }
    }

    #[test]
    fn the_invite_stands_before_what_it_began_and_without_its_secrets() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let (call, leg) = (ids.call(), ids.leg());
        let mut recorder = Recorder::default();
        recorder.message(received(leg, Mono::ZERO));
        let from = Party { number: "1001".into(), name: String::new(), private: false };
        let started = Fact::CallStarted { call, conversation: call.into(), leg, from, dialed: "1002".into() };
        recorder.event(&event(started));
        let trace = recorder.trace(call).unwrap();
        let What::Message { peer, sent: false, text, .. } = &trace.rungs[0].what else { panic!("{trace:?}") };
        assert_eq!(peer, "1001");
        assert!(text.contains("(hidden)") && !text.contains("secret"), "{text}");
        assert_eq!(trace.rungs.len(), 2);
    }

    #[test]
    fn what_belongs_to_no_call_is_forgotten() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let mut recorder = Recorder::default();
        for _ in 0..2 * STRAYS_MAX {
            recorder.message(received(ids.leg(), Mono::ZERO));
        }
        assert_eq!(recorder.strays.len(), STRAYS_MAX);
        recorder.complete(Mono::ZERO + LINGER);
        assert!(recorder.strays.is_empty(), "there is room for the next call");
    }

    #[test]
    fn messages_of_a_call_have_a_bound_whoever_writes_them() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let (call, leg) = (ids.call(), ids.leg());
        let mut recorder = Recorder::default();
        let from = Party { number: "1001".into(), name: String::new(), private: false };
        let started = Fact::CallStarted { call, conversation: call.into(), leg, from, dialed: "1002".into() };
        recorder.event(&event(started));
        for _ in 0..RUNGS_MAX / 2 {
            let mut request = Request::new(Method::Invite, "sip:1002@pbx");
            request.set_body("application/sdp", vec![b'x'; 60_000]);
            let wire = Wire::Received(Box::new(request.into()));
            recorder.message(Traced { wire, ..received(leg, Mono::ZERO) });
        }
        recorder.event(&event(Fact::CallEnded {
            call,
            cause: dialtone_core::Cause::NormalClearing,
            by: None,
        }));
        let trace = recorder.trace(call).unwrap();
        let text = |rung: &Rung| match &rung.what {
            What::Message { text, .. } | What::Event { text } => text.len(),
        };
        assert!(trace.rungs.iter().map(text).sum::<usize>() <= TEXT_MAX);
        assert_eq!(trace.rungs.len() as u64 + trace.left_out, 2 + RUNGS_MAX as u64 / 2);
        assert!(trace.rungs.len() >= 5, "the first of them are there");
    }

    #[test]
    fn a_fact_is_one_short_line() {
        let mut ids = IdSource::new(NodeId(1), 1, 7, 1);
        let (call, leg) = (ids.call(), ids.leg());
        let quality = Quality { received_packets: 50, ..Quality::default() };
        let measured = Fact::LegMeasured { leg, call, quality };
        assert_eq!(describe(&measured), "leg_measured leg=8 quality=(received_packets=50)");
        let changed = Fact::LegStateChanged { leg, state: LegState::Up };
        assert_eq!(describe(&changed), "leg_state_changed leg=8 state=up");
    }
}
