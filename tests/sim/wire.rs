//! What every message of ours must be like, and what must have come before it (RFC 3261 §8, §12, §17; RFC 3262 §3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dialtone_core::Mono;
use dialtone_signaling::message::{Message, Method, Name, Request, Response};
use dialtone_signaling::wire::{Path, Transmit};

type Wrong = (&'static str, String);

/// A request of a phone, and what we answered.
#[derive(Default)]
struct Asked {
    tag: Option<String>,
    final_status: Option<u16>,
    rseq: Option<u32>,
    since: Mono,
}

/// A request of ours, and what came back.
struct Ours {
    payload: Bytes,
    method: Method,
    cseq: u32,
    call_id: String,
    provisional: bool,
    decided: bool,
}

#[derive(Default)]
pub struct Wire {
    /// Requests of phones by branch and method.
    asked: BTreeMap<(String, String), Asked>,
    /// Requests of ours by branch and method.
    ours: BTreeMap<(String, String), Ours>,
    /// Our last CSeq by Call-ID and our tag.
    cseqs: BTreeMap<(String, String), u32>,
    /// Dialogs by Call-ID and the phone's tag.
    dialogs: BTreeSet<(String, String)>,
    /// Where phones have registered from, and where they said that they are.
    known: BTreeSet<SocketAddr>,
}

/// Transactions of ours remember an INVITE for so long after its refusal was acknowledged (timer I).
const MEMORY: Duration = Duration::from_secs(5);

fn key(branch: Option<&str>, method: &Method) -> (String, String) {
    (branch.unwrap_or_default().to_owned(), method.as_str().to_owned())
}

fn branch(message: &Message) -> Option<&str> {
    message.via().ok()?.branch()
}

impl Wire {
    pub fn received(&mut self, now: Mono, path: Path, message: &Message) {
        let headers = message.headers();
        let call_id = headers.call_id().unwrap_or_default().to_owned();
        match message {
            Message::Request(request) => {
                if request.method == Method::Register {
                    self.known.insert(path.remote);
                    let contact =
                        request.contact().ok().and_then(|contact| path.transport.address_of(&contact.uri));
                    self.known.extend(contact);
                }
                let tag =
                    request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
                self.dialogs.insert((call_id, tag));
                let fresh = Asked { since: now, ..Asked::default() };
                self.asked.entry(key(branch(message), &request.method)).or_insert(fresh);
            }
            Message::Response(response) => {
                self.dialogs.insert((call_id, response.to_tag()));
                let Ok(cseq) = response.cseq() else { return };
                if let Some(ours) = self.ours.get_mut(&key(branch(message), &cseq.method)) {
                    ours.provisional |= response.is_provisional();
                    ours.decided |= !response.is_provisional();
                }
            }
        }
    }

    pub fn sent(&mut self, now: Mono, transmit: &Transmit, message: &Message) -> Result<(), Wrong> {
        let headers = message.headers();
        check(headers.has(&Name::ContentType) != message.body().is_empty(), "a body has a type", message)?;
        match message {
            Message::Request(request) => self.request(transmit, request, message),
            Message::Response(response) => self.response(now, response, message),
        }
    }

    fn request(&mut self, transmit: &Transmit, request: &Request, message: &Message) -> Result<(), Wrong> {
        check(request.check().is_ok(), "our requests are whole", message)?;
        let from = request.from().ok().and_then(|from| from.tag().map(str::to_owned));
        check(from.is_some(), "our requests have a From tag", message)?;
        check(request.headers.has(&Name::MaxForwards), "our requests have Max-Forwards", message)?;
        let contact = request.method != Method::Invite || request.headers.has(&Name::Contact);
        check(contact, "an INVITE of ours has a Contact", message)?;
        let branch = branch(message).unwrap_or_default().to_owned();
        check(branch.starts_with("z9hG4bK"), "our branches have the cookie", message)?;
        let call_id = request.call_id().unwrap_or_default().to_owned();
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let to = request.to().ok().and_then(|to| to.tag().map(str::to_owned));
        match &to {
            Some(tag) => {
                let known = self.dialogs.contains(&(call_id.clone(), tag.clone()));
                check(known, "a request within a dialog names one", message)?;
            }
            None => check(
                self.known.contains(&transmit.path.remote),
                "nobody is asked who is not registered",
                message,
            )?,
        }
        match request.method {
            Method::Ack => {
                let answered = self.ours.values().any(|ours| {
                    ours.method == Method::Invite
                        && ours.call_id == call_id
                        && ours.cseq == number
                        && ours.decided
                });
                return check(answered, "an ACK follows a final answer", message);
            }
            Method::Cancel => {
                let invite = self.ours.get(&(branch.clone(), "INVITE".to_owned()));
                let right = invite.is_some_and(|invite| invite.cseq == number && invite.provisional);
                check(right, "a CANCEL follows a provisional answer", message)?;
            }
            _ => {}
        }
        let key = (branch, request.method.as_str().to_owned());
        if let Some(before) = self.ours.get(&key) {
            return check(before.payload == transmit.payload, "a request is repeated as it was", message);
        }
        if request.method != Method::Cancel {
            let dialog = (call_id.clone(), from.unwrap_or_default());
            let last = self.cseqs.insert(dialog, number);
            check(last.is_none_or(|last| number > last), "CSeq goes up", message)?;
        }
        let (payload, method) = (transmit.payload.clone(), request.method.clone());
        let ours = Ours { payload, method, cseq: number, call_id, provisional: false, decided: false };
        self.ours.insert(key, ours);
        Ok(())
    }

    fn response(&mut self, now: Mono, response: &Response, message: &Message) -> Result<(), Wrong> {
        let cseq = response.cseq().map_err(|_| ("our answers have a CSeq", message.to_string()))?;
        let invites = cseq.method == Method::Invite;
        let asked = self.asked.get_mut(&key(branch(message), &cseq.method));
        let Some(asked) = asked else { return Err(("an answer belongs to a request", message.to_string())) };
        if response.status == 100 {
            return Ok(());
        }
        let tag = response.to_tag();
        check(!tag.is_empty(), "our answers have a To tag", message)?;
        let contact = !invites
            || response.status >= 300
            || response.status < 200
            || response.headers.has(&Name::Contact);
        check(contact, "a 2xx to an INVITE has a Contact", message)?;
        // What a transaction has forgotten may be answered anew.
        let remembered = asked.final_status.is_none() || now.since(asked.since) < MEMORY;
        if invites {
            let same = asked.tag.as_ref().is_none_or(|last| *last == tag);
            check(same || !remembered, "one tag for all answers to an INVITE", message)?;
        }
        asked.tag = Some(tag);
        if response.is_provisional() {
            check(asked.final_status.is_none(), "nothing is provisional after the final answer", message)?;
            return reliable(asked, response, message);
        }
        let same = asked.final_status.is_none_or(|status| status == response.status);
        check(same || !remembered, "one final answer for each request", message)?;
        asked.final_status = Some(response.status);
        asked.since = now;
        Ok(())
    }
}

/// RFC 3262 §3: each is one more than the last.
fn reliable(asked: &mut Asked, response: &Response, message: &Message) -> Result<(), Wrong> {
    let rseq = response.headers.text(&Name::RSeq).and_then(|text| text.trim().parse::<u32>().ok());
    let Some(rseq) = rseq else { return Ok(()) };
    let right = asked.rseq.is_none_or(|last| rseq == last || rseq == last + 1);
    check(right, "RSeq goes up by one", message)?;
    asked.rseq = Some(rseq);
    Ok(())
}

fn check(holds: bool, name: &'static str, message: &Message) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err((name, message.to_string())) }
}
