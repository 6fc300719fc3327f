//! What can be seen of a message without parsing it: the few lines that say whether it is worth that.
//!
//! A glance decides who is dropped and who is let pass to the parser, never what a message means: whoever writes a
//! head that looks otherwise here than there gains nothing but to be parsed.

use super::Standing;
use crate::transport::sink::Class;

/// Bytes of a message that are looked at.
const HEAD_BYTES: usize = 8192;

/// Parts of a message's head, as they stand there; empty when they are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Glance<'m> {
    /// The method of a request; empty in a response.
    pub method: &'m [u8],
    /// The status of a response; 0 in a request.
    pub status: u16,
    /// The first Call-ID.
    pub call_id: &'m [u8],
    /// The first From.
    pub from: &'m [u8],
    /// The first To.
    pub to: &'m [u8],
    /// The first CSeq.
    pub cseq: &'m [u8],
    /// The first User-Agent.
    pub user_agent: &'m [u8],
    /// The first Authorization.
    pub authorization: &'m [u8],
}

impl<'m> Glance<'m> {
    /// Looks at a whole message.
    pub fn of(message: &'m [u8]) -> Glance<'m> {
        Glance::until(message, |_| false)
    }

    /// Looks at one that came, no further than for what tells whether it begins something.
    pub(in crate::transport) fn of_arrived(message: &'m [u8]) -> Glance<'m> {
        Glance::until(message, |glance| !glance.call_id.is_empty() && !glance.to.is_empty())
    }

    /// Looks at one of our own, no further than for what tells whether it says anything.
    pub(super) fn of_sent(message: &'m [u8]) -> Glance<'m> {
        let refusal = |glance: &Glance<'_>| glance.status >= 300;
        Glance::until(message, |glance| {
            refusal(glance) || !glance.call_id.is_empty() && !glance.cseq.is_empty()
        })
    }

    fn until(message: &'m [u8], enough: impl Fn(&Glance<'m>) -> bool) -> Glance<'m> {
        let mut glance = Glance::default();
        let head = message.get(..HEAD_BYTES).unwrap_or(message);
        let mut lines = lines(head).map(<[u8]>::trim_ascii).skip_while(|line| line.is_empty());
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(|byte| *byte == b' ');
        let word = words.next().unwrap_or_default();
        if word.len() >= 4 && word[..4].eq_ignore_ascii_case(b"SIP/") {
            let digits = words.next().and_then(|digits| std::str::from_utf8(digits).ok());
            glance.status = digits.and_then(|digits| digits.parse().ok()).unwrap_or(u16::MAX);
        } else {
            glance.method = word;
        }
        for line in lines.take_while(|line| !line.is_empty()) {
            if enough(&glance) {
                break;
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            let Some(place) = glance.place(name) else { continue };
            if place.is_empty() {
                *place = value;
            }
        }
        glance
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut &'m [u8]> {
        let is =
            |long: &[u8], short: &[u8]| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short);
        match name.len() {
            7 | 1 if is(b"Call-ID", b"i") => Some(&mut self.call_id),
            4 | 1 if is(b"From", b"f") => Some(&mut self.from),
            2 | 1 if is(b"To", b"t") => Some(&mut self.to),
            4 if is(b"CSeq", b"CSeq") => Some(&mut self.cseq),
            10 if is(b"User-Agent", b"User-Agent") => Some(&mut self.user_agent),
            13 if is(b"Authorization", b"Authorization") => Some(&mut self.authorization),
            _ => None,
        }
    }

    /// Whether it asks for something.
    pub fn is_request(&self) -> bool {
        self.status == 0
    }

    /// Whether it, or what it answers, only asks whether somebody is there.
    pub(super) fn is_ping(&self) -> bool {
        self.method == b"OPTIONS" || self.cseq.ends_with(b"OPTIONS")
    }

    /// What it seems to be worth when the stack is behind.
    pub(in crate::transport) fn class(&self, standing: Standing) -> Class {
        match self.method {
            b"REGISTER" if standing.known => Class::Renewal,
            b"REGISTER" => Class::Registration,
            _ if standing.goes_on && self.follows() => Class::Kept,
            _ => Class::New,
        }
    }

    /// Whether it says that it belongs to something that began before: anybody can write that.
    pub(in crate::transport) fn follows(&self) -> bool {
        match self.method {
            b"" | b"ACK" | b"CANCEL" => true,
            b"REGISTER" => false,
            _ => has(self.to, b"tag="),
        }
    }

    /// Whether it begins something and proves nothing. An ACK and a CANCEL cannot be challenged (RFC 3261 §22.1), and
    /// what a dialog is about is for the stack to see.
    pub(super) fn will_be_challenged(&self) -> bool {
        self.is_request()
            && self.authorization.is_empty()
            && !matches!(self.method, b"ACK" | b"CANCEL" | b"OPTIONS")
            && !has(self.to, b"tag=")
    }

    /// The nonce of its credentials.
    pub(super) fn nonce(&self) -> Option<&'m [u8]> {
        const KEY: &[u8] = b"nonce=\"";
        let found = |at: &usize| {
            let before = at.checked_sub(1).and_then(|before| self.authorization.get(before));
            // Not the end of `cnonce`.
            self.authorization[*at..].get(..KEY.len()).is_some_and(|text| text.eq_ignore_ascii_case(KEY))
                && before.is_none_or(|byte| !byte.is_ascii_alphanumeric())
        };
        let start = (0..self.authorization.len()).find(found)? + KEY.len();
        let rest = self.authorization.get(start..)?;
        rest.get(..rest.iter().position(|byte| *byte == b'"')?)
    }
}

/// What stands between line feeds.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr::memchr(b'\n', text) else {
            return rest.take();
        };
        rest = text.get(end + 1..);
        text.get(..end)
    })
}

/// Whether `text` has `part` in it, which is in lower case; the case of `text` does not matter.
pub(super) fn has(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// Whether an address is one at `host`: `sip:100@host`, with or without a port.
pub(super) fn at_host(address: &[u8], host: &[u8]) -> bool {
    let Some(at) = address.iter().position(|byte| *byte == b'@') else { return false };
    let rest = address.get(at + 1..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b':' | b';' | b'>' | b' ')).unwrap_or(rest.len());
    rest.get(..end).is_some_and(|found| !host.is_empty() && found.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTER: &[u8] =
        b"\r\nREGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nf: \"x\" <sip:100@1.1.1.1:5060>;tag=1\r\n\
        To:<sip:100@pbx>\r\ni : c1@a\r\nCSeq: 1 REGISTER\r\nuser-agent: Friendly-Scanner\r\n\
        Authorization: Digest cnonce=\"no\",nonce=\"abc\"\r\n\r\nCall-ID: body";

    #[test]
    fn the_lines_that_matter_are_found_in_any_form() {
        let glance = Glance::of(REGISTER);
        assert_eq!((glance.method, glance.status, glance.is_request()), (&b"REGISTER"[..], 0, true));
        assert_eq!((glance.call_id, glance.cseq), (&b"c1@a"[..], &b"1 REGISTER"[..]));
        assert_eq!(glance.nonce(), Some(&b"abc"[..]));
        assert!(has(glance.user_agent, b"friendly-scan") && !has(glance.user_agent, b"sipcli"));
        assert!(
            at_host(glance.from, b"1.1.1.1")
                && !at_host(glance.from, b"1.1.1")
                && !at_host(glance.to, b"1.1.1.1")
        );
        assert!(!glance.will_be_challenged(), "it has credentials");
        let response = Glance::of(b"SIP/2.0 486 Busy Here\r\nCSeq: 7 OPTIONS\r\n\r\n");
        assert_eq!((response.status, response.is_ping(), response.is_request()), (486, true, false));
    }

    #[test]
    fn what_begins_something_without_credentials_will_be_challenged() {
        let cases = [
            ("REGISTER", "<sip:a@b>", true),
            ("INVITE", "<sip:a@b>", true),
            ("INVITE", "<sip:a@b>;tag=1", false),
            ("ACK", "<sip:a@b>", false),
            ("CANCEL", "<sip:a@b>", false),
            ("OPTIONS", "<sip:a@b>", false),
        ];
        for (method, to, expected) in cases {
            let text = format!("{method} sip:pbx SIP/2.0\r\nTo: {to}\r\n\r\n");
            assert_eq!(Glance::of(text.as_bytes()).will_be_challenged(), expected, "{method} {to}");
        }
    }

    #[test]
    fn nothing_is_too_odd_to_be_looked_at() {
        for odd in [
            &b""[..],
            b"\r\n",
            b":",
            b"\n:\n",
            b"SIP/",
            b"SIP/2.0",
            b"x\r\nAuthorization: nonce=\"",
            b"\xff\xfe",
        ] {
            let glance = Glance::of(odd);
            assert_eq!(glance.nonce(), None);
        }
    }
}
