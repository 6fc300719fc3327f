//! A telephone that does what a test tells it. By itself it only does what no user decides: it
//! acknowledges refusals, agrees to BYE and to CANCEL.

use std::net::SocketAddr;

use dialtone_core::Wall;
use dialtone_signaling::message::{Message, Method, Name, NameAddr, RawUri, Request, Response};
use dialtone_signaling::sdp::CONTENT_TYPE;
use dialtone_signaling::wire::{Credentials, FlowId, Path, Transport};

use super::sdp::{Sdp, sdp};
use super::site::{REALM, nonce_key};
use super::world::{World, udp4, udp6};

/// A handle; clones are the same phone.
#[derive(Clone)]
pub struct Phone {
    pub world: World,
    pub(super) at: usize,
}

/// What the phone itself knows.
pub struct Set {
    pub number: String,
    transport: Transport,
    pub address: SocketAddr,
    at: usize,
    pub sdp: Sdp,
    sdp_version: u32,
    serial: u32,
    nonce: Option<String>,
    nonce_count: u32,
    /// Whether it can prove who it is.
    pub trusted: bool,
    /// Whether it does nothing by itself.
    pub manual: bool,
    pub inbox: Vec<Message>,
    /// The INVITE that it sent last.
    invite_out: Option<Request>,
    /// The INVITE that came last, until it is answered.
    pub invite_in: Option<Request>,
    pub dialog: Option<Dialog>,
    register_cseq: u32,
    pub last_sent: Option<Message>,
    losses: Vec<(String, u32)>,
}

/// Its side of a dialog.
#[derive(Clone)]
pub struct Dialog {
    pub call_id: String,
    pub local: String,
    pub remote: String,
    pub target: RawUri,
    pub cseq: u32,
}

impl Set {
    pub fn new(number: &str, transport: Transport, address: SocketAddr, at: usize) -> Set {
        Set {
            number: number.into(),
            transport,
            address,
            at,
            sdp: sdp("pcmu pcma te"),
            sdp_version: 1,
            serial: 0,
            nonce: None,
            nonce_count: 0,
            trusted: true,
            manual: false,
            inbox: Vec::new(),
            invite_out: None,
            invite_in: None,
            dialog: None,
            register_cseq: 0,
            last_sent: None,
            losses: Vec::new(),
        }
    }

    /// The way to it, as the transport sees it.
    pub fn path(&self) -> Path {
        let local = if self.address.is_ipv4() { udp4() } else { udp6() };
        let flow = match (self.transport, self.address.is_ipv4()) {
            (Transport::Udp, true) => FlowId(1),
            (Transport::Udp, false) => FlowId(2),
            (Transport::Tcp, _) => FlowId(100 + self.at as u64),
        };
        Path { transport: self.transport, flow, local, remote: self.address }
    }

    pub fn is_at(&self, path: Path) -> bool {
        self.transport == path.transport && self.address == path.remote
    }

    pub fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), 4000 + 2 * self.at as u16)
    }

    pub fn credentials(&mut self, request: &Request, now: Wall) -> Credentials {
        if !self.trusted || matches!(request.method, Method::Ack | Method::Cancel) {
            return Credentials::None;
        }
        let (ip, salt) = (self.address.ip(), self.at as u32);
        let nonce = self.nonce.get_or_insert_with(|| nonce_key().issue(ip, REALM, now, salt)).clone();
        self.nonce_count += 1;
        Credentials::Good { account: self.number.clone(), nonce, nonce_count: self.nonce_count }
    }

    /// Takes a message; gives what it answers without asking anybody.
    pub fn receive(&mut self, message: Message) -> Vec<Message> {
        let what = dialtone::recorder::summary(&message);
        let lost = self.losses.iter_mut().find(|(prefix, left)| *left > 0 && what.starts_with(&**prefix));
        if let Some((_, left)) = lost {
            *left -= 1;
            return Vec::new();
        }
        self.inbox.push(message.clone());
        let reactions = match &message {
            Message::Request(request) => self.requested(request),
            Message::Response(response) => self.responded(response),
        };
        if self.manual { Vec::new() } else { reactions }
    }

    fn requested(&mut self, request: &Request) -> Vec<Message> {
        match request.method {
            Method::Invite => {
                self.invite_in = Some(request.clone());
                Vec::new()
            }
            Method::Bye if self.manual => Vec::new(),
            Method::Bye => {
                let status = if self.dialog.take().is_some() { 200 } else { 481 };
                vec![Response::to(request, status).into()]
            }
            Method::Cancel => {
                let mut reactions = vec![self.response(request, 200).into()];
                if let Some(invite) = self.invite_in.take_if(|_| !self.manual) {
                    reactions.push(self.response(&invite, 487).into());
                }
                reactions
            }
            _ => Vec::new(),
        }
    }

    fn responded(&mut self, response: &Response) -> Vec<Message> {
        let invites = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let Some(invite) = self.invite_out.clone().filter(|_| invites) else { return Vec::new() };
        if response.is_success() && self.dialog.is_none() {
            self.dialog = Some(Dialog {
                call_id: invite.call_id().unwrap().into(),
                local: invite.headers.text(&Name::From).unwrap().into(),
                remote: response.headers.text(&Name::To).unwrap().into(),
                target: response.contact().unwrap().uri.into(),
                cseq: invite.cseq().unwrap().number,
            });
        }
        if response.status < 300 {
            return Vec::new();
        }
        let mut ack = Request::new(Method::Ack, invite.uri.clone());
        ack.headers.push(Name::Via, invite.via().unwrap());
        for name in [Name::From, Name::CallId] {
            ack.headers.copy(&name, &invite.headers);
        }
        ack.headers.copy(&Name::To, &response.headers);
        ack.headers.push(Name::CSeq, format!("{} ACK", invite.cseq().unwrap().number));
        vec![ack.into()]
    }

    fn serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    pub fn contact(&self) -> String {
        let transport = if self.transport == Transport::Tcp { ";transport=tcp" } else { "" };
        format!("<sip:{}@{}{transport}>", self.number, self.address)
    }

    fn headers(&mut self, request: &mut Request, from: &str, to: &str, call_id: &str, cseq: u32) {
        let serial = self.serial();
        let branch = format!("z9hG4bK-{}-{serial}", self.at);
        let headers = &mut request.headers;
        headers.push(
            Name::Via,
            format!("SIP/2.0/{} {};rport;branch={branch}", self.transport.via(), self.address),
        );
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, from);
        headers.push(Name::To, to);
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, format!("{cseq} {}", request.method.as_str()));
        headers.push(Name::Contact, self.contact());
    }

    pub fn new_request(&mut self, method: Method, to: &str) -> Request {
        let mut request = Request::new(method.clone(), format!("sip:{to}@{REALM}"));
        let serial = self.serial();
        let from = format!("\"Phone\" <sip:{}@{REALM}>;tag=f{}x{serial}", self.number, self.at);
        let call_id = match method {
            Method::Register => format!("register-{}@phone", self.at),
            _ => format!("call-{}-{serial}@phone", self.at),
        };
        let cseq = match method {
            Method::Register => {
                self.register_cseq += 1;
                self.register_cseq
            }
            _ => 1,
        };
        self.headers(&mut request, &from, &format!("<sip:{to}@{REALM}>"), &call_id, cseq);
        request
    }

    /// A request within its dialog.
    pub fn within(&mut self, method: Method) -> Request {
        let dialog = self.dialog.as_mut().expect("a dialog");
        if method != Method::Ack {
            dialog.cseq += 1;
        }
        let dialog = dialog.clone();
        let mut request = Request::new(method, dialog.target);
        self.headers(&mut request, &dialog.local, &dialog.remote, &dialog.call_id, dialog.cseq);
        request
    }

    fn tag(&self, request: &Request) -> String {
        format!("t{}{}", self.at, request.call_id().unwrap().chars().skip(2).take(6).collect::<String>())
    }

    pub fn response(&self, request: &Request, status: u16) -> Response {
        let mut response = Response::to(request, status);
        if status > 100 {
            response.tag_to(&self.tag(request));
        }
        if status < 300 && request.method == Method::Invite {
            response.headers.push(Name::Contact, self.contact());
        }
        response
    }

    pub fn body(&mut self, sdp: &Sdp) -> String {
        self.sdp_version += 1;
        sdp.text(self.rtp(), self.sdp_version)
    }
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
        let cancel = self.set(|set| {
            let invite = set.invite_out.clone().expect("an INVITE");
            let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
            for name in [Name::Via, Name::From, Name::To, Name::CallId] {
                cancel.headers.copy(&name, &invite.headers);
            }
            cancel.headers.push(Name::CSeq, format!("{} CANCEL", invite.cseq().unwrap().number));
            cancel
        });
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
                    target: invite.contact().unwrap().uri.into(),
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
