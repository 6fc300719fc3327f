//! What is refused because the stack is behind. That is most of what comes then, and what each refusal costs is missing
//! for the calls that were taken on: so over UDP it is decided on bytes, and the answer is written from bytes.

use std::hash::BuildHasher;
use std::time::Duration;

use bytes::Bytes;

use super::demand::follows;
use super::{Admission, Answer, Arrival, Gate};
use crate::message::{Method, Name, Request, Via};
use crate::transport::guard::{Glance, Standing};
use crate::transport::sink::Class;

/// Via headers that an answer written from bytes repeats; a request with more is parsed.
const VIAS_MAX: usize = 8;
/// Of a To tag of ours, in hexadecimal digits.
pub(super) const TAG_LEN: usize = 20;

impl Gate {
    /// Refuses a request that begins what the stack does not take on, and absorbs the ACK to that, both without parsing
    /// them. `hurried` drops what would be answered: the sender repeats it. `None`: it is to be parsed.
    pub(in crate::transport) fn turn_away(
        &self,
        glance: &Glance<'_>,
        standing: Standing,
        message: &[u8],
        arrival: Arrival,
        open: impl Fn(Class) -> bool,
        hurried: bool,
    ) -> Option<Admission> {
        if glance.method == b"ACK" && self.is_ack_to_us(glance) {
            self.metrics.acks_absorbed.add();
            return Some(Admission::Drop);
        }
        let class = glance.class(standing);
        if !glance.is_request() && class != Class::Kept && !glance.call_id.is_empty() {
            self.metrics.strays.add();
            return Some(Admission::Drop);
        }
        if class == Class::Kept || is_copy(glance.method, standing) || open(class) {
            return None;
        }
        if hurried || glance.follows() || !self.refusing.take(&(), arrival.now.mono) {
            self.metrics.shed_silently.add();
            return Some(Admission::Drop);
        }
        let parts = Parts::of(message, glance.method)?;
        let mut via = Via::parse(parts.top_via()?).ok()?;
        via.restamp(arrival.source);
        self.count_shed(class);
        if !self.has_answer(&self.sheds, arrival) {
            return Some(Admission::Drop);
        }
        let target = via.response_target(arrival.transport, arrival.source);
        let payload = parts.unavailable(&via, &self.tag_of(&parts), self.later(parts.call_id));
        Some(Admission::Answer(Answer { payload, target }))
    }

    /// Whether a message begins what the stack does not take on, and would not be answered either: told from its first
    /// lines, and counted. Most of an overload ends here.
    pub(in crate::transport) fn drop_unread(
        &self,
        message: &[u8],
        arrival: Arrival,
        open: impl Fn(Class) -> bool,
        hurried: bool,
    ) -> bool {
        if open(Class::New) && open(Class::Registration)
            || !hurried && self.refusing.has(&(), arrival.now.mono)
        {
            return false;
        }
        let glance = Glance::of_arrived(message);
        if glance.follows() || glance.call_id.is_empty() {
            return false;
        }
        let standing = self.guard.standing(glance.call_id, arrival);
        let dropped = !standing.goes_on && !open(glance.class(standing));
        if dropped {
            self.metrics.shed_silently.add();
        }
        dropped
    }

    /// The answer to a new request that the stack has no room for.
    pub(in crate::transport) fn shed(
        &self,
        request: &Request,
        class: Class,
        arrival: Arrival,
    ) -> Option<Answer> {
        if follows(request) {
            // What it follows is not known: no answer is owed, and its sender repeats it.
            self.metrics.shed_silently.add();
            return None;
        }
        self.count_shed(class);
        let via = request.via().ok()?;
        let refusal = self.unavailable(request, self.later_for(request));
        match self.answer(&self.sheds, refusal, via, arrival) {
            Admission::Answer(answer) => Some(answer),
            Admission::Deliver { .. } | Admission::Drop => None,
        }
    }

    /// When what is refused now may come again.
    pub(super) fn later_for(&self, request: &Request) -> Duration {
        self.later(request.headers.get(&Name::CallId).unwrap_or_default())
    }

    /// RFC 3261 §20.33: the same for each copy of a request, and another for another.
    fn later(&self, call_id: &[u8]) -> Duration {
        let (first, last) = (*self.shed_retry_after.start(), *self.shed_retry_after.end());
        Duration::from_secs(first + self.spread.hash_one(call_id) % (last.saturating_sub(first) + 1))
    }

    fn count_shed(&self, class: Class) {
        match class {
            Class::Registration => self.metrics.shed_registrations.add(),
            Class::New => self.metrics.shed.add(),
            Class::Renewal => self.metrics.shed_renewals.add(),
            Class::Kept => self.metrics.shed_reserved.add(),
        }
    }

    fn tag_of(&self, parts: &Parts<'_>) -> String {
        self.tag_from(parts.call_id, parts.from_tag, parts.cseq)
    }

    fn is_ack_to_us(&self, ack: &Glance<'_>) -> bool {
        let (theirs, from) = (tag(ack.to), tag(ack.from));
        // Without more than a look at what cannot be ours.
        theirs.len() == TAG_LEN
            && number(ack.cseq).is_some_and(|cseq| {
                self.tag_digits(ack.call_id, from, cseq).as_bytes().get(..TAG_LEN) == Some(theirs)
            })
    }
}

/// Whether it is a copy of a request that we have said something to: refusing it now would refuse a call that was taken
/// on (RFC 3261 §17.2.1).
pub(super) fn is_copy(method: &[u8], standing: Standing) -> bool {
    standing.known && method == Method::Invite.as_str().as_bytes()
}

/// What an answer repeats of a request (RFC 3261 §8.2.6.2), as it stands there.
struct Parts<'m> {
    vias: [&'m [u8]; VIAS_MAX],
    from: &'m [u8],
    from_tag: &'m [u8],
    to: &'m [u8],
    call_id: &'m [u8],
    cseq_line: &'m [u8],
    cseq: u32,
}

impl<'m> Parts<'m> {
    /// `None` when anything is missing, twice there, folded, or otherwise in need of a parser.
    fn of(message: &'m [u8], method: &[u8]) -> Option<Parts<'m>> {
        let (mut vias, mut count) = ([&message[..0]; VIAS_MAX], 0);
        let (mut from, mut to, mut call_id, mut cseq) = (None, None, None, None);
        let once = |place: &mut Option<&'m [u8]>, value| place.replace(value).is_none();
        let lines = message.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut lines = lines.skip_while(|line| line.is_empty()).skip(1);
        loop {
            let line = lines.next()?;
            let Some(first) = line.first() else { break };
            let is_odd = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
            if first.is_ascii_whitespace() || line.iter().any(is_odd) {
                return None;
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
            let is = |long: &[u8], short: &[u8]| {
                name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
            };
            let good = match name.len() {
                3 | 1 if is(b"Via", b"v") => {
                    *vias.get_mut(count)? = value;
                    count += 1;
                    true
                }
                4 | 1 if is(b"From", b"f") => once(&mut from, value),
                2 | 1 if is(b"To", b"t") => once(&mut to, value),
                7 | 1 if is(b"Call-ID", b"i") => once(&mut call_id, value),
                4 if is(b"CSeq", b"CSeq") => once(&mut cseq, value),
                _ => true,
            };
            if !good {
                return None;
            }
        }
        let (from, cseq_line) = (from?, cseq?);
        let same_method = cseq_line.rsplit(|byte| *byte == b' ').next() == Some(method);
        let cseq = number(cseq_line).filter(|_| same_method)?;
        let call_id = call_id.filter(|call_id| !call_id.is_empty())?;
        Some(Parts { vias, from, from_tag: tag(from), to: to?, call_id, cseq_line, cseq })
    }

    /// The topmost Via, if it stands alone in its line.
    fn top_via(&self) -> Option<&'m str> {
        let top = std::str::from_utf8(self.vias[0]).ok()?;
        (!top.contains(',')).then_some(top)
    }

    /// A whole 503.
    fn unavailable(&self, via: &Via, tag: &str, retry_after: Duration) -> Bytes {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"SIP/2.0 503 Service Unavailable\r\nVia: ");
        out.extend_from_slice(via.to_string().as_bytes());
        for more in self.vias[1..].iter().take_while(|via| !via.is_empty()) {
            out.extend_from_slice(b"\r\nVia: ");
            out.extend_from_slice(more);
        }
        let seconds = retry_after.as_secs().max(1).to_string();
        let rest: [&[u8]; 13] = [
            b"\r\nFrom: ",
            self.from,
            b"\r\nTo: ",
            self.to,
            b";tag=",
            tag.as_bytes(),
            b"\r\nCall-ID: ",
            self.call_id,
            b"\r\nCSeq: ",
            self.cseq_line,
            b"\r\nRetry-After: ",
            seconds.as_bytes(),
            b"\r\nContent-Length: 0\r\n\r\n",
        ];
        rest.iter().for_each(|part| out.extend_from_slice(part));
        out.into()
    }
}

/// The tag of a From or To; empty without one.
fn tag(address: &[u8]) -> &[u8] {
    const KEY: &[u8] = b";tag=";
    // Behind the angle bracket: what is before it is the URI's, or a name.
    let params = address.iter().rposition(|byte| *byte == b'>').map_or(address, |end| &address[end..]);
    let at = params.windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY));
    let value = at.map_or(&params[..0], |at| &params[at + KEY.len()..]);
    let end = value.iter().position(|byte| *byte == b';' || byte.is_ascii_whitespace());
    &value[..end.unwrap_or(value.len())]
}

/// The number that a CSeq begins with.
fn number(cseq: &[u8]) -> Option<u32> {
    let digits = cseq.split(|byte| byte.is_ascii_whitespace()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
