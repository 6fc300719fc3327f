//! Calls that a phone begins: INVITE until its final answer (RFC 3261 §13.2), CANCEL, PRACK.

use std::time::Duration;

use dialtone_signaling::message::{Method, Name, NameAddr, Request, Response};

use super::asking::{Purpose, ack_key};
use super::call::Stream;
use super::sdp::{Flow, Said, voice};
use super::{Call, PATIENCE, Phone, REALM, State, Wake};
use crate::swarm::Manner;

pub const SDP: &str = "application/sdp";

impl Phone {
    /// Calls somebody; with Replaces, in the place of somebody else. Gives the call.
    pub fn invite(&mut self, number: &str, replaces: Option<&str>) -> u32 {
        let id = self.serial();
        let (call_id, tag) = (self.token("call"), self.token("f"));
        let who = match self.able.trunk {
            true => format!("+4930{}", self.rng.between(100_000, 999_999)),
            false => self.number.clone(),
        };
        let uri = format!("sip:{number}@{REALM}");
        let (local, remote) = (format!("<sip:{who}@{REALM}>;tag={tag}"), format!("<{uri}>"));
        let mut invite = self.request(Method::Invite, &uri, &local, &remote, &call_id, 1);
        let contact = self.contact();
        let headers = &mut invite.headers;
        headers.push(Name::Contact, contact);
        headers.push(Name::Supported, self.supported());
        headers.push(Name::Allow, self.allow());
        if let Some(replaces) = replaces {
            headers.push(Name::Replaces, replaces);
        }
        if self.able.timer {
            headers.push(Name::SessionExpires, self.session_s.to_string());
        }
        let media = self.new_media(id);
        let late = self.rng.chance(self.able.late_offer);
        if !late {
            let offer = self.offer(&media, Flow::BOTH);
            invite.set_body(SDP, offer.write(media.version));
        }
        let mut call = self.new_call(id, media, invite.clone(), (call_id, local, remote));
        (call.local_tag, call.outgoing, call.offer_open) = (tag, true, !late);
        number.clone_into(&mut call.with);
        self.calls.push(call);
        let branch = self.ask(invite, Purpose::Invite(id));
        if let Some(call) = self.call(id) {
            call.state = State::Calling { branch, proceeding: false, cancelled: false };
        }
        let patience = self.rng.millis(40_000, 90_000);
        self.wake(patience, Wake::StopWaiting(id));
        id
    }

    pub(super) fn new_media(&mut self, id: u32) -> Stream {
        let port = 4000 + 2 * (id % 20_000) as u16;
        Stream { port, version: 1, remote: None, flow: Flow::NONE, sequence: 1, heard: None, payload_type: 0 }
    }

    pub(super) fn new_call(
        &mut self,
        id: u32,
        media: Stream,
        invite: Request,
        (call_id, local, remote): (String, String, String),
    ) -> Call {
        Call {
            id,
            began: self.now,
            call_id,
            local,
            remote,
            local_tag: String::new(),
            remote_tag: String::new(),
            target: invite.uri.as_str().to_owned(),
            cseq: invite.cseq().map_or(1, |cseq| cseq.number),
            remote_cseq: None,
            state: State::Calling { branch: String::new(), proceeding: false, cancelled: false },
            invite,
            outgoing: false,
            manner: Manner::Answer,
            reliable: None,
            said: None,
            early_offer: false,
            their_rseq: None,
            unacknowledged: None,
            change: None,
            offered_in_answer: false,
            offer_open: false,
            held: false,
            flips: false,
            session: None,
            turn: 0,
            media,
            peer_updates: false,
            referring: false,
            with: String::new(),
            confirmed: false,
        }
    }

    pub(super) fn offer(&self, media: &Stream, flow: Flow) -> Said {
        let rtp = std::net::SocketAddr::new(self.line.own.ip(), media.port);
        Said { rtp, formats: self.able.formats.clone(), flow }
    }

    /// Their answer to our offer. False when there is nothing in common.
    pub(super) fn take_answer(&mut self, id: u32, body: &[u8]) -> bool {
        let ours = self.able.formats.clone();
        let Some(call) = self.call(id) else { return true };
        let Some(said) = Said::read(body) else { return false };
        let Some(shared) = said.shared(&ours) else { return false };
        call.media.payload_type = voice(&shared).unwrap_or_default();
        call.media.flow = call.wants().towards(said.flow);
        call.media.remote = Some(said);
        call.offer_open = false;
        true
    }

    /// Our answer to their offer, as a body; `None` when there is nothing in common.
    pub(super) fn answer_to(&mut self, id: u32, body: &[u8]) -> Option<String> {
        let ours = self.able.formats.clone();
        let ip = self.line.own.ip();
        let call = self.call(id)?;
        let said = Said::read(body)?;
        let shared = said.shared(&ours)?;
        let flow = call.wants().towards(said.flow);
        call.media.version += 1;
        call.media.payload_type = voice(&shared).unwrap_or_default();
        (call.media.flow, call.media.remote) = (flow, Some(said));
        let answer = Said { rtp: std::net::SocketAddr::new(ip, call.media.port), formats: shared, flow };
        Some(answer.write(call.media.version))
    }

    pub(super) fn progressed(&mut self, key: &str, purpose: Purpose, response: &Response) {
        let Purpose::Invite(id) = purpose else { return };
        let Some(call) = self.call(id) else { return };
        let State::Calling { proceeding, cancelled, .. } = &mut call.state else { return };
        let cancel_now = *cancelled && !*proceeding;
        *proceeding = true;
        if cancel_now {
            return self.send_cancel(key);
        }
        let tag = response.to_tag();
        if tag.is_empty() {
            return;
        }
        call.remote_tag = tag;
        response.headers.text(&Name::To).unwrap_or_default().clone_into(&mut call.remote);
        if let Ok(contact) = response.contact() {
            call.target = contact.uri.to_string();
        }
        call.peer_updates = response.headers.has_token(&Name::Allow, "UPDATE");
        if response.headers.has_token(&Name::Require, "100rel") {
            self.prack(id, response);
        }
    }

    /// RFC 3262 §4.
    fn prack(&mut self, id: u32, response: &Response) {
        let rseq = response.headers.text(&Name::RSeq).and_then(|text| text.trim().parse::<u32>().ok());
        let Some(rseq) = rseq else { return };
        let Some(call) = self.call(id) else { return };
        if call.their_rseq.is_some_and(|last| rseq != last + 1) {
            return;
        }
        call.their_rseq = Some(rseq);
        let number = response.cseq().map_or(1, |cseq| cseq.number);
        let (offered, body) = (call.offer_open, response.body.clone());
        let mut prack = self.in_dialog(id, Method::Prack);
        prack.headers.push(Name::RAck, format!("{rseq} {number} INVITE"));
        if !body.is_empty() {
            if offered {
                self.take_answer(id, &body);
                if let Some(offer) = self.early_offer(id) {
                    prack.set_body(SDP, offer);
                }
            } else if self.call(id).is_some_and(|call| call.media.remote.is_none())
                && let Some(answer) = self.answer_to(id, &body)
            {
                prack.set_body(SDP, answer);
            }
        }
        self.ask(prack, Purpose::Prack(id));
    }

    /// Another offer while nobody has answered the call; `None` when it is content with what it has.
    fn early_offer(&mut self, id: u32) -> Option<String> {
        let wanted = self.able.early_offers > 0 && self.rng.chance(self.able.early_offers);
        let call = self.call(id).filter(|call| wanted && !call.offer_open)?;
        call.media.version += 1;
        (call.offer_open, call.early_offer) = (true, true);
        let media = call.media.clone();
        self.able.formats.rotate_left(1);
        Some(self.offer(&media, Flow::BOTH).write(media.version))
    }

    /// A PRACK has its answer, and so has its offer.
    pub(super) fn prack_decided(&mut self, id: u32, response: Option<Response>) {
        let Some(call) = self.call(id) else { return };
        if !std::mem::take(&mut call.early_offer) {
            return;
        }
        call.offer_open = false;
        let fits = match &response {
            Some(response) if response.is_success() => self.take_answer(id, &response.body),
            Some(_) => true,
            None => false,
        };
        if !fits {
            self.hang_up(id);
        }
    }

    /// A request within the dialog (RFC 3261 §12.2.1.1).
    pub(super) fn in_dialog(&mut self, id: u32, method: Method) -> Request {
        let Some(call) = self.call(id) else { return Request::new(method, "sip:gone") };
        call.cseq += 1;
        let (target, local, remote) = (call.target.clone(), call.local.clone(), call.remote.clone());
        let (call_id, cseq) = (call.call_id.clone(), call.cseq);
        let mut request = self.request(method, &target, &local, &remote, &call_id, cseq);
        if !matches!(request.method, Method::Bye | Method::Prack) {
            request.headers.push(Name::Contact, self.contact());
            request.headers.push(Name::Allow, self.allow());
            request.headers.push(Name::Supported, self.supported());
        }
        request
    }

    /// RFC 3261 §9.1: not before there was a provisional answer.
    pub(super) fn cancel(&mut self, id: u32) {
        let Some(call) = self.call(id) else { return };
        let State::Calling { branch, proceeding, cancelled } = &mut call.state else { return };
        if std::mem::replace(cancelled, true) {
            return;
        }
        let (branch, now) = (branch.clone(), *proceeding);
        if now {
            self.send_cancel(&branch);
        }
    }

    fn send_cancel(&mut self, key: &str) {
        let Some(invite) = self.invite_of(key).cloned() else { return };
        let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
        for name in [Name::Via, Name::From, Name::To, Name::CallId] {
            cancel.headers.copy(&name, &invite.headers);
        }
        cancel.headers.push(Name::MaxForwards, "70");
        cancel.headers.push(Name::CSeq, format!("{} CANCEL", invite.cseq().map_or(1, |cseq| cseq.number)));
        self.ask(cancel, Purpose::Cancel);
        self.wake(PATIENCE, Wake::Abandon(key.to_owned()));
    }

    pub(super) fn invite_decided(&mut self, id: u32, invite: &Request, response: Option<Response>) {
        let Some(response) = response else { return self.drop_call(id) };
        if response.is_success() {
            return self.answered(id, invite, &response);
        }
        let least = response.headers.text(&Name::MinSe).and_then(|text| text.trim().parse::<u64>().ok());
        let Some(call) = self.call(id) else { return };
        let State::Calling { cancelled: false, .. } = call.state else { return self.drop_call(id) };
        let Some(least) = least.filter(|_| response.status == 422) else { return self.drop_call(id) };
        // RFC 4028 §7.3.
        call.cseq += 1;
        let mut again = invite.clone();
        again.headers.set(Name::CSeq, format!("{} INVITE", call.cseq));
        again.headers.set(Name::SessionExpires, least.max(90).to_string());
        again.headers.set(Name::MinSe, least.to_string());
        let branch = self.ask(again, Purpose::Invite(id));
        if let Some(call) = self.call(id) {
            call.state = State::Calling { branch, proceeding: false, cancelled: false };
        }
    }

    fn answered(&mut self, id: u32, invite: &Request, response: &Response) {
        let Some(call) = self.call(id) else { return self.end_unwanted(response) };
        let State::Calling { cancelled, .. } = call.state else { return self.end_unwanted(response) };
        call.remote_tag = response.to_tag();
        response.headers.text(&Name::To).unwrap_or_default().clone_into(&mut call.remote);
        if let Ok(contact) = response.contact() {
            call.target = contact.uri.to_string();
        }
        call.state = State::Up;
        call.confirmed = true;
        call.peer_updates = response.headers.has_token(&Name::Allow, "UPDATE");
        let fits = self.finish_invite(id, invite, response);
        self.heed_session(id, &response.headers, true);
        if cancelled || !fits {
            self.hang_up(id);
        }
    }

    /// Acknowledges a 2xx; false when its description is of no use.
    pub(super) fn finish_invite(&mut self, id: u32, invite: &Request, response: &Response) -> bool {
        let body = response.body.clone();
        let answered_before = self.call(id).is_some_and(|call| call.media.remote.is_some());
        let (mut fits, mut answer) = (true, None);
        // What was answered reliably before is not answered again (RFC 3261 §13.2.1).
        let first = self.call(id).is_some_and(|call| call.invite.cseq().ok() == invite.cseq().ok());
        let early = self.call(id).is_some_and(|call| call.their_rseq.is_some() && answered_before);
        let says_nothing_new = body.is_empty() || first && early;
        match (invite.body.is_empty(), says_nothing_new) {
            (true, true) => {}
            (true, false) => {
                answer = self.answer_to(id, &body);
                fits = answer.is_some();
            }
            (false, true) => fits = answered_before,
            (false, false) => fits = self.take_answer(id, &body),
        }
        let number = invite.cseq().map_or(1, |cseq| cseq.number);
        let Some(call) = self.call(id) else { return fits };
        let (target, local, remote) = (call.target.clone(), call.local.clone(), call.remote.clone());
        let call_id = call.call_id.clone();
        let ack = self.request(Method::Ack, &target, &local, &remote, &call_id, number);
        self.send_ack(ack, answer, response);
        fits
    }

    fn send_ack(&mut self, mut ack: Request, answer: Option<String>, response: &Response) {
        let (_, via) = self.via();
        ack.headers.push_front(Name::Via, via);
        if let Some(answer) = answer {
            ack.set_body(SDP, answer);
        }
        self.acks.insert(ack_key(response), ack.clone());
        self.send(ack);
    }

    /// A 2xx of a call that we do not want any more (RFC 3261 §13.2.2.4).
    pub(super) fn end_unwanted(&mut self, response: &Response) {
        let text = |name| response.headers.text(name).unwrap_or_default().to_owned();
        let (local, remote, call_id) = (text(&Name::From), text(&Name::To), text(&Name::CallId));
        let Ok(NameAddr { uri, .. }) = response.contact() else { return };
        let number = response.cseq().map_or(1, |cseq| cseq.number);
        let target = uri.to_string();
        let ack = self.request(Method::Ack, &target, &local, &remote, &call_id, number);
        self.send_ack(ack, None, response);
        let bye = self.request(Method::Bye, &target, &local, &remote, &call_id, number + 100);
        self.ask(bye, Purpose::Other);
    }

    /// The person does not wait any longer.
    pub(super) fn stop_waiting(&mut self, id: u32) {
        let Some(call) = self.call(id) else { return };
        match call.state {
            State::Calling { .. } => self.cancel(id),
            State::Invited { .. } => self.hang_up(id),
            State::Up | State::Leaving => {}
        }
    }

    /// How long a person takes.
    pub(super) fn soon(&mut self) -> Duration {
        self.rng.millis(300, 6000)
    }
}
