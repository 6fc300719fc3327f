//! What records must say.

use dialtone_core::Cause;
use dialtone_core::cdr::{Cdr, Disposition, EndedBy};

/// The only record.
pub fn only(mut records: Vec<Cdr>) -> Cdr {
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// An ordinary call: answered by an extension, or by a flow, and hung up.
pub fn answered(cdr: &Cdr, by: Option<&str>, ended_by: EndedBy) {
    assert_eq!(cdr.disposition, Disposition::Answered, "{cdr:#?}");
    assert_eq!(cdr.answered_by.as_deref(), by, "{cdr:#?}");
    assert_eq!((cdr.ended_by, cdr.cause), (ended_by, Cause::NormalClearing), "{cdr:#?}");
    assert!(cdr.talk_ms <= cdr.duration_ms && cdr.talk_ms > 0, "{cdr:#?}");
}

/// Voice went both ways on every leg that agreed on a codec: at least `packets` each way.
pub fn heard_both_ways(cdr: &Cdr, packets: u64) {
    for leg in cdr.legs.iter().filter(|leg| leg.codec.is_some()) {
        let quality = leg.quality.as_ref().unwrap_or_else(|| panic!("a leg without quality: {cdr:#?}"));
        let enough = quality.received_packets >= packets && quality.sent_packets >= packets;
        assert!(enough, "fewer than {packets} packets: {quality:?} in {cdr:#?}");
    }
}
