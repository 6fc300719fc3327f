//! A request outside of what transactions and legs know: within a dialog, a registration, a call.
//! RFC 3261 §8.2 in its own order: the method, what is required, who asks.

use dialtone_core::{LegEvent, Now, Number, Party};

use super::{Merge, SipOutput, Stack, publish, received};
use crate::auth::challenge;
use crate::message::{Method, Name, Request, Response};
use crate::registrar::{Changes, Registration};
use crate::transaction::TxId;
use crate::ua::{Body, Leg, Offered, State};
use crate::wire::{Credentials, Path};

impl Stack {
    /// The answer to what belongs to nothing that we know, and to a ping. Nobody had to prove anything to send
    /// it, so that it must not take a place in the table of transactions.
    pub(super) fn answer_without_memory(&self, request: &Request) -> Option<Response> {
        let in_dialog = || request.to().is_ok_and(|to| to.tag().is_some());
        let mut response = match &request.method {
            Method::Ack => return None,
            _ if self.tx.knows(request) => return None,
            Method::Cancel if self.tx.has_invite_of(request) => return None,
            Method::Cancel => Response::to(request, 481),
            _ if in_dialog() && self.dialog_of(request).is_some() => return None,
            _ if in_dialog() => Response::to(request, 481),
            Method::Options => match self.requires_too_much(request) {
                Some(refusal) => refusal,
                None => self.capabilities(request),
            },
            Method::Register
            | Method::Invite
            | Method::Bye
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Update
            | Method::Other(_) => return None,
        };
        self.config.identity.sign(&mut response);
        Some(response)
    }

    /// A new request: within a dialog, or about something new.
    pub(super) fn request(
        &mut self,
        now: Now,
        tx: TxId,
        request: Request,
        path: Path,
        credentials: Credentials,
        out: &mut Vec<SipOutput>,
    ) {
        if request.to().is_ok_and(|to| to.tag().is_some()) {
            return self.within_dialog(now, tx, request, path, credentials, out);
        }
        // RFC 3261 §8.2: the method is looked at first, then what the request requires.
        match &request.method {
            Method::Register | Method::Invite => {}
            // An OPTIONS has been answered before it came here.
            Method::Bye | Method::Ack | Method::Cancel | Method::Options => {
                return self.respond(now, tx, Response::to(&request, 481));
            }
            Method::Other(_) => return self.respond(now, tx, Response::to(&request, 501)),
            // RFC 3261 §8.2.1: known, and not here; the answer's Allow says what is.
            Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Update => return self.respond(now, tx, Response::to(&request, 405)),
        }
        if self.offered.contains_key(&Merge::of(&request)) {
            // RFC 3261 §8.2.2.2: a fork on the way brought the same call twice.
            return self.respond(now, tx, Response::to(&request, 482));
        }
        if let Some(response) = self.requires_too_much(&request) {
            return self.respond(now, tx, response);
        }
        // A call goes on from here, and may come back; everything else has arrived, however far it came.
        if request.method == Method::Invite && request.max_forwards() == Ok(0) {
            return self.respond(now, tx, Response::to(&request, 483));
        }
        match self.authenticate(now, &request, path, credentials) {
            Err(response) => self.respond(now, tx, *response),
            Ok(account) if request.method == Method::Register => {
                self.register(now, tx, &request, account, path, out);
            }
            Ok(account) => {
                if let Ok(via) = request.via() {
                    self.registrar.reuse(&account, &via, path, |way| self.ways.stands(way));
                }
                self.invite(now, tx, request, account, path, out);
            }
        }
    }

    /// The refusal that a request is owed when it requires an extension that we do not have
    /// (RFC 3261 §8.2.2.3).
    fn requires_too_much(&self, request: &Request) -> Option<Response> {
        let unsupported = self.config.identity.unsupported(request);
        if unsupported.is_empty() {
            return None;
        }
        let mut response = Response::to(request, 420);
        response.headers.push(Name::Unsupported, unsupported.join(", "));
        Some(response)
    }

    fn within_dialog(
        &mut self,
        now: Now,
        tx: TxId,
        request: Request,
        path: Path,
        credentials: Credentials,
        out: &mut Vec<SipOutput>,
    ) {
        let Some(id) = self.dialog_of(&request) else {
            return self.respond(now, tx, Response::to(&request, 481));
        };
        self.tx.set_owner(tx, id);
        received(out, id, path.remote, request.clone());
        let Some(leg) = self.legs.get(&id) else { return };
        let peer = match &leg.state {
            State::Up(session) => session.dialog.path.remote.ip(),
            State::Offered(offered) => offered.path.remote.ip(),
            State::Calling(_) | State::Gone => return self.respond(now, tx, Response::to(&request, 481)),
        };
        // The peer of the dialog is known by where it is; anybody else must prove who they are.
        if peer != path.remote.ip() {
            let endpoint = leg.endpoint.clone();
            let response = match self.authenticate(now, &request, path, credentials) {
                Ok(account) if account == endpoint => None,
                Ok(_) => Some(self.challenged(now, &request, path, false)),
                Err(response) => Some(*response),
            };
            if let Some(response) = response {
                return self.respond(now, tx, response);
            }
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let State::Up(session) = &mut leg.state else {
            // RFC 3261 §15: a caller may end an early dialog with BYE; nothing else is for here yet.
            if request.method == Method::Bye {
                self.respond(now, tx, Response::to(&request, 200));
                return self.with_leg(now, id, out, |leg, desk| leg.cancelled(desk));
            }
            return self.respond(now, tx, Response::to(&request, 481));
        };
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        if !session.dialog.advances(cseq) {
            return self.respond(now, tx, Response::to(&request, 500).with_reason("CSeq Out Of Order"));
        }
        if let Some(response) = self.requires_too_much(&request) {
            return self.respond(now, tx, response);
        }
        match &request.method {
            Method::Bye => self.with_leg(now, id, out, |leg, desk| leg.their_bye(desk, tx, &request, path)),
            Method::Invite => {
                self.with_leg(now, id, out, |leg, desk| leg.their_reinvite(desk, tx, request, path))
            }
            Method::Options => self.respond(now, tx, self.capabilities(&request)),
            Method::Other(_) => self.respond(now, tx, Response::to(&request, 501)),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Update => self.respond(now, tx, Response::to(&request, 405)),
        }
    }

    fn register(
        &mut self,
        now: Now,
        tx: TxId,
        request: &Request,
        account: Number,
        path: Path,
        out: &mut Vec<SipOutput>,
    ) {
        // RFC 3261 §10.3 step 3: who may register what is who owns it.
        let address = request.to().ok().and_then(|to| to.uri.user_decoded().map(|user| user.into_owned()));
        if address.as_ref() != Some(&account) {
            return self.respond(now, tx, Response::to(request, 403));
        }
        let policy = self.subscribers.by_number.get(&account).map(|subscriber| subscriber.contacts);
        let asked =
            Registration { tx, request, endpoint: &account, policy: policy.unwrap_or_default(), path };
        let mut changes = Changes::default();
        let answer = self.registrar.register(now.mono, &asked, &mut changes);
        publish(changes, out);
        if let Some(response) = answer {
            self.respond(now, tx, response);
        }
    }

    fn invite(
        &mut self,
        now: Now,
        tx: TxId,
        invite: Request,
        account: Number,
        path: Path,
        out: &mut Vec<SipOutput>,
    ) {
        let from = invite.from().ok().and_then(|from| from.uri.user_decoded().map(|user| user.into_owned()));
        if from.as_ref() != Some(&account) {
            // Nobody calls under another's number.
            return self.respond(now, tx, Response::to(&invite, 403).with_reason("From Is Not The Account"));
        }
        if invite.headers.contact().is_err() {
            return self.respond(
                now,
                tx,
                Response::to(&invite, 400).with_reason("Missing Or Malformed Contact"),
            );
        }
        // The dialog is made when the call is answered: what it is made of is read while it can be refused.
        if invite.headers.routes(&Name::RecordRoute).is_err() {
            return self.respond(now, tx, Response::to(&invite, 400).with_reason("Malformed Record-Route"));
        }
        if self.legs.len() >= self.config.legs_max {
            self.refused += 1;
            let mut response = Response::to(&invite, 503);
            response.headers.push(Name::RetryAfter, "5");
            return self.respond(now, tx, response);
        }
        let dialed = match invite.uri.parse() {
            Ok(uri) => uri.user_decoded().map(|user| user.into_owned()).unwrap_or_default(),
            Err(_) => return self.respond(now, tx, Response::to(&invite, 416)),
        };
        let id = self.leg_ids.leg();
        let session_id = self.tokens.session_id();
        let mut leg = Leg::new(id, account.clone(), session_id, State::Gone);
        let offer = match leg.read_body(invite.headers.content_type(), &invite.body) {
            Body::Empty => None,
            Body::Audio(description) => Some(description),
            Body::Unusable(status, why) => {
                let mut response = Response::to(&invite, status);
                response.headers.push(Name::Warning, self.config.identity.warning(why));
                if status == 415 {
                    response.headers.push(Name::Accept, "application/sdp"); // RFC 3261 §21.4.13
                }
                return self.respond(now, tx, response);
            }
        };
        self.tx.set_owner(tx, id);
        received(out, id, path.remote, invite.clone());
        let name = self.subscribers.by_number.get(&account).map(|subscriber| subscriber.name.clone());
        let caller = Party { number: account.clone(), name: name.unwrap_or_default() };
        let has_offer = offer.is_some();
        let tag = self.tokens.tag();
        self.dialogs.insert(tag.clone(), id);
        self.offered.insert(Merge::of(&invite), id);
        leg.state = State::Offered(Box::new(Offered { tx, invite, path, tag, has_offer, provisional: None }));
        self.legs.insert(id, Box::new(leg));
        let ipv6 = path.remote.is_ipv6();
        out.push(SipOutput::Leg {
            leg: id,
            event: LegEvent::Offered { endpoint: account, caller, dialed, offer, ipv6 },
        });
    }

    /// The account that a request is of, or the answer that it is owed.
    fn authenticate(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        credentials: Credentials,
    ) -> Result<Number, Box<Response>> {
        match credentials {
            Credentials::Good { account, nonce, nonce_count } => {
                if self.nonces.accept(&nonce, nonce_count, now.mono) {
                    return Ok(account);
                }
                // RFC 7616 §3.4: a count that was used is a replay, or a phone that does not count.
                self.replayed += 1;
                Err(Box::new(self.challenged(now, request, path, true)))
            }
            Credentials::None => Err(Box::new(self.challenged(now, request, path, false))),
        }
    }

    fn challenged(&mut self, now: Now, request: &Request, path: Path, stale: bool) -> Response {
        let accounts = &self.subscribers.accounts;
        let salt = self.tokens.salt();
        let nonce = self.config.nonce_key.issue(path.remote.ip(), accounts.realm(), now.wall, salt);
        let from = request.from().ok().and_then(|from| from.uri.user_decoded().map(|user| user.into_owned()));
        let agent = request.headers.text(&Name::UserAgent);
        let mut response = Response::to(request, 401);
        for challenge in challenge(accounts, &from.unwrap_or_default(), agent, &nonce, stale) {
            response.headers.push(Name::WwwAuthenticate, challenge.to_string());
        }
        response
    }

    fn capabilities(&self, request: &Request) -> Response {
        let mut response = Response::to(request, 200);
        response.headers.push(Name::Accept, "application/sdp");
        response
    }
}
