//! The facts of one call carry everything that an Asterisk says of the same call over AMI: a fold of them
//! gives the names, the subjects and the order of a recorded trace.
//!
//! Left out are what is Asterisk's own (variables, tests of its build, the login). Its device and
//! extension states come from a thread of their own, so around ringing and answer their order with
//! Newstate and DialState is not fixed: there the groups are compared as sets, the rest as a sequence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "each test uses a part of it")]
mod support;

use std::collections::HashMap;

use dialtone_core::event::{DeviceState, DialOutcome, LegState, Side};
use dialtone_core::{Event, Fact, LegId};

use support::World;

/// One AMI event: its name, whom it is about, and what it says of that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: &'static str,
    subject: String,
    says: String,
}

/// Events whose mutual order around ringing and answer is not fixed.
const LOOSE: [&str; 4] = ["Newstate", "DialState", "ExtensionStatus", "DeviceStateChange"];

/// Has a hint in the recorded dialplan, and so an extension state.
const HINT: &str = "1001";

#[derive(Default)]
struct Ami {
    channels: HashMap<LegId, String>,
    answered: Option<LegId>,
    hung_up: Option<LegId>,
    lines: Vec<Line>,
}

impl Ami {
    fn say(&mut self, name: &'static str, subject: &str, says: impl Into<String>) {
        self.lines.push(Line { name, subject: subject.into(), says: says.into() });
    }

    fn channel(&self, leg: LegId) -> String {
        self.channels[&leg].clone()
    }

    fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::LegCreated { leg, endpoint, side, state, .. } => {
                self.channels.insert(*leg, endpoint.clone());
                self.say("Newchannel", endpoint, state_text(*state));
                if *side == Side::Outbound {
                    self.say("Newexten", endpoint, "AppDial");
                    self.say("NewCallerid", endpoint, endpoint);
                }
            }
            Fact::RouteTaken { leg, .. } => self.say("Newexten", &self.channel(*leg), "Dial"),
            Fact::ConnectedLine { leg, party } => {
                self.say("NewConnectedLine", &self.channel(*leg), &party.number);
            }
            Fact::DialBegan { caller, leg, .. } => {
                self.say("DialBegin", &self.channel(*caller), self.channel(*leg));
            }
            Fact::DialProgressed { caller, .. } => {
                self.say("DialState", &self.channel(*caller), "RINGING");
            }
            Fact::LegStateChanged { leg, state } => {
                self.say("Newstate", &self.channel(*leg), state_text(*state));
            }
            Fact::DeviceStateChanged { endpoint, state } => {
                let (device, extension) = device_text(*state);
                self.say("DeviceStateChange", endpoint, device);
                if endpoint == HINT {
                    self.say("ExtensionStatus", endpoint, extension);
                }
            }
            Fact::DialEnded { caller, leg, outcome, .. } => {
                assert_eq!(*outcome, DialOutcome::Answered);
                self.answered = Some(*leg);
                self.say("DialEnd", &self.channel(*caller), "ANSWER");
            }
            Fact::BridgeCreated { .. } => {
                self.say("BridgeCreate", "", "0");
                let answered = self.channel(self.answered.unwrap());
                self.say("Newexten", &answered, "AppDial");
            }
            Fact::BridgeEntered { leg, legs, .. } => {
                self.say("BridgeEnter", &self.channel(*leg), legs.to_string());
            }
            Fact::BridgeLeft { leg, legs, .. } => {
                self.say("BridgeLeave", &self.channel(*leg), legs.to_string());
            }
            Fact::BridgeDestroyed { .. } => {
                self.say("BridgeDestroy", "", "0");
                let who = self.channel(self.hung_up.unwrap());
                self.say("SoftHangupRequest", &who, "16");
            }
            Fact::HangupRequested { leg, by_peer: true, cause } => {
                self.hung_up = Some(*leg);
                self.say("HangupRequest", &self.channel(*leg), cause.code().to_string());
            }
            Fact::LegEnded { leg, cause, .. } => {
                self.say("Hangup", &self.channel(*leg), cause.code().to_string());
            }
            _ => {}
        }
    }
}

fn state_text(state: LegState) -> &'static str {
    match state {
        LegState::Down => "Down",
        LegState::Ring => "Ring",
        LegState::Ringing | LegState::Early => "Ringing",
        LegState::Up => "Up",
    }
}

fn device_text(state: DeviceState) -> (&'static str, &'static str) {
    match state {
        DeviceState::Unavailable => ("UNAVAILABLE", "Unavailable"),
        DeviceState::Idle => ("NOT_INUSE", "Idle"),
        DeviceState::Ringing => ("RINGING", "Ringing"),
        DeviceState::InUse => ("INUSE", "InUse"),
        DeviceState::RingInUse => ("RINGINUSE", "InUse&Ringing"),
        DeviceState::OnHold => ("ONHOLD", "Hold"),
    }
}

/// What of the recorded events the fold speaks about, and under which key it says what.
const RECORDED: [(&str, &str); 19] = [
    ("Newchannel", "ChannelStateDesc"),
    ("Newexten", "Application"),
    ("NewCallerid", "CallerIDNum"),
    ("NewConnectedLine", "ConnectedLineNum"),
    ("DialBegin", "DestCallerIDNum"),
    ("DialState", "DialStatus"),
    ("DialEnd", "DialStatus"),
    ("Newstate", "ChannelStateDesc"),
    ("DeviceStateChange", "State"),
    ("ExtensionStatus", "StatusText"),
    ("BridgeCreate", "BridgeNumChannels"),
    ("BridgeEnter", "BridgeNumChannels"),
    ("BridgeLeave", "BridgeNumChannels"),
    ("BridgeDestroy", "BridgeNumChannels"),
    ("HangupRequest", "Cause"),
    ("SoftHangupRequest", "Cause"),
    ("Hangup", "Cause"),
    ("FullyBooted", ""),
    ("SuccessfulAuth", ""),
];
const LEFT_OUT: [&str; 4] = ["TestEvent", "VarSet", "FullyBooted", "SuccessfulAuth"];

/// The recorded trace with its times, seconds.
fn recorded() -> Vec<(f64, Line)> {
    let text = include_str!("data/ami/dial.txt");
    let mut lines = Vec::new();
    for block in text.split("## +").skip(1) {
        let at = block.split('s').next().unwrap().parse().unwrap();
        let field = |key: &str| {
            let mut pairs = block.lines().filter_map(|line| line.split_once(": "));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned())
        };
        let Some(name) = field("Event").filter(|name| !LEFT_OUT.contains(&name.as_str())) else { continue };
        let (name, key) =
            *RECORDED.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}?"));
        let channel = field("Channel").or(field("Device")).or(field("Exten")).unwrap_or_default();
        let subject = channel.trim_start_matches("PJSIP/").split('-').next().unwrap().to_owned();
        lines.push((at, Line { name, subject, says: field(key).unwrap_or_default() }));
    }
    lines
}

/// The call of the trace, played here.
fn played() -> Vec<(f64, Line)> {
    let world = World::new();
    let (caller, callee) = (world.phone("sipp"), world.registered("1001"));
    world.advance(420);
    caller.invite("1001");
    callee.ring();
    world.advance(506);
    callee.answer();
    caller.ack();
    world.advance(2008);
    caller.bye();
    let events: Vec<Event> = world.events();
    let began = events.iter().position(|event| matches!(event.fact, Fact::CallStarted { .. }));
    let (mut ami, mut lines) = (Ami::default(), Vec::new());
    for event in &events[began.unwrap()..] {
        ami.apply(&event.fact);
        let at = event.at.mono.as_nanos() as f64 / 1e9;
        lines.extend(ami.lines.drain(..).map(|line| (at, line)));
    }
    world.finish();
    lines
}

/// The events whose order is fixed; and of the others those of ringing and those of the answer.
fn parts(lines: Vec<(f64, Line)>) -> (Vec<Line>, Vec<Line>, Vec<Line>) {
    let answer = |line: &Line| line.name == "DialEnd";
    let answered = lines.iter().find(|(_, line)| answer(line)).unwrap().0;
    let ended = lines.iter().find(|(_, line)| line.name == "HangupRequest").unwrap().0;
    let (mut fixed, mut ringing, mut answering) = (Vec::new(), Vec::new(), Vec::new());
    for (at, line) in lines {
        match LOOSE.contains(&line.name) {
            true if at < answered - 0.1 => ringing.push(line),
            true if at < ended => answering.push(line),
            _ => fixed.push(line),
        }
    }
    ringing.sort();
    answering.sort();
    (fixed, ringing, answering)
}

#[test]
fn the_facts_of_a_call_tell_what_asterisk_tells() {
    let (expected, found) = (parts(recorded()), parts(played()));
    assert_eq!(found.1, expected.1, "around ringing");
    assert_eq!(found.2, expected.2, "around the answer");
    assert_eq!(found.0, expected.0, "in order");
    assert_eq!(expected.0.len() + expected.1.len() + expected.2.len(), 32, "the whole trace was compared");
}
