//! What we ask of the far end.

use std::time::Duration;

use dialtone_core::{Cause, HungUpBy, LegEvent, Mono, Party};

use super::super::Desk;
use super::super::cause::{cause_of, reason_value};
use super::super::leg::{Body, Leg, State};
use super::super::policy::{Reliability, SendIdentity};
use super::{Asking, Connected, Detour, Patience, Wish};
use crate::message::{Method, Name, Response};
use crate::sdp::CONTENT_TYPE;
use crate::transaction::{Failure, TxId};

/// How often a change of ours is sent before the peer's "later" counts as "no".
const TRIES_MAX: u32 = 5;

/// The longest time that a peer may ask us to wait before the next try (RFC 3261 §14.2).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

impl Leg {
    /// Asks for a change, or refreshes the session: by re-INVITE once the call is answered, by UPDATE before
    /// (RFC 3311 §5.1) and where nothing changes.
    pub(crate) fn ask(&mut self, desk: &mut Desk<'_>, wish: Wish, tries: u32) {
        if let (Some(Asking::Sent { .. }), Wish::Offer(offer)) = (&self.exchange.asking, &wish) {
            self.exchange.next = Some(offer.clone());
            return;
        }
        self.displace(desk, &wish);
        match self.method_for(&wish) {
            Some(method) => self.send_change(desk, method, wish, tries),
            None if self.is_answered_soon() => {
                // RFC 3261 §14.1: not while another INVITE of the dialog is in progress, either way.
                let at = desk.now.mono + desk.tx.timing().t1;
                self.exchange.later(wish, at, tries);
            }
            None => self.tell(desk, LegEvent::ModifyRefused { cause: Cause::FacilityNotImplemented }),
        }
    }

    /// Tells them whom they talk with from now on, by a refresh (RFC 5876 §3.2), if they are told such things.
    pub(crate) fn connected(&mut self, desk: &mut Desk<'_>, party: Party) {
        if self.tells(&party) {
            self.exchange.connected = Some(Connected { party, sent: false });
            self.ask_next(desk);
        }
    }

    /// Keeps in mind whom they are told that they talk with; whether that is news to them, and they are told such things.
    pub(crate) fn tells(&mut self, party: &Party) -> bool {
        let news = self.asserts.sends != SendIdentity::None && self.exchange.told.as_ref() != Some(party);
        if news {
            self.exchange.told = Some(party.clone());
        }
        news
    }

    /// A refresh that waits gives way to a change, which refreshes as well if it is granted.
    fn displace(&mut self, desk: &Desk<'_>, wish: &Wish) {
        let displaced = |asking: &mut Asking| matches!(asking, Asking::Later { wish: Wish::Refresh, .. });
        if matches!(wish, Wish::Offer(_))
            && self.exchange.asking.take_if(displaced).is_some()
            && let Some(timer) = self.timer()
        {
            timer.later(desk.now.mono);
        }
    }

    /// How a wish can be sent now.
    fn method_for(&mut self, wish: &Wish) -> Option<Method> {
        let undecided = self.exchange.asked.is_some();
        let updates = self.peer.updates.then_some(Method::Update);
        match &mut self.state {
            State::Up(session) if session.is_quiet() && !undecided => match wish {
                Wish::Refresh => updates.filter(|_| !session.timer.by_invite()).or(Some(Method::Invite)),
                Wish::Offer(_) => Some(Method::Invite),
            },
            State::Offered(offered) if offered.is_agreed() && !offered.is_accepted() && !undecided => updates,
            State::Calling(calling) if !undecided => {
                updates.filter(|_| calling.forks.heard().is_some_and(|fork| fork.settled))
            }
            State::Up(_) | State::Offered(_) | State::Calling(_) | State::Gone => None,
        }
    }

    /// Whether a re-INVITE will be possible in a moment.
    fn is_answered_soon(&self) -> bool {
        match &self.state {
            State::Up(_) => true,
            State::Offered(offered) => offered.is_accepted(),
            State::Calling(_) | State::Gone => false,
        }
    }

    fn send_change(&mut self, desk: &mut Desk<'_>, method: Method, wish: Wish, tries: u32) {
        let dialog = match &mut self.state {
            State::Offered(offered) => &mut offered.dialog,
            State::Up(session) => &mut session.dialog,
            State::Calling(calling) => match calling.forks.heard() {
                Some(fork) => &mut fork.dialog,
                None => return,
            },
            State::Gone => return,
        };
        desk.look_for(dialog);
        let mut request = dialog.request(method.clone(), desk.identity, desk.tokens);
        let (path, target) = (dialog.path, dialog.target.clone());
        let course = dialog.course(desk.ways, desk.identity);
        let body = match &wish {
            Wish::Offer(offer) => Some(self.sdp.offer(&desk.identity.described(offer, path))),
            Wish::Refresh if method == Method::Invite => self.sdp.refresh(),
            Wish::Refresh => None,
        };
        request.headers.push(Name::Contact, self.contact(desk, path, &target));
        desk.identity.allow(&mut request.headers);
        // RFC 3262 §4: who offers reliable answers must acknowledge them; those to a change say nothing that counts.
        let reliability = if method == Method::Invite { Reliability::Off } else { self.reliability };
        desk.identity.supported(&mut request.headers, reliability);
        if let State::Up(session) = &self.state {
            session.timer.write(&mut request.headers);
        }
        if let (Some(connected), State::Up(session)) = (&mut self.exchange.connected, &self.state) {
            connected.sent = true;
            let side = if session.owns_call_id { "calling" } else { "called" };
            desk.identity.assert(&mut request.headers, self.asserts, &connected.party, side);
        }
        if let Some(body) = body {
            request.set_body(CONTENT_TYPE, body);
        }
        let tx = desk.tx.send(desk.now.mono, request, course, Some(self.id), desk.tx_out);
        let (tries, patience, detour) = (tries + 1, Patience::Transaction, None);
        self.exchange.asking = Some(Asking::Sent { tx, method, wish, tries, patience, detour });
    }

    /// The far end says something about our change.
    pub(crate) fn change_answered(&mut self, desk: &mut Desk<'_>, tx: TxId, response: &Response) {
        if response.is_provisional() {
            return self.change_progresses(desk);
        }
        if let Some(Detour { path, opens, failure }) = self.exchange.take_detour().map(|detour| *detour) {
            match response.status {
                200..=299 => {
                    if let Some(dialog) = self.dialog(&response.to_tag()) {
                        dialog.goes_on(path, opens);
                    }
                }
                408 | 481 => return self.change_failed(desk, tx, failure),
                _ => {}
            }
        }
        let Some(Asking::Sent { method, wish, tries, .. }) = self.exchange.asking.take() else { return };
        let now = desk.now.mono;
        match response.status {
            200..=299 => return self.change_granted(desk, tx, &method, &wish, response),
            422 if tries < TRIES_MAX && self.timer().is_some_and(|timer| timer.raise(&response.headers)) => {
                return self.ask(desk, wish, tries);
            }
            405 | 501 if method == Method::Update => {
                self.peer.updates = false;
                return self.ask(desk, wish, tries);
            }
            491 if tries < TRIES_MAX => {
                // RFC 3261 §14.1: who chose the Call-ID waits 2.1 to 4 s, the other up to 2 s, in 10 ms steps.
                let owns = match &self.state {
                    State::Up(session) => session.owns_call_id,
                    State::Calling(_) => true,
                    State::Offered(_) | State::Gone => false,
                };
                let steps = if owns { 210 + desk.tokens.below(191) } else { desk.tokens.below(201) };
                return self.exchange.later(wish, now + Duration::from_millis(u64::from(steps) * 10), tries);
            }
            500 | 503 if tries < TRIES_MAX => {
                if let Some(wait) = response.headers.retry_after().filter(|wait| *wait <= RETRY_AFTER_MAX) {
                    return self.exchange.later(wish, now + wait.max(desk.tx.timing().t1), tries);
                }
            }
            _ => {}
        }
        let cause = cause_of(response.status, &response.headers);
        // RFC 3261 §12.2.1.2, RFC 4028 §10: the peer knows no such dialog, or does not answer any more.
        if matches!(response.status, 408 | 481) && matches!(self.state, State::Up(_)) {
            self.bye(desk, cause);
            return self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::Phone });
        }
        self.change_refused(desk, &method, &wish, (cause, response.headers.retry_after()));
    }

    /// By no way has it reached whoever has the dialog.
    fn change_failed(&mut self, desk: &mut Desk<'_>, tx: TxId, failure: Failure) {
        match failure {
            Failure::Refused(response) => self.change_answered(desk, tx, &response),
            Failure::Silent => self.change_timed_out(desk, tx, false),
            Failure::Unsent | Failure::Unreachable => self.change_timed_out(desk, tx, true),
        }
    }

    /// They are at it.
    fn change_progresses(&mut self, desk: &Desk<'_>) {
        if let Some(Asking::Sent { method: Method::Invite, patience, .. }) = &mut self.exchange.asking
            && !matches!(patience, Patience::Cancelled(_))
        {
            *patience = Patience::Until(desk.now.mono + desk.tx.timing().patience());
        }
    }

    fn change_granted(
        &mut self,
        desk: &mut Desk<'_>,
        tx: TxId,
        method: &Method,
        wish: &Wish,
        response: &Response,
    ) {
        self.peer.heed(&response.headers);
        let (id, now) = (self.id, desk.now.mono);
        let tag = response.to_tag();
        if let Some(dialog) = self.dialog(&tag) {
            let way = dialog.path;
            dialog.refresh(response.headers.contact().ok(), way);
        }
        if let State::Up(session) = &mut self.state {
            session.timer.granted(now, &response.headers);
            if *method == Method::Invite {
                let cseq = response.cseq().map_or(session.dialog.local_cseq, |cseq| cseq.number);
                session.acknowledge(desk, id, tx, cseq);
            }
        }
        let refreshes = matches!(wish, Wish::Refresh);
        let body = match refreshes && *method == Method::Update {
            true => Body::Empty, // It offered nothing.
            false => self.read_answer(&response.headers, &response.body),
        };
        match (body, wish) {
            // How they take what stands: what calls wait for is the answer to what comes next (RFC 3264 §4).
            (Body::Audio(_), Wish::Refresh) if self.exchange.next.is_some() => {}
            (Body::Audio(description), _) => {
                if let State::Calling(calling) = &mut self.state
                    && let Some(fork) = calling.forks.heard()
                {
                    fork.answer = Some(description.clone());
                }
                self.tell(desk, LegEvent::Modified { description });
            }
            (Body::Empty | Body::Unusable(..), Wish::Offer(_)) => {
                self.tell(desk, LegEvent::ModifyRefused { cause: Cause::IncompatibleDestination });
            }
            (Body::Empty | Body::Unusable(..), Wish::Refresh) => {}
        }
        self.ask_next(desk);
    }

    fn change_refused(
        &mut self,
        desk: &mut Desk<'_>,
        method: &Method,
        wish: &Wish,
        (cause, wait): (Cause, Option<Duration>),
    ) {
        match wish {
            Wish::Offer(_) => self.tell(desk, LegEvent::ModifyRefused { cause }),
            Wish::Refresh => {
                if let Some(timer) = self.timer() {
                    timer.refused(desk.now.mono, *method == Method::Update, wait);
                }
            }
        }
        self.ask_next(desk);
    }

    fn ask_next(&mut self, desk: &mut Desk<'_>) {
        self.exchange.connected.take_if(|connected| connected.sent);
        if let Some(offer) = self.exchange.next.take() {
            self.ask(desk, Wish::Offer(offer), 0);
        } else if self.exchange.connected.is_some() && !self.exchange.is_asking() {
            self.ask(desk, Wish::Refresh, 0);
        }
    }

    /// Nobody answered our change.
    pub(crate) fn change_timed_out(&mut self, desk: &mut Desk<'_>, tx: TxId, unreachable: bool) {
        if let Some(detour) = self.exchange.take_detour() {
            return self.change_failed(desk, tx, detour.failure);
        }
        let Some(Asking::Sent { method, wish, .. }) = self.exchange.asking.take() else { return };
        let cause = if unreachable { Cause::DestinationOutOfOrder } else { Cause::RecoveryOnTimer };
        // RFC 3261 §8.1.3.1: no way is as good as a 503; the phone may be about to come back by another one.
        let may_come_back = unreachable && matches!(wish, Wish::Refresh);
        if matches!(self.state, State::Up(_)) && !may_come_back {
            self.bye(desk, cause);
            return self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::System });
        }
        self.change_refused(desk, &method, &wish, (cause, None));
    }

    /// Another phone took the call than the one that was asked to change.
    pub(crate) fn forget_change(&mut self, desk: &mut Desk<'_>) {
        if let Some(Asking::Sent { wish: Wish::Offer(_), .. }) = self.exchange.asking.take() {
            self.tell(desk, LegEvent::ModifyRefused { cause: Cause::AnsweredElsewhere });
        }
    }

    /// Sends what waited for its time, and gives up what has taken too long.
    pub(crate) fn expire_change(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now.mono;
        if self.exchange.deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.exchange.asking.take() {
            Some(Asking::Later { wish, tries, .. }) => self.ask(desk, wish, tries),
            Some(Asking::Sent { tx, method, wish, tries, patience, detour }) => {
                let until = match patience {
                    Patience::Until(_) => self.cancel_change(desk, tx),
                    Patience::Transaction | Patience::Cancelled(_) => None,
                };
                match until {
                    Some(until) => {
                        let patience = Patience::Cancelled(until);
                        self.exchange.asking =
                            Some(Asking::Sent { tx, method, wish, tries, patience, detour });
                    }
                    None => self.give_change_up(desk, tx, &method, &wish),
                }
            }
            None => {}
        }
    }

    /// Cancels a re-INVITE that has had its provisional answer and nothing since; gives until when its final
    /// one, most often 487, must come (RFC 3261 §9.1). A 200 that crosses the CANCEL counts.
    fn cancel_change(&mut self, desk: &mut Desk<'_>, tx: TxId) -> Option<Mono> {
        desk.tx.send_cancel(
            desk.now.mono,
            tx,
            &reason_value(Cause::RecoveryOnTimer),
            Some(self.id),
            desk.tx_out,
        )
    }

    fn give_change_up(&mut self, desk: &mut Desk<'_>, tx: TxId, method: &Method, wish: &Wish) {
        desk.tx.abandon(tx, desk.tx_out);
        self.change_refused(desk, method, wish, (Cause::RecoveryOnTimer, None));
    }
}
