//! What transactions said: to the wire, to the legs, to the flight recorder.

use std::net::SocketAddr;

use dialtone_core::{Cause, LegId, Now};

use super::{SipOutput, Stack, Wire, received};
use crate::message::{Request, Response};
use crate::transaction::{Answerer, Course, TxId, TxOutput};
use crate::ua::{end_unwanted, reason_value};
use crate::wire::{Ticket, Transmit};

impl Stack {
    /// Deals with what transactions said, which may make them say more, until they are silent.
    pub(super) fn settle(&mut self, now: Now, out: &mut Vec<SipOutput>) {
        let mut said = std::mem::take(&mut self.said);
        while !self.tx_out.is_empty() || !self.seeker.is_silent() {
            self.sought(now, out);
            std::mem::swap(&mut said, &mut self.tx_out);
            for output in said.drain(..) {
                self.transaction(now, output, out);
            }
        }
        self.said = said;
    }

    fn transaction(&mut self, now: Now, output: TxOutput, out: &mut Vec<SipOutput>) {
        match output {
            TxOutput::Transmit { owner, transmit } => {
                if let Some(leg) = owner.or_else(|| self.tx.sender(transmit.ticket)) {
                    let wire = Wire::Sent(transmit.payload.clone());
                    out.push(SipOutput::Trace { leg, peer: transmit.path.remote, wire });
                }
                out.push(SipOutput::Transmit(transmit));
            }
            TxOutput::Request { tx, request, path, credentials } => {
                self.request(now, tx, request, path, credentials, out)
            }
            TxOutput::Ack { request, path } => {
                if let Some(leg) = self.dialog_of(&request) {
                    received(out, leg, path.remote, request.clone());
                    self.with_leg(now, leg, out, |leg, desk| leg.their_ack(desk, &request));
                }
            }
            TxOutput::Cancel { tx, invite, owner, peer, request } => {
                self.cancel(now, tx, invite, owner, peer, request, out);
            }
            TxOutput::Seen { owner, peer, message } => received(out, owner, peer, message),
            TxOutput::Response { tx, owner, response } => {
                let status = Some(response.status);
                let Some(leg) = owner else { return self.questioned(now, tx, status, out) };
                if response.status == 430 && self.is_calling(leg, tx) && self.next_way(now, leg, status, out)
                {
                    return;
                }
                if !self.legs.contains_key(&leg) {
                    return self.answered_late(now, leg, tx, &response);
                }
                self.with_leg(now, leg, out, |leg, desk| leg.answered(desk, tx, response));
            }
            TxOutput::Delivered { path } => self.delivered(path),
            TxOutput::Late { tx, owner, response } => self.heard_late(now, tx, owner, &response),
            TxOutput::Undelivered { owner, undelivered } => self.undelivered(now, owner, undelivered),
            TxOutput::Timeout { tx, owner, unreachable } => {
                let Some(leg) = owner else { return self.questioned(now, tx, None, out) };
                if self.is_calling(leg, tx) && self.next_way(now, leg, None, out) {
                    return;
                }
                self.with_leg(now, leg, out, |leg, desk| leg.unanswered(desk, tx, unreachable));
            }
        }
    }

    /// RFC 3261 §9.2: the CANCEL is answered for itself, with the tag of the INVITE's own answers; what
    /// becomes of the INVITE is its leg's affair.
    #[allow(clippy::too_many_arguments)] // what a transaction knows of a CANCEL
    fn cancel(
        &mut self,
        now: Now,
        tx: TxId,
        invite: Option<TxId>,
        owner: Option<LegId>,
        peer: SocketAddr,
        request: Request,
        out: &mut Vec<SipOutput>,
    ) {
        let mut response = Response::to(&request, if invite.is_some() { 200 } else { 481 });
        if let Some(leg) = owner {
            self.tx.set_owner(tx, leg);
            received(out, leg, peer, request.clone());
        }
        if let Some(leg) = owner.and_then(|leg| self.legs.get(&leg)) {
            response.tag_to(|| &leg.tag);
        }
        self.respond(now, tx, response);
        if let Some(leg) = owner {
            self.with_leg(now, leg, out, |leg, desk| leg.cancelled(desk, &request.headers));
        }
    }

    /// A target that was given up for the next one is at work on the INVITE all the same: it must stop (RFC 3261 §9.1),
    /// and a call that it has made must end. Its refusal has been acknowledged.
    fn heard_late(&mut self, now: Now, tx: TxId, owner: Option<LegId>, response: &Response) {
        match (response.status, owner) {
            (100..=199, owner) => {
                self.tx.send_cancel(
                    now.mono,
                    tx,
                    &reason_value(Cause::RecoveryOnTimer),
                    owner,
                    &mut self.tx_out,
                );
            }
            (_, Some(leg)) => self.answered_late(now, leg, tx, response),
            (_, None) => {}
        }
    }

    /// An INVITE of a leg that is over, or is another target's, was answered all the same, by another fork or once
    /// more: whoever did must not believe in a call (RFC 3261 §13.2.2.4). A dialog that goes on is not ended.
    fn answered_late(&mut self, now: Now, leg: LegId, tx: TxId, response: &Response) {
        let Some((invite, path)) = self.tx.invite(tx).filter(|_| response.is_success()) else { return };
        let tag = response.to_tag();
        let (path, payload, bye) = match self.tx.answerer(tx, &tag) {
            Answerer::Known(path, ack) => (path, ack, None),
            Answerer::New => {
                let ended = {
                    let (identity, tokens) = (&self.config.identity, &mut self.tokens);
                    end_unwanted(&invite, response, path, &self.ways, &self.registrar, identity, tokens)
                };
                let Some((path, ack, bye)) = ended else { return };
                self.tx.acknowledged(tx, &tag, path, ack.to_bytes());
                let goes_on = self.legs.contains_key(&leg) && invite.to().is_ok_and(|to| to.tag().is_some());
                (path, ack.to_bytes(), (!goes_on).then_some(bye))
            }
            Answerer::Surplus => return,
        };
        let opens = self.tx.opens(tx, path);
        let transmit = Transmit { path, opens: opens.clone(), payload, ticket: Ticket::default() };
        self.tx_out.push(TxOutput::Transmit { owner: Some(leg), transmit });
        if let Some(bye) = bye {
            let course = Course { opens, ..path.into() };
            self.tx.send(now.mono, bye, course, Some(leg), &mut self.tx_out);
        }
    }
}
