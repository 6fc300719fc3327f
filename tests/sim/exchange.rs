//! Messages between phones and the switch: what the network and the transport do with them.

use std::net::SocketAddr;
use std::time::Duration;

use dialtone::switch::Input;
use dialtone_signaling::message::{Message, Name, Request};
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::wire::{Credentials, FlowId, Path, Transmit, Transport, TransportEvent};

use super::net;
use super::phone::REALM;
use super::site;
use super::world::{Happening, World, at};

impl World {
    pub fn sent(&mut self, transmit: Transmit) {
        let Ok(message) = Message::parse(transmit.payload.clone()) else {
            return self.checks.fail("what we send cannot be read", format!("{:?}", transmit.payload));
        };
        self.checks.sent(self.now, &transmit, &message);
        let Transmit { path, payload, ticket, opens: _ } = transmit;
        if path.transport.is_reliable() {
            match self.net.stream(path.flow, self.now, true) {
                Some(after) => self.plan(after, Happening::Delivered(path, payload)),
                None => {
                    let failed = SipInput::Transport(TransportEvent::SendFailed { ticket });
                    self.plan(Duration::from_millis(50), Happening::Input(Input::Sip(failed)));
                }
            }
            return;
        }
        let phone = self.phones.iter().position(|phone| phone.line.public.ip() == path.remote.ip());
        let Some(phone) = phone else { return };
        for after in self.net.datagram(phone, self.now) {
            self.plan(after, Happening::Delivered(path, payload.clone()));
        }
    }

    pub fn delivered(&mut self, path: Path, bytes: bytes::Bytes) {
        let there = self.phones.iter().position(|phone| match path.transport {
            Transport::Udp => phone.line.transport == Transport::Udp && phone.line.public == path.remote,
            Transport::Tcp | Transport::Tls => {
                phone.line.flow == Some(path.flow) && self.net.stands(path.flow)
            }
        });
        let (Some(there), Ok(message)) = (there, Message::parse(bytes)) else { return };
        if let Some(picture) = &mut self.picture {
            picture.delivered(&message, self.now, &self.phones[there].number);
        }
        self.with_phone(there, |phone| phone.receive(message));
    }

    pub fn leaves(&mut self, at: usize, message: Message) {
        if let Some(picture) = &mut self.picture {
            picture.left(&message, self.now, &self.phones[at].number);
        }
        let bytes = message.to_bytes();
        let phone = &mut self.phones[at];
        if !phone.line.transport.is_reliable() {
            let path = net::path(&phone.line);
            for after in self.net.datagram(at, self.now) {
                self.plan(after, Happening::Arrives(path, bytes.clone()));
            }
            return;
        }
        if phone.line.flow.is_none_or(|flow| !self.net.stands(flow)) {
            let flow = self.net.connect(phone);
            let path = net::path(&phone.line);
            let up = Input::Sip(SipInput::Transport(TransportEvent::FlowUp { path }));
            let after = self.net.stream(flow, self.now, false).unwrap_or_default();
            self.plan(after, Happening::Input(up));
        }
        let path = net::path(&self.phones[at].line);
        if let Some(after) = self.net.stream(path.flow, self.now, false) {
            self.plan(after, Happening::Arrives(path, bytes));
        }
    }

    /// What the transport does with a message of a phone.
    pub fn arrives(&mut self, path: Path, bytes: bytes::Bytes) {
        if path.transport.is_reliable() && !self.net.stands(path.flow) {
            return;
        }
        let Ok(mut message) = Message::parse(bytes) else { return };
        let mut credentials = Credentials::None;
        if let Message::Request(request) = &mut message {
            if let Ok(via) = request.via() {
                let mut via = via.clone();
                via.stamp(path.remote);
                request.headers.set_top(&Name::Via, &via);
            }
            credentials = match self.credentials(request, path.remote) {
                Ok(credentials) => credentials,
                Err(account) => {
                    let failed = TransportEvent::AuthFailed { account, source: path.remote };
                    self.input(Input::Sip(SipInput::Transport(failed)));
                    Credentials::None
                }
            };
        }
        message.read();
        self.checks.received(self.now, path, &message);
        let received = TransportEvent::Received { path, message, credentials };
        self.input(Input::Sip(SipInput::Transport(received)));
    }

    /// What the credentials of a request are worth; `Err` names the account of wrong ones.
    fn credentials(&self, request: &Request, source: SocketAddr) -> Result<Credentials, String> {
        let Some(text) = request.headers.text(&Name::Authorization) else { return Ok(Credentials::None) };
        let value = |name: &str| {
            let (_, rest) = text.split_once(&format!("{name}="))?;
            Some(rest.trim_start_matches('"').split(['"', ',']).next()?.to_owned())
        };
        let (account, nonce) = (value("username").unwrap_or_default(), value("nonce").unwrap_or_default());
        if value("response").as_deref() != Some("good") {
            return Err(account);
        }
        let fresh = site::nonce_key().is_fresh(&nonce, source.ip(), REALM, at(self.now).wall);
        let count = value(" nc").and_then(|count| u32::from_str_radix(&count, 16).ok()).unwrap_or(0);
        Ok(if fresh { Credentials::Good { account, nonce, nonce_count: count } } else { Credentials::None })
    }

    /// A connection ends; its phone notices after a while.
    pub fn break_flow(&mut self, flow: FlowId, after: Duration) {
        let Some(phone) = self.net.disconnect(flow) else { return };
        let down = SipInput::Transport(TransportEvent::FlowDown { flow });
        self.plan(after, Happening::Input(Input::Sip(down)));
        if self.phones[phone].line.flow == Some(flow) {
            self.phones[phone].line.flow = None;
            self.phones[phone].moved = Some(self.now);
            let after = self.rng.millis(10, 3000);
            self.plan(after, Happening::Noticed(phone));
        }
    }
}
