//! An answered leg: ACK, re-INVITE in both directions, BYE. RFC 3261 §13.3.1.4, §14, §15.

use std::time::Duration;

use dialtone_core::{Cause, Description, HungUpBy, LegCommand, LegEvent, LegId, Mono};

use super::Desk;
use super::cause::{cause_of, reason, reason_value, status_of};
use super::dialog::Dialog;
use super::leg::{Body, Leg, State, refusal};
use crate::message::{Method, Name, Request, Response};
use crate::transaction::{Answerer, TxId};
use crate::wire::Path;

/// A 2xx of ours that has not been acknowledged.
#[derive(Clone, Debug)]
struct Unacknowledged {
    tx: TxId,
    response: Response,
    cseq: u32,
    /// Whether it carried our offer, so that the ACK carries their answer.
    offered: bool,
    /// Whether it answered a re-INVITE.
    modifies: bool,
    resend: Mono,
    interval: Duration,
    give_up: Mono,
}

/// A re-INVITE of theirs that calls have not decided about.
struct Asked {
    tx: TxId,
    request: Request,
    has_offer: bool,
}

/// A re-INVITE of ours.
enum Asking {
    /// On its way.
    Sent { tx: TxId, offer: Description, tries: u32 },
    /// It met one of theirs and is tried again then (RFC 3261 §14.1).
    Glare { offer: Description, at: Mono, tries: u32 },
}

/// How often a re-INVITE of ours is sent before the peer's "later" counts as "no".
const TRIES_MAX: u32 = 5;

/// The longest time that a peer may ask us to wait before the next try (RFC 3261 §14.2).
const RETRY_AFTER_MAX: u32 = 10;

/// See the module.
pub(crate) struct Session {
    pub dialog: Dialog,
    /// Whether we chose the Call-ID: decides who waits longer after a glare.
    owns_call_id: bool,
    unacknowledged: Option<Unacknowledged>,
    asked: Option<Asked>,
    asking: Option<Asking>,
    /// A BYE that must wait for the ACK (RFC 3261 §15).
    bye_after_ack: Option<Cause>,
}

impl Session {
    /// We answered.
    pub fn answered(
        desk: &mut Desk<'_>,
        dialog: Dialog,
        tx: TxId,
        response: &Response,
        offered: bool,
    ) -> Self {
        let mut session = Session {
            dialog,
            owns_call_id: false,
            unacknowledged: None,
            asked: None,
            asking: None,
            bye_after_ack: None,
        };
        session.send_2xx(desk, tx, response, offered, false);
        session
    }

    /// They answered; this acknowledges it.
    pub fn accepted(desk: &mut Desk<'_>, leg: LegId, invite: TxId, dialog: Dialog) -> Self {
        let cseq = dialog.local_cseq;
        let mut session = Session {
            dialog,
            owns_call_id: true,
            unacknowledged: None,
            asked: None,
            asking: None,
            bye_after_ack: None,
        };
        session.acknowledge(desk, leg, invite, cseq);
        session
    }

    pub fn deadline(&self) -> Option<Mono> {
        let resend = self.unacknowledged.as_ref().map(|waiting| waiting.resend.min(waiting.give_up));
        let glare = match &self.asking {
            Some(Asking::Glare { at, .. }) => Some(*at),
            Some(Asking::Sent { .. }) | None => None,
        };
        resend.into_iter().chain(glare).min()
    }

    fn send_2xx(
        &mut self,
        desk: &mut Desk<'_>,
        tx: TxId,
        response: &Response,
        offered: bool,
        modifies: bool,
    ) {
        desk.respond(tx, response);
        let (now, timing) = (desk.now.mono, desk.tx.timing());
        self.unacknowledged = Some(Unacknowledged {
            tx,
            response: response.clone(),
            cseq: response.cseq().map_or(0, |cseq| cseq.number),
            offered,
            modifies,
            resend: now + timing.t1,
            interval: timing.t1,
            give_up: now + timing.patience(),
        });
    }

    /// The dialog ends: what a re-INVITE of ours would bring matters no more.
    fn stop_asking(&mut self, desk: &mut Desk<'_>) {
        if let Some(Asking::Sent { tx, .. }) = self.asking.take() {
            desk.tx.abandon(tx, desk.tx_out);
        }
    }

    /// The peer has no time for our re-INVITE now.
    fn ask_again(&mut self, at: Mono) {
        if let Some(Asking::Sent { offer, tries, .. }) = self.asking.take() {
            self.asking = Some(Asking::Glare { offer, at, tries });
        }
    }

    fn acknowledge(&mut self, desk: &mut Desk<'_>, leg: LegId, invite: TxId, cseq: u32) {
        self.dialog.look_for(desk.ways);
        let bytes = self.dialog.ack(cseq, desk.identity, desk.tokens).to_bytes();
        desk.tx.acknowledged(invite, &self.dialog.remote_tag, self.dialog.path, bytes.clone());
        desk.transmit(self.dialog.path, bytes, Some(leg));
    }
}

/// How long a refusal asks us to wait, if that is not for ever.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers.text(&Name::RetryAfter)?;
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).next()?;
    let seconds: u32 = digits.parse().ok().filter(|seconds| *seconds <= RETRY_AFTER_MAX)?;
    Some(Duration::from_secs(seconds.into()))
}

impl Leg {
    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Up(session) => Some(session),
            State::Offered(_) | State::Calling(_) | State::Gone => None,
        }
    }

    /// Carries out a command of an answered leg.
    pub(crate) fn command_up(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match command {
            LegCommand::Modify { offer } => self.send_reinvite(desk, offer, 0),
            LegCommand::AcceptModify { description } => self.accept_modify(desk, &description),
            LegCommand::RefuseModify { cause } => self.refuse_modify(desk, status_of(cause), cause),
            LegCommand::HangUp { cause } => {
                self.wanted = false;
                self.bye(desk, cause);
            }
            // These are for legs that are not answered.
            LegCommand::Originate { .. }
            | LegCommand::Ring { .. }
            | LegCommand::Progress { .. }
            | LegCommand::Answer { .. } => {}
        }
    }

    /// Ends it; waits for the ACK of our first 2xx, as the peer has no dialog before (RFC 3261 §15).
    pub(crate) fn bye(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        self.refuse_modify(desk, 487, cause);
        let Some(session) = self.session() else { return };
        if session.unacknowledged.as_ref().is_some_and(|waiting| !waiting.modifies) {
            session.bye_after_ack = Some(cause);
            return;
        }
        session.stop_asking(desk);
        session.dialog.look_for(desk.ways);
        let mut bye = session.dialog.request(Method::Bye, desk.identity, desk.tokens);
        bye.headers.push(Name::Reason, reason_value(cause));
        let (path, tag) = (session.dialog.path, session.dialog.local_tag.clone());
        desk.tx.send(desk.now.mono, bye, path, Some(self.id), desk.tx_out);
        desk.dialogs.remove(&tag);
        self.state = State::Gone;
    }

    /// Their BYE (RFC 3261 §15.1.2).
    pub(crate) fn their_bye(&mut self, desk: &mut Desk<'_>, tx: TxId, request: &Request, path: Path) {
        self.refuse_modify(desk, 487, Cause::NormalClearing);
        let response = self.response(desk, request, 200, "", path);
        desk.respond(tx, &response);
        if let Some(session) = self.session() {
            session.stop_asking(desk);
            let tag = session.dialog.local_tag.clone();
            desk.dialogs.remove(&tag);
        }
        self.state = State::Gone;
        self.tell(
            desk,
            LegEvent::HungUp {
                cause: reason(&request.headers).unwrap_or(Cause::NormalClearing),
                by: HungUpBy::Phone,
            },
        );
    }

    /// An ACK: our 2xx has arrived.
    pub(crate) fn their_ack(&mut self, desk: &mut Desk<'_>, request: &Request) {
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(session) = self.session() else { return };
        if session.unacknowledged.as_ref().is_none_or(|waiting| waiting.cseq != cseq) {
            return; // An ACK that was repeated, as our 2xx was.
        }
        let Some(waiting) = session.unacknowledged.take() else { return };
        if let Some(cause) = session.bye_after_ack.take() {
            return self.bye(desk, cause);
        }
        let body =
            if waiting.offered { self.read_body(&request.headers, &request.body) } else { Body::Empty };
        match (waiting.offered, body, waiting.modifies) {
            (true, Body::Audio(description), true) => self.tell(desk, LegEvent::Modified { description }),
            (true, Body::Audio(description), false) => {
                self.tell(desk, LegEvent::Confirmed { description: Some(description) });
            }
            (true, Body::Empty | Body::Unusable(..), _) => {
                // Our offer was left without an answer (RFC 3261 §13.2.2.4): nobody could hear anything.
                self.bye(desk, Cause::IncompatibleDestination);
                self.tell(
                    desk,
                    LegEvent::HungUp { cause: Cause::IncompatibleDestination, by: HungUpBy::System },
                );
            }
            (false, _, false) => self.tell(desk, LegEvent::Confirmed { description: None }),
            (false, _, true) => {}
        }
    }

    /// Their re-INVITE (RFC 3261 §14.2).
    pub(crate) fn their_reinvite(&mut self, desk: &mut Desk<'_>, tx: TxId, request: Request, path: Path) {
        let Some(session) = self.session() else { return };
        if session.asked.is_some() || session.unacknowledged.as_ref().is_some_and(|waiting| waiting.modifies)
        {
            // One at a time; the second is told to come back.
            let mut response = self.response(desk, &request, 500, "", path);
            response.headers.push(Name::RetryAfter, desk.tokens.below(10).to_string());
            return desk.respond(tx, &response);
        }
        let our_offer_waits = session.unacknowledged.as_ref().is_some_and(|waiting| waiting.offered);
        if our_offer_waits || matches!(session.asking, Some(Asking::Sent { .. })) {
            let response = self.response(desk, &request, 491, "", path);
            return desk.respond(tx, &response);
        }
        session.dialog.refresh(request.headers.contact().ok(), path);
        if session.unacknowledged.take().is_some() {
            // Its ACK was lost, but whoever re-INVITEs has our 2xx.
            match session.bye_after_ack.take() {
                Some(cause) => {
                    let response = self.response(desk, &request, 487, "", path);
                    desk.respond(tx, &response);
                    return self.bye(desk, cause);
                }
                None => self.tell(desk, LegEvent::Confirmed { description: None }),
            }
        }
        let offer = match self.read_body(&request.headers, &request.body) {
            Body::Empty => None,
            Body::Audio(description) => Some(description),
            Body::Unusable(status, why) => {
                let mut response = self.response(desk, &request, status, "", path);
                response.headers.push(Name::Warning, desk.identity.warning(why));
                return desk.respond(tx, &response);
            }
        };
        let has_offer = offer.is_some();
        if let Some(session) = self.session() {
            session.asked = Some(Asked { tx, request, has_offer });
        }
        self.tell(desk, LegEvent::ModifyOffered { offer });
    }

    fn accept_modify(&mut self, desk: &mut Desk<'_>, local: &Description) {
        let Some(session) = self.session() else { return };
        let Some(asked) = session.asked.take() else { return };
        let path = session.dialog.path;
        let mut response = self.response(desk, &asked.request, 200, "", path);
        response.set_body("application/sdp", self.write_answer(local, asked.has_offer));
        if let Some(session) = self.session() {
            session.send_2xx(desk, asked.tx, &response, !asked.has_offer, true);
        }
    }

    fn refuse_modify(&mut self, desk: &mut Desk<'_>, status: u16, cause: Cause) {
        let Some(session) = self.session() else { return };
        let Some(asked) = session.asked.take() else { return };
        let path = session.dialog.path;
        let response = self.response(desk, &asked.request, status, "", path);
        desk.respond(asked.tx, &refusal(response, cause));
    }

    fn send_reinvite(&mut self, desk: &mut Desk<'_>, offer: Description, tries: u32) {
        let Leg { id, state: State::Up(session), sdp, .. } = self else { return };
        if session.unacknowledged.is_some() || session.asked.is_some() {
            // RFC 3261 §14.1: not while another INVITE of the dialog is in progress, either way.
            let at = desk.now.mono + desk.tx.timing().t1;
            session.asking = Some(Asking::Glare { offer, at, tries });
            return;
        }
        session.dialog.look_for(desk.ways);
        let mut request = session.dialog.request(Method::Invite, desk.identity, desk.tokens);
        let path = session.dialog.path;
        let contact = desk.identity.contact(path, *id, &session.dialog.target);
        request.headers.push(Name::Contact, contact);
        desk.identity.allow(&mut request.headers);
        request.set_body("application/sdp", sdp.offer(&offer));
        let tx = desk.tx.send(desk.now.mono, request, path, Some(*id), desk.tx_out);
        session.asking = Some(Asking::Sent { tx, offer, tries: tries + 1 });
    }

    /// The far end says something about a request of ours within the dialog.
    pub(crate) fn answered_up(&mut self, desk: &mut Desk<'_>, tx: TxId, response: Response) {
        let id = self.id;
        let Some(session) = self.session() else { return };
        let ours = matches!(&session.asking, Some(Asking::Sent { tx: asking, .. }) if *asking == tx);
        let tries = match &session.asking {
            Some(Asking::Sent { tries, .. }) => *tries,
            Some(Asking::Glare { .. }) | None => 0,
        };
        let wait = retry_after(&response);
        if !ours {
            return self.repeated_2xx(desk, tx, &response);
        }
        match response.status {
            100..=199 => {}
            200..=299 => {
                session.asking = None;
                session.dialog.refresh(response.headers.contact().ok(), session.dialog.path);
                let cseq = response.cseq().map_or(session.dialog.local_cseq, |cseq| cseq.number);
                session.acknowledge(desk, id, tx, cseq);
                let body = self.read_body(&response.headers, &response.body);
                self.tell(
                    desk,
                    match body {
                        Body::Audio(description) => LegEvent::Modified { description },
                        Body::Empty | Body::Unusable(..) => {
                            LegEvent::ModifyRefused { cause: Cause::IncompatibleDestination }
                        }
                    },
                );
            }
            491 if tries < TRIES_MAX => {
                // RFC 3261 §14.1: who chose the Call-ID waits 2.1 to 4 s, the other up to 2 s, in 10 ms steps.
                let steps =
                    if session.owns_call_id { 210 + desk.tokens.below(191) } else { desk.tokens.below(201) };
                let at = desk.now.mono + Duration::from_millis(u64::from(steps) * 10);
                session.ask_again(at);
            }
            500 | 503 if tries < TRIES_MAX && wait.is_some() => {
                session.ask_again(desk.now.mono + wait.unwrap_or_default().max(desk.tx.timing().t1));
            }
            status => {
                session.asking = None;
                let cause = cause_of(status, &response.headers);
                // RFC 3261 §12.2.1.2: the peer knows no such dialog, or does not answer any more.
                if matches!(status, 408 | 481) {
                    self.bye(desk, cause);
                    self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::Phone });
                } else {
                    self.tell(desk, LegEvent::ModifyRefused { cause });
                }
            }
        }
    }

    /// A 2xx to an INVITE of ours that was acknowledged before: its ACK was lost, or another fork answers.
    fn repeated_2xx(&mut self, desk: &mut Desk<'_>, invite: TxId, response: &Response) {
        let id = self.id;
        let Some(session) = self.session() else { return };
        let answers_invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        if !answers_invite || !response.is_success() {
            return;
        }
        match desk.tx.answerer(invite, &response.to_tag()) {
            Answerer::Known(path, ack) => desk.transmit(path, ack, Some(id)),
            Answerer::New => super::outbound::end_fork(desk, invite, &session.dialog, response, id),
            Answerer::Surplus => {}
        }
    }

    /// Nobody answered a request of ours within the dialog.
    pub(crate) fn timed_out_up(&mut self, desk: &mut Desk<'_>, tx: TxId, unreachable: bool) {
        let Some(session) = self.session() else { return };
        if matches!(&session.asking, Some(Asking::Sent { tx: asking, .. }) if *asking == tx) {
            session.asking = None;
            let cause = if unreachable { Cause::DestinationOutOfOrder } else { Cause::RecoveryOnTimer };
            self.bye(desk, cause);
            self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::System });
        }
    }

    /// Repeats our 2xx, gives it up, or tries a re-INVITE again.
    pub(crate) fn expire_up(&mut self, desk: &mut Desk<'_>) {
        let (now, t2) = (desk.now.mono, desk.tx.timing().t2);
        let Some(session) = self.session() else { return };
        if let Some(Asking::Glare { offer, tries, .. }) =
            session.asking.take_if(|asking| matches!(asking, Asking::Glare { at, .. } if *at <= now))
        {
            self.send_reinvite(desk, offer, tries);
        }
        let Some(session) = self.session() else { return };
        let Some(waiting) = &mut session.unacknowledged else { return };
        if waiting.give_up <= now {
            // RFC 3261 §13.3.1.4: no ACK for 64*T1; the call is ended with BYE all the same.
            session.unacknowledged = None;
            session.bye_after_ack = None;
            self.bye(desk, Cause::RecoveryOnTimer);
            self.tell(desk, LegEvent::HungUp { cause: Cause::RecoveryOnTimer, by: HungUpBy::System });
        } else if waiting.resend <= now {
            waiting.interval = (waiting.interval * 2).min(t2);
            waiting.resend = now + waiting.interval;
            let (tx, response) = (waiting.tx, waiting.response.clone());
            desk.respond(tx, &response);
        }
    }
}
