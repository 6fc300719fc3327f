//! A phone's side of one call: its dialog, its stream, and what is still open.

use std::net::SocketAddr;
use std::time::Duration;

use dialtone_core::Mono;
use dialtone_signaling::message::{Request, Response};

use super::sdp::{Flow, Said};
use crate::swarm::Manner;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Our INVITE waits for its answer.
    Calling {
        branch: String,
        proceeding: bool,
        cancelled: bool,
    },
    /// Their INVITE waits for ours.
    Invited {
        key: String,
    },
    Up,
    /// Our BYE waits for its answer.
    Leaving,
}

/// A provisional answer that waits for its PRACK (RFC 3262 §3).
#[derive(Clone, Debug)]
pub struct Reliable {
    pub rseq: u32,
    pub response: Response,
    pub acknowledged: bool,
    pub since: Mono,
}

/// A 2xx that waits for its ACK (RFC 3261 §13.3.1.4).
#[derive(Clone, Debug)]
pub struct Unacknowledged {
    pub cseq: u32,
    pub response: Response,
    pub since: Mono,
}

#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub interval: Duration,
    /// Whether the refresh is ours to do.
    pub ours: bool,
    pub turn: u32,
}

/// Its stream.
#[derive(Clone, Debug)]
pub struct Stream {
    pub port: u16,
    pub version: u32,
    /// What the far end said last, once both have said something.
    pub remote: Option<Said>,
    /// What was agreed, from our point of view.
    pub flow: Flow,
    pub sequence: u16,
    /// Whose sound came last, and when.
    pub heard: Option<(u32, Mono)>,
    /// Under which number sound is sent.
    pub payload_type: u8,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub id: u32,
    pub began: Mono,
    pub call_id: String,
    /// From or To, with tags once they are known.
    pub local: String,
    pub remote: String,
    pub local_tag: String,
    pub remote_tag: String,
    pub target: String,
    pub cseq: u32,
    pub remote_cseq: Option<u32>,
    pub state: State,
    /// The INVITE that made it.
    pub invite: Request,
    pub outgoing: bool,
    pub manner: Manner,
    pub reliable: Option<Reliable>,
    /// Our description in answers to their INVITE, once there was one.
    pub said: Option<String>,
    /// Whether a PRACK of ours with an offer waits for its answer.
    pub early_offer: bool,
    /// Of the far end's provisional answers.
    pub their_rseq: Option<u32>,
    pub unacknowledged: Option<Unacknowledged>,
    /// Our re-INVITE or UPDATE under way, by its branch.
    pub change: Option<String>,
    /// Their re-INVITE, while our offer waits for an answer in its ACK.
    pub offered_in_answer: bool,
    /// An offer of ours in the INVITE, or in an answer to one, that has no answer yet.
    pub offer_open: bool,
    pub held: bool,
    /// Whether the change under way turns `held` around.
    pub flips: bool,
    pub session: Option<Session>,
    pub turn: u32,
    pub media: Stream,
    /// Whether the far end takes UPDATE.
    pub peer_updates: bool,
    /// Whether a transfer that we asked for is under way.
    pub referring: bool,
    /// The number at the other end, for a person.
    pub with: String,
    /// Whether it was seen answered and acknowledged.
    pub confirmed: bool,
}

impl Call {
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether nothing is open that a change of ours would cross.
    pub fn is_quiet(&self) -> bool {
        self.is_up() && self.change.is_none() && self.unacknowledged.is_none() && !self.offer_open
    }

    /// Whether both have said something that is to be relied upon, and it is not answered yet (RFC 3311 §5.1).
    pub fn is_early(&self) -> bool {
        let said = match &self.state {
            State::Calling { cancelled, .. } => !cancelled && self.their_rseq.is_some(),
            State::Invited { .. } => {
                let heard = |reliable: &Reliable| reliable.acknowledged && !reliable.response.body.is_empty();
                self.reliable.as_ref().is_some_and(heard)
            }
            State::Up | State::Leaving => false,
        };
        said && self.media.remote.is_some() && self.change.is_none() && !self.offer_open
    }

    pub fn wants(&self) -> Flow {
        if self.held { Flow::SEND } else { Flow::BOTH }
    }

    pub fn rtp_to(&self) -> Option<SocketAddr> {
        let sends = self.is_up() && self.media.flow.sends;
        self.media.remote.as_ref().filter(|_| sends).map(|said| said.rtp)
    }
}
