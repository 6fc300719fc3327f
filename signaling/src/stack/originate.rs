//! A call of ours begins: the INVITE, over one of the ways to its device, and over the next when that way fails
//! (RFC 5626 §7).

use dialtone_core::{Cause, ContactId, Description, HungUpBy, Journey, LegEvent, LegId, Now, Number, Party};

use super::reach::Way;
use super::{SipOutput, Stack};
use crate::message::{Method, Name, Request};
use crate::sdp::CONTENT_TYPE;
use crate::ua::{Ask, Calling, Leg, Reliability, State, diversion};
use crate::wire::Transport;

/// For whom a call of ours is made.
pub(super) struct Caller<'a> {
    pub party: &'a Party,
    pub referred_by: Option<&'a Party>,
    pub journey: &'a Journey,
}

impl Stack {
    pub(super) fn originate(
        &mut self,
        now: Now,
        id: LegId,
        (endpoint, contact): (Number, ContactId),
        caller: Caller<'_>,
        offer: &Description,
        out: &mut Vec<SipOutput>,
    ) {
        let by = HungUpBy::System;
        let refused = |cause| SipOutput::Leg { leg: id, event: LegEvent::HungUp { cause, by } };
        let mut ways = self.registrar.ways(&endpoint, contact);
        if caller.journey.secure {
            // RFC 5630 §5.3: it is there, and not for this call.
            ways.retain(|contact| self.is_over_tls(&endpoint, *contact));
        }
        if ways.is_empty() {
            return out.push(refused(Cause::SubscriberAbsent));
        }
        if self.legs.len() >= self.config.legs_max {
            self.refused += 1;
            return out.push(refused(Cause::Congestion));
        }
        let Some((way, left)) = self.first_way(&endpoint, ways, out) else {
            // RFC 3261 §21.4.18: known, and not there.
            return out.push(refused(Cause::SubscriberAbsent));
        };
        let session_id = self.tokens.session_id();
        let subscriber = self.subscribers.by_number.get(&endpoint);
        let reliability = subscriber.map(|subscriber| subscriber.reliability).unwrap_or_default();
        let asserts = subscriber.map(|subscriber| subscriber.identity).unwrap_or_default();
        let tag = self.tokens.tag();
        let identity = &self.config.identity;
        let mut from = identity.shown(caller.party);
        from.set_tag(&tag);
        let mut leg = Leg::new(id, endpoint.clone(), tag, session_id, reliability);
        leg.nat = way.nat;
        leg.asserts = asserts;
        leg.tells(caller.party);
        let path = way.course.path;
        let mut invite = Request::new(Method::Invite, way.uri.clone());
        let headers = &mut invite.headers;
        headers.push(Name::Via, identity.via(path, &self.tokens.branch()));
        way.routes.iter().for_each(|route| headers.push(Name::Route, route));
        // RFC 7332 §5: a call that goes round through other servers must end.
        headers.push(Name::MaxForwards, caller.journey.hops.to_string());
        headers.push(Name::From, from);
        headers.push(Name::To, identity.user(&endpoint, ""));
        headers.push(Name::CallId, self.tokens.call_id());
        headers.push(Name::CSeq, &b"1 INVITE"[..]);
        headers.push(Name::Contact, identity.contact(path, id, &way.uri));
        headers.push(Name::UserAgent, identity.agent());
        identity.allow(headers);
        identity.supported(headers, reliability);
        if reliability == Reliability::Required {
            headers.push(Name::Require, "100rel");
        }
        let ask = Ask::new(&self.config.calls);
        ask.write(None, headers);
        identity.assert(headers, asserts, caller.party, "calling");
        if asserts.trusted {
            diversion::write(identity, headers, &caller.journey.diversions, &endpoint);
        }
        if let Some(referrer) = caller.referred_by.filter(|referrer| asserts.trusted || !referrer.private) {
            // RFC 3892 §3: who transferred, as we know them.
            headers.push(Name::ReferredBy, identity.user(&referrer.number, &referrer.name).to_string());
        }
        invite.set_body(CONTENT_TYPE, leg.sdp.offer(&identity.described(offer, path)));
        let tx = self.tx.send(now.mono, invite.clone(), way.course, Some(id), &mut self.tx_out);
        let timer_c = now.mono + self.config.calls.timer_c;
        self.dialogs.insert(leg.tag.clone(), id);
        let ways = (way.contact, left);
        leg.state =
            State::Calling(Box::new(Calling::new(tx, (invite, offer.clone()), path, ways, ask, timer_c)));
        self.legs.insert(id, Box::new(leg));
    }

    fn is_over_tls(&self, endpoint: &str, contact: ContactId) -> bool {
        self.way(endpoint, contact).is_some_and(|way| way.course.path.transport == Transport::Tls)
    }

    /// The way that a call took has failed before its device said anything: the same call over the next one.
    /// False when there is none, or when it is the call that failed.
    pub(super) fn next_way(
        &mut self,
        now: Now,
        id: LegId,
        status: Option<u16>,
        out: &mut Vec<SipOutput>,
    ) -> bool {
        let Some(leg) = self.legs.get(&id) else { return false };
        let State::Calling(calling) = &leg.state else { return false };
        let Some((mut invite, failed, left)) = calling.next_way(status) else { return false };
        let (endpoint, before) = (leg.endpoint.clone(), calling.tx);
        self.way_failed(&endpoint, failed, out);
        let Some((way, left)) = self.first_way(&endpoint, left, out) else { return false };
        // RFC 3261 §8.1.3.5: another attempt has the same Call-ID and From, and the next CSeq.
        let cseq = invite.cseq().map_or(1, |cseq| cseq.number) + 1;
        let identity = &self.config.identity;
        let path = way.course.path;
        invite.uri = way.uri.clone();
        let headers = &mut invite.headers;
        headers.set(Name::Via, identity.via(path, &self.tokens.branch()).to_string());
        headers.set(Name::CSeq, format!("{cseq} INVITE"));
        headers.set(Name::Contact, identity.contact(path, id, &way.uri));
        headers.remove(&Name::Route);
        way.routes.iter().for_each(|route| headers.push(Name::Route, route));
        if let Some(leg) = self.legs.get_mut(&id)
            && let State::Calling(calling) = &leg.state
        {
            // The next way may lead to another side of a translator.
            let shown = identity.described(&calling.offer, path);
            invite.set_body(CONTENT_TYPE, leg.sdp.offer(&shown));
        }
        // It may have arrived: who rings for it must stop, and who answers it hang up (RFC 3261 §13.2.2.4).
        self.tx.give_way(now.mono, before, &mut self.tx_out);
        let tx = self.tx.send(now.mono, invite.clone(), way.course, Some(id), &mut self.tx_out);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.nat = way.nat;
            if let State::Calling(calling) = &mut leg.state {
                calling.goes_by(tx, invite, path, (way.contact, left));
            }
        }
        true
    }

    /// The first of these that leads somewhere, and what comes after it.
    fn first_way(
        &mut self,
        endpoint: &str,
        mut ways: Vec<ContactId>,
        out: &mut Vec<SipOutput>,
    ) -> Option<(Way, Vec<ContactId>)> {
        while !ways.is_empty() {
            let contact = ways.remove(0);
            match self.way(endpoint, contact) {
                Some(way) => return Some((way, ways)),
                None => self.way_failed(endpoint, contact, out),
            }
        }
        None
    }
}
