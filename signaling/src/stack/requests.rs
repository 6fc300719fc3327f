//! A request outside of what transactions and legs know: within a dialog, a registration, a call.
//! RFC 3261 §8.2 in its own order: the method, what is required, who asks.

use std::sync::Arc;

use dialtone_core::{Journey, LegEvent, Mono, Now, Number};

use super::{SipOutput, Stack, received};
use crate::message::{MAX_FORWARDS_DEFAULT, Method, Name, Request, Response, Scheme, Via};
use crate::registrar::{Changes, Registration};
use crate::sdp::CONTENT_TYPE;
use crate::transaction::{Lookup, TxId};
use crate::ua::{Body, Dialog, Leg, Offered, State, admit, bad_event, caller, diversion, is_bad_event};
use crate::wire::{Credentials, Path, Transport};

/// Extensions that a REGISTER may require: RFC 3327, RFC 5626, RFC 5627.
const REGISTRAR: [&str; 3] = ["path", "outbound", "gruu"];

impl Stack {
    /// The answer to what belongs to nothing that we know, and to a ping. Nobody had to prove anything to send
    /// it, so that it must not take a place in the table of transactions.
    pub(super) fn answer_without_memory(
        &mut self,
        now: Mono,
        request: &Request,
        key: &Lookup,
        path: Path,
    ) -> Option<Response> {
        let in_dialog = || request.to().is_ok_and(|to| to.tag().is_some());
        let mut response = match &request.method {
            Method::Ack => return None,
            _ if self.tx.knows(key) => return None,
            Method::Cancel if self.tx.has_invite_of(request) => return None,
            Method::Cancel => Response::to(request, 481),
            _ if in_dialog()
                && let Some(leg) = self.dialog_of(request) =>
            {
                // A call may always end.
                if request.method == Method::Bye || self.tx.has_room_of(leg) {
                    return None;
                }
                self.refused += 1;
                let mut response = Response::to(request, 503);
                response.headers.push(Name::RetryAfter, "5");
                response
            }
            // A BYE that crossed ours is no mistake of whoever sent it.
            _ if in_dialog() && self.has_left(now, request, path) => Response::to(request, 200),
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

    fn has_left(&mut self, now: Mono, request: &Request, path: Path) -> bool {
        let patience = self.tx.timing().patience();
        self.ended.knows(now, request, path.remote.ip(), patience)
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
            // Only who talks can be transferred; nobody is called on another's behalf.
            Method::Refer => {
                return self.respond(
                    now,
                    tx,
                    Response::to(&request, 403).with_reason("REFER Outside A Call"),
                );
            }
            Method::Subscribe | Method::Publish if is_bad_event(&request) => {
                return self.respond(now, tx, bad_event(&request));
            }
            // RFC 6665 §4.1.3: of a subscription that we do not have.
            Method::Notify => return self.respond(now, tx, Response::to(&request, 481)),
            // RFC 3261 §8.2.1: known, and not here; the answer's Allow says what is.
            Method::Prack
            | Method::Subscribe
            | Method::Publish
            | Method::Info
            | Method::Message
            | Method::Update => return self.respond(now, tx, Response::to(&request, 405)),
        }
        if self.offered.contains_key(&*Lookup::merged(&request)) {
            // RFC 3261 §8.2.2.2: a fork on the way brought the same call twice.
            return self.respond(now, tx, Response::to(&request, 482));
        }
        if request.method == Method::Invite && self.has_come_back(&request) {
            return self.respond(now, tx, Response::to(&request, 482));
        }
        if let Some(response) = self.requires_too_much(&request) {
            return self.respond(now, tx, response);
        }
        if path.transport != Transport::Tls && request.uri.is_sips() {
            // RFC 3261 §26.2.2, RFC 5630 §5.3: somebody has read on the way what nobody may read.
            let mut response = Response::to(&request, 480).with_reason("SIPS Needs TLS");
            response.headers.push(Name::Warning, self.config.identity.warning(380, "SIPS Not Allowed"));
            return self.respond(now, tx, response);
        }
        // A call goes on from here, and may come back; everything else has arrived, however far it came.
        if request.method == Method::Invite && request.max_forwards() == Ok(0) {
            return self.respond(now, tx, Response::to(&request, 483));
        }
        match self.authenticate(now, &request, path, credentials) {
            Err(response) => self.respond(now, tx, *response),
            Ok(account) if self.policy(&account).is_some_and(|policy| !policy.allows(path.transport)) => {
                self.respond(now, tx, not_over(&request, path));
            }
            Ok(account) if request.method == Method::Register => {
                self.register(now, tx, &request, account, path, out);
            }
            Ok(account) => {
                if let Ok(via) = request.via() {
                    self.registrar.reuse(&account, via, path, |way| self.ways.stands(way));
                }
                self.invite(now, tx, request, account, path, out);
            }
        }
    }

    /// Whether an INVITE is one of ours, which others sent round to us (RFC 3261 §16.3 step 4): a Via of it is ours,
    /// or its dialog would be one that we began.
    fn has_come_back(&self, request: &Request) -> bool {
        let began = || {
            let tag = request.from().ok()?.tag()?;
            let leg = self.legs.get(self.dialogs.get(tag)?)?;
            Some(leg.sent(request.call_id().ok()?))
        };
        let further = || {
            let vias = request.headers.elements(&Name::Via).skip(1);
            vias.filter_map(|via| Via::parse(&String::from_utf8_lossy(via)).ok())
        };
        request.via().is_ok_and(|via| self.tx.has_sent_invite(via))
            || further().any(|via| self.tx.has_sent_invite(&via))
            || began() == Some(true)
    }

    /// The refusal that a request is owed when it requires an extension that we do not have
    /// (RFC 3261 §8.2.2.3).
    fn requires_too_much(&self, request: &Request) -> Option<Response> {
        let mut unsupported = self.config.identity.unsupported(request);
        if request.method == Method::Register {
            unsupported.retain(|option| !REGISTRAR.iter().any(|known| known.eq_ignore_ascii_case(option)));
        }
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
        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(known) = leg.dialog(&tag).map(|dialog| dialog.path) else { return };
        let Some(endpoint) = self.legs.get(&id).map(|leg| &leg.endpoint) else { return };
        if self.policy(endpoint).is_some_and(|policy| !policy.allows(path.transport)) {
            return self.respond(now, tx, not_over(&request, path));
        }
        // The peer of the dialog is known by its connection, or by its address and port; whoever else comes must prove
        // who they are, for many can be behind one address (RFC 3261 §22.1).
        if !known.is_same_peer(path) {
            let endpoint = endpoint.clone();
            let response = match self.authenticate(now, &request, path, credentials) {
                Ok(account) if account == endpoint => None,
                Ok(_) => Some(self.challenged(now, &request, path, false)),
                Err(response) => Some(*response),
            };
            if let Some(response) = response {
                return self.respond(now, tx, response);
            }
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.moves(known, path);
            }
        }
        let to = (request.method == Method::Refer).then(|| self.refer_to(&request, path));
        self.with_leg(now, id, out, |leg, desk| leg.within(desk, tx, request, path, to));
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
        // RFC 3261 §10.2: an address-of-record is a SIP or SIPS URI.
        if !request.to().is_ok_and(|to| to.uri.scheme.is_sip()) {
            return self.respond(now, tx, Response::to(request, 400).with_reason("To Is No SIP Address"));
        }
        // RFC 3261 §10.3 step 3: who may register what is who owns it.
        let address = request.to().ok().and_then(|to| to.uri.user_decoded().map(|user| user.into_owned()));
        if address.as_ref() != Some(&account) {
            return self.respond(now, tx, Response::to(request, 403));
        }
        let subscriber = self.subscribers.by_number.get(&account);
        let policies = subscriber.map(|subscriber| (subscriber.contacts, subscriber.reach.nat));
        let (policy, nat) = policies.unwrap_or_default();
        let crowded = self.registrar.current(&account).len() >= policy.contacts_max;
        let asked = Registration {
            tx,
            request,
            endpoint: &account,
            policy,
            nat,
            path,
            lost: if crowded { self.unreachable(&account) } else { Vec::new() },
            identity: &self.config.identity,
        };
        let mut changes = Changes::default();
        let answer = self.registrar.register(now.mono, &asked, &mut changes);
        self.calls_follow(&account, &std::mem::take(&mut changes.moved));
        self.publish(now, changes, false, out);
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
        let subscriber = self.subscribers.by_number.get(&account);
        let asserts = subscriber.map(|subscriber| subscriber.identity).unwrap_or_default();
        let name = subscriber.map_or("", |subscriber| &subscriber.name);
        let Some(caller) = caller(&invite, &account, name, asserts.trusted) else {
            // Nobody calls under another's number.
            return self.respond(now, tx, Response::to(&invite, 403).with_reason("From Is Not The Account"));
        };
        if invite.dialog_target().is_err() {
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
        let Ok(uri) = invite.uri.parse() else {
            return self.respond(now, tx, Response::to(&invite, 416));
        };
        // RFC 5627 §6.1: to one device and to no other.
        let is_gruu = uri.params.has("gr") && self.config.identity.is_ours(&uri);
        let (dialed, device) = match self.registrar.gruu(&uri).filter(|_| is_gruu) {
            Some((endpoint, device)) => (endpoint, Some(device)),
            None if is_gruu => return self.respond(now, tx, Response::to(&invite, 404)),
            None => (uri.user_decoded().map(|user| user.into_owned()).unwrap_or_default(), None),
        };
        if !invite.headers.accepts(CONTENT_TYPE) {
            // RFC 4475 §3.3.15: whatever we answered, the caller could not read it.
            let response = self.config.identity.unusable(&invite, 406, "only SDP is spoken here");
            return self.respond(now, tx, response);
        }
        let reliability = subscriber.map(|subscriber| subscriber.reliability).unwrap_or_default();
        let admitted = match admit(&self.config.calls, reliability, &invite) {
            Ok(admitted) => admitted,
            Err(response) => return self.respond(now, tx, *response),
        };
        let (tag, rseq) = (self.tokens.tag(), self.tokens.below(1 << 30));
        let nat = subscriber.map(|subscriber| subscriber.reach.nat).unwrap_or_default();
        let nat = nat.of(&invite, path);
        let Ok(dialog) = Dialog::uas(&invite, path, nat, &tag) else {
            return self.respond(now, tx, Response::to(&invite, 400));
        };
        let replaces = match self.replaced(&invite) {
            Ok(replaces) => replaces,
            Err(response) => return self.respond(now, tx, *response),
        };
        let id = self.leg_ids.leg();
        let session_id = self.tokens.session_id();
        let mut leg = Leg::new(id, account.clone(), tag.clone(), session_id, reliability);
        leg.nat = nat;
        leg.asserts = asserts;
        leg.peer.heed(&invite.headers);
        let offer = match leg.read_body(&invite.headers, &invite.body) {
            Body::Empty => None,
            Body::Audio(description) => Some(description),
            Body::Unusable(status, why) => {
                return self.respond(now, tx, self.config.identity.unusable(&invite, status, why));
            }
        };
        let hops = invite.max_forwards().unwrap_or(MAX_FORWARDS_DEFAULT);
        let diversions = if asserts.trusted { diversion::read(&invite.headers) } else { Vec::new() };
        let journey = Journey { hops, diversions, secure: uri.scheme == Scheme::Sips };
        self.tx.set_owner(tx, id);
        received(out, id, path.remote, invite.clone());
        self.dialogs.insert(tag, id);
        let merged = Lookup::merged(&invite).share();
        self.offered.insert(Arc::clone(&merged), id);
        leg.offered = Some(merged);
        let offered = Offered::new(tx, invite, dialog, admitted, offer.is_some(), rseq);
        let early_offer = offered.early_offer();
        leg.state = State::Offered(Box::new(offered));
        self.legs.insert(id, Box::new(leg));
        let ipv6 = path.remote.is_ipv6();
        out.push(SipOutput::Leg {
            leg: id,
            event: LegEvent::Offered {
                endpoint: account,
                caller,
                dialed,
                device,
                offer,
                early_offer,
                ipv6,
                over_tls: path.transport == Transport::Tls,
                journey,
                replaces,
            },
        });
    }

    fn capabilities(&self, request: &Request) -> Response {
        let mut response = Response::to(request, 200);
        self.config.identity.capabilities(&mut response);
        response
    }
}

/// The refusal of what an extension may not send over such a transport.
fn not_over(request: &Request, path: Path) -> Response {
    Response::to(request, 403).with_reason(&format!("Not Over {}", path.transport.via()))
}
