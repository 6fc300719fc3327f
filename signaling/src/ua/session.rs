//! An answered leg: the 2xx and its ACK, BYE. RFC 3261 §13.3.1.4, §15. Its changes are in [`super::exchange`].

use std::time::Duration;

use dialtone_core::{Cause, HungUpBy, LegCommand, LegEvent, LegId, Mono};

use super::Desk;
use super::cause::reason_value;
use super::dialog::Dialog;
use super::exchange::{Wish, change_refusal};
use super::leg::{Body, Leg, State};
use super::reliable::Sender;
use super::timers::SessionTimer;
use crate::message::{Method, Name, Request, Response};
use crate::transaction::{Answerer, TxId};

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

/// See the module.
pub(crate) struct Session {
    pub dialog: Dialog,
    /// Whether we chose the Call-ID: decides who waits longer after a glare.
    pub owns_call_id: bool,
    pub timer: SessionTimer,
    /// Knows the PRACK that may still come to a provisional answer.
    pub sender: Option<Sender>,
    /// The early dialogs of phones that lost; one may still answer.
    forks: Vec<Dialog>,
    unacknowledged: Option<Unacknowledged>,
    /// A BYE that must wait for the ACK (RFC 3261 §15).
    bye_after_ack: Option<Cause>,
}

impl Session {
    /// We answer.
    pub fn answered(dialog: Dialog, timer: SessionTimer, sender: Option<Sender>) -> Self {
        Session {
            dialog,
            owns_call_id: false,
            timer,
            sender,
            forks: Vec::new(),
            unacknowledged: None,
            bye_after_ack: None,
        }
    }

    /// They answered the INVITE.
    pub fn accepted(dialog: Dialog, timer: SessionTimer, forks: Vec<Dialog>) -> Self {
        Session { owns_call_id: true, forks, ..Session::answered(dialog, timer, None) }
    }

    /// Whether no INVITE of theirs waits for its ACK.
    pub fn is_quiet(&self) -> bool {
        self.unacknowledged.is_none()
    }

    /// Whether a 2xx to a re-INVITE waits for its ACK.
    pub fn answers_change(&self) -> bool {
        self.unacknowledged.as_ref().is_some_and(|waiting| waiting.modifies)
    }

    /// Whether an offer in a 2xx of ours waits for its answer.
    pub fn offers(&self) -> bool {
        self.unacknowledged.as_ref().is_some_and(|waiting| waiting.offered)
    }

    pub fn deadline(&self) -> Option<Mono> {
        let resend = self.unacknowledged.as_ref().map(|waiting| waiting.resend.min(waiting.give_up));
        resend.into_iter().chain(self.timer.deadline()).min()
    }

    pub fn acknowledge(&mut self, desk: &mut Desk<'_>, leg: LegId, invite: TxId, cseq: u32) {
        desk.look_for(&mut self.dialog);
        let bytes = self.dialog.ack(cseq, desk.identity, desk.tokens).to_bytes();
        desk.tx.acknowledged(invite, &self.dialog.remote_tag, self.dialog.path, bytes.clone());
        desk.transmit(invite, self.dialog.path, bytes, Some(leg));
    }
}

impl Leg {
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Up(session) => Some(session),
            State::Offered(_) | State::Calling(_) | State::Gone => None,
        }
    }

    /// Carries out a command of an answered leg.
    pub(crate) fn command_up(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match command {
            LegCommand::Modify { offer } => self.ask(desk, Wish::Offer(offer), 0),
            LegCommand::AcceptModify { description } => self.accept_change(desk, &description),
            LegCommand::RefuseModify { cause } => self.refuse_change(desk, change_refusal(cause), cause),
            LegCommand::Connected { party } => self.connected(desk, party),
            LegCommand::HangUp { cause } => {
                self.wanted = false;
                self.bye(desk, cause);
            }
            // These are for legs that are not answered, or for whatever asked for a transfer.
            LegCommand::RefuseTransfer { .. }
            | LegCommand::TransferProgress(_)
            | LegCommand::Originate { .. }
            | LegCommand::Ring { .. }
            | LegCommand::Progress { .. }
            | LegCommand::Answer { .. } => {}
        }
    }

    /// Sends a 2xx to an INVITE, and repeats it until its ACK comes.
    pub(crate) fn send_2xx(
        &mut self,
        desk: &mut Desk<'_>,
        tx: TxId,
        response: &Response,
        offered: bool,
        modifies: bool,
    ) {
        desk.respond(tx, response);
        let (now, timing) = (desk.now.mono, desk.tx.timing());
        let Some(session) = self.session() else { return };
        session.unacknowledged = Some(Unacknowledged {
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

    /// Ends it; waits for the ACK of our first 2xx, as the peer has no dialog before (RFC 3261 §15).
    pub(crate) fn bye(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        self.refuse_change(desk, 487, cause);
        let Some(session) = self.session() else { return };
        if session.unacknowledged.as_ref().is_some_and(|waiting| !waiting.modifies) {
            session.bye_after_ack = Some(cause);
            return;
        }
        self.exchange.stop(desk);
        let State::Up(mut session) = std::mem::replace(&mut self.state, State::Gone) else { return };
        desk.look_for(&mut session.dialog);
        let mut bye = session.dialog.request(Method::Bye, desk.identity, desk.tokens);
        bye.headers.push(Name::Reason, reason_value(cause));
        let course = session.dialog.course(desk.ways, desk.identity);
        desk.tx.send(desk.now.mono, bye, course, Some(self.id), desk.tx_out);
        desk.remember(&session.dialog);
        self.refers.forget();
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
            if waiting.offered { self.read_answer(&request.headers, &request.body) } else { Body::Empty };
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

    /// Whoever re-INVITEs has our first 2xx, even if its ACK was lost. False when the call was to end with that
    /// ACK, and now has.
    pub(crate) fn confirm_lost_ack(&mut self, desk: &mut Desk<'_>, tx: TxId, request: &Request) -> bool {
        let Some(session) = self.session() else { return false };
        if session.unacknowledged.take().is_none() {
            return true;
        }
        match session.bye_after_ack.take() {
            Some(cause) => {
                self.reply(desk, tx, request, 487);
                self.bye(desk, cause);
                false
            }
            None => {
                self.tell(desk, LegEvent::Confirmed { description: None });
                true
            }
        }
    }

    /// A 2xx to an INVITE of ours that was acknowledged before: its ACK was lost, or another fork answers.
    pub(crate) fn repeated_2xx(&mut self, desk: &mut Desk<'_>, invite: TxId, response: &Response) {
        let id = self.id;
        let Some(session) = self.session() else { return };
        let answers_invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        if !answers_invite || !response.is_success() {
            return;
        }
        let tag = response.to_tag();
        match desk.tx.answerer(invite, &tag) {
            Answerer::Known(path, ack) => desk.transmit(invite, path, ack, Some(id)),
            Answerer::New => {
                let early = session.forks.iter().find(|fork| fork.remote_tag == tag);
                super::forks::end_fork(desk, invite, &session.dialog, early, response, id);
            }
            Answerer::Surplus => {}
        }
    }

    /// Repeats our 2xx, gives it up, refreshes the session, or ends it.
    pub(crate) fn expire_up(&mut self, desk: &mut Desk<'_>) {
        let (now, t2) = (desk.now.mono, desk.tx.timing().t2);
        let asking = self.exchange.is_asking();
        let Some(session) = self.session() else { return };
        let mut refresh = false;
        if let Some(waiting) = &mut session.unacknowledged {
            if waiting.give_up <= now {
                // RFC 3261 §13.3.1.4: no ACK for 64*T1; the call is ended with BYE all the same.
                session.unacknowledged = None;
                session.bye_after_ack = None;
                return self.give_up(desk);
            }
            if waiting.resend <= now {
                waiting.interval = (waiting.interval * 2).min(t2);
                waiting.resend = now + waiting.interval;
                desk.respond(waiting.tx, &waiting.response);
            }
        }
        if session.timer.is_over(now) {
            // RFC 4028 §10: nobody refreshed.
            session.unacknowledged = None;
            return self.give_up(desk);
        }
        if session.timer.take_refresh(now) {
            match asking {
                true => session.timer.later(now),
                false => refresh = true,
            }
        }
        if refresh {
            self.ask(desk, Wish::Refresh, 0);
        }
    }

    fn give_up(&mut self, desk: &mut Desk<'_>) {
        self.bye(desk, Cause::RecoveryOnTimer);
        self.tell(desk, LegEvent::HungUp { cause: Cause::RecoveryOnTimer, by: HungUpBy::System });
    }
}
