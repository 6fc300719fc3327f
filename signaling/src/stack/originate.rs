//! A call of ours begins: the INVITE, and the way on which a binding is reached.

use dialtone_core::{Cause, ContactId, Description, HungUpBy, LegEvent, LegId, Now, Number, Party};

use super::{SipOutput, Stack};
use crate::message::{MAX_FORWARDS, Method, Name, Request, Scheme};
use crate::registrar::Binding;
use crate::ua::{Ask, Calling, Leg, Reliability, State, next_hop};
use crate::wire::{Path, Transport};

impl Stack {
    pub(super) fn originate(
        &mut self,
        now: Now,
        id: LegId,
        (endpoint, contact): (Number, ContactId),
        (caller, referred_by): (&Party, Option<&Party>),
        offer: &Description,
        out: &mut Vec<SipOutput>,
    ) {
        let binding = self.registrar.binding(&endpoint, contact).cloned();
        let by = HungUpBy::System;
        let refused = |cause| SipOutput::Leg { leg: id, event: LegEvent::HungUp { cause, by } };
        let Some(binding) = binding else { return out.push(refused(Cause::SubscriberAbsent)) };
        if self.legs.len() >= self.config.legs_max {
            self.refused += 1;
            return out.push(refused(Cause::Congestion));
        }
        let Some(path) = self.way_to(&binding) else {
            return out.push(refused(Cause::DestinationOutOfOrder));
        };
        let session_id = self.tokens.session_id();
        let subscriber = self.subscribers.by_number.get(&endpoint);
        let reliability = subscriber.map(|subscriber| subscriber.reliability).unwrap_or_default();
        let tag = self.tokens.tag();
        let identity = &self.config.identity;
        let mut from = identity.user(&caller.number, &caller.name);
        from.set_tag(&tag);
        let mut leg = Leg::new(id, endpoint.clone(), tag, session_id, reliability);
        let mut invite = Request::new(Method::Invite, binding.uri.clone());
        let headers = &mut invite.headers;
        headers.push(Name::Via, identity.via(path, &self.tokens.branch()));
        headers.push(Name::MaxForwards, MAX_FORWARDS);
        headers.push(Name::From, from);
        headers.push(Name::To, identity.user(&endpoint, ""));
        headers.push(Name::CallId, self.tokens.call_id());
        headers.push(Name::CSeq, &b"1 INVITE"[..]);
        headers.push(Name::Contact, identity.contact(path, id, &binding.uri));
        headers.push(Name::UserAgent, identity.agent());
        identity.allow(headers);
        identity.supported(headers, reliability);
        if reliability == Reliability::Required {
            headers.push(Name::Require, "100rel");
        }
        let ask = Ask::new(&self.config.calls);
        ask.write(None, headers);
        if let Some(referrer) = referred_by {
            // RFC 3892 §3: who transferred, as we know them.
            headers.push(Name::ReferredBy, identity.user(&referrer.number, &referrer.name).to_string());
        }
        invite.set_body("application/sdp", leg.sdp.offer(&identity.described(offer, path)));
        let tx = self.tx.send(now.mono, invite.clone(), path, Some(id), &mut self.tx_out);
        let timer_c = now.mono + self.config.calls.timer_c;
        leg.state = State::Calling(Box::new(Calling::new(tx, invite, path, ask, timer_c)));
        self.legs.insert(id, Box::new(leg));
    }

    /// How to reach a binding: the way that its REGISTER came while that stands, its contact otherwise.
    fn way_to(&self, binding: &Binding) -> Option<Path> {
        let uri = binding.uri.parse().ok()?;
        let transport = match Transport::named_by(&uri) {
            // UDP is what a phone says that names nothing: it does not speak against its connection.
            None | Some(Transport::Udp) if uri.scheme != Scheme::Sips => binding.path.transport,
            // Who came over TLS is not called in the clear.
            Some(Transport::Tcp) if binding.path.transport == Transport::Tls => Transport::Tls,
            named => named?,
        };
        if transport == binding.path.transport && self.ways.stands(binding.path) {
            return Some(next_hop(&uri, &[], binding.path));
        }
        // A connection that is gone cannot be called back at its source port; nor can UDP over TCP.
        let remote = match transport {
            Transport::Udp => next_hop(&uri, &[], binding.path).remote,
            Transport::Tcp | Transport::Tls => transport.address_of(&uri)?,
        };
        self.ways.to(transport, remote, binding.path.local)
    }
}
