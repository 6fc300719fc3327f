//! A telephone from the inside: what it knows, and what it does without asking anybody. It acknowledges
//! refusals, and agrees to BYE and to CANCEL.

use std::net::SocketAddr;

use dialtone_core::Wall;
use dialtone_signaling::message::{Message, Method, Name, RawUri, Request, Response};
use dialtone_signaling::wire::{Credentials, FlowId, Path, Transport};

use super::sdp::{Sdp, sdp};
use super::site::{REALM, nonce_key};
use super::world::{tls4, udp4, udp6};

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
    pub nonce_count: u32,
    /// Whether it can prove who it is.
    pub trusted: bool,
    /// Whether it does nothing by itself.
    pub manual: bool,
    pub inbox: Vec<Message>,
    /// The INVITE that it sent last.
    pub invite_out: Option<Request>,
    /// The INVITE that came last, until it is answered.
    pub invite_in: Option<Request>,
    pub dialog: Option<Dialog>,
    register_cseq: u32,
    pub last_sent: Option<Message>,
    pub losses: Vec<(String, u32)>,
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
        let local = match (self.transport, self.address.is_ipv4()) {
            (Transport::Tls, _) => tls4(),
            (_, true) => udp4(),
            (_, false) => udp6(),
        };
        let flow = match (self.transport, self.address.is_ipv4()) {
            (Transport::Udp, true) => FlowId(1),
            (Transport::Udp, false) => FlowId(2),
            (Transport::Tcp | Transport::Tls, _) => FlowId(100 + self.at as u64),
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
            Method::Options => vec![Response::to(request, 200).into()],
            Method::Bye if self.manual => Vec::new(),
            Method::Bye => {
                let status = if self.dialog.take().is_some() { 200 } else { 481 };
                vec![Response::to(request, status).into()]
            }
            Method::Notify => vec![Response::to(request, 200).into()],
            Method::Cancel => {
                let mut reactions = vec![self.response(request, 200).into()];
                if let Some(invite) = self.invite_in.take_if(|_| !self.manual) {
                    reactions.push(self.response(&invite, 487).into());
                }
                reactions
            }
            Method::Prack if !self.manual => vec![self.response(request, 200).into()],
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
                target: (&response.contact().unwrap().uri).into(),
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
        let transport = match self.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
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
        // An ACK has the number of its INVITE.
        let invite = self.invite_out.as_ref().filter(|_| method == Method::Ack);
        let invite = invite.filter(|invite| invite.call_id() == Ok(&dialog.call_id));
        let cseq = invite.map_or(dialog.cseq, |invite| invite.cseq().unwrap().number);
        let mut request = Request::new(method, dialog.target);
        self.headers(&mut request, &dialog.local, &dialog.remote, &dialog.call_id, cseq);
        request
    }

    /// What it said last of the INVITE that waits for its answer, when that made an early dialog.
    pub fn rings(&self) -> Option<&Response> {
        match (&self.invite_in, &self.last_sent) {
            (Some(invite), Some(Message::Response(said))) => {
                (said.status > 100 && said.call_id() == invite.call_id()).then_some(said)
            }
            (Some(_) | None, _) => None,
        }
    }

    fn tag(&self, request: &Request) -> String {
        format!("t{}{}", self.at, request.call_id().unwrap().chars().skip(2).take(6).collect::<String>())
    }

    pub fn response(&self, request: &Request, status: u16) -> Response {
        let mut response = Response::to(request, status);
        if status > 100 {
            response.tag_to(|| self.tag(request));
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
