//! The called side of a leg until it is answered: RFC 3261 §13.3, and reliably RFC 3262 §3 and §5.

use std::time::Duration;

use dialtone_core::leg::EarlyOffer;
use dialtone_core::{Cause, Description, HungUpBy, LegCommand, LegEvent, Mono, Party};

use super::Desk;
use super::cause::{reason, status_of};
use super::dialog::Dialog;
use super::exchange::{Asked, Wish};
use super::leg::{Body, Leg, State, refusal};
use super::policy::{CallPolicy, Reliability, understands};
use super::reliable::{self, Due, RAck, Sender};
use super::session::Session;
use super::timers::{SessionTimer, Terms};
use crate::message::{Headers, Name, Request, Response};
use crate::sdp::CONTENT_TYPE;
use crate::transaction::TxId;

/// How far our description has come, in provisional answers that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Described {
    /// No reliable answer has carried one.
    No,
    /// One has or will, as soon as those before it are acknowledged, and was not acknowledged.
    Sent,
    /// They have it, and when it was an offer we have its answer.
    Agreed,
}

/// A provisional answer is repeated this often, or a proxy on the way gives the call up (RFC 3261 §13.3.1.1).
const PROVISIONAL_AGAIN: Duration = Duration::from_secs(60);

/// The last provisional answer, and when it is due again.
struct Provisional {
    again: Mono,
    status: u16,
    early: Option<Description>,
}

/// Somebody calls and has not been answered.
pub(crate) struct Offered {
    pub tx: TxId,
    pub invite: Request,
    pub dialog: Dialog,
    /// Whether they made the offer; otherwise we do.
    has_offer: bool,
    terms: Terms,
    /// Sends provisional answers reliably, when both sides can.
    sender: Option<Sender>,
    /// Whether all of them must be, rather than those that carry a description.
    all_reliably: bool,
    described: Described,
    /// We answer the call as soon as what we described was acknowledged (RFC 3262 §5).
    accepted: Option<(Description, Option<Party>)>,
    provisional: Option<Provisional>,
}

/// What was found out about an INVITE before anybody hears of it.
pub(crate) struct Admitted {
    terms: Terms,
    reliably: bool,
    all_reliably: bool,
}

/// How a call will be led, or the refusal that its INVITE is owed.
pub(crate) fn admit(
    policy: &CallPolicy,
    reliability: Reliability,
    invite: &Request,
) -> Result<Admitted, Box<Response>> {
    let headers = &invite.headers;
    let refused = |status, name, value: &str| {
        let mut response = Response::to(invite, status);
        response.headers.push(name, value);
        Err(Box::new(response))
    };
    let (theirs, required) = (understands(headers, "100rel"), headers.has_token(&Name::Require, "100rel"));
    match reliability {
        Reliability::Off if required => return refused(420, Name::Unsupported, "100rel"),
        // RFC 3261 §21.4.16.
        Reliability::Required if !theirs => return refused(421, Name::Require, "100rel"),
        Reliability::Off | Reliability::Supported | Reliability::Required => {}
    }
    let terms = match Terms::of(policy, headers) {
        Ok(terms) => terms,
        Err(least) => return refused(422, Name::MinSe, &least.as_secs().to_string()),
    };
    let reliably = theirs && reliability != Reliability::Off;
    let all_reliably = reliably && (required || reliability == Reliability::Required);
    Ok(Admitted { terms, reliably, all_reliably })
}

impl Offered {
    /// A new call, with an RSeq to begin with.
    pub fn new(
        tx: TxId,
        invite: Request,
        dialog: Dialog,
        admitted: Admitted,
        has_offer: bool,
        rseq: u32,
    ) -> Self {
        let Admitted { terms, reliably, all_reliably } = admitted;
        let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
        let sender = reliably.then(|| Sender::new(cseq, rseq));
        Offered {
            tx,
            invite,
            dialog,
            has_offer,
            terms,
            sender,
            all_reliably,
            described: Described::No,
            accepted: None,
            provisional: None,
        }
    }

    /// Whether an offer of ours can go before the answer (RFC 3262 §5).
    pub fn early_offer(&self) -> EarlyOffer {
        match (self.has_offer, &self.sender) {
            (false, Some(_)) if self.all_reliably => EarlyOffer::Owed,
            (false, Some(_)) => EarlyOffer::Possible,
            (true, _) | (false, None) => EarlyOffer::Impossible,
        }
    }

    /// Whether both sides know what the other said of its stream, so that it can be changed (RFC 3311 §5.1).
    pub fn is_agreed(&self) -> bool {
        self.described == Described::Agreed
    }

    /// The status that an offer of theirs is owed at this point, if it cannot be taken (RFC 3311 §5.2).
    pub fn premature(&self) -> Option<u16> {
        match (self.described, self.has_offer) {
            (Described::Agreed, _) | (Described::Sent, true) => None,
            // Ours is not answered, or theirs.
            (Described::Sent, false) => Some(491),
            (Described::No, _) => Some(500),
        }
    }

    /// Whether the answer waits for an acknowledgement.
    pub fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    pub fn deadline(&self) -> Option<Mono> {
        let sent = self.sender.as_ref().and_then(Sender::deadline);
        sent.into_iter().chain(self.provisional.as_ref().map(|last| last.again)).min()
    }
}

impl Leg {
    /// Carries out a command while the leg is not answered.
    pub(crate) fn command_offered(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match command {
            LegCommand::Ring { early } => self.provisional(desk, 180, early),
            LegCommand::Progress { early } => self.provisional(desk, 183, Some(early)),
            LegCommand::Answer { description, connected } => {
                if let State::Offered(offered) = &mut self.state {
                    offered.accepted = Some((description, connected));
                }
                self.answer_if_ready(desk);
            }
            LegCommand::HangUp { cause } => {
                self.wanted = false;
                self.refuse(desk, status_of(cause), cause);
            }
            LegCommand::Modify { offer } => self.ask(desk, Wish::Offer(offer), 0),
            LegCommand::AcceptModify { description } => {
                self.accept_change(desk, &description);
                self.answer_if_ready(desk);
            }
            LegCommand::RefuseModify { cause } => {
                self.refuse_change(desk, status_of(cause), cause);
                self.answer_if_ready(desk);
            }
            // These are for legs that we call, or for whatever asked for a transfer.
            LegCommand::Originate { .. }
            | LegCommand::RefuseTransfer { .. }
            | LegCommand::Connected { .. }
            | LegCommand::TransferProgress(_) => {}
        }
    }

    fn provisional(&mut self, desk: &mut Desk<'_>, status: u16, early: Option<Description>) {
        let State::Offered(offered) = &mut self.state else { return };
        let (tx, has_offer) = (offered.tx, offered.has_offer);
        let again = desk.now.mono + PROVISIONAL_AGAIN;
        offered.provisional = Some(Provisional { again, status, early: early.clone() });
        let State::Offered(offered) = &self.state else { return };
        // Without their offer a description of ours is an offer, which an unreliable provisional answer must
        // not carry (RFC 3261 §13.2.1), and which is made once.
        let describes = offered.described == Described::No && (has_offer || offered.sender.is_some());
        let early = early.filter(|_| describes);
        if describes && offered.all_reliably && !has_offer && early.is_none() {
            return; // RFC 3262 §5: the first reliable answer would have to make the offer.
        }
        let reliably = offered.sender.is_some() && (offered.all_reliably || early.is_some());
        let (path, described) = (offered.dialog.path, early.is_some());
        let mut response = self.response(desk, &offered.invite, status, &self.tag, path);
        if let Some(early) = early {
            response.set_body(CONTENT_TYPE, self.write_answer(desk, path, &early, has_offer));
        }
        let State::Offered(offered) = &mut self.state else { return };
        let Some(sender) = offered.sender.as_mut().filter(|_| reliably) else {
            return desk.respond(tx, &response);
        };
        if described {
            offered.described = Described::Sent;
        }
        let answer = reliable::Provisional { response, describes: described };
        if let Some(response) = sender.send(desk.now.mono, desk.tx.timing(), answer) {
            desk.respond(tx, &response);
        }
    }

    /// Their PRACK (RFC 3262 §3).
    pub(crate) fn their_prack(&mut self, desk: &mut Desk<'_>, tx: TxId, request: Request) {
        let rack = RAck::of(&request.headers);
        let sender = match &mut self.state {
            State::Offered(offered) => offered.sender.as_mut(),
            State::Up(session) => session.sender.as_mut(),
            State::Calling(_) | State::Gone => None,
        };
        let acknowledged = rack.and_then(|rack| sender?.acknowledge(rack));
        let Some(describes) = acknowledged else {
            return self.reply(desk, tx, &request, if rack.is_some() { 481 } else { 400 });
        };
        let State::Offered(offered) = &mut self.state else { return self.reply(desk, tx, &request, 200) };
        let owes_answer = describes && !offered.has_offer;
        if describes {
            offered.described = Described::Agreed;
        }
        let body = match owes_answer {
            true => self.read_answer(&request.headers, &request.body),
            false => self.read_body(&request.headers, &request.body),
        };
        match (body, owes_answer) {
            (Body::Audio(description), true) => {
                self.reply(desk, tx, &request, 200);
                self.tell(desk, LegEvent::Modified { description });
            }
            (Body::Empty | Body::Unusable(..), true) => {
                // Our offer was left without an answer: nobody could hear anything.
                self.reply(desk, tx, &request, 200);
                let cause = Cause::IncompatibleDestination;
                self.refuse(desk, 488, cause);
                return self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::System });
            }
            (Body::Empty, false) => self.reply(desk, tx, &request, 200),
            (Body::Audio(offer), false) => {
                // RFC 3262 §5: it may offer once more; our 200 to it has the answer.
                self.exchange.asked = Some(Asked { tx, request, has_offer: true });
                self.tell(desk, LegEvent::ModifyOffered { offer: Some(offer) });
            }
            (Body::Unusable(status, why), false) => self.reply_why(desk, tx, &request, status, why),
        }
        if let State::Offered(offered) = &mut self.state
            && let Some(next) =
                offered.sender.as_mut().and_then(|sender| sender.go_on(desk.now.mono, desk.tx.timing()))
        {
            desk.respond(offered.tx, &next);
        }
        self.answer_if_ready(desk);
    }

    /// Answers the call if that is wanted, unless what we described has not been acknowledged
    /// (RFC 3262 §5), or a change that they offered is not decided.
    fn answer_if_ready(&mut self, desk: &mut Desk<'_>) {
        let decided = self.exchange.asked.is_none();
        let State::Offered(offered) = &mut self.state else { return };
        if offered.described == Described::Sent || !decided {
            return;
        }
        if let Some((description, connected)) = offered.accepted.take() {
            self.answer(desk, &description, connected.as_ref());
        }
    }

    fn answer(&mut self, desk: &mut Desk<'_>, local: &Description, connected: Option<&Party>) {
        let State::Offered(offered) = std::mem::replace(&mut self.state, State::Gone) else { return };
        let Offered { tx, invite, dialog, has_offer, terms, mut sender, described, .. } = *offered;
        let mut response = self.response(desk, &invite, 200, &self.tag, dialog.path);
        terms.write(&mut response.headers);
        if let Some(party) = connected {
            desk.identity.assert(&mut response.headers, self.asserts, party, "called");
            self.tells(party);
        }
        // What was agreed reliably is not said once more (RFC 6337 §3.1.1).
        let describes = described == Described::No;
        if describes {
            response.set_body(CONTENT_TYPE, self.write_answer(desk, dialog.path, local, has_offer));
        }
        if let Some(sender) = &mut sender {
            sender.finish();
        }
        let timer = SessionTimer::answered(desk.now.mono, desk.policy, terms);
        let session = Session::answered(dialog, timer, sender);
        self.state = State::Up(Box::new(session));
        self.send_2xx(desk, tx, &response, describes && !has_offer, false);
    }

    /// Refuses the call; the transaction repeats the refusal until it is acknowledged.
    pub(crate) fn refuse(&mut self, desk: &mut Desk<'_>, status: u16, cause: Cause) {
        self.refuse_change(desk, 487, cause);
        let State::Offered(offered) = std::mem::replace(&mut self.state, State::Gone) else { return };
        desk.remember(&offered.dialog);
        let response = self.response(desk, &offered.invite, status, &self.tag, offered.dialog.path);
        desk.respond(offered.tx, &refusal(response, cause));
    }

    /// The caller gave up (RFC 3261 §9.2), and may say why (RFC 3326). An answered call is not cancelled any
    /// more.
    pub(crate) fn cancelled(&mut self, desk: &mut Desk<'_>, said: &Headers) {
        if matches!(self.state, State::Offered(_)) {
            let cause = reason(said).unwrap_or(Cause::NormalClearing);
            self.refuse(desk, 487, cause);
            self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::Phone });
        }
    }

    /// Repeats a provisional answer, or gives the call up.
    pub(crate) fn expire_offered(&mut self, desk: &mut Desk<'_>) {
        let State::Offered(offered) = &mut self.state else { return };
        let now = desk.now.mono;
        if let Some(last) = offered.provisional.take_if(|last| last.again <= now) {
            return self.provisional(desk, last.status, last.early);
        }
        let (tx, Some(sender)) = (offered.tx, &mut offered.sender) else { return };
        match sender.expire(desk.now.mono) {
            Due::Nothing => {}
            Due::Again(response) => desk.respond(tx, &response),
            Due::GivenUp => {
                // RFC 3262 §3: no PRACK for 64*T1.
                let cause = Cause::RecoveryOnTimer;
                self.refuse(desk, 504, cause);
                self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::System });
            }
        }
    }
}
