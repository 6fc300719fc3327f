//! What DNS says in the world of a test, and whether it says anything.

use std::collections::HashMap;
use std::time::Duration;

use dialtone::switch::Input;
use dialtone_signaling::locate::{Answer, Kind, Question, Record, Reply};
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::wire::TransportEvent;

use super::World;

/// How DNS is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers at once.
    #[default]
    Answers,
    /// It fails at once.
    Fails,
    /// It never answers.
    Silent,
}

/// See the module.
#[derive(Default)]
pub struct Zone {
    records: HashMap<Question, Vec<Record>>,
    pub mood: Mood,
    pub asked: Vec<Question>,
}

impl Zone {
    /// What it says to a question, if anything.
    pub fn ask(&mut self, question: Question) -> Option<Input> {
        self.asked.push(question.clone());
        let ttl = Some(Duration::from_secs(60));
        let reply = match (self.mood, self.records.get(&question)) {
            (Mood::Silent, _) => return None,
            (Mood::Fails, _) => Reply::FAILED,
            (Mood::Answers, Some(records)) => Reply { answer: Answer::Records(records.clone().into()), ttl },
            (Mood::Answers, None) => Reply { answer: Answer::Nothing, ttl },
        };
        Some(Input::Sip(SipInput::Transport(TransportEvent::LookedUp { question, reply })))
    }
}

impl World {
    fn record(&self, kind: Kind, name: &str, record: Record) {
        let mut inner = self.0.borrow_mut();
        inner.zone.records.entry(Question::new(kind, name)).or_default().push(record);
    }

    /// `_sip._udp.NAME SRV priority 0 port target`, and the target's address.
    pub fn srv(&self, service: &str, priority: u16, target: &str, address: &str) {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let record = Record::Srv { priority, weight: 0, port: address.port(), target: target.into() };
        self.record(Kind::Srv, service, record);
        self.record(Kind::A, target, Record::Address(address.ip()));
    }

    pub fn host(&self, name: &str, ip: &str) {
        self.record(Kind::A, name, Record::Address(ip.parse().unwrap()));
    }

    pub fn dns_is(&self, mood: Mood) {
        self.0.borrow_mut().zone.mood = mood;
    }

    /// What DNS was asked since the last look.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.0.borrow_mut().zone.asked);
        asked.iter().map(ToString::to_string).collect()
    }
}
