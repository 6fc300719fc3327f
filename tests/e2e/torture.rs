//! Messages made to hurt, sent to the server as it is shipped from a bare socket by a stranger: each is answered
//! as `tests/data/torture/cases.toml` owes, over UDP and TCP, and an OPTIONS after it is answered as ever.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

use dialtone_signaling::message::{MESSAGE_MAX, Message};
use dialtone_signaling::transport::{Frame, Framer};

use crate::harness::{PATIENCE, Server, Setup, eventually, scenario};
use crate::torture_cases::{Case, cases};

const IPV4: &str = "127.0.0.1:5060";
const IPV6: &str = "[::1]:5060";
/// Of the lines that a storm of malformed messages may add to the log.
const LINES_MAX: usize = 10;

/// A stranger; each of its OPTIONS is another one.
struct Stranger {
    server: SocketAddr,
    probes: u32,
}

impl Stranger {
    fn of(server: &str) -> Stranger {
        Stranger { server: server.parse().unwrap(), probes: 0 }
    }

    /// An OPTIONS, padded to so many bytes at least, and its Call-ID.
    fn probe(&mut self, transport: &str, size: usize) -> (Vec<u8>, String) {
        self.probes += 1;
        let id = format!("probe-{}", self.probes);
        let head = |length: usize| {
            format!(
                "OPTIONS sip:pbx.example SIP/2.0\r\n\
                 Via: SIP/2.0/{transport} stranger.example;rport;branch=z9hG4bK-{id}\r\n\
                 From: <sip:stranger@pbx.example>;tag=1\r\nTo: <sip:pbx.example>\r\n\
                 Call-ID: {id}\r\nCSeq: 1 OPTIONS\r\nContent-Type: text/plain\r\nContent-Length: {length:05}\r\n\r\n"
            )
        };
        let body = size.saturating_sub(head(0).len());
        ([head(body).into_bytes(), vec![b'x'; body]].concat(), id)
    }

    /// What a datagram is answered before the OPTIONS after it; that must be answered 200.
    fn tell(&mut self, socket: &UdpSocket, datagram: &[u8]) -> Vec<u16> {
        let (probe, id) = self.probe("UDP", 0);
        socket.send(datagram).unwrap();
        socket.send(&probe).unwrap();
        let mut buffer = vec![0; MESSAGE_MAX];
        let next = || {
            let length = socket.recv(&mut buffer).expect("the OPTIONS is answered");
            buffer[..length].to_vec()
        };
        answers_until(&id, next)
    }

    /// The same on a connection.
    fn say(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> Vec<u16> {
        let (probe, id) = self.probe("TCP", 0);
        stream.write_all(bytes).unwrap();
        stream.write_all(&probe).unwrap();
        let mut framer = Framer::new(MESSAGE_MAX);
        answers_until(&id, || next_message(stream, &mut framer).expect("the OPTIONS is answered"))
    }

    /// An OPTIONS on a connection of its own is answered 200.
    fn is_served(&mut self) {
        assert!(self.say(&mut self.connect(), b"").is_empty());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What is wrong with what a message is answered over TCP.
    fn judge_tcp(&mut self, case: &Case) -> Option<String> {
        let mut stream = self.connect();
        let found = if case.tcp == "waits" {
            stream.write_all(&case.bytes()).unwrap();
            self.is_served();
            stream.set_nonblocking(true).unwrap();
            match stream.read(&mut [0; 1]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => "waits".to_owned(),
                other => format!("{other:?}"),
            }
        } else if case.tcp.ends_with("closed") {
            stream.write_all(&case.bytes()).unwrap();
            let mut framer = Framer::new(MESSAGE_MAX);
            let mut found = Vec::new();
            while let Some(message) = next_message(&mut stream, &mut framer) {
                found.push(status(&message).to_string());
            }
            found.push("closed".into());
            self.is_served();
            found.join(", ")
        } else {
            words(&self.say(&mut stream, &case.bytes()))
        };
        (found != case.tcp)
            .then(|| format!("{} ({}) over TCP: {found}, not {}", case.file, case.rfc, case.tcp))
    }

    fn judge_udp(&mut self, socket: &UdpSocket, case: &Case) -> Option<String> {
        let found = words(&self.tell(socket, &case.bytes()));
        (found != case.udp)
            .then(|| format!("{} ({}) over UDP: {found}, not {}", case.file, case.rfc, case.udp))
    }

    /// A socket at the port that a Via without one means.
    fn socket(&self, address: &str) -> UdpSocket {
        let socket = UdpSocket::bind((address, 5060)).unwrap();
        socket.connect(self.server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// The next message of a stream; `None` at its end.
fn next_message(stream: &mut TcpStream, framer: &mut Framer) -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        match framer.next().unwrap() {
            Some(Frame::Message(message)) => return Some(message.to_vec()),
            Some(Frame::Ping) => continue,
            None => {}
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(length) => framer.push(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn answers_until(id: &str, mut next: impl FnMut() -> Vec<u8>) -> Vec<u16> {
    let mut found = Vec::new();
    loop {
        let answer = next();
        let message = Message::parse(answer.clone().into()).unwrap();
        if message.call_id() == Ok(id) {
            assert_eq!(status(&answer), 200, "to the OPTIONS");
            return found;
        }
        found.push(status(&answer));
    }
}

fn status(answer: &[u8]) -> u16 {
    match Message::parse(answer.to_vec().into()).unwrap() {
        Message::Response(response) => response.status,
        Message::Request(request) => panic!("a stranger was sent {request:?}"),
    }
}

fn words(found: &[u16]) -> String {
    if found.is_empty() {
        return "silence".into();
    }
    found.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Sends every case that is chosen, each way.
fn every(address: &'static str, from: &'static str, chosen: impl Fn(&Case) -> bool + Send + 'static) {
    scenario(move |lab| {
        if from.contains(':') {
            let up = Command::new("ip").args(["-6", "address", "add", from, "dev", "lo", "nodad"]).status();
            assert!(up.unwrap().success(), "ip address add {from}");
        }
        let both = format!("{IPV4},{IPV6}");
        let setup = Setup::shipped().with("DIALTONE_SIP_UDP", &both).with("DIALTONE_SIP_TCP", &both);
        let server = Server::start(lab, setup);
        let mut stranger = Stranger::of(address);
        let socket = stranger.socket(from);
        let chosen: Vec<Case> = cases().into_iter().filter(chosen).collect();
        let udp: Vec<String> = chosen.iter().filter_map(|case| stranger.judge_udp(&socket, case)).collect();
        let tcp: Vec<String> = chosen.iter().filter_map(|case| stranger.judge_tcp(case)).collect();
        assert!(udp.is_empty() && tcp.is_empty(), "{udp:#?} {tcp:#?}");
        assert_eq!(server.transport_count("refusals_suppressed"), 0.0);
        server.finish(0);
    });
}

/// RFC 4475 §3.1, §3.2, §3.3, §3.4: every case class.
#[test]
fn torturous_messages_are_answered_as_they_are_owed() {
    every(IPV4, "127.0.0.2", |case| case.rfc.starts_with("RFC 4475"));
}

/// RFC 5118 §4: every case class, from an IPv6 address.
#[test]
fn torturous_messages_over_ipv6_are_answered_as_they_are_owed() {
    every(IPV6, "fd00::2", |case| case.ipv6);
}

/// What those RFCs leave out.
#[test]
fn other_malformed_messages_are_answered_as_they_are_owed() {
    every(IPV4, "127.0.0.2", |case| !case.rfc.starts_with("RFC 4475") && !case.ipv6);
}

/// RFC 3261 §18.1.1: messages of up to 65,535 bytes, and no byte more.
#[test]
fn the_largest_messages_are_read_and_larger_ones_are_not() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut stranger = Stranger::of(IPV4);
        let socket = stranger.socket("127.0.0.2");
        // What one datagram of IPv4 can carry.
        let (datagram, id) = stranger.probe("UDP", 65_507);
        assert_eq!(datagram.len(), 65_507);
        socket.send(&datagram).unwrap();
        let mut buffer = vec![0; MESSAGE_MAX];
        answers_until(&id, || {
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        });
        let (largest, id) = stranger.probe("TCP", MESSAGE_MAX);
        let mut stream = stranger.connect();
        stream.write_all(&largest).unwrap();
        let mut framer = Framer::new(MESSAGE_MAX);
        answers_until(&id, || next_message(&mut stream, &mut framer).unwrap());
        let (larger, _) = stranger.probe("TCP", MESSAGE_MAX + 1);
        // The connection may be gone before all is written.
        let _ = stream.write_all(&larger);
        while next_message(&mut stream, &mut framer).is_some() {}
        stranger.is_served();
        server.finish(0);
    });
}

/// However many come: the log stays as it is, and the counters move.
#[test]
fn a_storm_of_malformed_messages_is_counted_and_not_logged() {
    const ROUNDS: usize = 60;
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut stranger = Stranger::of(IPV4);
        let socket = stranger.socket("127.0.0.2");
        let malformed: Vec<Vec<u8>> =
            cases().iter().filter(|case| case.message != "accepted").map(Case::bytes).collect();
        let lines = server.log_lines();
        for _ in 0..ROUNDS {
            for datagram in &malformed {
                socket.send(datagram).unwrap();
            }
            // Lets the server catch up, so that the kernel drops none.
            stranger.tell(&socket, b"junk\r\n\r\n");
            let mut stream = stranger.connect();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the connection is closed");
        }
        let sent = (ROUNDS * malformed.len()) as f64;
        let count = |kind| server.transport_count(kind);
        let counted = count("parse_errors") + count("junk");
        assert!(counted >= sent, "{counted} counted of {sent}");
        assert!(count("junk") >= ROUNDS as f64);
        assert_eq!(count("framing_errors"), ROUNDS as f64);
        assert!(count("refusals_suppressed") > 0.0, "a source gets its share of refusals and no more");
        let added = server.log_lines() - lines;
        assert!(added <= LINES_MAX, "{added} lines for {sent} messages");
        eventually("an OPTIONS is answered", || stranger.tell(&socket, b"\r\n\r\n").is_empty().then_some(()));
        server.finish(0);
    });
}
