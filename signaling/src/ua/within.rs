//! A request within a dialog, whatever the leg's state: RFC 3261 §12.2.2, and what each method comes to.

use dialtone_core::{Cause, HungUpBy, LegEvent};

use super::Desk;
use super::cause::reason;
use super::leg::{Leg, State};
use super::refer::ReferTo;
use super::session::Session;
use super::timers::{SessionTimer, Terms};
use crate::message::{Method, Name, Request, Response};
use crate::transaction::TxId;
use crate::wire::Path;

/// The bodies of INFO that phones send for keys: no standard says them, and everybody knows them.
const KEYS: [&str; 2] = ["application/dtmf-relay", "application/dtmf"];

impl Leg {
    /// Deals with a request of the far end.
    pub(crate) fn within(
        &mut self,
        desk: &mut Desk<'_>,
        tx: TxId,
        request: Request,
        path: Path,
        to: Option<ReferTo>,
    ) {
        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(dialog) = self.dialog(&tag) else { return self.reply(desk, tx, &request, 481) };
        if !dialog.advances(cseq) {
            let response = Response::to(&request, 500).with_reason("CSeq Out Of Order");
            return self.reply_with(desk, tx, response);
        }
        let unsupported = desk.identity.unsupported(&request);
        if !unsupported.is_empty() {
            let mut response = Response::to(&request, 420);
            response.headers.push(Name::Unsupported, unsupported.join(", "));
            return self.reply_with(desk, tx, response);
        }
        match &request.method {
            Method::Bye => self.their_bye(desk, tx, &request),
            Method::Invite => self.their_reinvite(desk, tx, request, path),
            Method::Prack => self.their_prack(desk, tx, request),
            Method::Update => self.their_update(desk, tx, request, path),
            Method::Info => self.their_info(desk, tx, &request),
            // RFC 3261 §11.2: as an INVITE would be answered.
            Method::Options => {
                let mut response = Response::to(&request, 200);
                desk.identity.capabilities(&mut response);
                self.reply_with(desk, tx, response);
            }
            Method::Refer => self.their_refer(desk, tx, request, path, to),
            Method::Subscribe | Method::Publish if is_bad_event(&request) => {
                self.reply_with(desk, tx, bad_event(&request));
            }
            Method::Other(_) => self.reply(desk, tx, &request, 501),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Message => self.reply(desk, tx, &request, 405),
        }
    }

    /// Their BYE (RFC 3261 §15.1.2).
    fn their_bye(&mut self, desk: &mut Desk<'_>, tx: TxId, request: &Request) {
        match &self.state {
            State::Offered(_) => {
                // RFC 3261 §15: a caller may end an early dialog with BYE.
                self.reply(desk, tx, request, 200);
                return self.cancelled(desk, &request.headers);
            }
            // A callee must not, before it has answered.
            State::Calling(_) | State::Gone => return self.reply(desk, tx, request, 481),
            State::Up(_) => {}
        }
        self.refuse_change(desk, 487, Cause::NormalClearing);
        self.reply(desk, tx, request, 200);
        self.exchange.stop(desk);
        if let State::Up(session) = std::mem::replace(&mut self.state, State::Gone) {
            desk.remember(&session.dialog);
            self.refers.outlive(&session.dialog);
        }
        let cause = reason(&request.headers).unwrap_or(Cause::NormalClearing);
        self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::Phone });
    }

    /// Their INFO: keys are taken and counted; packages we have none (RFC 6086 §4.2.2).
    fn their_info(&mut self, desk: &mut Desk<'_>, tx: TxId, request: &Request) {
        if request.headers.has(&Name::InfoPackage) {
            let mut response = Response::to(request, 469);
            response.headers.push(Name::RecvInfo, "");
            return self.reply_with(desk, tx, response);
        }
        let typed = request.headers.has(&Name::ContentType);
        if !typed && request.body.is_empty() {
            return self.reply(desk, tx, request, 200);
        }
        if typed && KEYS.iter().any(|kind| request.headers.has_content_type(kind)) {
            *desk.info_keys += 1;
            return self.reply(desk, tx, request, 200);
        }
        let mut response = Response::to(request, 415);
        response.headers.push(Name::Accept, KEYS.join(", "));
        self.reply_with(desk, tx, response);
    }

    /// Answers with a status and nothing else.
    pub(crate) fn reply(&self, desk: &mut Desk<'_>, tx: TxId, request: &Request, status: u16) {
        self.reply_with(desk, tx, Response::to(request, status));
    }

    /// The same, and why (RFC 3261 §20.43).
    pub(crate) fn reply_why(&self, desk: &mut Desk<'_>, tx: TxId, request: &Request, status: u16, why: &str) {
        self.reply_with(desk, tx, desk.identity.unusable(request, status, why));
    }

    /// Another one is not answered yet: come back (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(crate) fn reply_later(&self, desk: &mut Desk<'_>, tx: TxId, request: &Request) {
        let mut response = Response::to(request, 500);
        response.headers.push(Name::RetryAfter, desk.tokens.below(10).to_string());
        self.reply_with(desk, tx, response);
    }

    /// Answers with this, completed by what every answer carries.
    pub(crate) fn reply_with(&self, desk: &mut Desk<'_>, tx: TxId, mut response: Response) {
        response.tag_to(|| &self.tag);
        desk.identity.sign(&mut response);
        desk.respond(tx, &response);
    }

    /// The session timer, once there is a session.
    pub(crate) fn timer(&mut self) -> Option<&mut SessionTimer> {
        self.session().map(|session: &mut Session| &mut session.timer)
    }

    /// What a request asks of the session timer; `Err` is the least interval that we take.
    pub(crate) fn terms_of(
        &self,
        desk: &Desk<'_>,
        request: &Request,
    ) -> Result<Option<Terms>, std::time::Duration> {
        match &self.state {
            State::Up(_) => Terms::of(desk.policy, &request.headers).map(Some),
            State::Offered(_) | State::Calling(_) | State::Gone => Ok(None),
        }
    }

    /// Restarts the session timer with what a request asked for, and says so in its 2xx (RFC 4028 §9).
    pub(crate) fn write_timer(&mut self, desk: &Desk<'_>, request: &Request, response: &mut Response) {
        if let Ok(Some(terms)) = self.terms_of(desk, request)
            && let Some(timer) = self.timer()
        {
            timer.accept(desk.now.mono, terms);
            terms.write(&mut response.headers);
        }
    }
}

/// The one event package that we have (RFC 3515 §3).
const EVENTS: &str = "refer";

/// Whether a SUBSCRIBE or PUBLISH is about a package that we do not have, or does not say about which.
pub(crate) fn is_bad_event(request: &Request) -> bool {
    !request.headers.bare(&Name::Event).is_some_and(|event| event.eq_ignore_ascii_case(EVENTS))
}

/// The refusal that it is owed (RFC 6665 §8.2.1, RFC 3903 §6), with what there is instead (§8.2.2).
pub(crate) fn bad_event(request: &Request) -> Response {
    let mut response = Response::to(request, 489);
    response.headers.push(Name::AllowEvents, EVENTS);
    response
}
