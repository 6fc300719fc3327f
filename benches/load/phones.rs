//! Two sides of many calls: callers on one UDP socket and callees on another, both registered, and what a call takes from
//! the one to the other.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dialtone_signaling::auth::{Algorithm, Exchange};
use nix::sys::socket::{setsockopt, sockopt};

const SOCKET_BUFFER: usize = 4 << 20;
/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// An account as the server knows it.
#[derive(Clone)]
pub struct Account {
    pub number: String,
    pub password: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Inviting,
    Up,
    HangingUp,
}

struct Call {
    stage: Stage,
    sent: Instant,
    cseq: u32,
    to: String,
}

/// Where a call's two legs speak to.
#[derive(Clone, Copy, Debug)]
pub struct Voices {
    pub of_caller: SocketAddr,
    pub of_callee: SocketAddr,
}

/// What was seen since [`Phones::count_anew`].
#[derive(Default)]
pub struct Seen {
    pub answered: usize,
    pub ended: usize,
    pub refused: usize,
    /// From an INVITE with credentials to the INVITE at the callee.
    pub crossed: Vec<Duration>,
}

/// See the module.
pub struct Phones {
    server: SocketAddr,
    callers: UdpSocket,
    callees: UdpSocket,
    caller: Account,
    callee: Account,
    nonce: Option<(String, String)>,
    nonce_count: u32,
    calls: HashMap<u32, Call>,
    /// INVITEs that have not reached the callee, in their order, in which they arrive there: nothing that the server
    /// passes on names the call.
    crossing: VecDeque<u32>,
    /// Where the server hears a callee, until its caller is answered too.
    asked: HashMap<u32, SocketAddr>,
    pub voices: HashMap<u32, Voices>,
    next: u32,
    /// The first of the ports that the callers' and callees' descriptions name; `None` when nobody speaks.
    pub voice_port: Option<u16>,
    pub seen: Seen,
}

fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

impl Phones {
    /// A caller, and a callee that registers.
    pub fn new(server: SocketAddr, caller: Account, callee: Account) -> Phones {
        let mut phones = Phones {
            server,
            callers: socket(server),
            callees: socket(server),
            caller,
            callee,
            nonce: None,
            nonce_count: 0,
            calls: HashMap::new(),
            crossing: VecDeque::new(),
            asked: HashMap::new(),
            voices: HashMap::new(),
            next: 0,
            voice_port: None,
            seen: Seen::default(),
        };
        phones.register();
        phones
    }

    fn register(&mut self) {
        let mut registrar = Registrar::new(self.server, self.callees.try_clone().unwrap());
        registrar.begin(self.callee.clone());
        registrar.finish(PATIENCE);
        assert_eq!(registrar.done, 1, "the callee is not registered");
    }

    pub fn count_anew(&mut self) {
        self.seen = Seen::default();
    }

    /// Calls that are up.
    pub fn up(&self) -> usize {
        self.calls.values().filter(|call| call.stage == Stage::Up).count()
    }

    /// So many calls at this rate; they stay up for so long, or until [`Phones::hang_up_all`].
    pub fn run(&mut self, calls: usize, rate: f64, talk: Option<Duration>) {
        let (begin, mut begun) = (Instant::now(), 0);
        while begun < calls
            || (talk.is_some() && !self.calls.is_empty() && begin.elapsed() < self.limit(calls, rate))
        {
            let due = ((begin.elapsed().as_secs_f64() * rate) as usize).min(calls);
            while begun < due {
                self.call();
                begun += 1;
            }
            if let Some(talk) = talk {
                self.hang_up(|call| call.sent.elapsed() >= talk);
            }
            if self.take() == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let waiting = Instant::now();
        while self.calls.values().any(|call| call.stage != Stage::Up) && waiting.elapsed() < PATIENCE {
            self.take();
        }
    }

    fn limit(&self, calls: usize, rate: f64) -> Duration {
        Duration::from_secs_f64(calls as f64 / rate) + PATIENCE
    }

    /// Ends every call, at this rate.
    pub fn hang_up_all(&mut self, rate: f64) {
        let (begin, mut ended) = (Instant::now(), 0);
        let all = self.calls.len();
        while !self.calls.is_empty() && begin.elapsed() < self.limit(all, rate) {
            let due = ((begin.elapsed().as_secs_f64() * rate) as usize).min(all);
            let mut left = due.saturating_sub(ended);
            ended = due;
            self.hang_up(|_| {
                left = left.saturating_sub(1);
                left > 0 || due == all
            });
            self.take();
        }
        self.voices.clear();
    }

    fn hang_up(&mut self, mut which: impl FnMut(&Call) -> bool) {
        let chosen: Vec<u32> = self
            .calls
            .iter()
            .filter(|(_, call)| call.stage == Stage::Up && which(call))
            .map(|(number, _)| *number)
            .collect();
        for number in chosen {
            let call = self.calls.get_mut(&number).unwrap();
            (call.stage, call.cseq, call.sent) = (Stage::HangingUp, call.cseq + 1, Instant::now());
            let (cseq, to) = (call.cseq, call.to.clone());
            let bye = self.request("BYE", number, cseq, &to, "", "");
            self.send(&bye);
        }
    }

    fn call(&mut self) {
        let number = self.next;
        self.next += 1;
        self.calls.insert(
            number,
            Call { stage: Stage::Inviting, sent: Instant::now(), cseq: 1, to: String::new() },
        );
        self.invite(number);
    }

    fn invite(&mut self, number: u32) {
        let cseq = self.calls[&number].cseq;
        let uri = format!("sip:{}@{}", self.callee.number, self.server);
        let credentials = self.nonce.clone().map(|(realm, nonce)| {
            self.nonce_count += 1;
            credentials(&self.caller, "INVITE", &uri, &realm, &nonce, self.nonce_count)
        });
        let body = self
            .sdp(self.callers.local_addr().unwrap(), self.voice_port.map(|port| port + number as u16 * 4));
        let to = format!("<{uri}>");
        let invite = self.request("INVITE", number, cseq, &to, &credentials.unwrap_or_default(), &body);
        self.calls.get_mut(&number).unwrap().sent = Instant::now();
        if self.nonce.is_some() {
            self.crossing.push_back(number);
        }
        self.send(&invite);
    }

    fn sdp(&self, local: SocketAddr, port: Option<u16>) -> String {
        let (ip, port) = (local.ip(), port.unwrap_or(9));
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
        )
    }

    fn request(&self, method: &str, number: u32, cseq: u32, to: &str, more: &str, body: &str) -> Vec<u8> {
        let (local, account, server) = (self.callers.local_addr().unwrap(), &self.caller.number, self.server);
        let mut message = Vec::with_capacity(1400);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        write!(
            message,
            "{method} sip:{}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{number}-{cseq}-{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{account}@{server}>;tag=f{number}\r\nTo: {to}\r\nCall-ID: load-{number}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{account}@{local}>\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
            self.callee.number,
            body.len()
        )
        .unwrap();
        message
    }

    fn send(&self, message: &[u8]) {
        let _ = self.callers.send_to(message, self.server);
    }

    fn take(&mut self) -> usize {
        let mut buffer = [0; 8192];
        let mut taken = 0;
        while let Some(text) = receive(&self.callees, &mut buffer) {
            self.at_callee(text, Instant::now());
            taken += 1;
        }
        let mut buffer = [0; 8192];
        for _ in 0..64 {
            let Some(text) = receive(&self.callers, &mut buffer) else { break };
            self.at_caller(text);
            taken += 1;
        }
        taken
    }

    fn at_callee(&mut self, text: &str, now: Instant) {
        if text.starts_with("INVITE ") {
            let number = self.crossing.pop_front();
            if let Some(call) = number.and_then(|number| self.calls.get(&number)) {
                self.seen.crossed.push(now - call.sent);
            }
            let voice = self.voice_port.zip(number).map(|(port, number)| port + number as u16 * 4 + 2);
            let local = self.callees.local_addr().unwrap();
            let body = self.sdp(local, voice);
            self.answer(text, "180 Ringing", "");
            self.answer(text, "200 OK", &body);
            if let (Some(number), Some(address)) = (number, described(text)) {
                self.asked.insert(number, address);
            }
        } else if text.starts_with("BYE ") || text.starts_with("OPTIONS ") {
            self.answer(text, "200 OK", "");
        }
    }

    fn answer(&self, request: &str, status: &str, body: &str) {
        let local = self.callees.local_addr().unwrap();
        let mut answer = format!("SIP/2.0 {status}\r\n").into_bytes();
        for line in request.split("\r\n").filter(|line| {
            ["Via:", "From:", "Call-ID:", "CSeq:", "Record-Route:"].iter().any(|name| line.starts_with(name))
        }) {
            write!(answer, "{line}\r\n").unwrap();
        }
        let to = header(request, "To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=callee" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        write!(
            answer,
            "To: {to}{tag}\r\nContact: <sip:{}@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.callee.number,
            body.len()
        )
        .unwrap();
        let _ = self.callees.send_to(&answer, self.server);
    }

    fn at_caller(&mut self, text: &str) {
        let Some(status) = text.strip_prefix("SIP/2.0 ").map(|rest| &rest[..3]) else { return };
        let Some(number) =
            header(text, "Call-ID").strip_prefix("load-").and_then(|id| id.parse::<u32>().ok())
        else {
            return;
        };
        let (cseq, method) = header(text, "CSeq").split_once(' ').unwrap();
        let cseq: u32 = cseq.parse().unwrap();
        let to = header(text, "To").to_owned();
        if method == "INVITE" && !status.starts_with('1') {
            let ack = self.request("ACK", number, cseq, &to, "", "");
            let ack = match status {
                "200" => ack,
                // RFC 3261 §17.1.1.3: the branch of the INVITE.
                _ => String::from_utf8(ack).unwrap().replace("-ACK;rport", "-INVITE;rport").into_bytes(),
            };
            self.send(&ack);
        }
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.cseq == cseq) else { return };
        match (method, status) {
            ("INVITE", "200") if call.stage == Stage::Inviting => {
                (call.stage, call.to, call.sent) = (Stage::Up, to, Instant::now());
                self.seen.answered += 1;
                if let (Some(of_callee), Some(of_caller)) = (self.asked.remove(&number), described(text)) {
                    self.voices.insert(number, Voices { of_caller, of_callee });
                }
            }
            ("INVITE", "401" | "407") => {
                self.nonce = Some(challenge(text));
                self.nonce_count = 0;
                call.cseq += 1;
                self.crossing.retain(|crossing| *crossing != number);
                self.invite(number);
            }
            ("BYE", "200") => {
                self.calls.remove(&number);
                self.seen.ended += 1;
            }
            (_, status) if !status.starts_with('1') && call.stage == Stage::Inviting => {
                self.calls.remove(&number);
                self.asked.remove(&number);
                self.crossing.retain(|crossing| *crossing != number);
                self.seen.refused += 1;
            }
            _ => {}
        }
    }
}

/// An account that wants to be registered.
struct Wish {
    account: Account,
    sent: Instant,
    cseq: u32,
    /// Realm and nonce.
    challenge: Option<(String, String)>,
}

/// Many accounts that register, each with a contact of its own, as patient as phones after a power cut.
pub struct Registrar {
    server: SocketAddr,
    socket: UdpSocket,
    waiting: HashMap<u32, Wish>,
    next: u32,
    /// Answered with 200.
    pub done: usize,
    /// Sent once more, as nothing came within T1.
    pub repeated: usize,
}

impl Registrar {
    pub fn new(server: SocketAddr, socket: UdpSocket) -> Registrar {
        socket.set_nonblocking(true).unwrap();
        setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER).unwrap();
        Registrar { server, socket, waiting: HashMap::new(), next: 0, done: 0, repeated: 0 }
    }

    /// With a socket of its own.
    pub fn alone(server: SocketAddr) -> Registrar {
        Registrar::new(server, socket(server))
    }

    /// Sends the first REGISTER of an account.
    pub fn begin(&mut self, account: Account) {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, Wish { account, sent: Instant::now(), cseq: 1, challenge: None });
        self.register(number);
    }

    fn register(&mut self, number: u32) {
        let wish = self.waiting.get_mut(&number).unwrap();
        wish.sent = Instant::now();
        let (account, cseq, nonce) = (&wish.account, wish.cseq, &wish.challenge);
        let (server, local) = (self.server, self.socket.local_addr().unwrap());
        let uri = format!("sip:{server}");
        let more =
            nonce.as_ref().map(|(realm, nonce)| credentials(account, "REGISTER", &uri, realm, nonce, 1));
        let user = &account.number;
        let message = format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-r{number}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{server}>;tag=r{number}\r\nTo: <sip:{user}@{server}>\r\n\
             Call-ID: reg-{number}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{local}>\r\nExpires: 3600\r\n\
             {}Content-Length: 0\r\n\r\n",
            more.unwrap_or_default()
        );
        let _ = self.socket.send_to(message.as_bytes(), self.server);
    }

    /// Takes the answers that are there; how many.
    pub fn take(&mut self) -> usize {
        let mut buffer = [0; 8192];
        let mut taken = 0;
        for _ in 0..256 {
            let Some(text) = receive(&self.socket, &mut buffer) else { break };
            taken += 1;
            let Some(number) =
                header(text, "Call-ID").strip_prefix("reg-").and_then(|id| id.parse::<u32>().ok())
            else {
                continue;
            };
            let cseq: u32 = header(text, "CSeq").split(' ').next().unwrap().parse().unwrap();
            let Some(wish) = self.waiting.get_mut(&number).filter(|wish| wish.cseq == cseq) else { continue };
            match &text[8..11] {
                "200" => {
                    self.waiting.remove(&number);
                    self.done += 1;
                }
                "401" => {
                    (wish.cseq, wish.challenge) = (cseq + 1, Some(challenge(text)));
                    self.register(number);
                }
                // Too busy: once more when nothing else has come for T1.
                _ => {}
            }
        }
        taken
    }

    /// Sends again what has waited for `after`.
    pub fn repeat(&mut self, after: Duration) {
        let due = |(number, wish): (&u32, &Wish)| (wish.sent.elapsed() >= after).then_some(*number);
        let late: Vec<u32> = self.waiting.iter().filter_map(due).collect();
        self.repeated += late.len();
        late.into_iter().for_each(|number| self.register(number));
    }

    /// Until everybody is answered, or so long.
    pub fn finish(&mut self, patience: Duration) {
        let begin = Instant::now();
        let mut looked = Instant::now();
        while !self.waiting.is_empty() && begin.elapsed() < patience {
            if self.take() == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            if looked.elapsed() >= Duration::from_millis(100) {
                self.repeat(Duration::from_secs(1));
                looked = Instant::now();
            }
        }
    }
}

fn receive<'b>(socket: &UdpSocket, buffer: &'b mut [u8]) -> Option<&'b str> {
    match socket.recv(buffer) {
        Ok(len) => Some(std::str::from_utf8(&buffer[..len]).unwrap()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => None,
        Err(error) => panic!("{error}"),
    }
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    let value = |line: &'t str| line.strip_prefix(name)?.strip_prefix(':');
    text.split("\r\n").find_map(value).unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

/// Realm and nonce.
fn challenge(text: &str) -> (String, String) {
    let of = |name: &str| {
        let rest = text.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        rest.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    };
    (of("realm"), of("nonce"))
}

fn credentials(account: &Account, method: &str, uri: &str, realm: &str, nonce: &str, count: u32) -> String {
    let count = format!("{count:08x}");
    let ha1 = Algorithm::Md5.ha1(&account.number, realm, &account.password);
    let exchange = Exchange { method, uri, nonce, nonce_count: &count, cnonce: "load" };
    let response = exchange.response(Algorithm::Md5, &ha1).hex();
    format!(
        "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, cnonce=\"load\", qop=auth, nc={count}\r\n",
        account.number
    )
}

/// Where a description wants to be spoken to.
fn described(text: &str) -> Option<SocketAddr> {
    let ip = text.split("c=IN IP4 ").nth(1)?.split("\r\n").next()?.trim();
    let port = text.split("m=audio ").nth(1)?.split(' ').next()?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}
