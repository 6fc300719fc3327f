//! What a message is worth, and what must be proved for it.

use super::{Admission, Arrival, Gate, deliver};
use crate::message::{Method, Name, Request, Response};
use crate::transport::guard::Standing;
use crate::transport::sink::Class;
use crate::wire::Credentials;

impl Gate {
    /// A response, if we have asked anything in its Call-ID.
    pub(super) fn heed(&self, response: Response, arrival: Arrival, standing: Standing) -> Admission {
        // The line may have been folded, which only the parser sees.
        let parsed = || self.guard.standing(response.headers.get(&Name::CallId).unwrap_or_default(), arrival);
        if !standing.goes_on && !parsed().goes_on {
            self.metrics.strays.add();
            return Admission::Drop;
        }
        deliver(Class::Kept, response, Credentials::None)
    }

    /// Hands on what need not prove anything. What says that it goes on with something of which nothing is known costs
    /// the stack a turn and an answer, which both count as a refusal.
    pub(super) fn unproved(&self, demand: Demand, request: Request, arrival: Arrival) -> Admission {
        if demand.stranger && !self.has_answer(&self.refusals, arrival) {
            return Admission::Drop;
        }
        deliver(demand.class, request, Credentials::None)
    }
}

/// What a request's method and dialog ask of its credentials.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    pub(super) class: Class,
    /// Whether they are looked at.
    pub(super) looked_at: bool,
    /// Whether it is refused without good ones.
    pub(super) required: bool,
    /// Whether it says that it belongs to something, of which nothing is known.
    pub(super) stranger: bool,
}

impl Demand {
    pub(super) fn of(request: &Request, standing: Standing) -> Demand {
        let new = Demand { class: Class::New, looked_at: true, required: true, stranger: false };
        let follows = follows(request);
        let class = if follows && standing.goes_on { Class::Kept } else { Class::New };
        let following = Demand { class, required: false, stranger: !standing.goes_on, ..new };
        let to_server = || request.uri.parse().is_ok_and(|uri| uri.scheme.is_sip() && uri.user.is_none());
        match request.method {
            // RFC 3261 §22.1: neither can be challenged.
            Method::Ack | Method::Cancel => Demand { looked_at: false, ..following },
            // RFC 3261 §10.2: a registration has no dialog, whatever its To says.
            Method::Register => {
                let class = if standing.known { Class::Renewal } else { Class::Registration };
                Demand { class, ..new }
            }
            // The stack judges by dialog and flow. They are hashed under the throttle nevertheless, or a To tag
            // would make an oracle for passwords.
            _ if follows => following,
            // A ping of the server itself tells nothing about anybody.
            Method::Options if to_server() => Demand { looked_at: false, required: false, ..new },
            _ => new,
        }
    }
}

/// Whether it says that it belongs to something that began before.
pub(super) fn follows(request: &Request) -> bool {
    match request.method {
        Method::Ack | Method::Cancel => true,
        Method::Register => false,
        _ => request.to().is_ok_and(|to| to.tag().is_some()),
    }
}
