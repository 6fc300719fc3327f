//! Many callers behind one UDP socket, as patient as phones are: an INVITE and a BYE are repeated by the timers of
//! RFC 3261 §17.1 until they are answered, whatever comes again is acknowledged again, and each phone has a nonce of its
//! own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dialtone_signaling::auth::{Algorithm, Exchange, Hash};
use nix::sys::socket::{setsockopt, sockopt};

/// T1 and T2 of RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Timers B and F: for how long a request is repeated.
const PATIENCE: Duration = T1.saturating_mul(64);
/// So many that the counts of one nonce stay within the server's window of 64, however far copies overtake each other.
const PHONES: usize = 2000;
/// Accounts of the sample site: 1001 to 1010.
const ACCOUNTS: usize = 10;
const REALM: &str = "dialtone";
const CALLED: &str = "sip:*43@dialtone";
const SOCKET_BUFFER: usize = 4 << 20;
/// Messages taken, and calls begun, before anything else is done.
const AT_ONCE: usize = 64;

/// What became of the calls, since [`Callers::count_anew`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// First INVITEs.
    pub begun: usize,
    /// Answered, acknowledged, hung up, and the BYE answered.
    pub good: usize,
    /// Refused with 503.
    pub refused: usize,
    /// Not answered within 32 s.
    pub lost: usize,
    /// Requests sent again because nothing came in time.
    pub repeated: usize,
    /// The same, of those that were BYEs.
    pub byes_repeated: usize,
    /// Requests sent again with other credentials.
    pub challenged: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Inviting,
    /// Something provisional came: the INVITE is not repeated any more.
    Proceeding,
    HangingUp,
}

struct Call {
    stage: Stage,
    cseq: u32,
    /// The request that waits for its answer.
    sent: Vec<u8>,
    since: Instant,
    interval: Duration,
}

struct Phone {
    nonce: String,
    count: u32,
}

/// See the module.
pub struct Callers {
    socket: UdpSocket,
    local: SocketAddr,
    ha1: Vec<Hash>,
    phones: Vec<Phone>,
    calls: HashMap<u32, Call>,
    /// When which request of which call is sent again; those that were answered meanwhile are passed over.
    timers: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    next: u32,
    pub tally: Tally,
}

impl Callers {
    pub fn new(server: SocketAddr) -> Callers {
        let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
        setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER).unwrap();
        socket.connect(server).unwrap();
        socket.set_nonblocking(true).unwrap();
        let ha1 = (0..ACCOUNTS).map(|index| {
            let account = account(index as u32);
            Algorithm::Md5.ha1(&account, REALM, &format!("dialtone-{account}"))
        });
        Callers {
            local: socket.local_addr().unwrap(),
            socket,
            ha1: ha1.collect(),
            phones: (0..PHONES).map(|_| Phone { nonce: String::new(), count: 0 }).collect(),
            calls: HashMap::new(),
            timers: BinaryHeap::new(),
            next: 0,
            tally: Tally::default(),
        }
    }

    /// Their UDP port.
    pub fn port(&self) -> u16 {
        self.local.port()
    }

    /// Counts from nothing.
    pub fn count_anew(&mut self) {
        self.tally = Tally::default();
    }

    /// So many new calls a second, whatever becomes of them.
    pub fn run(&mut self, rate: f64, span: Duration) {
        let (begin, mut begun) = (Instant::now(), 0_usize);
        while begin.elapsed() < span {
            let due = (begin.elapsed().as_secs_f64() * rate) as usize;
            let new = (due - begun).min(AT_ONCE);
            (0..new).for_each(|_| self.call());
            begun += new;
            let taken = self.take();
            self.repeat();
            if new == 0 && taken == 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// No new calls until all are over, refused or lost.
    pub fn settle(&mut self) {
        while !self.calls.is_empty() {
            if self.take() == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.repeat();
        }
    }

    fn call(&mut self) {
        let number = self.next;
        self.next += 1;
        self.tally.begun += 1;
        let sent = self.invite(number, 1);
        let now = Instant::now();
        self.calls.insert(number, Call { stage: Stage::Inviting, cseq: 1, sent, since: now, interval: T1 });
        self.transmit(number, now);
    }

    /// Sends the request of a call for the first time, and sets its timer.
    fn transmit(&mut self, number: u32, now: Instant) {
        let call = &self.calls[&number];
        self.timers.push(Reverse((now + call.interval, number, call.cseq)));
        self.send(&call.sent);
    }

    /// Sends again what is due (timers A and E), and gives up what has been sent for too long (timers B and F).
    fn repeat(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, number, cseq))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            let Some(call) = self.calls.get_mut(&number) else { continue };
            if call.cseq != cseq {
                continue;
            }
            if now - call.since >= PATIENCE {
                self.calls.remove(&number);
                self.tally.lost += 1;
                continue;
            }
            if call.stage == Stage::Proceeding {
                self.timers.push(Reverse((call.since + PATIENCE, number, cseq)));
                continue;
            }
            call.interval *= 2;
            if call.stage == Stage::HangingUp {
                call.interval = call.interval.min(T2);
                self.tally.byes_repeated += 1;
            }
            self.tally.repeated += 1;
            self.transmit(number, now);
        }
    }

    /// Takes what is there, within bounds; how much that was.
    fn take(&mut self) -> usize {
        let mut buffer = [0; 4096];
        for taken in 0..AT_ONCE {
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.received(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
                Err(error) => panic!("{error}"),
            }
        }
        AT_ONCE
    }

    fn received(&mut self, message: &[u8]) {
        let text = std::str::from_utf8(message).unwrap();
        let Some(status) = text.strip_prefix("SIP/2.0 ").map(|rest| &rest[..3]) else {
            return self.hung_up(text);
        };
        let number: u32 = header(text, "Call-ID").strip_prefix("load-").unwrap().parse().unwrap();
        let (cseq, method) = header(text, "CSeq").split_once(' ').unwrap();
        let cseq: u32 = cseq.parse().unwrap();
        let is_final = !status.starts_with('1');
        if method == "INVITE" && is_final {
            // RFC 3261 §17.1.1.3: an ACK for a refusal is of the INVITE's transaction. §13.2.2.4: for an answer it is
            // of its own. Either is sent as often as what it acknowledges.
            let branch = if status == "200" { "ACK" } else { "INVITE" };
            let ack = self.request("ACK", branch, number, cseq, header(text, "To"), "", "");
            self.send(&ack);
        }
        // Over, or it has been sent again since with other credentials.
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.cseq == cseq) else { return };
        match (method, status) {
            ("INVITE", "100" | "180" | "183") => call.stage = Stage::Proceeding,
            ("INVITE", "200") => self.bye(number, cseq + 1, header(text, "To")),
            ("INVITE", "401") => self.again(number, text),
            ("INVITE", "503") => {
                self.calls.remove(&number);
                self.tally.refused += 1;
            }
            // Both ends hung up: it is over, but not as its caller meant it.
            ("BYE", "481") => {
                self.calls.remove(&number);
                self.tally.lost += 1;
            }
            ("BYE", "200") => {
                self.calls.remove(&number);
                self.tally.good += 1;
            }
            _ => panic!("{text}"),
        }
    }

    /// The server ends a call that it has heard nothing of for too long.
    fn hung_up(&mut self, bye: &str) {
        assert!(bye.starts_with("BYE "), "not expected: {bye}");
        let mut answer = b"SIP/2.0 200 OK\r\n".to_vec();
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            write!(answer, "{name}: {}\r\n", header(bye, name)).unwrap();
        }
        answer.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.send(&answer);
        let number = header(bye, "Call-ID").strip_prefix("load-").unwrap().parse().unwrap();
        if self.calls.remove(&number).is_some() {
            self.tally.lost += 1;
        }
    }

    fn bye(&mut self, number: u32, cseq: u32, to: &str) {
        let sent = self.request("BYE", "BYE", number, cseq, to, "", "");
        self.replace(number, Stage::HangingUp, cseq, sent);
    }

    fn again(&mut self, number: u32, challenge: &str) {
        let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        self.phones[number as usize % PHONES] = Phone { nonce: nonce.to_owned(), count: 0 };
        self.tally.challenged += 1;
        let cseq = self.calls[&number].cseq + 1;
        let sent = self.invite(number, cseq);
        self.replace(number, Stage::Inviting, cseq, sent);
    }

    fn replace(&mut self, number: u32, stage: Stage, cseq: u32, sent: Vec<u8>) {
        let now = Instant::now();
        self.calls.insert(number, Call { stage, cseq, sent, since: now, interval: T1 });
        self.transmit(number, now);
    }

    fn invite(&mut self, number: u32, cseq: u32) -> Vec<u8> {
        let authorization = self.authorization(number);
        let ip = self.local.ip();
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
        );
        self.request("INVITE", "INVITE", number, cseq, "<sip:*43@dialtone>", &authorization, &body)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one message")]
    fn request(
        &self,
        method: &str,
        branch: &str,
        number: u32,
        cseq: u32,
        to: &str,
        more: &str,
        body: &str,
    ) -> Vec<u8> {
        let (local, account) = (self.local, account(number));
        let mut message = Vec::with_capacity(1400);
        write!(
            message,
            "{method} {CALLED} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{number}-{cseq}-{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{account}@dialtone>;tag=f{number}\r\nTo: {to}\r\nCall-ID: load-{number}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{account}@{local}>\r\n{more}\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\nUser-Agent: overload bench\r\n",
        )
        .unwrap();
        if !body.is_empty() {
            write!(message, "Content-Type: application/sdp\r\n").unwrap();
        }
        write!(message, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        message
    }

    fn authorization(&mut self, number: u32) -> String {
        let (account, phone) = (account(number), &mut self.phones[number as usize % PHONES]);
        if phone.nonce.is_empty() {
            return String::new();
        }
        phone.count += 1;
        let (nonce, count) = (&phone.nonce, format!("{:08x}", phone.count));
        let exchange = Exchange { method: "INVITE", uri: CALLED, nonce, nonce_count: &count, cnonce: "load" };
        let response = exchange.response(Algorithm::Md5, &self.ha1[number as usize % ACCOUNTS]).hex();
        format!(
            "Authorization: Digest username=\"{account}\", realm=\"{REALM}\", nonce=\"{nonce}\", \
             uri=\"{CALLED}\", response=\"{response}\", algorithm=MD5, cnonce=\"load\", qop=auth, nc={count}\r\n"
        )
    }

    fn send(&self, message: &[u8]) {
        // What the network has no room for is lost, as anywhere, and sent again.
        if let Err(error) = self.socket.send(message) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        }
    }
}

fn account(number: u32) -> String {
    (1001 + number as usize % ACCOUNTS).to_string()
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    let value = |line: &'t str| line.strip_prefix(name)?.strip_prefix(':');
    text.split("\r\n").find_map(value).unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}
