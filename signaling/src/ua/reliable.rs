//! Reliable provisional answers: RFC 3262. The two ends of one line of RSeq numbers.
//!
//! ```text
//!  Sender:   send ──▶ outstanding ──PRACK──▶ next of the queue, or idle
//!                       │ T1, 2*T1, 4*T1 … again      │
//!                       └──64*T1──▶ given up: the INVITE is owed 5xx
//!  Receiver: first, or last + 1: PRACK · the same again: nothing · a gap: nothing
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use dialtone_core::Mono;

use crate::message::{CSeq, Headers, Method, Name, Response};
use crate::transaction::Timing;

/// Provisional answers that wait for the PRACK of an earlier one; when there are more, the last gives way
/// that carries no description.
const QUEUE_MAX: usize = 8;

/// What a PRACK acknowledges (RFC 3262 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RAck {
    rseq: u32,
    cseq: u32,
}

impl RAck {
    /// `None` when there is none that can be read, or it is about no INVITE.
    pub fn of(headers: &Headers) -> Option<RAck> {
        let text = headers.text(&Name::RAck)?.trim();
        let (rseq, cseq) = text.split_once([' ', '\t'])?;
        let cseq = CSeq::parse(cseq).ok().filter(|cseq| cseq.method == Method::Invite)?;
        Some(RAck { rseq: number(rseq)?, cseq: cseq.number })
    }
}

/// The RSeq of a provisional answer that asks for a PRACK; `None` for one that does not.
pub(crate) fn rseq(response: &Response) -> Option<u32> {
    let asks = response.headers.has_token(&Name::Require, "100rel");
    asks.then(|| number(response.headers.text(&Name::RSeq)?.trim()))?
}

/// RFC 3262 §7.1: 1 to 2**32 - 1.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

/// A provisional answer, and whether it carries our description.
#[derive(Clone)]
pub(crate) struct Provisional {
    pub response: Response,
    pub describes: bool,
}

/// A provisional answer on its way.
struct Outstanding {
    rseq: u32,
    describes: bool,
    response: Response,
    /// `None` once the INVITE has its final answer.
    repeat: Option<Repeat>,
}

struct Repeat {
    at: Mono,
    interval: Duration,
    give_up: Mono,
}

/// What a due timer asks for.
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// Send this again.
    Again(Box<Response>),
    /// Nobody acknowledged it.
    GivenUp,
}

/// The answering side (RFC 3262 §3).
pub(crate) struct Sender {
    next: u32,
    cseq: u32,
    outstanding: Option<Box<Outstanding>>,
    queue: VecDeque<Provisional>,
}

impl Sender {
    /// For the INVITE with this CSeq; `first` is the first RSeq, which should be below 2³¹ and not 0.
    pub fn new(cseq: u32, first: u32) -> Self {
        Sender { next: first.clamp(1, (1 << 31) - 1), cseq, outstanding: None, queue: VecDeque::new() }
    }

    /// Takes a provisional answer; gives what is to be sent now. A second one waits for the PRACK of the
    /// first.
    pub fn send(&mut self, now: Mono, timing: Timing, answer: Provisional) -> Option<Response> {
        if self.outstanding.is_some() {
            if self.queue.len() == QUEUE_MAX
                && let Some(last) = self.queue.iter().rposition(|waiting| !waiting.describes)
            {
                self.queue.remove(last);
            }
            self.queue.push_back(answer);
            return None;
        }
        let Provisional { mut response, describes } = answer;
        let rseq = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        response.headers.push(Name::Require, "100rel");
        response.headers.push(Name::RSeq, rseq.to_string());
        self.outstanding = Some(Box::new(Outstanding {
            rseq,
            describes,
            response: response.clone(),
            repeat: Some(Repeat {
                at: now + timing.t1,
                interval: timing.t1,
                give_up: now + timing.patience(),
            }),
        }));
        Some(response)
    }

    /// A PRACK; whether what it acknowledges carried our description, `None` when it acknowledges nothing that waits.
    pub fn acknowledge(&mut self, rack: RAck) -> Option<bool> {
        let cseq = self.cseq;
        self.outstanding.take_if(|out| RAck { rseq: out.rseq, cseq } == rack).map(|out| out.describes)
    }

    /// What waited for the PRACK that came; gives what is to be sent now.
    pub fn go_on(&mut self, now: Mono, timing: Timing) -> Option<Response> {
        let next = self.queue.pop_front()?;
        self.send(now, timing, next)
    }

    /// A final answer is sent: nothing is repeated any more, and what waited is not said, but a PRACK may
    /// still come (RFC 3262 §3).
    pub fn finish(&mut self) {
        self.queue.clear();
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.repeat = None;
        }
    }

    /// Fires its timers.
    pub fn expire(&mut self, now: Mono) -> Due {
        let Some(out) = &mut self.outstanding else { return Due::Nothing };
        match &mut out.repeat {
            Some(repeat) if repeat.give_up <= now => Due::GivenUp,
            Some(repeat) if repeat.at <= now => {
                repeat.interval *= 2;
                repeat.at = now + repeat.interval;
                Due::Again(Box::new(out.response.clone()))
            }
            Some(_) | None => Due::Nothing,
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.outstanding.as_ref()?.repeat.as_ref().map(|repeat| repeat.at.min(repeat.give_up))
    }
}

/// What an RSeq means to the calling side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is the next one, and owed a PRACK.
    New,
    /// It is an old one, or one before it is missing: neither acknowledged nor heeded (RFC 3262 §4).
    Ignored,
}

/// The calling side, of one early dialog (RFC 3262 §4).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receiver {
    last: Option<u32>,
}

impl Receiver {
    /// A reliable provisional answer came.
    pub fn hear(&mut self, rseq: u32) -> Heard {
        if self.last.is_none_or(|last| last.checked_add(1) == Some(rseq)) {
            self.last = Some(rseq);
            return Heard::New;
        }
        Heard::Ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Request;

    fn headers(rack: &str) -> Headers {
        let mut headers = Headers::new();
        headers.push(Name::RAck, rack);
        headers
    }

    /// RFC 3262 §7.2.
    #[test]
    fn what_a_prack_acknowledges() {
        assert_eq!(RAck::of(&headers("776656 1 INVITE")), Some(RAck { rseq: 776_656, cseq: 1 }));
        assert_eq!(RAck::of(&headers(" 1\t 2  INVITE ")), Some(RAck { rseq: 1, cseq: 2 }));
        for bad in
            ["", "1", "1 2", "1 2 BYE", "0 2 INVITE", "-1 2 INVITE", "+1 2 INVITE", "4294967296 2 INVITE"]
        {
            assert_eq!(RAck::of(&headers(bad)), None, "{bad:?}");
        }
    }

    /// RFC 3262 §3: one at a time, T1 doubling, given up after 64*T1.
    #[test]
    fn a_sender_repeats_and_gives_up_and_what_waits_is_bounded() {
        let timing = Timing::default();
        let mut sender = Sender::new(7, 0);
        let answer = |describes| Provisional {
            response: Response::to(&Request::new(Method::Invite, "sip:a@b"), 180),
            describes,
        };
        let ringing = || answer(false);
        let first = sender.send(Mono::ZERO, timing, ringing()).unwrap();
        assert_eq!(rseq(&first), Some(1));
        assert!(sender.send(Mono::ZERO, timing, answer(true)).is_none());
        for _ in 0..20 {
            assert!(sender.send(Mono::ZERO, timing, ringing()).is_none());
        }
        assert_eq!(sender.queue.len(), QUEUE_MAX);
        let mut at = Vec::new();
        while let Some(due) = sender.deadline() {
            match sender.expire(due) {
                Due::Again(again) => assert_eq!(*again, first),
                Due::GivenUp => break,
                Due::Nothing => panic!("a deadline without work"),
            }
            at.push(due.as_nanos() / 1_000_000);
        }
        assert_eq!(at, [500, 1500, 3500, 7500, 15_500, 31_500]);
        let acknowledge = |sender: &mut Sender, rseq, cseq| sender.acknowledge(RAck { rseq, cseq });
        assert_eq!((acknowledge(&mut sender, 2, 7), acknowledge(&mut sender, 1, 8)), (None, None));
        assert_eq!(acknowledge(&mut sender, 1, 7), Some(false));
        assert_eq!(acknowledge(&mut sender, 1, 7), None, "once");
        let second = sender.go_on(Mono::ZERO, timing).unwrap();
        assert_eq!(rseq(&second), Some(2));
        sender.finish();
        assert_eq!(sender.deadline(), None);
        assert_eq!(acknowledge(&mut sender, 2, 7), Some(true), "also after the final answer");
        assert!(sender.go_on(Mono::ZERO, timing).is_none());
    }

    /// RFC 3262 §4.
    #[test]
    fn a_receiver_takes_numbers_in_order() {
        let mut receiver = Receiver::default();
        let heard = [100, 100, 102, 101, 99, 102].map(|rseq| receiver.hear(rseq));
        use Heard::{Ignored, New};
        assert_eq!(heard, [New, Ignored, Ignored, New, Ignored, New]);
        let mut last = Receiver { last: Some(u32::MAX) };
        assert_eq!(last.hear(1), Ignored, "RFC 3262 §7.1: it does not wrap");
    }
}
