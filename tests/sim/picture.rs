//! What is shown of a run that failed: the ladders of the calls concerned, and the last messages of all.

use std::collections::VecDeque;

use dialtone::ladder::{Rung, What, draw};
use dialtone::recorder::{Recorder, summary};
use dialtone::switch::Effect;
use dialtone_core::event::{Fact, Side};
use dialtone_core::{CallId, Mono};
use dialtone_signaling::message::Message;

use super::phone::Phone;

/// Calls and messages shown.
const CALLS: usize = 3;
const MESSAGES: usize = 60;

#[derive(Default)]
pub struct Picture {
    messages: usize,
    recorder: Recorder,
    last: VecDeque<Rung>,
    calls: VecDeque<CallId>,
}

impl Picture {
    /// With so many messages, when somebody wants another number.
    pub fn of(messages: Option<usize>) -> Picture {
        Picture { messages: messages.unwrap_or(MESSAGES), ..Picture::default() }
    }

    pub fn effect(&mut self, effect: &Effect, now: Mono, phones: &[Phone]) {
        match effect {
            Effect::Publish(event) => {
                self.recorder.event(event);
                let call = match &event.fact {
                    Fact::CallStarted { call, .. } | Fact::CallEnded { call, .. } => Some(*call),
                    _ => None,
                };
                if let Some(call) = call {
                    self.calls.retain(|other| *other != call);
                    self.calls.push_back(call);
                }
            }
            Effect::Trace(traced) => self.recorder.message(traced.clone()),
            Effect::Send(transmit) => {
                let remote = transmit.path.remote;
                let phone = phones.iter().find(|phone| phone.line.public == remote);
                let peer = phone.map_or_else(|| remote.to_string(), |phone| phone.number.clone());
                if let Ok(message) = Message::parse(transmit.payload.clone()) {
                    self.rung(peer, true, &message, now, "");
                }
            }
            Effect::Close(_)
            | Effect::LookUp(_)
            | Effect::Media(_)
            | Effect::Persist { .. }
            | Effect::Reply { .. } => {}
        }
    }

    /// A phone sent something, which may get lost.
    pub fn left(&mut self, message: &Message, now: Mono, number: &str) {
        self.rung(number.to_owned(), false, message, now, "");
    }

    pub fn delivered(&mut self, message: &Message, now: Mono, number: &str) {
        self.rung(number.to_owned(), true, message, now, " arrived");
    }

    fn rung(&mut self, peer: String, sent: bool, message: &Message, now: Mono, more: &str) {
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let call_id = message.call_id().unwrap_or_default();
        let summary = format!("{} #{cseq} {}{more}", summary(message), call_id.get(..9).unwrap_or(call_id));
        let what = What::Message { side: Side::Inbound, peer, sent, summary, text: String::new() };
        self.last.push_back(Rung { at_us: now.as_nanos() / 1000, what });
        if self.last.len() > self.messages {
            self.last.pop_front();
        }
    }

    /// The calls that `what` names, or else the last, and the last messages.
    pub fn draw(&self, what: &str) -> String {
        let mut text = String::new();
        let words: Vec<&str> = what.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let (named, last): (Vec<CallId>, Vec<CallId>) =
            self.calls.iter().rev().copied().partition(|call| words.contains(&format!("{call:?}").as_str()));
        for call in named.into_iter().chain(last).take(CALLS) {
            if let Some(mut trace) = self.recorder.trace(call) {
                for rung in &mut trace.rungs {
                    if let What::Message { text, .. } = &mut rung.what {
                        text.clear();
                    }
                }
                text += &format!("\n{call}\n{}", draw(&trace.rungs));
            }
        }
        let last: Vec<Rung> = self.last.iter().cloned().collect();
        text + "\nthe last messages of all, with CSeq and Call-ID\n" + &draw(&last)
    }
}
