//! Answered calls: changes, transfers, session timers (RFC 4028), and the end.

use std::time::Duration;

use dialtone_signaling::message::{Headers, Method, Name, Request, Response};

use super::asking::Purpose;
use super::call::Session;
use super::calling::SDP;
use super::{Phone, REALM, State, Wake};

impl Phone {
    /// A re-INVITE or an UPDATE of ours.
    pub(super) fn change(&mut self, id: u32, method: Method, offers: bool) {
        let purpose = if method == Method::Invite { Purpose::Reinvite(id) } else { Purpose::Update(id) };
        let mut request = self.in_dialog(id, method);
        let Some(call) = self.call(id) else { return };
        if let Some(session) = call.session {
            let role = if session.ours { "uac" } else { "uas" };
            let terms = format!("{};refresher={role}", session.interval.as_secs());
            request.headers.push(Name::SessionExpires, terms);
        }
        if offers {
            call.media.version += 1;
            call.offer_open = true;
            let (media, flow) = (call.media.clone(), call.wants());
            request.set_body(SDP, self.offer(&media, flow).write(media.version));
        }
        let key = self.ask(request, purpose);
        if let Some(call) = self.call(id) {
            call.change = Some(key);
        }
    }

    pub(super) fn hold(&mut self, id: u32, held: bool) {
        let Some(call) = self.call(id) else { return };
        if !call.is_quiet() || call.held == held {
            return;
        }
        (call.held, call.flips) = (held, true);
        let updates = call.peer_updates && call.outgoing;
        let method = if updates && self.able.update { Method::Update } else { Method::Invite };
        self.change(id, method, true);
    }

    pub(super) fn change_decided(&mut self, id: u32, request: &Request, response: Option<Response>) {
        let invites = request.method == Method::Invite;
        let Some(call) = self.call(id) else {
            let late = response.filter(|response| invites && response.is_success());
            return late.iter().for_each(|response| self.end_unwanted(response));
        };
        call.change = None;
        call.offer_open = false;
        let flipped = std::mem::take(&mut call.flips);
        let Some(response) = response else { return self.hang_up(id) };
        if response.is_success() {
            let fits = match invites {
                true => self.finish_invite(id, request, &response),
                false => request.body.is_empty() || self.take_answer(id, &response.body),
            };
            self.heed_session(id, &response.headers, true);
            if !fits {
                self.hang_up(id);
            }
            return;
        }
        if flipped {
            call.held = !call.held;
        }
        match response.status {
            // RFC 3261 §12.2.1.2.
            408 | 481 => self.hang_up(id),
            491 => {
                let after = self.rng.millis(100, 4000);
                self.wake(after, Wake::AgainChange(id));
            }
            _ => {}
        }
    }

    /// RFC 3261 §14.1: once more, after both have waited for different times.
    pub(super) fn change_again(&mut self, id: u32) {
        if self.call(id).is_some_and(|call| call.is_quiet()) && !self.resting {
            self.change(id, Method::Invite, true);
        }
    }

    /// Ends a call, whatever its state.
    pub fn hang_up(&mut self, id: u32) {
        let Some(call) = self.call(id) else { return };
        match call.state.clone() {
            State::Calling { .. } => self.cancel(id),
            State::Invited { key } => {
                let tag = call.local_tag.clone();
                self.reply(&key, 480, &tag);
                self.drop_call(id);
            }
            // RFC 3261 §15: a callee waits for the ACK.
            State::Up if call.unacknowledged.is_some() => self.wake(Duration::from_secs(1), Wake::HangUp(id)),
            State::Up => {
                call.state = State::Leaving;
                let bye = self.in_dialog(id, Method::Bye);
                self.ask(bye, Purpose::Bye(id));
            }
            State::Leaving => {}
        }
    }

    pub(super) fn far_end_left(&mut self, id: u32) {
        let Some(call) = self.call(id) else { return };
        match call.state.clone() {
            State::Invited { key } => {
                let tag = call.local_tag.clone();
                self.reply(&key, 487, &tag);
                self.drop_call(id);
            }
            // A call of ours that was not answered has no BYE; our own BYE waits for its answer.
            State::Calling { .. } | State::Leaving => {}
            State::Up => self.drop_call(id),
        }
    }

    /// Asks that the far end be connected with somebody else (RFC 3515).
    pub(super) fn refer(&mut self, id: u32, refer_to: &str) {
        let mut refer = self.in_dialog(id, Method::Refer);
        refer.headers.push(Name::ReferTo, refer_to);
        refer.headers.push(Name::ReferredBy, format!("<sip:{}@{REALM}>", self.number));
        if let Some(call) = self.call(id) {
            call.referring = true;
        }
        self.ask(refer, Purpose::Refer(id));
    }

    pub(super) fn refer_decided(&mut self, id: u32, response: Option<Response>) {
        let Some(call) = self.call(id) else { return };
        match response {
            Some(response) if response.is_success() => {}
            Some(response) if response.status != 481 => call.referring = false,
            Some(_) | None => self.hang_up(id),
        }
    }

    pub(super) fn told(&mut self, id: u32, notify: &Request) {
        let over =
            notify.headers.text(&Name::SubscriptionState).is_some_and(|text| text.starts_with("terminated"));
        let done = notify.body.starts_with(b"SIP/2.0 200");
        let Some(call) = self.call(id).filter(|_| over) else { return };
        call.referring = false;
        if done {
            let after = self.rng.millis(100, 3000);
            self.wake(after, Wake::HangUp(id));
        }
    }

    pub fn ask_whether_there(&mut self, id: u32) {
        let options = self.in_dialog(id, Method::Options);
        self.ask(options, Purpose::Ask(id));
    }

    pub(super) fn asked_whether_there(&mut self, id: u32, response: Option<Response>) {
        match response {
            Some(response) if !matches!(response.status, 408 | 481) => {}
            Some(_) | None => self.hang_up(id),
        }
    }

    /// What a 2xx says about the session (RFC 4028 §7.2).
    pub(super) fn heed_session(&mut self, id: u32, headers: &Headers, asked_by_us: bool) {
        let Some(text) = headers.text(&Name::SessionExpires) else { return };
        let interval = text.split(';').next().and_then(|text| text.trim().parse::<u64>().ok());
        let uac = text.contains("refresher=uac");
        if let Some(interval) = interval.filter(|_| self.able.timer) {
            self.keep_session(id, Duration::from_secs(interval), uac == asked_by_us);
        }
    }

    /// Agrees to what an INVITE or UPDATE asks about the session (RFC 4028 §9).
    pub(super) fn offer_session(&mut self, id: u32, request: &Request, response: &mut Response) {
        let headers = &request.headers;
        let theirs =
            headers.has_token(&Name::Supported, "timer") || headers.has_token(&Name::Require, "timer");
        let Some(text) = headers.text(&Name::SessionExpires).filter(|_| self.able.timer) else { return };
        let Some(interval) = text.split(';').next().and_then(|text| text.trim().parse::<u64>().ok()) else {
            return;
        };
        let uac = theirs && !text.contains("refresher=uas");
        let role = if uac { "uac" } else { "uas" };
        response.headers.push(Name::SessionExpires, format!("{interval};refresher={role}"));
        if theirs {
            response.headers.push(Name::Require, "timer");
        }
        self.keep_session(id, Duration::from_secs(interval), !uac);
    }

    fn keep_session(&mut self, id: u32, interval: Duration, ours: bool) {
        let Some(call) = self.call(id) else { return };
        call.turn += 1;
        let turn = call.turn;
        call.session = Some(Session { interval, ours, turn });
        let margin = Duration::from_secs(32).min(interval / 3);
        if ours {
            self.wake(interval / 2, Wake::Refresh(id, turn));
        }
        self.wake(interval - margin, Wake::Expire(id, turn));
    }

    pub(super) fn refresh(&mut self, id: u32, turn: u32) {
        let able = self.able.update;
        let Some(call) = self.call(id) else { return };
        if !call.is_up() || call.session.is_none_or(|session| session.turn != turn) {
            return;
        }
        if !call.is_quiet() {
            return self.wake(Duration::from_secs(2), Wake::Refresh(id, turn));
        }
        let updates = call.peer_updates && able;
        match updates {
            true => self.change(id, Method::Update, false),
            false => self.change(id, Method::Invite, true),
        }
    }

    pub(super) fn session_expired(&mut self, id: u32, turn: u32) {
        let current = |session: &Session| session.turn == turn;
        if self.call(id).is_some_and(|call| call.session.as_ref().is_some_and(current)) {
            self.hang_up(id);
        }
    }
}
