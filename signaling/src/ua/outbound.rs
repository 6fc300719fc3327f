//! The calling side of a leg until it is answered: RFC 3261 §13.2 and §9.1.
//!
//! A CANCEL may not leave before a provisional answer came, and may cross a 2xx: then the call is
//! acknowledged and ended with BYE. Forks downstream may send several 2xx; the first one counts. A provisional
//! answer that asks for a PRACK gets it at once, whatever the caller's leg does (RFC 3262 §4).

use dialtone_core::{Cause, ContactId, Description, HungUpBy, LegCommand, LegEvent, Mono};

use super::Desk;
use super::asserted::{asserted, is_private};
use super::cause::{cause_of, reason_value, status_of};
use super::dialog::Dialog;
use super::exchange::Wish;
use super::forks::Forks;
use super::identity::Identity;
use super::leg::{Body, Leg, State};
use super::policy::Reliability;
use super::reliable::{Heard, rseq};
use super::session::Session;
use super::timers::{Ask, SessionTimer};
use crate::message::{Method, Name, Request, Response};
use crate::sdp::CONTENT_TYPE;
use crate::transaction::{Course, Failure, TxId};
use crate::wire::{Opens, Path};

/// How often an INVITE is sent again because a peer wants longer session intervals.
const RAISES_MAX: u32 = 4;

/// How far a cancellation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    /// Nobody wants it.
    No,
    /// Wanted, and waiting for a provisional answer.
    Waiting(Cause),
    /// Sent; a final answer must come by then.
    Sent { patience: Mono, cause: Cause },
}

impl Cancel {
    /// Why it is wanted, when it is.
    fn cause(self) -> Option<Cause> {
        match self {
            Cancel::No => None,
            Cancel::Waiting(cause) | Cancel::Sent { cause, .. } => Some(cause),
        }
    }
}

/// We call and have not been answered.
pub(crate) struct Calling {
    pub tx: TxId,
    invite: Request,
    /// What it offers, before the way decided which address it names.
    pub offer: Description,
    path: Path,
    /// Where a connection is opened for it.
    opens: Opens,
    cancel: Cancel,
    pub forks: Forks,
    /// What we ask for of the session timer, and how often that was raised.
    ask: Ask,
    raises: u32,
    /// When a far end that says nothing more is given up (RFC 3261 §16.8, timer C).
    timer_c: Mono,
    /// Over which of the ways to the device it went, and those that are left (RFC 5626 §7).
    way: ContactId,
    others: Vec<ContactId>,
    /// Whether the device has said anything.
    heard: bool,
}

impl Calling {
    pub fn new(
        tx: TxId,
        (invite, offer): (Request, Description),
        path: Path,
        (way, others): (ContactId, Vec<ContactId>),
        ask: Ask,
        timer_c: Mono,
    ) -> Self {
        let (cancel, forks, opens) = (Cancel::No, Forks::default(), Opens::Peer);
        let (raises, heard) = (0, false);
        Calling { tx, invite, offer, path, opens, cancel, forks, ask, raises, timer_c, way, others, heard }
    }

    fn way(&self) -> (Path, Opens) {
        (self.path, self.opens.clone())
    }

    /// The same call over another way.
    pub fn goes_by(
        &mut self,
        tx: TxId,
        invite: Request,
        path: Path,
        (way, others): (ContactId, Vec<ContactId>),
    ) {
        (self.tx, self.invite, self.forks) = (tx, invite, Forks::default());
        (self.path, self.opens, self.way, self.others, self.heard) = (path, Opens::Peer, way, others, false);
    }

    /// Whether the call is still wanted.
    pub fn goes_on(&self) -> bool {
        self.cancel == Cancel::No
    }

    /// The INVITE, the way that it took and the ways that are left, when the way failed and not the call: nothing
    /// was heard of it, or a proxy found its flow gone (RFC 5626 §5.3).
    pub fn next_way(&self, status: Option<u16>) -> Option<(Request, ContactId, Vec<ContactId>)> {
        let flow_failed = status.map_or(!self.heard, |status| status == 430);
        let wanted = self.cancel == Cancel::No;
        (flow_failed && wanted).then(|| (self.invite.clone(), self.way, self.others.clone()))
    }

    /// Whether it went over this way, nothing was heard, and there are others.
    pub fn goes_on_from(&self, way: ContactId) -> bool {
        self.way == way && !self.heard && !self.others.is_empty()
    }

    /// Whether our INVITE has this Call-ID.
    pub fn has_call_id(&self, call_id: &str) -> bool {
        self.invite.call_id() == Ok(call_id)
    }

    pub fn deadline(&self) -> Option<Mono> {
        Some(match self.cancel {
            Cancel::No => self.timer_c,
            Cancel::Waiting(_) => return None,
            Cancel::Sent { patience, .. } => patience,
        })
    }
}

impl Leg {
    /// A request of it goes by another way than it was made for.
    pub(crate) fn goes_by(
        &mut self,
        tx: TxId,
        request: &mut Request,
        (path, opens): (Path, Opens),
        failure: Failure,
        identity: &Identity,
    ) {
        if let State::Calling(calling) = &mut self.state
            && calling.tx == tx
        {
            // It may lead to another side of a translator.
            request.set_body(CONTENT_TYPE, self.sdp.offer(&identity.described(&calling.offer, path)));
            (calling.invite, calling.path, calling.opens) = (request.clone(), path, opens);
            (calling.forks, calling.heard) = (Forks::default(), false);
            return;
        }
        self.exchange.goes_by(tx, (path, opens), failure);
    }

    /// Carries out a command while the far end has not answered.
    pub(crate) fn command_calling(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match command {
            LegCommand::HangUp { cause } => {
                self.wanted = false;
                self.cancel(desk, cause);
            }
            LegCommand::Modify { offer } => self.ask(desk, Wish::Offer(offer), 0),
            LegCommand::AcceptModify { description } => self.accept_change(desk, &description),
            LegCommand::RefuseModify { cause } => self.refuse_change(desk, status_of(cause), cause),
            // These are for legs that call us.
            LegCommand::Originate { .. }
            | LegCommand::Ring { .. }
            | LegCommand::Progress { .. }
            | LegCommand::Answer { .. }
            | LegCommand::RefuseTransfer { .. }
            | LegCommand::Connected { .. }
            | LegCommand::TransferProgress(_) => {}
        }
    }

    fn cancel(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let State::Calling(calling) = &mut self.state else { return };
        match desk.tx.send_cancel(desk.now.mono, calling.tx, &reason_value(cause), Some(self.id), desk.tx_out)
        {
            Some(patience) => calling.cancel = Cancel::Sent { patience, cause },
            // It never left, or came to nothing by every way so far: there is nothing to cancel.
            None if desk.tx.is_held(calling.tx) => {
                desk.tx.let_go(calling.tx);
                self.state = State::Gone;
            }
            None => calling.cancel = Cancel::Waiting(cause),
        }
    }

    /// The far end says something about our INVITE.
    pub(crate) fn invite_answered(&mut self, desk: &mut Desk<'_>, response: Response) {
        let State::Calling(calling) = &mut self.state else { return };
        calling.heard = true;
        match (response.status, calling.cancel) {
            (100, Cancel::Waiting(cause)) => self.cancel(desk, cause),
            (100, _) => {}
            (101..=199, _) => self.provisionally(desk, &response),
            (200..=299, _) => self.accepted(desk, &response),
            (422, Cancel::No) if calling.raises < RAISES_MAX && calling.ask.raise(&response.headers) => {
                self.invite_again(desk);
            }
            (300..=302 | 305, Cancel::No) => {
                let path = calling.path;
                self.redirected(desk, path, &response);
            }
            (status, _) => {
                let cause = cause_of(status, &response.headers);
                // RFC 3261 §21.6: the server has definitive information about the user.
                let by = if status >= 600 { HungUpBy::Person } else { HungUpBy::Phone };
                self.state = State::Gone;
                self.tell(desk, LegEvent::HungUp { cause, by });
            }
        }
    }

    /// The same INVITE with a longer session interval, as a new request (RFC 4028 §7.3).
    fn invite_again(&mut self, desk: &mut Desk<'_>) {
        let State::Calling(calling) = &mut self.state else { return };
        calling.raises += 1;
        let invite = &mut calling.invite;
        let cseq = invite.cseq().map_or(1, |cseq| cseq.number) + 1;
        invite.headers.set(Name::CSeq, format!("{cseq} INVITE"));
        let via = desk.identity.via(calling.path, &desk.tokens.branch());
        invite.headers.set(Name::Via, via.to_string());
        calling.ask.write(None, &mut invite.headers);
        let invite = invite.clone();
        calling.forks = Forks::default();
        calling.timer_c = desk.now.mono + desk.policy.timer_c;
        let course = Course { opens: calling.opens.clone(), ..calling.path.into() };
        calling.tx = desk.tx.send(desk.now.mono, invite, course, Some(self.id), desk.tx_out);
    }

    /// A provisional answer above 100.
    fn provisionally(&mut self, desk: &mut Desk<'_>, response: &Response) {
        let reliability = self.reliability;
        let State::Calling(calling) = &mut self.state else { return };
        calling.timer_c = desk.now.mono + desk.policy.timer_c;
        let cancel = calling.cancel;
        let tag = response.to_tag();
        if !tag.is_empty()
            && calling.forks.get(&tag).is_none()
            && let Ok(dialog) = Dialog::uac(&calling.invite, response, calling.way(), self.nat)
            && !calling.forks.add(dialog)
        {
            return; // More phones than anybody rings.
        }
        if let Some(rseq) = rseq(response).filter(|_| reliability != Reliability::Off)
            && let Some(fork) = calling.forks.get(&tag)
        {
            // RFC 3262 §4: it comes again, and there may be room for another PRACK then.
            if !desk.tx.has_room_of(self.id) || fork.receiver.hear(rseq) == Heard::Ignored {
                return;
            }
            desk.look_for(&mut fork.dialog);
            let mut prack = fork.dialog.request(Method::Prack, desk.identity, desk.tokens);
            let cseq = response.cseq().map_or(1, |cseq| cseq.number);
            prack.headers.push(Name::RAck, format!("{rseq} {cseq} INVITE"));
            let course = fork.dialog.course(desk.ways, desk.identity);
            desk.tx.send(desk.now.mono, prack, course, Some(self.id), desk.tx_out);
        }
        match cancel {
            Cancel::Waiting(cause) => return self.cancel(desk, cause),
            Cancel::Sent { .. } => return,
            Cancel::No => {}
        }
        self.peer.heed(&response.headers);
        let early = self.early(&tag, response);
        self.tell(
            desk,
            match response.status {
                180 => LegEvent::Ringing { early },
                _ => LegEvent::Progress { early },
            },
        );
    }

    /// What a provisional answer says of the stream.
    fn early(&mut self, tag: &str, response: &Response) -> Option<Description> {
        let settled = match &mut self.state {
            State::Calling(calling) => calling.forks.get(tag).is_some_and(|fork| fork.settled),
            State::Offered(_) | State::Up(_) | State::Gone => false,
        };
        if settled {
            return None; // RFC 3261 §13.2.1: one answer counts, and it came.
        }
        let description = match self.read_answer(&response.headers, &response.body) {
            Body::Audio(description) => description,
            // Early media that cannot be used is no reason to give the call up.
            Body::Empty | Body::Unusable(..) => return None,
        };
        if let State::Calling(calling) = &mut self.state
            && let Some(fork) = calling.forks.get(tag)
        {
            fork.answer = Some(description.clone());
            fork.settled = rseq(response).is_some();
        }
        Some(description)
    }

    fn accepted(&mut self, desk: &mut Desk<'_>, response: &Response) {
        let State::Calling(calling) = std::mem::replace(&mut self.state, State::Gone) else { return };
        let Calling { tx, invite, path, opens, cancel, forks, ask, .. } = *calling;
        let Ok(mut dialog) = Dialog::uac(&invite, response, (path, opens), self.nat) else {
            // Without a Contact it can be neither acknowledged nor ended: RFC 3261 §8.1.1.8 owes one.
            return self.tell(desk, LegEvent::HungUp { cause: Cause::ProtocolError, by: HungUpBy::System });
        };
        let cseq = dialog.local_cseq;
        let (mine, others) = forks.split(&dialog.remote_tag);
        if let Some(fork) = &mine {
            dialog.confirm(&fork.dialog);
        }
        self.peer.heed(&response.headers);
        let body = match mine.as_ref().is_some_and(|fork| fork.settled) {
            true => Body::Empty,
            false => self.read_answer(&response.headers, &response.body),
        };
        let connected = self.asserts.trusted.then(|| asserted(&response.headers)).flatten();
        let private = is_private(&response.headers);
        let timer = SessionTimer::accepted(desk.now.mono, ask, &response.headers);
        let mut session = Session::accepted(dialog, timer, others);
        session.acknowledge(desk, self.id, tx, cseq);
        self.state = State::Up(Box::new(session));
        // A CANCEL that crossed the 200: acknowledged above, and ended.
        if let Some(cause) = cancel.cause() {
            return self.bye(desk, cause);
        }
        let description = match (body, mine.and_then(|fork| fork.answer)) {
            (Body::Audio(description), _) => Some(description),
            // Some phones do not repeat the answer that they gave with early media, and need not when it came
            // reliably.
            (Body::Empty, early) => early,
            (Body::Unusable(..), _) => None,
        };
        self.forget_change(desk);
        match description {
            Some(description) => self.tell(desk, LegEvent::Answered { description, connected, private }),
            None => {
                self.bye(desk, Cause::IncompatibleDestination);
                self.tell(
                    desk,
                    LegEvent::HungUp { cause: Cause::IncompatibleDestination, by: HungUpBy::System },
                );
            }
        }
    }

    /// Nobody answered our INVITE at all.
    pub(crate) fn invite_timed_out(&mut self, desk: &mut Desk<'_>, unreachable: bool) {
        if matches!(self.state, State::Calling(_)) {
            self.state = State::Gone;
            let cause = if unreachable { Cause::DestinationOutOfOrder } else { Cause::NoUserResponding };
            self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::System });
        }
    }

    /// Gives up a far end that never answered our CANCEL, and cancels when it has been quiet for too long.
    pub(crate) fn expire_calling(&mut self, desk: &mut Desk<'_>) {
        let (now, State::Calling(calling)) = (desk.now.mono, &self.state) else { return };
        match calling.cancel {
            Cancel::Sent { patience, .. } if patience <= now => {
                desk.tx.abandon(calling.tx, desk.tx_out);
                self.state = State::Gone;
            }
            Cancel::No if calling.timer_c <= now => {
                // RFC 3261 §16.8.
                let cause = Cause::RecoveryOnTimer;
                self.cancel(desk, cause);
                self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::System });
            }
            Cancel::No | Cancel::Waiting(_) | Cancel::Sent { .. } => {}
        }
    }
}
