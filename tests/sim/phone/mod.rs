//! A phone that follows RFC 3261 by itself. Written apart from the stack under test, and sharing nothing with it
//! but the parser and printer of messages: an oracle must not have the same mistakes.

mod acts;
mod answering;
mod asking;
mod call;
mod calling;
mod register;
mod sdp;
mod serving;
mod talking;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dialtone_core::Mono;
use dialtone_signaling::message::{Message, Method, Name, Request, Response};
use dialtone_signaling::wire::{FlowId, Transport};

pub use self::acts::{Others, replaces};
use self::asking::Client;
pub use self::call::{Call, State, Stream};
use self::register::Registration;
use self::serving::Server;
use super::net::address;
use super::rng::Rng;
use super::swarm::{Manner, Swarm};

pub const REALM: &str = "pbx.example";
/// RFC 3261 §17, Table 4.
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const PATIENCE: Duration = Duration::from_secs(32);

/// What a phone wants of the world.
#[derive(Clone, Debug)]
pub enum Out {
    Send(Message),
    Wake(Duration, Wake),
}

/// Why it is woken. Texts name transactions, numbers calls.
#[derive(Clone, Debug)]
pub enum Wake {
    Register,
    Resend(String),
    GiveUp(String),
    Abandon(String),
    Forget(String),
    ResendAnswer(String),
    ForgetServer(String),
    Proceed(u32),
    RepeatReliable(u32, Duration),
    RepeatAnswer(u32, Duration),
    StopWaiting(u32),
    Refresh(u32, u32),
    Expire(u32, u32),
    AgainChange(u32),
    HangUp(u32),
}

/// What it can do.
#[derive(Clone, Debug)]
pub struct Able {
    pub prack: bool,
    pub update: bool,
    pub timer: bool,
    pub late_offer: u64,
    pub early_offers: u64,
    pub formats: Vec<(u8, String)>,
    pub calls_max: usize,
    /// What it adds to its Contact when it registers.
    pub device: String,
    pub trunk: bool,
}

/// How it is connected.
#[derive(Clone, Debug)]
pub struct Line {
    pub transport: Transport,
    /// As the switch sees it.
    pub public: SocketAddr,
    /// As the phone believes; the same unless there is a router between.
    pub own: SocketAddr,
    /// The connection, when there is one.
    pub flow: Option<FlowId>,
}

pub struct Phone {
    pub at: usize,
    pub number: String,
    pub line: Line,
    pub able: Able,
    pub rng: Rng,
    pub now: Mono,
    /// Counts its restarts: what was planned before is forgotten.
    pub epoch: u32,
    pub out: Vec<Out>,
    pub calls: Vec<Call>,
    pub manners: Vec<(Manner, u64)>,
    /// Whether it lets nothing begin any more.
    pub resting: bool,
    /// Whether it answers as always, and quickly: the faults are off.
    pub calm: bool,
    pub serial: u32,
    clients: BTreeMap<String, Client>,
    servers: BTreeMap<String, Server>,
    /// Our ACKs to 2xx, for their repetitions.
    acks: BTreeMap<String, Request>,
    registration: Registration,
    nonce: Option<String>,
    nonce_count: u32,
    wrong_password: bool,
    session_s: u64,
}

impl Phone {
    pub fn new(swarm: &Swarm, at: usize, number: String) -> Phone {
        let mut rng = Rng::new(swarm.seed, 100 + at as u64);
        let skills = &swarm.skills;
        let stream = rng.chance(skills.stream);
        let transport = match rng.chance(500) {
            _ if !stream => Transport::Udp,
            true => Transport::Tcp,
            false => Transport::Tls,
        };
        let mut more = Rng::new(swarm.seed, 200 + at as u64);
        let nat = rng.chance(skills.nat);
        let ipv6 = more.chance(skills.ipv6) && !nat;
        let public = SocketAddr::new(address(ipv6, 1, 1 + at as u8), 5060);
        let inside = IpAddr::from([192, 168, 0, 1 + at as u8]);
        let own = if nat { SocketAddr::new(inside, 5060) } else { public };
        let trunk = swarm.trunk && at == 0;
        let codecs: &[&str] = match rng.chance(skills.odd_codecs) {
            true if rng.chance(500) => &["PCMA", "telephone-event"],
            true => &["G722", "PCMU"],
            false => &["PCMU", "PCMA", "telephone-event"],
        };
        let mut device = String::new();
        if more.chance(skills.instance) {
            device += &format!(";+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-00000000{at:04}>\"");
            device += if more.chance(500) { ";reg-id=1" } else { "" };
        }
        if !swarm.devices.is_empty() && more.chance(300) {
            device += *more.pick(&[";q=0.5", ";q=0.1"]);
        }
        let able = Able {
            prack: rng.chance(skills.prack),
            update: rng.chance(skills.update),
            timer: rng.chance(skills.timer),
            late_offer: skills.late_offer,
            early_offers: skills.early_offers,
            formats: sdp::formats(codecs),
            calls_max: if trunk { 6 } else { 2 },
            device,
            trunk,
        };
        Phone {
            at,
            number,
            line: Line { transport, public, own, flow: None },
            able,
            rng,
            now: Mono::ZERO,
            epoch: 0,
            out: Vec::new(),
            calls: Vec::new(),
            manners: swarm.manners.clone(),
            resting: false,
            calm: false,
            serial: 0,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            acks: BTreeMap::new(),
            registration: Registration::new(swarm.expires_s),
            nonce: None,
            nonce_count: 0,
            wrong_password: false,
            session_s: swarm.session_s,
        }
    }

    /// It starts anew, and knows of nothing that was.
    pub fn restart(&mut self) {
        self.epoch += 1;
        self.calls.clear();
        self.clients.clear();
        self.servers.clear();
        self.acks.clear();
        self.nonce = None;
        self.registration.restart();
        self.wake(Duration::from_millis(500), Wake::Register);
    }

    /// Whether nothing goes on from its own point of view.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.clients.is_empty()
    }

    /// What it would say is still going on.
    pub fn busy_with(&self) -> String {
        let calls: Vec<_> =
            self.calls.iter().map(|call| format!("{} {:?}", call.call_id, call.state)).collect();
        let clients: Vec<_> = self.clients.values().map(Client::describe).collect();
        format!("calls {calls:?}, requests {clients:?}")
    }

    pub fn receive(&mut self, message: Message) {
        match message {
            Message::Request(request) => self.requested(request),
            Message::Response(response) => self.responded(response),
        }
    }

    pub fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Register => self.renew(),
            Wake::Resend(branch) => self.resend(&branch),
            Wake::GiveUp(branch) => self.give_up(&branch),
            Wake::Abandon(branch) => self.abandon(&branch),
            Wake::Forget(branch) => {
                self.clients.remove(&branch);
            }
            Wake::ResendAnswer(key) => self.resend_answer(&key),
            Wake::ForgetServer(key) => {
                self.servers.remove(&key);
            }
            Wake::Proceed(call) => self.proceed(call),
            Wake::RepeatReliable(call, interval) => self.repeat_reliable(call, interval),
            Wake::RepeatAnswer(call, interval) => self.repeat_answer(call, interval),
            Wake::StopWaiting(call) => self.stop_waiting(call),
            Wake::Refresh(call, turn) => self.refresh(call, turn),
            Wake::Expire(call, turn) => self.session_expired(call, turn),
            Wake::AgainChange(call) => self.change_again(call),
            Wake::HangUp(call) => self.hang_up(call),
        }
    }

    fn send(&mut self, message: impl Into<Message>) {
        self.out.push(Out::Send(message.into()));
    }

    fn wake(&mut self, after: Duration, wake: Wake) {
        self.out.push(Out::Wake(after, wake));
    }

    fn is_reliable(&self) -> bool {
        self.line.transport.is_reliable()
    }

    pub fn serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// A tag, branch or Call-ID of its own; never the same twice.
    fn token(&mut self, what: &str) -> String {
        let (serial, at, epoch) = (self.serial(), self.at, self.epoch);
        format!("{what}{at}x{epoch}x{serial}")
    }

    fn contact(&self) -> String {
        let transport = match self.line.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        format!("<sip:{}@{}{transport}>", self.number, self.line.own)
    }

    /// A request with what every request has (RFC 3261 §8.1.1). Its Via is added when it is sent.
    fn request(
        &mut self,
        method: Method,
        uri: &str,
        from: &str,
        to: &str,
        call_id: &str,
        cseq: u32,
    ) -> Request {
        let mut request = Request::new(method, uri);
        let number = format!("{cseq} {}", request.method.as_str());
        let headers = &mut request.headers;
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, from);
        headers.push(Name::To, to);
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, number);
        request
    }

    fn via(&mut self) -> (String, String) {
        let branch = format!("z9hG4bK{}", self.token("b"));
        let via = format!("SIP/2.0/{} {};rport;branch={branch}", self.line.transport.via(), self.line.own);
        (branch, via)
    }

    /// What an answer of ours has (RFC 3261 §8.2.6).
    fn response(&self, request: &Request, status: u16, tag: &str) -> Response {
        let mut response = Response::to(request, status);
        if status > 100 {
            response.tag_to(|| tag.to_owned());
        }
        response
    }

    fn supported(&self) -> String {
        let mut options = vec!["replaces"];
        if self.able.prack {
            options.push("100rel");
        }
        if self.able.timer {
            options.push("timer");
        }
        options.join(", ")
    }

    fn allow(&self) -> &'static str {
        match (self.able.update, self.able.prack) {
            (true, true) => "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER, INFO, PRACK, UPDATE",
            (true, false) => "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER, INFO, UPDATE",
            (false, true) => "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER, INFO, PRACK",
            (false, false) => "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER, INFO",
        }
    }

    fn call(&mut self, id: u32) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.id == id)
    }

    fn drop_call(&mut self, id: u32) {
        // The answer to a change may have been lost, and is repeated no more.
        let change = self.call(id).and_then(|call| call.change.clone());
        change.into_iter().for_each(|key| self.wake(PATIENCE, Wake::Abandon(key)));
        self.calls.retain(|call| call.id != id);
    }
}
