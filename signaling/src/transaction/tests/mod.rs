//! Golden traces of the four machines on virtual time: every timer of RFC 3261 Table 4 and of RFC 6026.

mod clients;
mod matching;
mod sending;
mod servers;

use std::time::Duration;

use super::*;
use crate::wire::Transport;

/// A transaction layer, its clock, and what it did.
struct Bench {
    layer: Transactions,
    now: Mono,
    path: Path,
    trace: Vec<String>,
    /// Server transactions, in order of arrival.
    asked: Vec<TxId>,
    sent: Vec<Transmit>,
    undelivered: Vec<Undelivered>,
}

impl Bench {
    fn over(transport: Transport) -> Bench {
        Bench::with_limit(transport, 100)
    }

    fn with_limit(transport: Transport, limit: usize) -> Bench {
        let path = Path {
            transport,
            flow: crate::wire::FlowId(1),
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.9:5070".parse().unwrap(),
        };
        let layer = Transactions::new(Timing::default(), limit);
        let (trace, asked, sent) = (Vec::new(), Vec::new(), Vec::new());
        Bench { layer, now: Mono::ZERO, path, trace, asked, sent, undelivered: Vec::new() }
    }

    fn send(&mut self, method: &str) -> TxId {
        let mut out = Vec::new();
        let tx = self.layer.send(self.now, request(method, "z9hG4bKours"), self.path, None, &mut out);
        self.note(out);
        tx
    }

    /// Their answer to a request of ours.
    fn answer(&mut self, method: &str, status: u16) {
        let mut out = Vec::new();
        let response = Response::to(&request(method, "z9hG4bKours"), status);
        self.layer.response(self.now, response, &mut out);
        self.note(out);
    }

    fn receive(&mut self, request: Request) {
        let mut out = Vec::new();
        let key = Lookup::server(&request).unwrap();
        self.layer.request(self.now, request, &key, self.path, Credentials::None, &mut out);
        self.note(out);
    }

    /// Our answer to their last request.
    fn respond(&mut self, status: u16) {
        let tx = *self.asked.last().unwrap();
        let mut out = Vec::new();
        self.layer.respond(self.now, tx, &Response::to(&request("INVITE", "z9hG4bKx"), status), &mut out);
        self.note(out);
    }

    fn fail(&mut self) {
        let ticket = self.sent.last().unwrap().ticket;
        let mut out = Vec::new();
        self.layer.send_failed(ticket, &mut out);
        self.note(out);
    }

    /// Until `ms` after the beginning.
    fn until(&mut self, ms: u64) {
        let target = Mono::from_millis(ms);
        while let Some(due) = self.layer.deadline().filter(|due| *due <= target) {
            self.now = due.max(self.now);
            let (before, mut out) = (self.layer.len(), Vec::new());
            self.layer.expire(self.now, &mut out);
            self.note(out);
            if self.layer.len() < before {
                self.line("gone");
            }
        }
        self.now = target;
    }

    fn line(&mut self, what: &str) {
        let at: Duration = self.now.since(Mono::ZERO);
        self.trace.push(format!("{}.{} {what}", at.as_secs(), at.subsec_millis() / 100));
    }

    fn note(&mut self, out: Vec<TxOutput>) {
        for output in out {
            let line = match output {
                TxOutput::Transmit { transmit, .. } => {
                    let line = format!("send {}", start(&transmit.payload));
                    self.sent.push(transmit);
                    line
                }
                TxOutput::Request { tx, request, .. } => {
                    self.asked.push(tx);
                    format!("asked {}", request.method)
                }
                TxOutput::Ack { .. } => "ack".into(),
                TxOutput::Cancel { tx, invite, .. } => {
                    self.asked.push(tx);
                    format!("cancel of {}", if invite.is_some() { "an INVITE" } else { "nothing" })
                }
                TxOutput::Response { response, .. } => format!("heard {}", response.status),
                TxOutput::Late { response, .. } => format!("late {}", response.status),
                TxOutput::Delivered { .. } => "delivered".into(),
                TxOutput::Undelivered { undelivered, .. } => {
                    self.undelivered.push(*undelivered);
                    "undelivered".into()
                }
                TxOutput::Timeout { unreachable: true, .. } => "unreachable".into(),
                TxOutput::Timeout { .. } => "timeout".into(),
                TxOutput::Seen { .. } => continue,
            };
            self.line(&line);
        }
    }

    /// What it did since the last time.
    fn trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }
}

fn start(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let mut words = text.split(' ');
    match words.next() {
        Some("SIP/2.0") => words.next().unwrap_or_default().to_owned(),
        method => method.unwrap_or_default().to_owned(),
    }
}

fn request(method: &str, branch: &str) -> Request {
    with_via(method, &format!("SIP/2.0/UDP 192.0.2.9:5070;branch={branch};rport"))
}

fn with_via(method: &str, via: &str) -> Request {
    let text = format!(
        "{method} sip:1002@pbx SIP/2.0\r\nVia: {via}\r\nFrom: <sip:1001@pbx>;tag=f\r\nTo: <sip:1002@pbx>\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    );
    match Message::parse(text.into()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!(),
    }
}
