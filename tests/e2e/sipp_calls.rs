//! SIPp calls SIPp through the server: every way a call can begin and end.

use dialtone_core::Cause;
use dialtone_core::cdr::{Cdr, Disposition, EndedBy};

use crate::harness::{Lab, Run, Server, Setup, Sipp, Transport, scenario};

/// Registers `number` at `port`.
fn register(lab: &Lab, number: &str, port: u16, transport: Transport) {
    Sipp::new(lab, "register.xml", number, port).set("PORT", port).over(transport).run();
}

/// A registered phone of 1002 that plays a file.
fn callee(lab: &Lab, file: &'static str) -> Run {
    register(lab, "1002", 5072, Transport::Udp);
    Sipp::new(lab, file, "1002", 5072).set("RING", 100).set("TALK", 1000).rtp_echo().listen()
}

/// A phone of 1001 that plays a file.
fn caller<'l>(lab: &'l Lab, file: &'static str, dial: &str) -> Sipp<'l> {
    Sipp::new(lab, file, "1001", 5071).set("TALK", 1500).dial(dial)
}

fn only(mut records: Vec<Cdr>) -> Cdr {
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// Voice went both ways on every leg of an answered call: at least `packets` each way.
fn heard_both_ways(cdr: &Cdr, packets: u64) {
    for leg in cdr.legs.iter().filter(|leg| leg.codec.is_some()) {
        let quality = leg.quality.as_ref().unwrap_or_else(|| panic!("a leg without quality: {cdr:#?}"));
        assert!(
            quality.received_packets >= packets && quality.sent_packets >= packets,
            "{quality:?} in {cdr:#?}"
        );
    }
}

fn answered(cdr: &Cdr, by: &str, ended_by: EndedBy) {
    assert_eq!(cdr.disposition, Disposition::Answered);
    assert_eq!(cdr.answered_by.as_deref(), Some(by));
    assert_eq!((cdr.ended_by, cdr.cause), (ended_by, Cause::NormalClearing));
    assert!(cdr.talk_ms <= cdr.duration_ms && cdr.talk_ms > 0);
}

#[test]
fn a_call_over_udp_has_sound_both_ways() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, "1002", EndedBy::Caller);
        heard_both_ways(&cdr, 50);
    });
}
