//! Call detail records: a fold over events. A record is made when, and only when, a call ends, so there
//! is exactly one per call whatever raced.

mod fold;

use serde::{Deserialize, Serialize};

pub use self::fold::CdrFold;

use crate::cause::Cause;
use crate::codec::Codec;
use crate::event::{DialOutcome, Side, TransferKind, TransferOutcome};
use crate::id::{CallId, ConversationId, LegId};
use crate::leg::{Number, Party};
use crate::media::Quality;
use crate::time::Wall;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// A person or a flow answered.
    Answered,
    /// Nobody answered in time, or nobody could be reached.
    NoAnswer,
    /// Busy, or declined.
    Busy,
    /// The caller gave up.
    Cancelled,
    /// It could not be carried out.
    Failed,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller.
    Caller,
    /// The called party.
    Callee,
    /// We did: a flow's end, a timeout, a refusal, a command.
    System,
    /// Nobody: the server ended without warning, and its next start closed the record.
    Crash,
}

/// One leg of a call's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CdrLeg {
    /// The leg.
    pub leg: LegId,
    /// The endpoint at its far end.
    pub endpoint: Number,
    /// Which way it was set up.
    pub side: Side,
    /// The preferred voice codec last agreed; `None` when none was.
    pub codec: Option<Codec>,
    /// How the branch ended for the caller; `None` for the caller's own leg.
    pub outcome: Option<DialOutcome>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// What its packets were like; `None` when it had no port, or moved.
    pub quality: Option<Quality>,
    /// Where it sent the call and the call went, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirected_to: Vec<Number>,
    /// The call that it left this one for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<CallId>,
    /// The leg whose place it took: a call picked up, or taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<LegId>,
}

/// One transfer of a call's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdrTransfer {
    /// When it was asked for, RFC 3339 UTC.
    pub at: String,
    /// The endpoint that asked.
    pub by: Number,
    /// Of which kind.
    pub kind: TransferKind,
    /// The number that leads to the target.
    pub to: Number,
    /// How it was decided.
    pub outcome: Option<TransferOutcome>,
    /// The cause that the target's side gave.
    pub cause: Option<Cause>,
}

/// The record of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cdr {
    /// The call.
    pub call: CallId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Who called.
    pub from: Party,
    /// What they dialed.
    pub dialed: Number,
    /// The endpoint that answered; `None` when a flow did, or nobody.
    pub answered_by: Option<Number>,
    /// When it began, RFC 3339 UTC.
    pub started: String,
    /// When it was answered, RFC 3339 UTC.
    pub answered: Option<String>,
    /// When it ended, RFC 3339 UTC.
    pub ended: String,
    /// From begin to end, milliseconds of the monotonic clock.
    pub duration_ms: u64,
    /// From answer to end, milliseconds; 0 when not answered. Never more than `duration_ms`.
    pub talk_ms: u64,
    /// What came of it.
    pub disposition: Disposition,
    /// Why it ended.
    pub cause: Cause,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Every leg, the caller's first.
    pub legs: Vec<CdrLeg>,
    /// Every transfer, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<CdrTransfer>,
    /// The call that goes on with its parties: this one ended in an attended transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<CallId>,
}

/// What the record of a call needs that is going on, should the process not live to see its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenCall {
    /// The call.
    pub call: CallId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Who called.
    pub from: Party,
    /// What they dialed.
    pub dialed: Number,
    /// The endpoint that answered; `None` when a flow did, or nobody.
    pub answered_by: Option<Number>,
    /// When it began.
    pub started: Wall,
    /// When it was answered.
    pub answered: Option<Wall>,
    /// Every leg so far, the caller's first.
    pub legs: Vec<CdrLeg>,
    /// Every transfer so far.
    #[serde(default)]
    pub transfers: Vec<CdrTransfer>,
}

impl OpenCall {
    /// Its record, when the process is known to have lived until `alive`: times are by the wall clock, and a
    /// call that began or was answered after that lasted no time at all.
    pub fn close(self, alive: Wall) -> Cdr {
        let ended = alive.max(self.started).max(self.answered.unwrap_or(self.started));
        let since = |from: Wall| u64::try_from((ended.as_micros() - from.as_micros()) / 1000).unwrap_or(0);
        let answered = self.answered.is_some();
        Cdr {
            call: self.call,
            conversation: self.conversation,
            from: self.from,
            dialed: self.dialed,
            answered_by: self.answered_by,
            started: self.started.to_string(),
            answered: self.answered.map(|answered| answered.to_string()),
            ended: ended.to_string(),
            duration_ms: since(self.started),
            talk_ms: self.answered.map_or(0, since),
            disposition: if answered { Disposition::Answered } else { Disposition::Failed },
            cause: Cause::TemporaryFailure,
            ended_by: EndedBy::Crash,
            legs: self.legs,
            transfers: self.transfers,
            merged_into: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{IdSource, NodeId};

    fn open(answered: Option<i64>) -> OpenCall {
        let call = IdSource::new(NodeId(1), 1, 1, 1).call();
        OpenCall {
            call,
            conversation: call.into(),
            from: Party { number: "1001".into(), name: String::new(), private: false },
            dialed: "1002".into(),
            answered_by: None,
            started: Wall::from_micros(10_000_000),
            answered: answered.map(Wall::from_micros),
            legs: Vec::new(),
            transfers: Vec::new(),
        }
    }

    #[test]
    fn a_call_that_a_crash_cut_off_lasted_until_the_process_was_last_seen() {
        let cases = [
            (None, 14_000_000, (4000, 0, Disposition::Failed)),
            (Some(12_500_000), 14_000_000, (4000, 1500, Disposition::Answered)),
            (Some(12_500_000), 11_000_000, (2500, 0, Disposition::Answered)),
            (None, i64::MIN, (0, 0, Disposition::Failed)),
        ];
        for (answered, alive, expected) in cases {
            let cdr = open(answered).close(Wall::from_micros(alive));
            assert_eq!((cdr.duration_ms, cdr.talk_ms, cdr.disposition), expected);
            assert_eq!((cdr.ended_by, cdr.cause), (EndedBy::Crash, Cause::TemporaryFailure));
        }
    }
}
