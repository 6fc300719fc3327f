//! What arrives that no phone would send, and connections that come and go.

use bytes::Bytes;
use dialtone::switch::Input;
use dialtone_signaling::message::{Message, Method};
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::transport::stamp_via;
use dialtone_signaling::wire::{Credentials, FlowId, TransportEvent};

use super::phone::Phone;
use super::world::{Inner, World};

impl Phone {
    /// Bytes arrive from where it is: the switch is handed what the transport would make of them, and nothing when
    /// that would refuse them or drop them. `proves` says whether a request has good credentials.
    pub fn throws(&self, bytes: Bytes, proves: bool) {
        self.world.0.borrow_mut().thrown(self.at, bytes, proves);
    }

    /// A request outside of any dialog; it is not sent.
    pub fn drafts(&self, method: Method, to: &str) -> Message {
        self.set(|set| set.new_request(method, to)).into()
    }

    /// A request within its dialog, if it is in one.
    pub fn drafts_within(&self, method: Method) -> Option<Message> {
        self.set(|set| set.dialog.is_some().then(|| set.within(method))).map(Message::from)
    }

    /// An answer to the last request that came, if one has come.
    pub fn drafts_answer(&self, status: u16) -> Option<Message> {
        self.set(|set| {
            let request = set.inbox.iter().rev().find_map(|message| match message {
                Message::Request(request) => Some(request),
                Message::Response(_) => None,
            });
            request.map(|request| set.response(request, status).into())
        })
    }

    /// What came last.
    pub fn heard(&self) -> Option<Message> {
        self.set(|set| set.inbox.last().cloned())
    }

    /// Its connection is gone; over UDP there is none.
    pub fn hangs_up_on_us(&self) {
        let path = self.path();
        if path.transport.is_reliable() {
            self.world.flow_down(path.flow.0);
        }
    }

    /// It has connected again.
    pub fn connects(&self) {
        let path = self.path();
        if path.transport.is_reliable() {
            self.world.0.borrow_mut().gone.remove(&path.flow);
            self.world.input(Input::Sip(SipInput::Transport(TransportEvent::FlowUp { path })));
        }
    }
}

impl World {
    /// A connection is gone.
    pub fn flow_down(&self, flow: u64) {
        self.0.borrow_mut().gone.insert(FlowId(flow));
        let event = TransportEvent::FlowDown { flow: FlowId(flow) };
        self.input(Input::Sip(SipInput::Transport(event)));
    }
}

impl Inner {
    fn thrown(&mut self, at: usize, bytes: Bytes, proves: bool) {
        let Ok(mut message) = Message::parse(bytes) else { return };
        let (now, set) = (self.now.wall, &mut self.sets[at]);
        let (path, number) = (set.path(), set.number.clone());
        let mut credentials = Credentials::None;
        if let Message::Request(request) = &mut message {
            if stamp_via(&mut request.headers, path.remote).is_err() || request.check().is_err() {
                return;
            }
            if proves {
                credentials = set.credentials(request, now);
            }
        }
        message.read();
        self.rung(&number, false, &message);
        let received = TransportEvent::Received { path, message, credentials };
        self.take(Input::Sip(SipInput::Transport(received)));
    }
}
