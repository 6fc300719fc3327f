//! Calls that come to a phone: from the INVITE until the ACK (RFC 3261 §13.3), reliable answers (RFC 3262 §3).

use std::time::Duration;

use dialtone_signaling::message::{Method, Name, Request, Response};

use super::call::{Reliable, Unacknowledged};
use super::calling::SDP;
use super::sdp::Said;
use super::{PATIENCE, Phone, REALM, State, T1, T2, Wake};
use crate::swarm::Manner;

impl Phone {
    pub(super) fn invited(&mut self, key: &str, request: Request) {
        if self.calls.len() >= self.able.calls_max + usize::from(self.calm) || self.resting {
            return self.reply(key, 486, "");
        }
        let offer = (!request.body.is_empty()).then(|| Said::read(&request.body));
        let fits =
            offer.is_none_or(|said| said.is_some_and(|said| said.shared(&self.able.formats).is_some()));
        if !fits {
            return self.reply(key, 488, "");
        }
        let id = self.serial();
        let media = self.new_media(id);
        let tag = self.token("t");
        let text = |name| request.headers.text(name).unwrap_or_default().to_owned();
        let parts = (text(&Name::CallId), format!("{};tag={tag}", text(&Name::To)), text(&Name::From));
        let mut call = self.new_call(id, media, request.clone(), parts);
        call.cseq = 100;
        call.remote_cseq = request.cseq().ok().map(|cseq| cseq.number);
        call.remote_tag =
            request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        call.local_tag = tag;
        call.state = State::Invited { key: key.to_owned() };
        call.peer_updates = request.headers.has_token(&Name::Allow, "UPDATE");
        call.with = request.from().ok().and_then(|from| from.uri.user.clone()).unwrap_or_default();
        if let Ok(contact) = request.contact() {
            call.target = contact.uri.to_string();
        }
        let manners = self.manners.clone();
        call.manner = self.rng.weighted(&manners).unwrap_or(Manner::Answer);
        let (manner, required) = (call.manner, request.headers.has_token(&Name::Require, "100rel"));
        let reliably = self.able.prack
            && (required
                || manner == Manner::Reliable && request.headers.has_token(&Name::Supported, "100rel"));
        self.calls.push(call);
        self.alert(id, manner, reliably);
    }

    fn alert(&mut self, id: u32, manner: Manner, reliably: bool) {
        let after = self.soon();
        let patience = self.rng.millis(40_000, 90_000);
        self.wake(patience, Wake::StopWaiting(id));
        match manner {
            _ if reliably => self.ring_reliably(id),
            Manner::EarlyMedia => self.provisional(id, 183, true),
            Manner::AnswerAtOnce | Manner::Busy => {}
            Manner::Answer
            | Manner::RingOn
            | Manner::Reliable
            | Manner::Decline
            | Manner::NotHere
            | Manner::Redirect
            | Manner::Odd => self.provisional(id, 180, false),
        }
        match manner {
            Manner::RingOn => {}
            Manner::AnswerAtOnce | Manner::Busy => self.proceed(id),
            _ => self.wake(after, Wake::Proceed(id)),
        }
    }

    fn answer_for(&mut self, id: u32, status: u16) -> Option<(String, Response)> {
        let call = self.call(id)?;
        let State::Invited { key } = &call.state else { return None };
        let (key, invite, tag) = (key.clone(), call.invite.clone(), call.local_tag.clone());
        let mut response = self.response(&invite, status, &tag);
        if status < 300 {
            response.headers.push(Name::Contact, self.contact());
            response.headers.push(Name::Supported, self.supported());
        }
        Some((key, response))
    }

    fn provisional(&mut self, id: u32, status: u16, early: bool) {
        let Some((key, mut response)) = self.answer_for(id, status) else { return };
        if early {
            self.describe(id, &mut response);
        }
        self.reply_with(&key, response);
    }

    /// Puts our side of the stream into an answer to the INVITE; it stays what it was (RFC 3261 §13.2.1).
    fn describe(&mut self, id: u32, response: &mut Response) {
        let Some(call) = self.call(id) else { return };
        let (offer, said) = (call.invite.body.clone(), call.said.clone());
        if offer.is_empty() {
            (call.offered_in_answer, call.offer_open) = (true, true);
        }
        let (media, flow) = (call.media.clone(), call.wants());
        let body = match said {
            Some(said) => Some(said),
            None if offer.is_empty() => Some(self.offer(&media, flow).write(media.version)),
            None => self.answer_to(id, &offer),
        };
        let Some(body) = body else { return };
        response.set_body(SDP, body.clone());
        if let Some(call) = self.call(id) {
            call.said = Some(body);
        }
    }

    fn ring_reliably(&mut self, id: u32) {
        let rseq = self.rng.between(1, 1 << 20) as u32;
        // An offer of ours would wait for its answer in the PRACK; phones with an offer in hand say more.
        let offered = self.call(id).is_some_and(|call| !call.invite.body.is_empty());
        let early = offered && self.rng.chance(500);
        let Some((key, mut response)) = self.answer_for(id, if early { 183 } else { 180 }) else { return };
        response.headers.push(Name::Require, "100rel");
        response.headers.push(Name::RSeq, rseq.to_string());
        if early {
            self.describe(id, &mut response);
        }
        let since = self.now;
        if let Some(call) = self.call(id) {
            call.reliable = Some(Reliable { rseq, response: response.clone(), acknowledged: false, since });
        }
        self.reply_with(&key, response);
        self.wake(T1, Wake::RepeatReliable(id, T1));
    }

    pub(super) fn repeat_reliable(&mut self, id: u32, interval: Duration) {
        let now = self.now;
        let Some(call) = self.call(id) else { return };
        let State::Invited { key } = call.state.clone() else { return };
        let Some(reliable) = call.reliable.clone().filter(|reliable| !reliable.acknowledged) else { return };
        if now.since(reliable.since) >= PATIENCE {
            // RFC 3262 §3: nobody hears us.
            self.reply(
                &key,
                504,
                &self
                    .calls
                    .iter()
                    .find(|call| call.id == id)
                    .map(|call| call.local_tag.clone())
                    .unwrap_or_default(),
            );
            return self.drop_call(id);
        }
        self.reply_with(&key, reliable.response);
        self.wake(interval * 2, Wake::RepeatReliable(id, interval * 2));
    }

    pub(super) fn prack_came(&mut self, key: &str, id: u32, request: &Request) {
        let rack =
            request.headers.text(&Name::RAck).and_then(|text| text.split(' ').next()?.parse::<u32>().ok());
        let Some(call) = self.call(id) else { return self.reply(key, 481, "") };
        let tag = call.local_tag.clone();
        match &mut call.reliable {
            Some(reliable) if Some(reliable.rseq) == rack => {
                reliable.acknowledged = true;
                self.reply(key, 200, &tag);
            }
            Some(_) | None => self.reply(key, 481, &tag),
        }
    }

    /// The person decides.
    pub(super) fn proceed(&mut self, id: u32) {
        let Some(call) = self.call(id) else { return };
        let (State::Invited { key }, manner) = (call.state.clone(), call.manner) else { return };
        let waits = call.reliable.as_ref().is_some_and(|reliable| !reliable.acknowledged);
        if waits {
            return self.wake(Duration::from_millis(700), Wake::Proceed(id));
        }
        let tag = call.local_tag.clone();
        let status = match manner {
            Manner::Answer
            | Manner::AnswerAtOnce
            | Manner::RingOn
            | Manner::EarlyMedia
            | Manner::Reliable => return self.answer(id),
            Manner::Busy => 486,
            Manner::Decline => 603,
            Manner::NotHere => *self.rng.pick(&[480, 404, 408, 500, 503]),
            Manner::Odd => *self.rng.pick(&[488, 606, 400, 481, 482]),
            Manner::Redirect => return self.redirect(id, &key),
        };
        self.reply(&key, status, &tag);
        self.drop_call(id);
    }

    fn redirect(&mut self, id: u32, key: &str) {
        let Some((_, mut response)) = self.answer_for(id, 302) else { return };
        let to = *self.rng.pick(&["1001", "1002", "1003", "500", "900", "4711"]);
        response.headers.push(Name::Contact, format!("<sip:{to}@{REALM}>"));
        self.reply_with(key, response);
        self.drop_call(id);
    }

    fn answer(&mut self, id: u32) {
        let Some((key, mut response)) = self.answer_for(id, 200) else { return };
        let Some(call) = self.call(id) else { return };
        let invite = call.invite.clone();
        let said_before = call.reliable.as_ref().is_some_and(|reliable| !reliable.response.body.is_empty());
        if !said_before {
            self.describe(id, &mut response);
        }
        if response.body.is_empty() && !said_before {
            self.reply_with(&key, response);
            return self.drop_call(id);
        }
        self.offer_session(id, &invite, &mut response);
        if let Some(call) = self.call(id) {
            call.state = State::Up;
        }
        self.answer_invite(id, &key, response);
    }

    /// Sends a 2xx to an INVITE, and again until its ACK comes.
    pub(super) fn answer_invite(&mut self, id: u32, key: &str, response: Response) {
        let (cseq, since) = (response.cseq().map_or(0, |cseq| cseq.number), self.now);
        if let Some(call) = self.call(id) {
            call.unacknowledged = Some(Unacknowledged { cseq, response: response.clone(), since });
        }
        self.reply_with(key, response);
        self.wake(T1, Wake::RepeatAnswer(id, T1));
    }

    pub(super) fn repeat_answer(&mut self, id: u32, interval: Duration) {
        let now = self.now;
        let Some(call) = self.call(id) else { return };
        let Some(waiting) = call.unacknowledged.clone() else { return };
        if now.since(waiting.since) >= PATIENCE {
            call.unacknowledged = None;
            return self.hang_up(id);
        }
        let again = (interval * 2).min(T2);
        self.send(waiting.response);
        self.wake(again, Wake::RepeatAnswer(id, again));
    }

    pub(super) fn their_ack(&mut self, ack: &Request) {
        let tag = ack.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        let number = ack.cseq().map_or(0, |cseq| cseq.number);
        let found = self.calls.iter_mut().find(|call| {
            call.local_tag == tag
                && call.unacknowledged.as_ref().is_some_and(|waiting| waiting.cseq == number)
        });
        let Some(call) = found else { return };
        call.unacknowledged = None;
        call.confirmed = true;
        let id = call.id;
        if std::mem::take(&mut call.offered_in_answer) {
            call.offer_open = false;
            if !self.take_answer(id, &ack.body.clone()) {
                self.hang_up(id);
            }
        }
    }

    /// A CANCEL for the INVITE with this key was granted.
    pub(super) fn call_cancelled(&mut self, key: &str) {
        let waits = |state: &State| matches!(state, State::Invited { key: theirs } if theirs == key);
        let Some(call) = self.calls.iter().find(|call| waits(&call.state)) else { return };
        let (id, tag) = (call.id, call.local_tag.clone());
        self.reply(key, 487, &tag);
        self.drop_call(id);
    }

    /// They asked for a change of an answered call: re-INVITE or UPDATE (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(super) fn change_asked(&mut self, key: &str, id: u32, request: Request) {
        let Some(call) = self.call(id) else { return };
        let (tag, invites) = (call.local_tag.clone(), request.method == Method::Invite);
        let offers = !request.body.is_empty();
        let busy = call.change.is_some() || call.offer_open;
        let early = !invites && call.is_early();
        if (invites || offers) && !early && (busy || !call.is_up()) {
            // RFC 3311 §5.2: an offer of ours is not answered yet, or one of theirs.
            let theirs = matches!(call.state, State::Invited { .. }) && call.change.is_none();
            let mut refusal = self.response(&request, if theirs { 500 } else { 491 }, &tag);
            if theirs {
                refusal.headers.push(Name::RetryAfter, "3");
            }
            return self.reply_with(key, refusal);
        }
        if let Ok(contact) = request.contact() {
            call.target = contact.uri.to_string();
        }
        let mut response = self.response(&request, 200, &tag);
        response.headers.push(Name::Contact, self.contact());
        if offers {
            let Some(answer) = self.answer_to(id, &request.body) else { return self.reply(key, 488, &tag) };
            response.set_body(SDP, answer);
        } else if invites && let Some(call) = self.call(id) {
            call.media.version += 1;
            (call.offered_in_answer, call.offer_open) = (true, true);
            let (media, flow) = (call.media.clone(), call.wants());
            response.set_body(SDP, self.offer(&media, flow).write(media.version));
        }
        self.offer_session(id, &request, &mut response);
        if invites { self.answer_invite(id, key, response) } else { self.reply_with(key, response) }
    }
}
