//! A telephone that does what a test tells it.

use dialtone_signaling::message::{Message, Method, Name, NameAddr, Request, Response};
use dialtone_signaling::sdp::CONTENT_TYPE;

use super::sdp::{Sdp, sdp};
use super::set::{Dialog, Set};
use super::world::World;

/// A handle; clones are the same phone.
#[derive(Clone)]
pub struct Phone {
    pub world: World,
    pub(super) at: usize,
}

impl Phone {
    pub(super) fn set<T>(&self, what: impl FnOnce(&mut Set) -> T) -> T {
        what(&mut self.world.0.borrow_mut().sets[self.at])
    }

    pub fn send(&self, message: impl Into<Message>) {
        self.world.0.borrow_mut().send(self.at, message);
    }

    /// What it says of its stream from now on.
    pub fn speaks(&self, formats: &str) {
        self.set(|set| set.sdp = sdp(formats));
    }

    pub fn manual(&self) {
        self.set(|set| set.manual = true);
    }

    pub fn automatic(&self) {
        self.set(|set| set.manual = false);
    }

    /// Takes over another phone's dialog, as somebody who listened could.
    pub fn steals(&self, other: &Phone) {
        let dialog = other.set(|set| set.dialog.clone());
        self.set(|set| set.dialog = dialog);
    }

    /// It is the same phone as the other one, at another address, and hears of its call.
    pub fn calls_as(&self, other: &Phone) {
        let invite = other.set(|set| set.invite_out.clone());
        self.set(|set| set.invite_out = invite);
    }

    /// It can no longer prove who it is.
    pub fn untrusted(&self) {
        self.set(|set| set.trusted = false);
    }

    pub fn trusted(&self) {
        self.set(|set| set.trusted = true);
    }

    /// It uses the nonce count of its last request once more.
    pub fn counts_again(&self) {
        self.set(|set| set.nonce_count -= 1);
    }

    pub fn set_sdp(&self, sdp: Sdp) {
        self.set(|set| set.sdp = sdp);
    }

    /// The next so many messages to it whose summary begins like this do not arrive.
    pub fn loses(&self, prefix: &str, count: u32) {
        self.set(|set| set.losses.push((prefix.into(), count)));
    }

    /// What it sent last.
    pub fn sent(&self) -> Message {
        self.set(|set| set.last_sent.clone()).expect("a message")
    }

    /// What happens meanwhile does not concern the dialog that it is in.
    pub fn keeps_its_dialog(&self, meanwhile: impl FnOnce()) {
        let dialog = self.set(|set| set.dialog.clone());
        meanwhile();
        self.set(|set| set.dialog = dialog);
    }

    /// An ACK under the Via of the INVITE, as some phones send it.
    pub fn ack_as(&self, via: &str) {
        let ack = self.set(|set| {
            let mut ack = set.within(Method::Ack);
            ack.headers.set(Name::Via, via);
            ack
        });
        self.send(ack);
    }

    /// Its next request within the dialog has an older number.
    pub fn rewinds(&self, by: u32) {
        self.set(|set| set.dialog.as_mut().expect("a dialog").cseq -= by);
    }

    pub fn steps_forward(&self, by: u32) {
        self.set(|set| set.dialog.as_mut().expect("a dialog").cseq += by);
    }

    pub fn has_sent(&self) -> bool {
        self.set(|set| set.last_sent.is_some())
    }

    /// Its last message is sent once more.
    pub fn repeat(&self) {
        let message = self.set(|set| set.last_sent.clone()).expect("a message");
        self.send(message);
    }

    pub fn register(&self, expires: u32) {
        self.register_with(|request| request.headers.push(Name::Expires, expires));
    }

    pub fn register_with(&self, change: impl FnOnce(&mut Request)) {
        let number = self.set(|set| set.number.clone());
        self.request_with(Method::Register, &number, change);
    }

    pub fn request_with(&self, method: Method, to: &str, change: impl FnOnce(&mut Request)) {
        let mut request = self.set(|set| set.new_request(method, to));
        change(&mut request);
        self.send(request);
    }

    pub fn invite(&self, to: &str) {
        self.invite_with(to, |_| {});
    }

    pub fn invite_without_offer(&self, to: &str) {
        self.invite_with(to, |request| {
            request.headers.remove(&Name::ContentType);
            request.body = Default::default();
        });
    }

    pub fn invite_with(&self, to: &str, change: impl FnOnce(&mut Request)) {
        let request = self.set(|set| {
            let mut request = set.new_request(Method::Invite, to);
            let sdp = set.sdp.clone();
            request.set_body(CONTENT_TYPE, set.body(&sdp));
            change(&mut request);
            set.dialog = None;
            set.invite_out = Some(request.clone());
            request
        });
        self.send(request);
    }

    pub fn reinvite(&self, sdp: Sdp) {
        let request = self.set(|set| {
            let mut request = set.within(Method::Invite);
            request.set_body(CONTENT_TYPE, set.body(&sdp));
            set.invite_out = Some(request.clone());
            request
        });
        self.send(request);
    }

    pub fn reinvite_without_offer(&self) {
        let request = self.set(|set| {
            let request = set.within(Method::Invite);
            set.invite_out = Some(request.clone());
            request
        });
        self.send(request);
    }

    pub fn cancel(&self) {
        self.cancel_with(|_| {});
    }

    /// CANCEL with a Reason header.
    pub fn cancel_because(&self, reason: &str) {
        self.cancel_with(|request| request.headers.push(Name::Reason, reason));
    }

    fn cancel_with(&self, change: impl FnOnce(&mut Request)) {
        let mut cancel = self.set(|set| {
            let invite = set.invite_out.clone().expect("an INVITE");
            let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
            for name in [Name::Via, Name::From, Name::To, Name::CallId] {
                cancel.headers.copy(&name, &invite.headers);
            }
            cancel.headers.push(Name::CSeq, format!("{} CANCEL", invite.cseq().unwrap().number));
            cancel
        });
        change(&mut cancel);
        self.send(cancel);
    }

    pub fn ack(&self) {
        let ack = self.set(|set| set.within(Method::Ack));
        self.send(ack);
    }

    /// The ACK answers an offer.
    pub fn ack_with(&self, sdp: Sdp) {
        let ack = self.set(|set| {
            let mut ack = set.within(Method::Ack);
            ack.set_body(CONTENT_TYPE, set.body(&sdp));
            ack
        });
        self.send(ack);
    }

    pub fn bye(&self) {
        let bye = self.set(|set| set.within(Method::Bye));
        self.send(bye);
    }

    /// Asks that whoever it talks with be connected with somebody else.
    pub fn refer(&self, to: &str) {
        self.refer_with(&format!("<sip:{to}@{}>", super::site::REALM), |_| {});
    }

    pub fn refer_with(&self, refer_to: &str, change: impl FnOnce(&mut Request)) {
        let refer = self.set(|set| {
            let mut refer = set.within(Method::Refer);
            refer.headers.push(Name::ReferTo, refer_to);
            change(&mut refer);
            refer
        });
        self.send(refer);
    }

    /// The same with whoever another line of this phone is connected with.
    pub fn refer_to_line(&self, line: &Phone) {
        let (number, replaces) = line.replaces();
        let escape = |text: String| text.replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
        let domain = super::site::REALM;
        self.refer_with(&format!("<sip:{number}@{domain}?Replaces={}>", escape(replaces)), |_| {});
    }

    /// The number at the far end of its dialog, and what a Replaces header says of it. An INVITE that has only
    /// rung, there or here, makes an early dialog.
    pub fn replaces(&self) -> (String, String) {
        self.set(|set| {
            let (call_id, local, remote) = match (&set.dialog, &set.invite_out) {
                (None, _) if let Some(said) = set.rings() => {
                    let of = |name| said.headers.text(name).unwrap().to_owned();
                    (said.call_id().unwrap().to_owned(), of(&Name::To), of(&Name::From))
                }
                (Some(dialog), _) => (dialog.call_id.clone(), dialog.local.clone(), dialog.remote.clone()),
                (None, Some(invite)) => {
                    let answer = set.inbox.iter().rev().find_map(|message| match message {
                        Message::Response(response) if response.status > 100 => Some(response.clone()),
                        _ => None,
                    });
                    let to = answer.expect("an answer").headers.text(&Name::To).unwrap().to_owned();
                    let from = invite.headers.text(&Name::From).unwrap().to_owned();
                    (invite.call_id().unwrap().to_owned(), from, to)
                }
                (None, None) => panic!("no dialog"),
            };
            let (local, remote) = (NameAddr::parse(&local).unwrap(), NameAddr::parse(&remote).unwrap());
            let number = remote.uri.user_decoded().unwrap().into_owned();
            let (to, from) = (remote.tag().unwrap(), local.tag().unwrap());
            (number, format!("{call_id};to-tag={to};from-tag={from}"))
        })
    }

    /// Whether there is a dialog to speak of: one that was answered, or alerted.
    pub fn has_dialog(&self) -> bool {
        self.set(|set| {
            let answered =
                |message: &Message| matches!(message, Message::Response(response) if response.status > 100);
            set.dialog.is_some() || (set.invite_out.is_some() && set.inbox.iter().any(answered))
        })
    }

    /// The statuses that NOTIFYs told, in order, each with its subscription's state.
    pub fn told(&self) -> Vec<String> {
        let tell = |message: &Message| {
            let body = String::from_utf8_lossy(message.body()).into_owned();
            let status = body.split(' ').nth(1).unwrap_or_default().to_owned();
            let state = message.headers().text(&Name::SubscriptionState).unwrap();
            format!("{status} {}", state.split(';').next().unwrap())
        };
        self.got("NOTIFY").iter().map(tell).collect()
    }

    /// BYE with a Reason header.
    pub fn bye_because(&self, reason: &str) {
        let bye = self.set(|set| {
            let mut bye = set.within(Method::Bye);
            bye.headers.push(Name::Reason, reason);
            bye
        });
        self.send(bye);
    }

    /// Answers the last INVITE with this status and without a body.
    pub fn respond(&self, status: u16) {
        self.respond_with(status, |_| {});
    }

    pub fn respond_with(&self, status: u16, change: impl FnOnce(&mut Response)) {
        let response = self.set(|set| {
            let invite = set.invite_in.clone().expect("an INVITE");
            let mut response = set.response(&invite, status);
            change(&mut response);
            if status >= 200 {
                set.invite_in = None;
            }
            if response.is_success() && set.dialog.is_none() {
                set.dialog = Some(Dialog {
                    call_id: invite.call_id().unwrap().into(),
                    local: response.headers.text(&Name::To).unwrap().into(),
                    remote: invite.headers.text(&Name::From).unwrap().into(),
                    target: (&invite.contact().unwrap().uri).into(),
                    cseq: 100,
                });
            }
            response
        });
        self.send(response);
    }

    fn respond_saying(&self, status: u16, sdp: Option<Sdp>) {
        let body = self.set(|set| {
            let offer = set.invite_in.as_ref().expect("an INVITE").body.clone();
            let sdp = sdp.unwrap_or_else(|| set.sdp.answering(&offer));
            set.body(&sdp)
        });
        self.respond_with(status, |response| response.set_body(CONTENT_TYPE, body));
    }

    /// Its answer to the INVITE that waits, as a body.
    pub fn answering_body(&self) -> String {
        self.set(|set| {
            let offer = set.invite_in.as_ref().expect("an INVITE").body.clone();
            let sdp = set.sdp.answering(&offer);
            set.body(&sdp)
        })
    }

    pub fn ring(&self) {
        self.respond(180);
    }

    /// Early media.
    pub fn progress(&self) {
        self.respond_saying(183, None);
    }

    pub fn progress_with(&self, status: u16, sdp: Sdp) {
        self.respond_saying(status, Some(sdp));
    }

    pub fn answer(&self) {
        self.respond_saying(200, None);
    }

    /// Answers, to be reached there from now on.
    pub fn answer_at(&self, contact: &str) {
        let body = self.set(|set| {
            let offer = set.invite_in.as_ref().expect("an INVITE").body.clone();
            let sdp = set.sdp.answering(&offer);
            set.body(&sdp)
        });
        self.respond_with(200, |response| {
            response.headers.set(Name::Contact, contact);
            response.set_body(CONTENT_TYPE, body);
        });
    }

    /// The way to it, as the transport sees it.
    pub fn path(&self) -> dialtone_signaling::wire::Path {
        self.set(|set| set.path())
    }

    pub fn answer_with(&self, sdp: Sdp) {
        self.respond_saying(200, Some(sdp));
    }

    /// Everything that came and whose summary begins like this.
    pub fn got(&self, prefix: &str) -> Vec<Message> {
        let mine = |message: &&Message| dialtone::recorder::summary(message).starts_with(prefix);
        self.set(|set| set.inbox.iter().filter(mine).cloned().collect())
    }

    /// The last of those.
    pub fn last(&self, prefix: &str) -> Message {
        self.got(prefix).pop().unwrap_or_else(|| panic!("nothing came that begins with {prefix:?}"))
    }

    /// A header of the last of those.
    pub fn header(&self, prefix: &str, name: Name) -> String {
        self.last(prefix).headers().text(&name).unwrap_or_default().to_owned()
    }

    pub fn status(&self) -> u16 {
        let last = |message: &Message| match message {
            Message::Response(response) => Some(response.status),
            Message::Request(_) => None,
        };
        self.set(|set| set.inbox.iter().rev().find_map(last)).expect("a response")
    }

    /// BYE in the early dialog that a provisional answer made.
    pub fn bye_early(&self) {
        self.enters_early_dialog();
        let bye = self.set(|set| {
            let bye = set.within(Method::Bye);
            set.dialog = None;
            bye
        });
        self.send(bye);
    }

    /// From now on it is in the dialog that the last provisional answer to its INVITE made, unless it is in
    /// one already.
    pub fn enters_early_dialog(&self) {
        self.set(|set| {
            let invite = set.invite_out.clone().expect("an INVITE");
            let early = |message: &Message| match message {
                Message::Response(response) if (101..200).contains(&response.status) => {
                    Some(response.clone())
                }
                _ => None,
            };
            let answer = set.inbox.iter().rev().find_map(early).expect("an answer");
            set.dialog.get_or_insert_with(|| Dialog {
                call_id: invite.call_id().unwrap().into(),
                local: invite.headers.text(&Name::From).unwrap().into(),
                remote: answer.headers.text(&Name::To).unwrap().into(),
                target: (&answer.contact().unwrap().uri).into(),
                cseq: invite.cseq().unwrap().number,
            });
        });
    }

    /// The same for the called side, by the answer that it sent last.
    pub fn enters_called_dialog(&self) {
        self.set(|set| {
            let invite = set.invite_in.clone().expect("an INVITE");
            let sent = set.last_sent.clone().expect("an answer");
            set.dialog = Some(Dialog {
                call_id: invite.call_id().unwrap().into(),
                local: sent.headers().text(&Name::To).unwrap().into(),
                remote: invite.headers.text(&Name::From).unwrap().into(),
                target: (&invite.contact().unwrap().uri).into(),
                cseq: 100,
            });
        });
    }

    /// A request within its dialog.
    pub fn within(&self, method: Method, change: impl FnOnce(&mut Request)) {
        let mut request = self.set(|set| set.within(method));
        change(&mut request);
        self.send(request);
    }

    /// The same with a description.
    pub fn within_saying(&self, method: Method, sdp: Sdp, change: impl FnOnce(&mut Request)) {
        let body = self.set(|set| set.body(&sdp));
        self.within(method, |request| {
            request.set_body(CONTENT_TYPE, body);
            change(request);
        });
    }

    /// The RAck for the last reliable provisional answer that came.
    pub fn rack(&self) -> String {
        self.set(|set| {
            let reliable = set.inbox.iter().rev().find(|message| message.headers().has(&Name::RSeq));
            let headers = reliable.expect("a reliable answer").headers();
            format!("{} {}", headers.text(&Name::RSeq).unwrap(), headers.text(&Name::CSeq).unwrap())
        })
    }

    /// Whether there is an answer to its last INVITE for which it could send a PRACK.
    pub fn can_prack(&self) -> bool {
        self.set(|set| {
            let Some(invite) = &set.invite_out else { return false };
            let reliable = |message: &&Message| message.headers().has(&Name::RSeq);
            let last = set.inbox.iter().rev().find(reliable);
            last.is_some_and(|last| last.headers().call_id() == invite.call_id())
        })
    }

    /// PRACK for the last reliable provisional answer.
    pub fn prack(&self) {
        self.enters_early_dialog();
        let rack = self.rack();
        self.within(Method::Prack, |request| request.headers.push(Name::RAck, rack));
    }

    /// The same with a description.
    pub fn prack_with(&self, sdp: Sdp) {
        self.enters_early_dialog();
        let rack = self.rack();
        self.within_saying(Method::Prack, sdp, |request| request.headers.push(Name::RAck, rack));
    }

    /// A provisional answer that wants a PRACK, with or without its answer to the offer, as the fork with this
    /// To tag.
    pub fn rings_reliably(&self, status: u16, rseq: u32, tag: &str, sdp: Option<Sdp>) {
        let body = sdp.map(|sdp| self.set(|set| set.body(&sdp)));
        self.respond_with(status, |response| {
            response.headers.push(Name::Require, "100rel");
            response.headers.push(Name::RSeq, rseq.to_string());
            as_fork(response, tag);
            if let Some(body) = body {
                response.set_body(CONTENT_TYPE, body);
            }
        });
    }

    /// Answers as the fork with this To tag.
    pub fn answers_as(&self, tag: &str, sdp: Option<Sdp>) {
        let body = sdp.map(|sdp| self.set(|set| set.body(&sdp)));
        self.respond_with(200, |response| {
            as_fork(response, tag);
            if let Some(body) = body {
                response.set_body(CONTENT_TYPE, body);
            }
        });
    }

    /// Answers the last request whose summary begins like this.
    pub fn reply(&self, prefix: &str, status: u16, change: impl FnOnce(&mut Response)) {
        let Message::Request(request) = self.last(prefix) else { panic!("{prefix:?} is an answer") };
        let mut response = self.set(|set| set.response(&request, status));
        change(&mut response);
        self.send(response);
    }

    /// The same with a description.
    pub fn reply_saying(&self, prefix: &str, status: u16, sdp: Sdp) {
        let body = self.set(|set| set.body(&sdp));
        self.reply(prefix, status, |response| response.set_body(CONTENT_TYPE, body));
    }

    /// Whether an INVITE waits for its answer.
    pub fn is_asked(&self) -> bool {
        self.set(|set| set.invite_in.is_some())
    }

    pub fn has_called(&self) -> bool {
        self.set(|set| set.invite_out.is_some())
    }

    pub fn in_call(&self) -> bool {
        self.set(|set| set.dialog.is_some())
    }

    /// The address part of a header, for comparing.
    pub fn address_of(&self, prefix: &str, name: Name) -> NameAddr {
        NameAddr::parse(&self.header(prefix, name)).unwrap()
    }
}

/// A proxy on the way has rung several phones; this is the answer of one of them.
fn as_fork(response: &mut Response, tag: &str) {
    if !tag.is_empty() {
        let mut to = response.headers.to().unwrap().clone();
        to.set_tag(tag);
        response.headers.set(Name::To, to);
    }
}
