//! How a phone makes itself known: REGISTER, renewed before it runs out (RFC 3261 §10.2).

use std::time::Duration;

use dialtone_core::Mono;
use dialtone_signaling::message::{Method, Name, Response};

use super::asking::Purpose;
use super::{Phone, REALM, Wake};

pub struct Registration {
    call_id: String,
    tag: String,
    cseq: u32,
    expires_s: u64,
    under_way: bool,
    /// When it is to be renewed.
    due: Mono,
    pub bound: bool,
}

impl Registration {
    pub fn new(expires_s: u64) -> Registration {
        let (call_id, tag) = (String::new(), String::new());
        Registration { call_id, tag, cseq: 0, expires_s, under_way: false, due: Mono::ZERO, bound: false }
    }

    pub fn restart(&mut self) {
        *self = Registration::new(self.expires_s);
    }

    pub fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }
}

impl Phone {
    pub fn is_registered(&self) -> bool {
        self.registration.bound
    }

    /// The time has come, unless it was renewed meanwhile.
    pub(super) fn renew(&mut self) {
        if self.now >= self.registration.due {
            self.register();
        }
    }

    pub fn register(&mut self) {
        if self.registration.under_way || self.resting {
            return;
        }
        if self.registration.call_id.is_empty() {
            (self.registration.call_id, self.registration.tag) = (self.token("reg"), self.token("rt"));
        }
        let address = format!("<sip:{}@{REALM}>", self.number);
        let from = format!("{address};tag={}", self.registration.tag);
        let (call_id, cseq) = (self.registration.call_id.clone(), self.registration.next_cseq());
        let mut request =
            self.request(Method::Register, &format!("sip:{REALM}"), &from, &address, &call_id, cseq);
        request.headers.push(Name::Contact, self.contact() + &self.able.device);
        request.headers.push(
            Name::Supported,
            if self.able.device.contains("reg-id") { "outbound, gruu" } else { "gruu" },
        );
        request.headers.push(Name::Expires, self.registration.expires_s.to_string());
        self.registration.under_way = true;
        self.ask(request, Purpose::Register);
    }

    /// A REGISTER that somebody sends who does not know the password.
    pub(super) fn guess(&mut self) {
        self.wrong_password = true;
        self.register();
        self.wrong_password = false;
    }

    pub(super) fn registered(&mut self, response: Option<Response>) {
        self.registration.under_way = false;
        let after = match response {
            Some(response) if response.is_success() => {
                self.registration.bound = true;
                // Before it runs out, also when some are lost.
                Duration::from_secs(self.registration.expires_s / 2)
            }
            Some(response) if response.status == 503 => Duration::from_secs(10),
            Some(_) | None => {
                self.registration.bound = false;
                self.rng.millis(2000, 8000)
            }
        };
        self.registration.due = self.now + after;
        self.wake(after, Wake::Register);
    }
}
