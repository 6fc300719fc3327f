//! Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3), and what follows from a request
//! alone: its CANCEL and the way of its answers.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::message::{Method, Name, Request, Response};
use crate::wire::{Path, Transport};

/// Branch and method of a request of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    branch: String,
    method: Method,
}

impl ClientKey {
    pub fn of_request(request: &Request) -> Option<ClientKey> {
        let branch = request.via().ok()?.branch()?.to_owned();
        Some(ClientKey { branch, method: request.method.clone() })
    }

    pub fn of_response(response: &Response) -> Option<ClientKey> {
        let branch = response.via().ok()?.branch()?.to_owned();
        Some(ClientKey { branch, method: response.cseq().ok()?.method })
    }
}

/// Branch, sent-by and method of a request of theirs; an ACK counts as its INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServerKey {
    branch: String,
    sent_by: String,
    method: Method,
}

impl ServerKey {
    pub fn of(request: &Request) -> Option<ServerKey> {
        let via = request.via().ok()?;
        let method = match &request.method {
            Method::Ack => Method::Invite,
            other => other.clone(),
        };
        let branch = match via.branch() {
            Some(branch) if via.has_cookie() => branch.to_owned(),
            // RFC 3261 §17.2.3: peers of RFC 2543 are told apart by what stays the same in an INVITE, its
            // retransmissions, its ACK and its CANCEL.
            Some(_) | None => format!(
                "2543 {} {} {} {}",
                request.call_id().ok()?,
                request.cseq().ok()?.number,
                request.from().ok()?.tag().unwrap_or_default(),
                request.uri.as_str(),
            ),
        };
        Some(ServerKey { branch, sent_by: via.sent_by(), method })
    }

    /// The key of the INVITE that a CANCEL with this key is about.
    pub fn invite(&self) -> ServerKey {
        ServerKey { method: Method::Invite, ..self.clone() }
    }
}

/// RFC 3261 §18.2.2 and RFC 3581 §4: an answer goes back over the connection; on UDP to where the
/// request came from, at the port it asks for.
pub(super) fn response_path(request: &Request, path: Path) -> Path {
    let Ok(via) = request.via() else { return path };
    match path.transport {
        Transport::Tcp | Transport::Tls => path,
        Transport::Udp => match via.rport() {
            Some(_) => path,
            None => {
                let port = via.port.unwrap_or(path.transport.default_port());
                Path { remote: SocketAddr::new(path.remote.ip(), port), ..path }
            }
        },
    }
}

/// RFC 3261 §9.1: same Request-URI, Call-ID, To, From, CSeq number, Route and topmost Via.
pub(super) fn cancel(invite: &Request) -> Request {
    let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
    if let Some(via) = invite.headers.elements(&Name::Via).next() {
        cancel.headers.push(Name::Via, Bytes::copy_from_slice(via));
    }
    cancel.headers.push(Name::MaxForwards, "70");
    for name in [Name::Route, Name::From, Name::To, Name::CallId] {
        cancel.headers.copy(&name, &invite.headers);
    }
    if let Ok(cseq) = invite.cseq() {
        cancel.headers.push(Name::CSeq, format!("{} CANCEL", cseq.number));
    }
    cancel
}
