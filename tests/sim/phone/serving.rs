//! What a phone is asked: server transactions (RFC 3261 §17.2), and which call a request is about.

use std::time::Duration;

use dialtone_signaling::message::{Method, Name, Request, Response};

use super::{PATIENCE, Phone, T1, T2, Wake};

pub struct Server {
    request: Request,
    last: Option<Response>,
    interval: Duration,
    confirmed: bool,
}

/// What names the transaction of a request; an ACK to a refusal and a CANCEL are matched to their INVITE.
pub fn server_key(request: &Request, method: &Method) -> String {
    let branch = request.via().ok().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default();
    format!("{branch}|{}", method.as_str())
}

impl Phone {
    pub(super) fn requested(&mut self, request: Request) {
        if request.method == Method::Ack {
            return self.acknowledged(request);
        }
        let key = server_key(&request, &request.method);
        if let Some(server) = self.servers.get(&key) {
            // A 2xx to an INVITE is repeated by whoever gave it, and by no transaction (RFC 6026 §7.1).
            let again =
                server.last.clone().filter(|last| request.method != Method::Invite || !last.is_success());
            return again.into_iter().for_each(|again| self.send(again));
        }
        let server = Server { request: request.clone(), last: None, interval: T1, confirmed: false };
        self.servers.insert(key.clone(), server);
        let tagged = request.to().is_ok_and(|to| to.tag().is_some());
        match request.method {
            Method::Cancel => self.cancelled(&key, &request),
            _ if tagged => self.within(&key, request),
            Method::Invite => self.invited(&key, request),
            Method::Options => self.reply(&key, 200, ""),
            _ => self.reply(&key, 481, ""),
        }
    }

    /// Answers with a status alone.
    pub(super) fn reply(&mut self, key: &str, status: u16, tag: &str) {
        let Some(request) = self.servers.get(key).map(|server| server.request.clone()) else { return };
        let tag = if tag.is_empty() { self.token("t") } else { tag.to_owned() };
        let response = self.response(&request, status, &tag);
        self.reply_with(key, response);
    }

    pub(super) fn reply_with(&mut self, key: &str, mut response: Response) {
        response.headers.set(Name::Allow, self.allow());
        let Some(server) = self.servers.get_mut(key) else { return };
        server.last = Some(response.clone());
        let invites = server.request.method == Method::Invite;
        if response.status >= 200 {
            self.wake(PATIENCE, Wake::ForgetServer(key.to_owned()));
            if invites && !response.is_success() && !self.is_reliable() {
                self.wake(T1, Wake::ResendAnswer(key.to_owned()));
            }
        }
        self.send(response);
    }

    /// Timer G.
    pub(super) fn resend_answer(&mut self, key: &str) {
        let Some(server) = self.servers.get_mut(key).filter(|server| !server.confirmed) else { return };
        server.interval = (server.interval * 2).min(T2);
        let (interval, last) = (server.interval, server.last.clone());
        self.wake(interval, Wake::ResendAnswer(key.to_owned()));
        last.into_iter().for_each(|last| self.send(last));
    }

    fn acknowledged(&mut self, ack: Request) {
        if let Some(server) = self.servers.get_mut(&server_key(&ack, &Method::Invite)) {
            server.confirmed = true;
            return;
        }
        self.their_ack(&ack);
    }

    /// RFC 3261 §9.2.
    fn cancelled(&mut self, key: &str, cancel: &Request) {
        let invite = server_key(cancel, &Method::Invite);
        if !self.servers.contains_key(&invite) {
            return self.reply(key, 481, "");
        }
        self.reply(key, 200, "");
        self.call_cancelled(&invite);
    }

    /// RFC 3261 §12.2.2.
    fn within(&mut self, key: &str, request: Request) {
        let tag = |address: &dialtone_signaling::message::NameAddr| address.tag().map(str::to_owned);
        let local = request.to().ok().and_then(tag).unwrap_or_default();
        let remote = request.from().ok().and_then(tag).unwrap_or_default();
        let call_id = request.call_id().unwrap_or_default().to_owned();
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let found = self
            .calls
            .iter_mut()
            .find(|call| call.call_id == call_id && call.local_tag == local && call.remote_tag == remote);
        let Some(call) = found else { return self.reply(key, 481, "") };
        if call.remote_cseq.is_some_and(|last| number <= last) {
            return self.reply(key, 500, "");
        }
        call.remote_cseq = Some(number);
        let id = call.id;
        match request.method {
            Method::Bye => {
                self.reply(key, 200, "");
                self.far_end_left(id);
            }
            Method::Invite | Method::Update => self.change_asked(key, id, request),
            Method::Prack => self.prack_came(key, id, &request),
            Method::Notify => {
                self.reply(key, 200, "");
                self.told(id, &request);
            }
            Method::Info | Method::Options => self.reply(key, 200, ""),
            _ => self.reply(key, 501, ""),
        }
    }
}
