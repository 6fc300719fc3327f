//! What the far end asks of us.

use dialtone_core::{Cause, Description, LegEvent};

use super::super::Desk;
use super::super::cause::status_of;
use super::super::leg::{Body, Leg, State, refusal};
use super::Asked;
use crate::message::{Method, Name, Request, Response};
use crate::sdp::CONTENT_TYPE;
use crate::transaction::TxId;
use crate::wire::Path;

/// The status with which a change is refused: 491 when one of ours is in its way (RFC 3261 §14.2).
pub(crate) fn change_refusal(cause: Cause) -> u16 {
    if cause == Cause::TemporaryFailure { 491 } else { status_of(cause) }
}

impl Leg {
    /// Their re-INVITE (RFC 3261 §14.2).
    pub(crate) fn their_reinvite(&mut self, desk: &mut Desk<'_>, tx: TxId, request: Request, path: Path) {
        let State::Up(session) = &self.state else {
            // Of a call that is not answered: theirs is owed an answer first, or ours is.
            return match &self.state {
                State::Calling(_) => self.reply(desk, tx, &request, 491),
                State::Offered(_) | State::Up(_) | State::Gone => self.reply_later(desk, tx, &request),
            };
        };
        if self.exchange.asked.is_some() || session.answers_change() {
            // One at a time; the second is told to come back.
            return self.reply_later(desk, tx, &request);
        }
        if session.offers() || self.exchange.glares() {
            return self.reply(desk, tx, &request, 491);
        }
        let Some(()) = self.take_refresh_request(desk, tx, &request, path) else { return };
        if !self.confirm_lost_ack(desk, tx, &request) {
            return;
        }
        let offer = match self.read_body(&request.headers, &request.body) {
            Body::Empty => None,
            Body::Audio(description) => Some(description),
            Body::Unusable(status, why) => return self.reply_why(desk, tx, &request, status, why),
        };
        self.exchange.asked = Some(Asked { tx, request, has_offer: offer.is_some() });
        self.tell(desk, LegEvent::ModifyOffered { offer });
    }

    /// Their UPDATE (RFC 3311 §5.2).
    pub(crate) fn their_update(&mut self, desk: &mut Desk<'_>, tx: TxId, request: Request, path: Path) {
        if !request.body.is_empty()
            && let Some(status) = self.cannot_take_offer(&request)
        {
            return match status {
                500 => self.reply_later(desk, tx, &request),
                488 => self.reply_why(desk, tx, &request, 488, "another phone is heard"),
                other => self.reply(desk, tx, &request, other),
            };
        }
        let Some(()) = self.take_refresh_request(desk, tx, &request, path) else { return };
        match self.read_body(&request.headers, &request.body) {
            Body::Empty => {
                let mut response = self.response(desk, &request, 200, "", path);
                self.write_timer(desk, &request, &mut response);
                desk.respond(tx, &response);
            }
            Body::Audio(offer) => {
                if let State::Calling(calling) = &mut self.state
                    && let Some(fork) = calling.forks.heard()
                {
                    fork.answer = Some(offer.clone());
                }
                self.exchange.asked = Some(Asked { tx, request, has_offer: true });
                self.tell(desk, LegEvent::ModifyOffered { offer: Some(offer) });
            }
            Body::Unusable(status, why) => self.reply_why(desk, tx, &request, status, why),
        }
    }

    /// RFC 3311 §5.2: the status for an offer that comes at the wrong time.
    fn cannot_take_offer(&mut self, request: &Request) -> Option<u16> {
        if self.exchange.asked.is_some() {
            return Some(500);
        }
        if self.exchange.glares() {
            return Some(491);
        }
        match &mut self.state {
            State::Up(session) => session.offers().then_some(491),
            State::Offered(offered) => offered.premature(),
            State::Calling(calling) => {
                let from = request.from().ok()?;
                let tag = from.tag().unwrap_or_default();
                let settled = calling.forks.get(tag).is_some_and(|fork| fork.settled);
                let heard = calling.forks.heard().is_some_and(|fork| fork.dialog.remote_tag == tag);
                match (settled, heard) {
                    (true, true) => None,
                    // What another phone would change, nobody hears.
                    (true, false) => Some(488),
                    (false, _) => Some(491),
                }
            }
            State::Gone => None,
        }
    }

    /// What every request that refreshes a dialog's target brings (RFC 3261 §12.2.2). `None` when its session
    /// interval is too small; then it has been answered.
    fn take_refresh_request(
        &mut self,
        desk: &mut Desk<'_>,
        tx: TxId,
        request: &Request,
        path: Path,
    ) -> Option<()> {
        if let Err(least) = self.terms_of(desk, request) {
            // RFC 4028 §9.
            let mut response = self.response(desk, request, 422, "", path);
            response.headers.push(Name::MinSe, least.as_secs().to_string());
            desk.respond(tx, &response);
            return None;
        }
        self.peer.heed(&request.headers);
        let tag = request.from().ok()?.tag().unwrap_or_default().to_owned();
        if let Some(dialog) = self.dialog(&tag) {
            dialog.refresh(request.headers.contact().ok(), path);
        }
        Some(())
    }

    /// Calls agree to what they asked for.
    pub(crate) fn accept_change(&mut self, desk: &mut Desk<'_>, local: &Description) {
        let Some(Asked { tx, request, has_offer }) = self.exchange.asked.take() else { return };
        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let Some(path) = self.dialog(&tag).map(|dialog| dialog.path) else { return };
        let mut response = self.response(desk, &request, 200, "", path);
        self.write_timer(desk, &request, &mut response);
        response.set_body(CONTENT_TYPE, self.write_answer(desk, path, local, has_offer));
        if request.method == Method::Invite {
            return self.send_2xx(desk, tx, &response, !has_offer, true);
        }
        desk.respond(tx, &response);
    }

    /// Calls do not.
    pub(crate) fn refuse_change(&mut self, desk: &mut Desk<'_>, status: u16, cause: Cause) {
        let Some(Asked { tx, request, .. }) = self.exchange.asked.take() else { return };
        let response = Response::to(&request, status);
        self.reply_with(desk, tx, refusal(response, cause));
    }
}
