//! Many phones over one UDP socket that write down what they are promised: they register, call flows of the server's own,
//! hang up, and repeat what is not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::Duration;

use dialtone_core::cdr::Cdr;
use dialtone_signaling::auth::{Algorithm, Exchange};

use super::ledger::Ledger;
use crate::harness::{Server, Setup};

/// T1 of RFC 3261 §17.1.1.1: silence after which what is unanswered is sent again.
const T1: Duration = Duration::from_millis(500);
/// Repetitions in a row, with no answer to anything, that are worth waiting for.
const REPEATS: u32 = 40;
const REALM: &str = "dialtone";

/// See the module.
pub struct Fleet {
    socket: UdpSocket,
    nonce: String,
    nonce_count: u32,
    asks: BTreeMap<String, Ask>,
    /// What was promised.
    pub ledger: Ledger,
}

/// What one phone is about.
struct Ask {
    /// The extension that asks.
    account: String,
    /// The number that it calls; empty when it registers.
    number: String,
    stage: Stage,
    method: &'static str,
    cseq: u32,
    sent: String,
    /// The To of the answer, with its tag.
    to: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The last request has no answer.
    Waiting,
    /// The call is up.
    Up,
    Over,
}

impl Fleet {
    /// The sample site with these many extensions, from 2000 on, and flows that echo, from 7000 on.
    pub fn site(extensions: u32, flows: u32) -> Setup {
        let extension =
            |n| format!("[[extension]]\nnumber = \"{n}\"\nname = \"Phone\"\npassword = \"dialtone-{n}\"\n\n");
        let flow =
            |n| format!("[[flow]]\nnumber = \"{n}\"\nname = \"Echo\"\nsteps = [\"answer\", \"echo\"]\n\n");
        let mut all: String = (2000..2000 + extensions).map(extension).collect();
        all.extend((7000..7000 + flows).map(flow));
        let anchor = "[[flow]]\nnumber = \"*43\"";
        Setup::shipped().site(anchor, &format!("{all}{anchor}")).site("qualify = \"60s\"", "qualify = \"0s\"")
    }

    /// Phones that know this server.
    pub fn new(server: &str) -> Fleet {
        let server: SocketAddr = server.parse().unwrap();
        let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
        socket.connect(server).unwrap();
        Fleet {
            socket,
            nonce: String::new(),
            nonce_count: 0,
            asks: BTreeMap::new(),
            ledger: Ledger::default(),
        }
    }

    /// Extensions register, all at once.
    pub fn register(&mut self, extensions: Range<u32>) {
        for number in extensions {
            self.begin(format!("reg-{number}"), number.to_string(), String::new());
        }
    }

    /// Calls to these numbers begin, all at once.
    pub fn call(&mut self, numbers: Range<u32>) {
        for number in numbers {
            self.ledger.called.insert(number.to_string());
            self.begin(format!("call-{number}"), (1001 + number % 10).to_string(), number.to_string());
        }
    }

    /// Hangs up what is up.
    pub fn hang_up(&mut self) {
        let up = self.at(Stage::Up);
        up.iter().for_each(|id| self.ask(id, "BYE"));
    }

    /// Takes answers until there are none for a while, once; false when none came at all.
    pub fn take(&mut self, wait: Duration) -> bool {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let taken = (0..200).take_while(|_| self.receive()).count();
        taken > 0
    }

    /// Goes on, repeating what is not answered, until it is so.
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&Ledger) -> bool) {
        let mut silent = 0;
        while !so(&self.ledger) {
            self.socket.set_read_timeout(Some(T1)).unwrap();
            if self.receive() {
                silent = 0;
                continue;
            }
            silent += 1;
            assert!(silent < REPEATS, "in vain: {what}; no answer has {:?}", self.at(Stage::Waiting));
            self.repeat();
        }
    }

    /// Goes on until every request is answered.
    pub fn settle(&mut self) {
        let mut silent = 0;
        while !self.at(Stage::Waiting).is_empty() {
            self.socket.set_read_timeout(Some(T1)).unwrap();
            if !self.receive() {
                silent += 1;
                assert!(silent < REPEATS, "no answer has {:?}", self.at(Stage::Waiting));
                self.repeat();
            }
        }
    }

    /// Sends again what has no answer.
    pub fn repeat(&mut self) {
        for id in self.at(Stage::Waiting) {
            self.send(&self.asks[&id].sent);
        }
    }

    /// What is not answered is given up: nobody was promised anything.
    pub fn give_up(&mut self) {
        self.asks
            .values_mut()
            .filter(|ask| ask.stage == Stage::Waiting)
            .for_each(|ask| ask.stage = Stage::Over);
    }

    /// Calls that are up.
    pub fn up(&self) -> usize {
        self.at(Stage::Up).len()
    }

    /// Every call is over and everything is answered: the server must have kept all promises. Ends it; its records.
    pub fn check(&self, server: Server<'_>) -> Vec<Cdr> {
        let (good, contacts) = server.command(&["contacts", "--json"]);
        assert!(good, "{contacts}");
        let endpoint = |line: &str| {
            let contact: serde_json::Value = serde_json::from_str(line).unwrap();
            contact["endpoint"].as_str().unwrap().to_owned()
        };
        let contacts: BTreeSet<String> = contacts.lines().map(endpoint).collect();
        let records = server.end();
        self.ledger.check(&records, &contacts);
        records
    }

    fn at(&self, stage: Stage) -> Vec<String> {
        self.asks.iter().filter(|(_, ask)| ask.stage == stage).map(|(id, _)| id.clone()).collect()
    }

    fn begin(&mut self, id: String, account: String, number: String) {
        let method = if number.is_empty() { "REGISTER" } else { "INVITE" };
        let ask = Ask {
            account,
            number,
            stage: Stage::Waiting,
            method,
            cseq: 0,
            sent: String::new(),
            to: String::new(),
        };
        self.asks.insert(id.clone(), ask);
        self.ask(&id, method);
    }

    /// Sends a new request of this ask.
    fn ask(&mut self, id: &str, method: &'static str) {
        let ask = &self.asks[id];
        let proof = self.authorization(&ask.account.clone(), method, &ask.number.clone());
        let ask = self.asks.get_mut(id).unwrap();
        (ask.stage, ask.method, ask.cseq) = (Stage::Waiting, method, ask.cseq + 1);
        let sent = self.request(id, method, &proof);
        self.send(&sent);
        self.asks.get_mut(id).unwrap().sent = sent;
    }

    /// Takes one message; false when none comes.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let len = match self.socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return false,
                // Nobody listens at the moment.
                ErrorKind::ConnectionRefused => return true,
                _ => panic!("{error}"),
            },
        };
        let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
        if let Some(status) = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok()) {
            self.answer(&text, status);
        } else if text.starts_with("BYE ") {
            self.hung_up(&text);
        } else {
            panic!("nobody asked for {text}");
        }
        true
    }

    fn answer(&mut self, text: &str, status: u16) {
        let id = header(text, "Call-ID").to_owned();
        let (cseq, method) = header(text, "CSeq").split_once(' ').unwrap();
        let Some(ask) = self.asks.get_mut(&id) else { panic!("nobody asked: {text}") };
        if status < 200 {
            return;
        }
        let current = cseq.parse() == Ok(ask.cseq) && method == ask.method;
        if method == "INVITE" {
            if current {
                ask.to = header(text, "To").to_owned();
            }
            self.acknowledge(&id, text, status);
        }
        let ask = &self.asks[&id];
        if !current || ask.stage != Stage::Waiting {
            return;
        }
        if status == 401 {
            let nonce = text.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            if self.nonce != nonce {
                (self.nonce, self.nonce_count) = (nonce.to_owned(), 0);
            }
            return self.ask(&id, ask.method);
        }
        let (account, number) = (ask.account.clone(), ask.number.clone());
        let stage = match (ask.method, status) {
            ("REGISTER", 200) => {
                self.ledger.registered.insert(account);
                Stage::Over
            }
            ("INVITE", 200) => {
                self.ledger.answered.insert(number);
                Stage::Up
            }
            ("INVITE", _) => {
                self.ledger.refused.insert(number, status);
                Stage::Over
            }
            ("BYE", _) => {
                self.ledger.ended.insert(number, status);
                Stage::Over
            }
            _ => Stage::Over,
        };
        self.asks.get_mut(&id).unwrap().stage = stage;
    }

    /// RFC 3261 §17.1.1.3: the ACK to a refusal has the branch of the INVITE; that to a 200 one of its own.
    fn acknowledge(&mut self, id: &str, answer: &str, status: u16) {
        let ack = self.request(id, "ACK", "");
        let cseq = header(answer, "CSeq").replace("INVITE", "ACK");
        let via = if status == 200 { header(&ack, "Via") } else { header(answer, "Via") };
        let ack = replace(&replace(&ack, "CSeq", &cseq), "Via", via);
        self.send(&replace(&ack, "To", header(answer, "To")));
    }

    /// The server ends a call.
    fn hung_up(&mut self, bye: &str) {
        let copied =
            ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", header(bye, name)));
        self.send(&format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", copied.concat()));
        let ask = self.asks.get_mut(header(bye, "Call-ID")).unwrap();
        if ask.stage == Stage::Up {
            ask.stage = Stage::Over;
            self.ledger.ended.insert(ask.number.clone(), 200);
        }
    }

    fn request(&self, id: &str, method: &str, proof: &str) -> String {
        let (ask, local) = (&self.asks[id], self.socket.local_addr().unwrap());
        let Ask { account, number, cseq, .. } = ask;
        let target = if number.is_empty() { REALM.to_owned() } else { format!("{number}@{REALM}") };
        let to = match (ask.to.is_empty() || method == "INVITE", number.is_empty()) {
            (false, _) => ask.to.clone(),
            (true, true) => format!("<sip:{account}@{REALM}>"),
            (true, false) => format!("<sip:{target}>"),
        };
        let body = match method {
            "INVITE" => format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n",
                ip = local.ip()
            ),
            _ => String::new(),
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:{target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{id}-{cseq}-{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{account}@{REALM}>;tag=f\r\nTo: {to}\r\nCall-ID: {id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{account}@{local}>\r\n{proof}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn authorization(&mut self, account: &str, method: &str, number: &str) -> String {
        if self.nonce.is_empty() {
            return String::new();
        }
        self.nonce_count += 1;
        let uri = if number.is_empty() { format!("sip:{REALM}") } else { format!("sip:{number}@{REALM}") };
        let (nonce, count) = (&self.nonce, format!("{:08x}", self.nonce_count));
        let exchange = Exchange { method, uri: &uri, nonce, nonce_count: &count, cnonce: "fleet" };
        let ha1 = Algorithm::Md5.ha1(account, REALM, &format!("dialtone-{account}"));
        let response = exchange.response(Algorithm::Md5, &ha1).hex();
        format!(
            "Authorization: Digest username=\"{account}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"fleet\", qop=auth, nc={count}\r\n"
        )
    }

    fn send(&self, text: &str) {
        // Refused while nobody listens; then it is sent again.
        let _ = self.socket.send(text.as_bytes());
    }
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))[name.len() + 1..].trim()
}

fn replace(text: &str, name: &str, value: &str) -> String {
    text.replacen(&format!("{name}: {}", header(text, name)), &format!("{name}: {value}"), 1)
}
