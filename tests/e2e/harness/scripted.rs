//! A phone that is written out: it registers over connections of its own, answers a call and says back what it hears.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dialtone_signaling::auth::{Algorithm, Exchange};
use dialtone_signaling::message::{AuthParams, Message, Method, Name, Request, Response};

const PATIENCE: Duration = Duration::from_secs(10);

static SERIAL: AtomicU32 = AtomicU32::new(1);

/// One connection of a phone, and the flow that it is (RFC 5626).
pub struct Flow {
    stream: TcpStream,
    received: Vec<u8>,
    number: &'static str,
    reg_id: u32,
    cseq: u32,
}

impl Flow {
    /// Connects and registers as this flow of the phone's one instance.
    pub fn register(number: &'static str, reg_id: u32) -> (Flow, Response) {
        let stream = TcpStream::connect("127.0.0.1:5060").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut flow = Flow { stream, received: Vec::new(), number, reg_id, cseq: 0 };
        let challenge = flow.ask(None);
        let answer = flow.ask(challenge.headers.auth(&Name::WwwAuthenticate).next());
        assert_eq!(answer.status, 200, "{answer:?}");
        (flow, answer)
    }

    fn ask(&mut self, challenge: Option<AuthParams>) -> Response {
        self.cseq += 1;
        let (number, local, cseq) = (self.number, self.stream.local_addr().unwrap(), self.cseq);
        let mut register = Request::new(Method::Register, "sip:127.0.0.1");
        let headers = &mut register.headers;
        let branch = SERIAL.fetch_add(1, Ordering::Relaxed);
        headers.push(Name::Via, format!("SIP/2.0/TCP {local};branch=z9hG4bK-{branch}"));
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("<sip:{number}@127.0.0.1>;tag=flow{}", self.reg_id));
        headers.push(Name::To, format!("<sip:{number}@127.0.0.1>"));
        // Each connection is a registration of its own.
        headers.push(Name::CallId, format!("flow-{local}@phone"));
        headers.push(Name::CSeq, format!("{cseq} REGISTER"));
        let device = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
        let contact = format!("<sip:{number}@{local};transport=tcp;ob>;{device};reg-id={}", self.reg_id);
        headers.push(Name::Contact, contact);
        headers.push(Name::Supported, "path, outbound, gruu");
        headers.push(Name::Expires, "3600");
        if let Some(challenge) = challenge {
            headers.push(Name::Authorization, self.proof(&challenge));
        }
        self.send(register.into());
        match self.receive() {
            Message::Response(response) => response,
            Message::Request(request) => panic!("an answer is due: {request:?}"),
        }
    }

    fn proof(&self, challenge: &AuthParams) -> String {
        let (realm, nonce) = (challenge.get("realm").unwrap(), challenge.get("nonce").unwrap());
        let password = format!("dialtone-{}", self.number);
        let ha1 = Algorithm::Md5.hash(&[format!("{}:{realm}:{password}", self.number).as_bytes()]);
        let exchange = Exchange {
            method: "REGISTER",
            uri: "sip:127.0.0.1",
            nonce,
            nonce_count: "00000001",
            cnonce: "abc",
        };
        let response = exchange.response(Algorithm::Md5, &ha1);
        format!(
            "Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"sip:127.0.0.1\", algorithm=MD5, \
             qop=auth, nc=00000001, cnonce=\"abc\", response=\"{}\"",
            self.number,
            response.hex()
        )
    }

    /// Our port of the connection.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// Breaks the connection without a word.
    pub fn kill(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// Waits for a call, answers it, sends back what it hears, and ends with the caller's BYE. Gives the INVITE.
    pub fn answer_and_echo(&mut self) -> Request {
        let invite = self.expect(Method::Invite);
        let voice = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = voice.local_addr().unwrap();
        std::thread::spawn(move || echo(&voice));
        let mut answer = self.answer(&invite, 200);
        answer.tag_to(|| "phone");
        answer
            .headers
            .push(Name::Contact, format!("<sip:{}@{}>", self.number, self.stream.local_addr().unwrap()));
        answer.set_body("application/sdp", description(at));
        self.send(answer.into());
        self.expect(Method::Ack);
        let bye = self.expect(Method::Bye);
        let answer = self.answer(&bye, 200);
        self.send(answer.into());
        invite
    }

    /// Answers every OPTIONS on the way to the next request of this kind.
    pub fn expect(&mut self, method: Method) -> Request {
        loop {
            match self.receive() {
                Message::Request(request) if request.method == method => return request,
                Message::Request(request) => {
                    let answer = self.answer(&request, 200);
                    self.send(answer.into());
                }
                Message::Response(response) => panic!("{method:?} is due: {response:?}"),
            }
        }
    }

    fn answer(&self, request: &Request, status: u16) -> Response {
        Response::to(request, status)
    }

    fn send(&mut self, message: Message) {
        self.stream.write_all(&message.to_bytes()).unwrap();
    }

    fn receive(&mut self) -> Message {
        loop {
            if let Some(message) = self.whole() {
                return message;
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server closed the connection");
            self.received.extend(&buffer[..read]);
        }
    }

    fn whole(&mut self) -> Option<Message> {
        let head = self.received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&self.received[..head]).to_ascii_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let end = head + length.unwrap_or(0);
        if self.received.len() < end {
            return None;
        }
        let rest = self.received.split_off(end);
        let message = std::mem::replace(&mut self.received, rest);
        Some(Message::parse(message.into()).unwrap())
    }
}

fn description(at: SocketAddr) -> String {
    let (ip, port) = (at.ip(), at.port());
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

/// Until nothing came for a while.
fn echo(voice: &UdpSocket) {
    voice.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut packet = [0; 2048];
    while let Ok((len, from)) = voice.recv_from(&mut packet) {
        let _ = voice.send_to(&packet[..len], from);
    }
}
