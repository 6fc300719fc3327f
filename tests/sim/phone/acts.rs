//! What a person does with a phone.

use dialtone_signaling::message::Method;

use super::asking::Purpose;
use super::{Call, Phone, REALM, State};
use crate::swarm::Act;

/// What a person knows of others: their numbers, and calls of theirs that could be taken over.
pub struct Others {
    pub numbers: Vec<String>,
    /// A number, and what a Replaces header says of its call.
    pub dialogs: Vec<(String, String)>,
}

impl Phone {
    fn some_call(&mut self, fits: impl Fn(&Call) -> bool) -> Option<u32> {
        let fitting: Vec<u32> = self.calls.iter().filter(|call| fits(call)).map(|call| call.id).collect();
        (!fitting.is_empty()).then(|| *self.rng.pick(&fitting))
    }

    pub fn act(&mut self, act: Act, others: &Others) {
        match act {
            Act::Call => {
                let number = self.rng.pick(&others.numbers).clone();
                self.dial(&number);
            }
            Act::CallGroup => self.dial("500"),
            Act::CallFlow => {
                let number = *self.rng.pick(&["*43", "*44", "900"]);
                self.dial(number);
            }
            Act::CallNobody => self.dial("4711"),
            Act::HangUp => {
                if let Some(id) = self.some_call(Call::is_up) {
                    self.hang_up(id);
                }
            }
            Act::Cancel => {
                if let Some(id) = self.some_call(|call| matches!(call.state, State::Calling { .. })) {
                    self.cancel(id);
                }
            }
            Act::WrongPassword => self.guess(),
            Act::Options => {
                let (call_id, from) = (self.token("o"), format!("<sip:{}@{REALM}>;tag=o", self.number));
                let uri = format!("sip:{REALM}");
                let options = self.request(Method::Options, &uri, &from, &format!("<{uri}>"), &call_id, 1);
                self.ask(options, Purpose::Other);
            }
            Act::Replace => {
                let able = self.calls.len() < self.able.calls_max && !others.dialogs.is_empty();
                if able {
                    let (number, replaces) = self.rng.pick(&others.dialogs).clone();
                    self.invite(&number, Some(&replaces));
                }
            }
            Act::Hold
            | Act::Resume
            | Act::AskForOffer
            | Act::ChangeCodec
            | Act::Update
            | Act::UpdateWithOffer
            | Act::BlindTransfer
            | Act::Consult
            | Act::AttendedTransfer
            | Act::Info => self.act_in_call(act, others),
        }
    }

    fn act_in_call(&mut self, act: Act, others: &Others) {
        let early = self.able.early_offers > 0 && self.able.update;
        if early
            && act == Act::UpdateWithOffer
            && let Some(id) = self.some_call(|call| call.is_early() && call.peer_updates)
        {
            return self.change(id, Method::Update, true);
        }
        let Some(id) = self.some_call(Call::is_quiet) else { return };
        let able = self.able.update;
        let updates = able && self.call(id).is_some_and(|call| call.peer_updates);
        match act {
            Act::Hold => self.hold(id, true),
            Act::Resume => self.hold(id, false),
            Act::AskForOffer => self.change(id, Method::Invite, false),
            Act::ChangeCodec => {
                self.able.formats.rotate_left(1);
                self.change(id, Method::Invite, true);
            }
            Act::Update if updates => self.change(id, Method::Update, false),
            Act::UpdateWithOffer if updates => self.change(id, Method::Update, true),
            Act::BlindTransfer => {
                let number = match self.rng.chance(250) {
                    true => (*self.rng.pick(&["500", "*43", "900", "4711"])).to_owned(),
                    false => self.rng.pick(&others.numbers).clone(),
                };
                self.refer(id, &format!("<sip:{number}@{REALM}>"));
            }
            Act::Consult => {
                self.hold(id, true);
                let number = self.rng.pick(&others.numbers).clone();
                self.dial(&number);
            }
            Act::AttendedTransfer => self.hand_over(id),
            Act::Info => {
                let info = self.in_dialog(id, Method::Info);
                self.ask(info, Purpose::Other);
            }
            _ => {}
        }
    }

    fn dial(&mut self, number: &str) {
        let lines = self.able.calls_max;
        if self.calls.len() < lines && self.is_registered() && number != self.number {
            self.invite(number, None);
        }
    }

    /// Connects the far ends of two calls (RFC 5589 §7).
    fn hand_over(&mut self, id: u32) {
        let known =
            |call: &Call| call.id != id && !call.remote_tag.is_empty() && call.state != State::Leaving;
        let Some(second) = self.some_call(known) else { return };
        let Some((number, replaces)) = self.call(second).map(|call| replaces(call)) else { return };
        let escaped = replaces.replace(';', "%3B").replace('=', "%3D");
        self.refer(id, &format!("<sip:{number}@{REALM}?Replaces={escaped}>"));
    }
}

/// What a Replaces header says of a call, with the number at its other end (RFC 3891 §6.1).
pub fn replaces(call: &Call) -> (String, String) {
    let text = format!("{};to-tag={};from-tag={}", call.call_id, call.remote_tag, call.local_tag);
    (call.with.clone(), text)
}
