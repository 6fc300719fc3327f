//! The calling side of a leg until it is answered: RFC 3261 §13.2 and §9.1.
//!
//! A CANCEL may not leave before a provisional answer came, and may cross a 2xx: then the call is
//! acknowledged and ended with BYE. Forks downstream may send several 2xx; the first one counts.

use std::time::Duration;

use dialtone_core::{Cause, Description, HungUpBy, LegCommand, LegEvent, Mono};

use super::Desk;
use super::cause::{cause_of, reason_value};
use super::dialog::Dialog;
use super::identity::Identity;
use super::leg::{Body, Leg, State};
use super::session::Session;
use super::tokens::Tokens;
use crate::message::{Method, Name, Request, Response};
use crate::transaction::TxId;
use crate::wire::Path;

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
    path: Path,
    cancel: Cancel,
}

impl Calling {
    pub fn new(tx: TxId, invite: Request, path: Path) -> Self {
        Calling { tx, invite, path, cancel: Cancel::No }
    }

    pub fn deadline(&self) -> Option<Mono> {
        match self.cancel {
            Cancel::No | Cancel::Waiting(_) => None,
            Cancel::Sent { patience, .. } => Some(patience),
        }
    }
}

impl Leg {
    /// Carries out a command while the far end has not answered.
    pub(crate) fn command_calling(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match command {
            LegCommand::HangUp { cause } => {
                self.wanted = false;
                self.cancel(desk, cause);
            }
            // These are for legs that call us, or that are answered.
            LegCommand::Originate { .. }
            | LegCommand::Ring { .. }
            | LegCommand::Progress { .. }
            | LegCommand::Answer { .. }
            | LegCommand::Modify { .. }
            | LegCommand::AcceptModify { .. }
            | LegCommand::RefuseModify { .. } => {}
        }
    }

    fn cancel(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let State::Calling(calling) = &mut self.state else { return };
        match desk.tx.cancel_request(calling.tx) {
            Some((mut cancel, path)) => {
                cancel.headers.push(Name::Reason, reason_value(cause));
                desk.tx.send(desk.now.mono, cancel, path, Some(self.id), desk.tx_out);
                // RFC 3261 §9.1: no final answer within 64*T1 of the CANCEL ends the INVITE.
                let patience = desk.now.mono + desk.tx.timing().patience() + Duration::from_millis(1);
                calling.cancel = Cancel::Sent { patience, cause };
            }
            None => calling.cancel = Cancel::Waiting(cause),
        }
    }

    /// The far end says something about our INVITE.
    pub(crate) fn invite_answered(&mut self, desk: &mut Desk<'_>, response: Response) {
        let State::Calling(calling) = &self.state else { return };
        match (response.status, calling.cancel) {
            (100..=199, Cancel::Waiting(cause)) => self.cancel(desk, cause),
            (100, _) | (101..=199, Cancel::Sent { .. }) => {}
            (180, Cancel::No) => {
                let early = self.early(&response);
                self.tell(desk, LegEvent::Ringing { early });
            }
            (101..=199, Cancel::No) => {
                let early = self.early(&response);
                self.tell(desk, LegEvent::Progress { early });
            }
            (200..=299, _) => self.accepted(desk, response),
            (status, _) => {
                let cause = cause_of(status, &response.headers);
                // RFC 3261 §21.6: the server has definitive information about the user.
                let by = if status >= 600 { HungUpBy::Person } else { HungUpBy::Phone };
                self.state = State::Gone;
                self.tell(desk, LegEvent::HungUp { cause, by });
            }
        }
    }

    fn early(&mut self, response: &Response) -> Option<Description> {
        match self.read_body(&response.headers, &response.body) {
            Body::Audio(description) => Some(description),
            // Early media that cannot be used is no reason to give the call up.
            Body::Empty | Body::Unusable(..) => None,
        }
    }

    fn accepted(&mut self, desk: &mut Desk<'_>, response: Response) {
        let State::Calling(calling) = std::mem::replace(&mut self.state, State::Gone) else { return };
        let Ok(dialog) = Dialog::uac(&calling.invite, &response, calling.path) else {
            // Without a Contact it can be neither acknowledged nor ended: RFC 3261 §8.1.1.8 owes one.
            return self.tell(desk, LegEvent::HungUp { cause: Cause::ProtocolError, by: HungUpBy::System });
        };
        desk.dialogs.insert(dialog.local_tag.clone(), self.id);
        let body = match self.read_body(&response.headers, &response.body) {
            // Some phones do not repeat the answer that they gave with early media.
            Body::Empty => {
                let early = self.remote_sdp.as_ref().and_then(|remote| remote.description());
                early.cloned().map_or(Body::Empty, Body::Audio)
            }
            other => other,
        };
        let session = Session::accepted(desk, self.id, calling.tx, dialog);
        self.state = State::Up(Box::new(session));
        // A CANCEL that crossed the 200: acknowledged above, and ended.
        if let Some(cause) = calling.cancel.cause() {
            return self.bye(desk, cause);
        }
        match body {
            Body::Audio(description) => self.tell(desk, LegEvent::Answered { description }),
            Body::Empty | Body::Unusable(..) => {
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

    /// The far end never answered our CANCEL.
    pub(crate) fn cancel_timed_out(&mut self, desk: &mut Desk<'_>) {
        if let State::Calling(calling) = std::mem::replace(&mut self.state, State::Gone) {
            desk.tx.abandon(calling.tx, desk.tx_out);
        }
    }
}

/// The way to whoever answered an INVITE whose call is over, and the ACK and the BYE that it is owed.
/// `None` when its answer has no address for them.
pub(crate) fn end_unwanted(
    invite: &Request,
    response: &Response,
    path: Path,
    identity: &Identity,
    tokens: &mut Tokens,
) -> Option<(Path, Request, Request)> {
    let mut dialog = Dialog::uac(invite, response, path).ok()?;
    let ack = dialog.ack(dialog.local_cseq, identity, tokens);
    let mut bye = dialog.request(Method::Bye, identity, tokens);
    bye.headers.push(Name::Reason, reason_value(Cause::NormalClearing));
    Some((dialog.path, ack, bye))
}

/// Another 2xx than the one that made the dialog: a fork that lost. It is acknowledged and ended
/// (RFC 3261 §13.2.2.4).
pub(crate) fn end_fork(
    desk: &mut Desk<'_>,
    invite: TxId,
    dialog: &Dialog,
    response: &Response,
    owner: dialtone_core::LegId,
) {
    let mut fork = dialog.clone();
    let Ok(remote) = response.headers.to() else { return };
    fork.retarget(remote, response.headers.contact().ok());
    let ack = fork.ack(response.cseq().map_or(1, |cseq| cseq.number), desk.identity, desk.tokens);
    desk.tx.acknowledged(invite, &fork.remote_tag, fork.path, ack.to_bytes());
    desk.transmit(fork.path, ack.to_bytes(), Some(owner));
    let mut bye = fork.request(Method::Bye, desk.identity, desk.tokens);
    bye.headers.push(Name::Reason, reason_value(Cause::AnsweredElsewhere));
    desk.tx.send(desk.now.mono, bye, fork.path, Some(owner), desk.tx_out);
}
