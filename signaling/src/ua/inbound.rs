//! The called side of a leg until it is answered: RFC 3261 §13.3.

use std::time::Duration;

use dialtone_core::{Cause, Description, HungUpBy, LegCommand, LegEvent, Mono};

use super::Desk;
use super::cause::status_of;
use super::dialog::Dialog;
use super::leg::{Leg, State, refusal};
use super::session::Session;
use crate::message::{Request, Response};
use crate::transaction::TxId;
use crate::wire::Path;

/// A provisional answer is repeated this often, or a proxy on the way gives the call up (RFC 3261 §13.3.1.1).
const PROVISIONAL_AGAIN: Duration = Duration::from_secs(60);

/// Somebody calls and has not been answered.
pub(crate) struct Offered {
    pub tx: TxId,
    pub invite: Request,
    pub path: Path,
    pub tag: String,
    /// Whether they made the offer; otherwise our 200 makes it.
    pub has_offer: bool,
    /// The last provisional answer, and when it is due again.
    pub provisional: Option<(Mono, Response)>,
}

impl Offered {
    pub fn deadline(&self) -> Option<Mono> {
        self.provisional.as_ref().map(|(at, _)| *at)
    }
}

impl Leg {
    /// Carries out a command while the leg is not answered.
    pub(crate) fn command_offered(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match command {
            LegCommand::Ring { early } => self.provisional(desk, 180, early),
            LegCommand::Progress { early } => self.provisional(desk, 183, Some(early)),
            LegCommand::Answer { description } => self.answer(desk, &description),
            LegCommand::HangUp { cause } => {
                self.wanted = false;
                self.refuse(desk, status_of(cause), cause);
            }
            // These are for legs that are answered, or that we originate.
            LegCommand::Originate { .. }
            | LegCommand::Modify { .. }
            | LegCommand::AcceptModify { .. }
            | LegCommand::RefuseModify { .. } => {}
        }
    }

    fn provisional(&mut self, desk: &mut Desk<'_>, status: u16, early: Option<Description>) {
        let State::Offered(offered) = &self.state else { return };
        let (tx, has_offer, path) = (offered.tx, offered.has_offer, offered.path);
        let mut response = self.response(desk, &offered.invite, status, &offered.tag, path);
        // Without their offer a description of ours would be an offer, which an unreliable provisional
        // answer must not carry (RFC 3261 §13.2.1).
        if let Some(early) = early.filter(|_| has_offer) {
            response.set_body("application/sdp", self.write_answer(&early, true));
        }
        desk.respond(tx, &response);
        if let State::Offered(offered) = &mut self.state {
            offered.provisional = Some((desk.now.mono + PROVISIONAL_AGAIN, response));
        }
    }

    /// Repeats the last provisional answer when it is due.
    pub(crate) fn expire_offered(&mut self, desk: &mut Desk<'_>) {
        let State::Offered(offered) = &mut self.state else { return };
        let now = desk.now.mono;
        if let Some((at, response)) = offered.provisional.as_mut().filter(|(at, _)| *at <= now) {
            *at = now + PROVISIONAL_AGAIN;
            desk.respond(offered.tx, response);
        }
    }

    fn answer(&mut self, desk: &mut Desk<'_>, local: &Description) {
        let State::Offered(offered) = std::mem::replace(&mut self.state, State::Gone) else { return };
        let Offered { tx, invite, path, tag, has_offer, provisional: _ } = *offered;
        let Ok(dialog) = Dialog::uas(&invite, path, &tag) else {
            // The INVITE was checked when it came: this cannot be, and it is no reason to crash.
            desk.dialogs.remove(&tag);
            let response = self.response(desk, &invite, 500, &tag, path);
            desk.respond(tx, &response);
            return self.tell(desk, LegEvent::HungUp { cause: Cause::ProtocolError, by: HungUpBy::System });
        };
        let mut response = self.response(desk, &invite, 200, &tag, path);
        response.set_body("application/sdp", self.write_answer(local, has_offer));
        desk.dialogs.insert(tag, self.id);
        let session = Session::answered(desk, dialog, tx, &response, !has_offer);
        self.state = State::Up(Box::new(session));
    }

    /// Refuses the call; the transaction repeats the refusal until it is acknowledged.
    pub(crate) fn refuse(&mut self, desk: &mut Desk<'_>, status: u16, cause: Cause) {
        let State::Offered(offered) = std::mem::replace(&mut self.state, State::Gone) else { return };
        desk.dialogs.remove(&offered.tag);
        let response = self.response(desk, &offered.invite, status, &offered.tag, offered.path);
        desk.respond(offered.tx, &refusal(response, cause));
    }

    /// The caller gave up (RFC 3261 §9.2). An answered call is not cancelled any more.
    pub(crate) fn cancelled(&mut self, desk: &mut Desk<'_>) {
        if matches!(self.state, State::Offered(_)) {
            self.refuse(desk, 487, Cause::NormalClearing);
            self.tell(desk, LegEvent::HungUp { cause: Cause::NormalClearing, by: HungUpBy::Phone });
        }
    }
}
