//! Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3), and the CANCEL of an INVITE.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::message::{Host, MAX_FORWARDS, Method, Name, Request, Response, Via};

/// The key under which something stands that a message belongs to, made in place: most messages only look it up.
#[derive(Hash)]
pub(crate) struct Lookup(SmallVec<[u8; 96]>);

/// Stands between the parts of a key, and in none of them.
const END: u8 = 0;

impl Lookup {
    /// Branch and method of a request of ours. Its Via is one of ours too: nothing in it is quoted, and
    /// `branch` is written so.
    pub fn client(request: &Request) -> Option<Lookup> {
        const BRANCH: &[u8] = b";branch=";
        let via = request.headers.get(&Name::Via)?;
        let at = via.windows(BRANCH.len()).position(|part| part == BRANCH)? + BRANCH.len();
        let branch = via.get(at..)?.split(|byte| matches!(byte, b';' | b',' | b' ')).next()?;
        Lookup::ours(std::str::from_utf8(branch).ok()?, &request.method)
    }

    /// Branch and method of the request that a response answers.
    pub fn response(response: &Response) -> Option<Lookup> {
        Lookup::ours(response.via().ok()?.branch()?, &response.cseq().ok()?.method)
    }

    /// Branch, sent-by and method of a request of theirs; an ACK counts as its INVITE.
    pub fn server(request: &Request) -> Option<Lookup> {
        match &request.method {
            Method::Ack => Lookup::theirs(request, &Method::Invite),
            method => Lookup::theirs(request, method),
        }
    }

    /// The key of the INVITE that a CANCEL is about.
    pub fn invite_of(cancel: &Request) -> Option<Lookup> {
        Lookup::theirs(cancel, &Method::Invite)
    }

    /// The key of an INVITE of ours that went out with this Via.
    pub fn invite_via(via: &Via) -> Option<Lookup> {
        Lookup::ours(via.branch()?, &Method::Invite)
    }

    /// What is the same in a request that came twice over different ways (RFC 3261 §8.2.2.2).
    pub fn merged(request: &Request) -> Lookup {
        let mut key = Lookup(SmallVec::new());
        key.part(request.call_id().unwrap_or_default());
        key.part(request.from().ok().and_then(|from| from.tag()).unwrap_or_default());
        key.0.extend_from_slice(&request.cseq().map_or(0, |cseq| cseq.number).to_be_bytes());
        key
    }

    /// The same, to be kept.
    pub fn share(&self) -> Arc<[u8]> {
        Arc::from(&*self.0)
    }

    fn ours(branch: &str, method: &Method) -> Option<Lookup> {
        if branch.is_empty() {
            return None;
        }
        let mut key = Lookup(SmallVec::new());
        key.part(branch);
        key.part(method.as_str());
        Some(key)
    }

    fn theirs(request: &Request, method: &Method) -> Option<Lookup> {
        let via = request.via().ok()?;
        let mut key = Lookup(SmallVec::new());
        key.part(method.as_str());
        match via.unique_branch() {
            Some(branch) => key.part(branch),
            // RFC 3261 §17.2.3: peers of RFC 2543 are told apart by what stays the same in an INVITE, its
            // retransmissions, its ACK and its CANCEL.
            None => {
                key.part("2543");
                key.part(request.call_id().ok()?);
                key.0.extend_from_slice(&request.cseq().ok()?.number.to_be_bytes());
                key.part(request.from().ok()?.tag().unwrap_or_default());
                key.part(request.uri.as_str());
            }
        }
        match &via.host {
            Host::Domain(name) => key.part(name),
            // No name has these bytes, so that none is taken for an address.
            Host::V4(ip) => {
                key.0.push(4 | 0x80);
                key.0.extend_from_slice(&ip.octets());
            }
            Host::V6(ip) => {
                key.0.push(6 | 0x80);
                key.0.extend_from_slice(&ip.octets());
            }
        }
        key.0.extend(via.port.into_iter().flat_map(u16::to_be_bytes));
        Some(key)
    }

    fn part(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(END);
    }
}

impl Deref for Lookup {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// RFC 3261 §9.1: same Request-URI, Call-ID, To, From, CSeq number, Route and topmost Via.
pub(super) fn cancel(invite: &Request) -> Request {
    let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
    if let Some(via) = invite.headers.elements(&Name::Via).next() {
        cancel.headers.push(Name::Via, Bytes::copy_from_slice(via));
    }
    cancel.headers.push(Name::MaxForwards, MAX_FORWARDS);
    for name in [Name::Route, Name::From, Name::To, Name::CallId] {
        cancel.headers.copy(&name, &invite.headers);
    }
    if let Ok(cseq) = invite.cseq() {
        cancel.headers.push(Name::CSeq, format!("{} CANCEL", cseq.number));
    }
    cancel
}
