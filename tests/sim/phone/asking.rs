//! What a phone asks: client transactions (RFC 3261 §17.1), and once more with a password (§22.2).

use std::time::Duration;

use dialtone_signaling::message::{Method, Name, Request, Response};

use super::{PATIENCE, Phone, REALM, State, T1, T2, Wake};

/// What a request is for; numbers are calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Register,
    Invite(u32),
    Reinvite(u32),
    Update(u32),
    Bye(u32),
    Cancel,
    Prack(u32),
    Refer(u32),
    Ask(u32),
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Trying,
    Proceeding,
    Completed,
}

pub struct Client {
    pub request: Request,
    pub purpose: Purpose,
    stage: Stage,
    interval: Duration,
    ack: Option<Request>,
    authorized: bool,
}

impl Client {
    pub fn describe(&self) -> String {
        format!("{} {:?} {:?}", self.request.method.as_str(), self.purpose, self.stage)
    }

    fn invites(&self) -> bool {
        self.request.method == Method::Invite
    }
}

impl Phone {
    /// Sends a request and looks after it; gives its branch.
    pub(super) fn ask(&mut self, request: Request, purpose: Purpose) -> String {
        self.ask_as(request, purpose, false)
    }

    fn ask_as(&mut self, mut request: Request, purpose: Purpose, authorized: bool) -> String {
        // Who has a password sends it without being asked twice.
        let carries = authorized || !matches!(request.method, Method::Cancel);
        if carries && let Some(nonce) = self.nonce.clone() {
            self.nonce_count += 1;
            let good = if self.wrong_password { "bad" } else { "good" };
            let value = format!(
                "Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{nonce}\", nc={:08x}, response=\"{good}\"",
                self.number, self.nonce_count
            );
            request.headers.set(Name::Authorization, value);
        }
        let branch = if request.method == Method::Cancel {
            // RFC 3261 §9.1: it has the Via of the INVITE.
            request.via().ok().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default()
        } else {
            let (branch, via) = self.via();
            request.headers.remove(&Name::Via);
            request.headers.push_front(Name::Via, via);
            branch
        };
        let key = format!("{branch}|{}", request.method.as_str());
        if !self.is_reliable() {
            self.wake(T1, Wake::Resend(key.clone()));
        }
        self.wake(PATIENCE, Wake::GiveUp(key.clone()));
        self.send(request.clone());
        let client = Client { request, purpose, stage: Stage::Trying, interval: T1, ack: None, authorized };
        self.clients.insert(key.clone(), client);
        key
    }

    /// Timers A and E.
    pub(super) fn resend(&mut self, key: &str) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let again = match (client.stage, client.invites()) {
            (Stage::Trying, true) => client.interval * 2,
            (Stage::Trying, false) => (client.interval * 2).min(T2),
            (Stage::Proceeding, false) => T2,
            (Stage::Proceeding | Stage::Completed, _) => return,
        };
        client.interval = again;
        let request = client.request.clone();
        self.wake(again, Wake::Resend(key.to_owned()));
        self.send(request);
    }

    /// Timers B and F.
    pub(super) fn give_up(&mut self, key: &str) {
        let waits = |client: &mut Client| match client.stage {
            Stage::Trying => true,
            Stage::Proceeding => !client.invites(),
            Stage::Completed => false,
        };
        if self.clients.get_mut(key).is_some_and(waits)
            && let Some(client) = self.clients.remove(key)
        {
            self.decided(client, None);
        }
    }

    /// The connection is gone: nobody will answer over it (RFC 3261 §18.4).
    pub fn connection_lost(&mut self) {
        let open: Vec<String> = self
            .clients
            .iter()
            .filter(|(_, client)| client.stage != Stage::Completed)
            .map(|(key, _)| key.clone())
            .collect();
        for key in open {
            if let Some(client) = self.clients.remove(&key) {
                self.decided(client, None);
            }
        }
    }

    /// Nothing came of an INVITE that was cancelled (RFC 3261 §9.1).
    pub(super) fn abandon(&mut self, key: &str) {
        let open = self.clients.get(key).is_some_and(|client| client.stage != Stage::Completed);
        if open && let Some(client) = self.clients.remove(key) {
            self.decided(client, None);
        }
    }

    pub(super) fn responded(&mut self, response: Response) {
        let (Ok(via), Ok(cseq)) = (response.via(), response.cseq()) else { return };
        let key = format!("{}|{}", via.branch().unwrap_or_default(), cseq.method.as_str());
        let Some(client) = self.clients.get_mut(&key) else { return self.late(&response) };
        if client.stage == Stage::Completed {
            let ack = client.ack.clone();
            return ack.into_iter().for_each(|ack| self.send(ack));
        }
        if response.is_provisional() {
            client.stage = Stage::Proceeding;
            let purpose = client.purpose;
            return self.progressed(&key, purpose, &response);
        }
        if !client.invites() {
            if let Some(client) = self.clients.remove(&key) {
                self.final_answer(client, response);
            }
            return;
        }
        if response.is_success() {
            if let Some(client) = self.clients.remove(&key) {
                self.final_answer(client, response);
            }
            return;
        }
        let ack = acknowledge(&client.request, &response);
        client.stage = Stage::Completed;
        client.ack = Some(ack.clone());
        let copy = Client { ack: None, request: client.request.clone(), ..*client };
        self.send(ack);
        let linger = if self.is_reliable() { Duration::ZERO } else { PATIENCE };
        self.wake(linger, Wake::Forget(key));
        self.final_answer(copy, response);
    }

    /// A 2xx to an INVITE whose transaction is over: its ACK was lost, or it crossed our patience.
    fn late(&mut self, response: &Response) {
        let Ok(cseq) = response.cseq() else { return };
        if !response.is_success() || cseq.method != Method::Invite {
            return;
        }
        let key = ack_key(response);
        match self.acks.get(&key).cloned() {
            Some(ack) => self.send(ack),
            None => self.end_unwanted(response),
        }
    }

    fn final_answer(&mut self, client: Client, response: Response) {
        if response.status == 401 && !client.authorized && self.heeds(&response) {
            return self.ask_again(client);
        }
        self.decided(client, Some(response));
    }

    /// Takes a nonce. False when there is none.
    fn heeds(&mut self, response: &Response) -> bool {
        let nonce = response.headers.text(&Name::WwwAuthenticate).and_then(|text| {
            let (_, rest) = text.split_once("nonce=\"")?;
            Some(rest.split('"').next()?.to_owned())
        });
        if nonce.is_none() {
            return false;
        }
        if nonce != self.nonce {
            self.nonce_count = 0;
        }
        self.nonce = nonce;
        true
    }

    /// The same request with a password, under the next number.
    fn ask_again(&mut self, client: Client) {
        let Client { mut request, purpose, .. } = client;
        let number = match purpose {
            Purpose::Register => self.registration.next_cseq(),
            Purpose::Cancel | Purpose::Other => request.cseq().map_or(1, |cseq| cseq.number + 1),
            Purpose::Invite(call)
            | Purpose::Reinvite(call)
            | Purpose::Update(call)
            | Purpose::Bye(call)
            | Purpose::Prack(call)
            | Purpose::Refer(call)
            | Purpose::Ask(call) => {
                let Some(call) = self.call(call) else { return };
                call.cseq += 1;
                call.cseq
            }
        };
        request.headers.set(Name::CSeq, format!("{number} {}", request.method.as_str()));
        let key = self.ask_as(request.clone(), purpose, true);
        match purpose {
            Purpose::Invite(id) => {
                let Some(call) = self.call(id) else { return };
                let cancelled = matches!(call.state, State::Calling { cancelled: true, .. });
                call.invite = request;
                call.state = State::Calling { branch: key.clone(), proceeding: false, cancelled };
                if cancelled {
                    self.wake(PATIENCE, Wake::Abandon(key));
                }
            }
            Purpose::Reinvite(id) | Purpose::Update(id) => {
                if let Some(call) = self.call(id) {
                    call.change = Some(key);
                }
            }
            _ => {}
        }
    }

    /// The INVITE under way with this key.
    pub(super) fn invite_of(&self, key: &str) -> Option<&Request> {
        self.clients.get(key).map(|client| &client.request)
    }

    /// A request has its final answer, or will never have one.
    fn decided(&mut self, client: Client, response: Option<Response>) {
        match client.purpose {
            Purpose::Register => self.registered(response),
            Purpose::Invite(call) => self.invite_decided(call, &client.request, response),
            Purpose::Reinvite(call) | Purpose::Update(call) => {
                self.change_decided(call, &client.request, response);
            }
            Purpose::Bye(call) => self.drop_call(call),
            Purpose::Refer(call) => self.refer_decided(call, response),
            Purpose::Ask(call) => self.asked_whether_there(call, response),
            Purpose::Prack(call) => self.prack_decided(call, response),
            Purpose::Cancel | Purpose::Other => {}
        }
    }
}

/// Of a 2xx to an INVITE: what names its ACK.
pub fn ack_key(response: &Response) -> String {
    let number = response.cseq().map_or(0, |cseq| cseq.number);
    format!("{}|{number}|{}", response.call_id().unwrap_or_default(), response.to_tag())
}

/// The ACK to a refusal (RFC 3261 §17.1.1.3).
fn acknowledge(invite: &Request, response: &Response) -> Request {
    let mut ack = Request::new(Method::Ack, invite.uri.clone());
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    for name in [Name::Via, Name::From, Name::CallId] {
        ack.headers.copy(&name, &invite.headers);
    }
    ack.headers.copy(&Name::To, &response.headers);
    ack.headers.push(Name::MaxForwards, "70");
    ack.headers.push(Name::CSeq, format!("{number} ACK"));
    ack
}
