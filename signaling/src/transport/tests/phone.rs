//! Requests as phones write them.

use crate::auth::{Algorithm, Exchange};
use crate::message::{AuthParams, Name, Response};

pub(super) const REALM: &str = "dialtone.example";

/// One request, to be changed and printed.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) user: &'static str,
    pub(super) transport: &'static str,
    pub(super) call_id: String,
    pub(super) to_tag: &'static str,
    pub(super) more: String,
    pub(super) body: &'static str,
}

impl Default for Text {
    fn default() -> Self {
        Text {
            method: "REGISTER",
            target: "sip:dialtone.example",
            user: "1001",
            transport: "UDP",
            call_id: "c1".into(),
            to_tag: "",
            more: String::new(),
            body: "",
        }
    }
}

impl Text {
    pub(super) fn print(&self) -> String {
        let Text { method, target, user, transport, call_id, to_tag, more, body } = self;
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} phone.example:5060;rport;branch=z9hG4bK-{call_id}\r\n\
             From: <sip:{user}@dialtone.example>;tag=f1\r\n\
             To: <sip:{user}@dialtone.example>{to_tag}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 {method}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// With credentials for the challenge of this algorithm in a 401.
    pub(super) fn answering(&self, challenged: &Response, answer: &Answer) -> Text {
        let challenge = challenges(challenged)
            .into_iter()
            .find(|one| one.get("algorithm") == Some(answer.algorithm.token()))
            .unwrap();
        let nonce = challenge.get("nonce").unwrap();
        let exchange = Exchange {
            method: self.method,
            uri: self.target,
            nonce,
            nonce_count: answer.nonce_count,
            cnonce: "abcd",
        };
        let ha1 = answer.algorithm.ha1(answer.username, REALM, answer.password);
        let response = exchange.response(answer.algorithm, &ha1).hex();
        let more = format!(
            "Authorization: Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{}\", \
             response=\"{response}\", algorithm={}, cnonce=\"abcd\", qop=auth, nc={}\r\n",
            answer.username,
            self.target,
            answer.algorithm.token(),
            answer.nonce_count,
        );
        Text { more, ..self.clone() }
    }
}

/// How a phone answers a challenge.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) algorithm: Algorithm,
    pub(super) username: &'static str,
    pub(super) password: &'static str,
    pub(super) nonce_count: &'static str,
}

impl Default for Answer {
    fn default() -> Self {
        Answer { algorithm: Algorithm::Md5, username: "1001", password: "secret", nonce_count: "00000001" }
    }
}

/// The challenges of a 401, a header each.
pub(super) fn challenges(response: &Response) -> Vec<AuthParams> {
    response.headers.auth(&Name::WwwAuthenticate).collect()
}

/// Status, and what of the answer does not depend on time and request: to compare the answers to two requests.
pub(super) fn shape(response: &Response) -> (u16, Vec<(String, usize)>) {
    let shape = response.headers.iter().map(|header| (header.name.to_string(), header.value.len())).collect();
    (response.status, shape)
}
