//! What must hold after every step, and what must be left at the end of a test: nothing.

use std::collections::HashSet;
use std::time::Duration;

use dialtone_core::media::{BridgeKind, MediaCommand};
use dialtone_core::{Fact, PortId};
use dialtone_signaling::message::{Message, Method, Name};
use dialtone_signaling::wire::Transport;

use super::World;
use super::world::Inner;

impl Inner {
    /// A command names ports that are not given back, and a relay ports of one worker.
    pub fn check_media(&self, command: &MediaCommand) {
        let ports: Vec<PortId> = match command {
            MediaCommand::Configure { port, .. } | MediaCommand::Release { port } => vec![*port],
            MediaCommand::Bridge { kind: BridgeKind::Relay { a, b }, .. } => {
                assert_eq!(a.worker, b.worker, "a bridge lives on one worker");
                vec![*a, *b]
            }
            MediaCommand::Bridge { kind: BridgeKind::Hold { port, .. }, .. } => vec![*port],
        };
        for port in ports {
            assert!(!self.released.contains_key(&port), "{command:?} after Release");
        }
    }

    /// What RFC 3261 asks of every message that we send (§8.1.1, §8.2.6, §12.1.1).
    pub fn check_message(&mut self, transport: Transport, message: &Message) {
        let headers = message.headers();
        assert_eq!(headers.has(&Name::ContentType), !message.body().is_empty(), "{message}");
        match message {
            Message::Request(request) => {
                assert_eq!(request.check(), Ok(()), "{message}");
                assert!(request.from().unwrap().tag().is_some(), "{message}");
                assert!(request.via().unwrap().has_cookie() && headers.has(&Name::MaxForwards), "{message}");
                assert!(request.method != Method::Invite || headers.has(&Name::Contact), "{message}");
            }
            Message::Response(response) if response.status > 100 => {
                let (to, cseq) = (headers.to().unwrap(), response.cseq().unwrap());
                let tag = to.tag().unwrap_or_else(|| panic!("a tag: {message}"));
                let invites = cseq.method == Method::Invite;
                if invites && transport == Transport::Udp {
                    let via = response.via().unwrap();
                    let branch = via.branch().filter(|_| via.has_cookie());
                    // Peers of RFC 2543 have none; what they have is the call (§17.2.3).
                    let key = branch.unwrap_or_else(|| response.call_id().unwrap()).to_owned();
                    let (last, at) =
                        self.tags.insert(key, (tag.to_owned(), self.now.mono)).unwrap_or_default();
                    // As long as its transaction lasts at least: T4 after the ACK.
                    let same = last == tag || self.now.mono.since(at) >= Duration::from_secs(5);
                    assert!(same || last.is_empty(), "one tag for all answers to an INVITE: {message}");
                }
                assert!(!invites || !response.is_success() || headers.has(&Name::Contact), "{message}");
            }
            Message::Response(_) => {}
        }
    }

    pub fn check_step(&self) {
        let counts = self.switch.counts();
        assert_eq!(counts.events, self.events.len() as u64);
        assert_eq!(self.fold.open(), counts.calls, "a record is open exactly as long as its call");
        assert!(counts.legs <= counts.stack.legs + counts.calls, "{counts:?}");
        assert!(self.released.values().all(|times| *times == 1), "a port is released once");
        assert!(counts.stack.dialogs <= counts.stack.legs, "{counts:?}");
    }
}

impl World {
    /// The network falls silent: whatever the test left behind must end by itself.
    pub fn finish(&self) {
        self.advance(45_000);
        self.check_nothing_left();
    }

    pub fn check_nothing_left(&self) {
        let inner = self.0.borrow();
        let counts = inner.switch.counts();
        let left = (counts.calls, counts.legs, counts.flows, counts.ports_used);
        assert_eq!(left, (0, 0, 0, 0), "calls, legs, flows, ports");
        let stack = counts.stack;
        let left = (stack.legs, stack.dialogs, stack.transactions, stack.waiting);
        assert_eq!(left, (0, 0, 0, 0), "legs, dialogs, transactions, waiting");
        let mut started = HashSet::new();
        for event in &inner.events {
            match &event.fact {
                Fact::CallStarted { call, .. } => assert!(started.insert(*call)),
                Fact::CallEnded { call, .. } => assert!(started.contains(call)),
                _ => {}
            }
        }
        let recorded: HashSet<_> = inner.cdrs.iter().map(|cdr| cdr.call).collect();
        assert_eq!(recorded.len(), inner.cdrs.len(), "one record per call");
        assert_eq!(recorded, started);
        for cdr in &inner.cdrs {
            assert!(cdr.talk_ms <= cdr.duration_ms, "{cdr:?}");
            assert!(cdr.legs.iter().all(|leg| leg.cause.is_some()), "{cdr:?}");
        }
    }

    /// Enough time for every binding to run out as well.
    pub fn forget_registrations(&self) {
        self.advance(Duration::from_secs(90_000).as_millis() as u64);
        assert_eq!(self.0.borrow().switch.counts().stack.bindings, 0);
        assert_eq!(self.0.borrow().switch.deadline(), None, "an idle switch sleeps");
    }
}
