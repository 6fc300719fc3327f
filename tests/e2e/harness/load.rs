//! Many callers at once over one UDP socket: each calls, acknowledges, hangs up, and repeats what is not answered.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use dialtone_signaling::auth::{Algorithm, Exchange};

/// T1 of RFC 3261 §17.1.1.1: silence after which everything that is unanswered is sent again.
const T1: Duration = Duration::from_millis(500);
/// Messages taken before anything else is done.
const TAKEN_AT_ONCE: usize = 200;
/// How often; the server has been asked for far longer than any overload of these tests lasts.
const REPEATS: u32 = 60;
const REALM: &str = "dialtone";

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Inviting,
    Up,
    HangingUp,
    /// It was up and is over.
    Over,
    /// Refused with 503, and when it may come again, seconds.
    Refused(u32),
}

/// See the module.
pub struct Load {
    socket: UdpSocket,
    nonce: String,
    nonce_count: u32,
    calls: HashMap<u32, Call>,
    /// Those that are over or refused and not forgotten.
    finished: Vec<u32>,
    /// Whether a call is hung up as soon as it is up.
    pub hangs_up: bool,
    /// Calls that ended well, and that were refused, among those forgotten.
    pub done: usize,
    pub refused: usize,
}

struct Call {
    stage: Stage,
    /// The request that waits for its answer.
    sent: String,
    cseq: u32,
    /// The To of the answer, with its tag.
    to: String,
}

impl Load {
    /// Callers of the sample site.
    pub fn new(server: SocketAddr) -> Load {
        let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
        socket.connect(server).unwrap();
        Load {
            socket,
            nonce: String::new(),
            nonce_count: 0,
            calls: HashMap::new(),
            finished: Vec::new(),
            hangs_up: true,
            done: 0,
            refused: 0,
        }
    }

    /// Begins calls with these numbers, all at once.
    pub fn call(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let sent = self.invite(number, 1);
            self.send(&sent);
            self.calls.insert(number, Call { stage: Stage::Inviting, sent, cseq: 1, to: String::new() });
        }
    }

    /// Hangs up what is up.
    pub fn hang_up(&mut self) {
        let up: Vec<u32> = self.numbers(|stage| stage == Stage::Up);
        up.into_iter().for_each(|number| self.bye(number));
    }

    /// Goes on until every call is up, over or refused.
    pub fn settle(&mut self) {
        let mut repeats = 0;
        while self.count(|stage| matches!(stage, Stage::Inviting | Stage::HangingUp)) > 0 {
            if self.take(T1) {
                continue;
            }
            repeats += 1;
            assert!(repeats < REPEATS, "{:?} have no answer", self.numbers(|stage| stage == Stage::Inviting));
            for number in self.numbers(|stage| matches!(stage, Stage::Inviting | Stage::HangingUp)) {
                self.send(&self.calls[&number].sent);
            }
        }
    }

    /// Takes what is there, or waits so long for it; not at all for zero. False when nothing came.
    pub fn take(&mut self, wait: Duration) -> bool {
        if !wait.is_zero() {
            self.socket.set_read_timeout(Some(wait)).unwrap();
            return self.receive();
        }
        self.socket.set_nonblocking(true).unwrap();
        let taken = (0..TAKEN_AT_ONCE).take_while(|_| self.receive()).count();
        self.socket.set_nonblocking(false).unwrap();
        taken > 0
    }

    /// Forgets the calls that are over or refused, and counts them.
    pub fn forget_done(&mut self) {
        for number in std::mem::take(&mut self.finished) {
            match self.calls.remove(&number).map(|call| call.stage) {
                Some(Stage::Refused(_)) => self.refused += 1,
                Some(_) => self.done += 1,
                None => {}
            }
        }
    }

    /// Calls at such a stage.
    pub fn count(&self, at: impl Fn(Stage) -> bool) -> usize {
        self.numbers(at).len()
    }

    fn numbers(&self, at: impl Fn(Stage) -> bool) -> Vec<u32> {
        self.calls.iter().filter(|(_, call)| at(call.stage)).map(|(number, _)| *number).collect()
    }

    /// Takes one message; false when none comes.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let len = match self.socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) => panic!("{error}"),
        };
        let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
        let Some(status) = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)) else {
            panic!("not an answer: {text}");
        };
        let number: u32 = header(&text, "Call-ID").strip_prefix("load-").unwrap().parse().unwrap();
        let (cseq, method) = header(&text, "CSeq").split_once(' ').unwrap();
        let to = header(&text, "To").to_owned();
        // Forgotten: it repeats itself because something of ours was lost.
        let Some(call) = self.calls.get(&number) else { return true };
        if cseq.parse() != Ok(call.cseq) {
            // To a request that was sent again with better credentials.
            return true;
        }
        match (method, status) {
            (_, "100" | "180" | "183") => {}
            ("INVITE", "200") => self.answered(number, to),
            ("INVITE", refused) => self.refused(number, &to, refused, &text),
            ("BYE", "200") => self.finish(number, Stage::Over),
            ("BYE", "401") => {
                self.take_nonce(&text);
                self.bye(number);
            }
            _ => panic!("{text}"),
        }
        true
    }

    fn answered(&mut self, number: u32, to: String) {
        let call = self.at(number);
        call.to = to;
        let (cseq, first) = (call.cseq, call.stage == Stage::Inviting);
        let ack = self.request("ACK", number, cseq, "");
        self.send(&ack);
        if first {
            self.at(number).stage = Stage::Up;
            if self.hangs_up {
                self.bye(number);
            }
        }
    }

    fn refused(&mut self, number: u32, to: &str, status: &str, text: &str) {
        let call = self.at(number);
        call.to = to.to_owned();
        let cseq = call.cseq;
        // RFC 3261 §17.1.1.3: with the branch of the INVITE.
        let ack = self.request("ACK", number, cseq, "").replace("-ACK;", "-INVITE;");
        self.send(&ack);
        if self.calls[&number].stage != Stage::Inviting {
            return;
        }
        match status {
            "401" => {
                self.take_nonce(text);
                let sent = self.invite(number, cseq + 1);
                self.send(&sent);
                let call = self.at(number);
                (call.sent, call.cseq) = (sent, cseq + 1);
            }
            "503" => self.finish(number, Stage::Refused(header(text, "Retry-After").parse().unwrap())),
            _ => panic!("{text}"),
        }
    }

    fn bye(&mut self, number: u32) {
        let cseq = self.calls[&number].cseq + 1;
        let authorization = self.authorization("BYE", number);
        let sent = self.request("BYE", number, cseq, &authorization);
        self.send(&sent);
        let call = self.at(number);
        (call.sent, call.cseq, call.stage) = (sent, cseq, Stage::HangingUp);
    }

    fn invite(&mut self, number: u32, cseq: u32) -> String {
        let authorization = self.authorization("INVITE", number);
        self.request("INVITE", number, cseq, &authorization)
    }

    fn request(&self, method: &str, number: u32, cseq: u32, more: &str) -> String {
        let local = self.socket.local_addr().unwrap();
        let account = account(number);
        let to = match self.calls.get(&number) {
            Some(call) if method != "INVITE" => call.to.clone(),
            _ => "<sip:*43@dialtone>".to_owned(),
        };
        let body = match method {
            "INVITE" => format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n",
                ip = local.ip()
            ),
            _ => String::new(),
        };
        format!(
            "{method} sip:*43@dialtone SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{number}-{cseq}-{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{account}@dialtone>;tag=f{number}\r\nTo: {to}\r\nCall-ID: load-{number}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{account}@{local}>\r\n{more}Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn authorization(&mut self, method: &str, number: u32) -> String {
        if self.nonce.is_empty() {
            return String::new();
        }
        self.nonce_count += 1;
        let (account, nonce, count) = (account(number), &self.nonce, format!("{:08x}", self.nonce_count));
        let exchange =
            Exchange { method, uri: "sip:*43@dialtone", nonce, nonce_count: &count, cnonce: "load" };
        let ha1 = Algorithm::Md5.ha1(&account, REALM, &format!("dialtone-{account}"));
        let response = exchange.response(Algorithm::Md5, &ha1).hex();
        format!(
            "Authorization: Digest username=\"{account}\", realm=\"{REALM}\", nonce=\"{nonce}\", \
             uri=\"sip:*43@dialtone\", response=\"{response}\", algorithm=MD5, cnonce=\"load\", qop=auth, nc={count}\r\n"
        )
    }

    fn take_nonce(&mut self, challenge: &str) {
        let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        (self.nonce, self.nonce_count) = (nonce.to_owned(), 0);
    }

    fn finish(&mut self, number: u32, stage: Stage) {
        let call = self.at(number);
        if matches!(call.stage, Stage::Inviting | Stage::HangingUp) {
            call.stage = stage;
            self.finished.push(number);
        }
    }

    fn at(&mut self, number: u32) -> &mut Call {
        self.calls.get_mut(&number).unwrap()
    }

    fn send(&self, text: &str) {
        self.socket.send(text.as_bytes()).unwrap();
    }
}

fn account(number: u32) -> String {
    (1001 + number % 10).to_string()
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))[name.len() + 1..].trim()
}
