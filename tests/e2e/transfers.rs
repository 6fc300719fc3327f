//! Calls that real phones hand over, and what is heard afterwards.

use std::time::Duration;

use dialtone_core::cdr::EndedBy;
use dialtone_core::event::{TransferKind, TransferOutcome};

use crate::harness::{
    Lab, Linphone, Phone, Server, Setup, Sipp, Sound, Transport, answered, heard_both_ways, only, scenario,
};

const SECOND: Duration = Duration::from_secs(1);

/// A sine of so many hertz was heard, and nothing else.
fn is_tone(sound: &Sound, hz: f64) {
    let peak = sound.peak();
    assert!((peak.hz - hz).abs() < 2.0 && peak.purity > 0.95, "{peak:?} instead of {hz} Hz");
}

#[test]
fn baresip_hands_its_caller_over_to_baresip() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        let mut ann = Phone::new("1003", 5090, 700.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(2 * SECOND).part(SECOND, SECOND), 1000.0);
        ben.transfer("1003");
        ann.expect("CALL_ESTABLISHED");
        ben.expect("CALL_CLOSED");
        is_tone(&alma.hears_more(3 * SECOND).last(SECOND), 700.0);
        is_tone(&ann.hears(2 * SECOND).last(SECOND), 440.0);
        alma.hang_up();
        ann.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        let transfer = &cdr.transfers[0];
        assert_eq!(
            (transfer.kind, transfer.outcome),
            (TransferKind::Blind, Some(TransferOutcome::Completed))
        );
    });
}

#[test]
fn baresip_hands_whom_it_called_over_to_the_test_tone() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        is_tone(&ben.hears(2 * SECOND).part(SECOND, SECOND), 440.0);
        alma.transfer("*44");
        alma.expect("CALL_CLOSED");
        is_tone(&ben.hears_more(3 * SECOND).last(SECOND), 1004.0);
        ben.hang_up();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
        assert_eq!(cdr.transfers.len(), 1, "{cdr:#?}");
    });
}

#[test]
fn linphone_hands_its_caller_over() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Linphone::start(lab, &server, "1002", 5080);
        let mut ann = Phone::new("1003", 5090, 700.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("Media streams established");
        ben.transfer("1003");
        ann.expect("CALL_ESTABLISHED");
        ben.expect("ended");
        is_tone(&alma.hears_more(3 * SECOND).last(SECOND), 700.0);
        is_tone(&ann.hears(2 * SECOND).last(SECOND), 440.0);
        ann.hang_up();
        alma.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
    });
}

#[test]
fn linphone_asks_first_and_then_hands_over() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Linphone::start(lab, &server, "1002", 5080);
        let mut ann = Phone::new("1003", 5090, 700.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("Media streams established");
        ben.hold();
        ben.dial("1003");
        ann.expect("CALL_ESTABLISHED");
        ben.expect("Media streams established");
        ben.transfer_to_call(1, 2);
        server.wait_for_metric("dialtone_conversations_merged_total", 1.0);
        is_tone(&alma.hears_more(4 * SECOND).last(SECOND), 700.0);
        is_tone(&ann.hears_more(2 * SECOND).last(SECOND), 440.0);
        alma.hang_up();
        ann.expect("CALL_CLOSED");
        let cdrs = server.finish(2);
        assert_eq!(cdrs[0].merged_into, Some(cdrs[1].call), "{cdrs:#?}");
        assert_eq!(cdrs[0].conversation, cdrs[1].conversation);
        answered(&cdrs[1], Some("1002"), EndedBy::Caller);
    });
}

/// SIPp in the place of Ben, who hands Alma over; `TALK` after he has answered.
fn transferor<'l>(lab: &'l Lab, file: &'static str) -> Sipp<'l> {
    Sipp::new(lab, "register.xml", "1002", 5080).set("PORT", 5080).over(Transport::Udp).run();
    Sipp::new(lab, file, "1002", 5080).set("TALK", 1000).set("TO", "1003").rtp_echo()
}

/// RFC 3515 §2.4: SIPp refers, and is told 100, 180 and 200.
#[test]
fn sipp_hands_its_caller_over_and_is_told() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ann = Phone::new("1003", 5090, 700.0).start(lab, &server);
        let ben = transferor(lab, "callee_transfers.xml").listen();
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ann.expect("CALL_INCOMING");
        ann.answer();
        ann.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears_more(3 * SECOND).last(SECOND), 700.0);
        is_tone(&ann.hears_more(2 * SECOND).last(SECOND), 440.0);
        ben.finish();
        alma.hang_up();
        ann.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

/// RFC 3515 §2.1, RFC 3891 §3: SIPp talks with Ann, takes Alma's call, and hands her over to Ann.
#[test]
fn sipp_hands_its_caller_over_to_whom_it_talks_with() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ann = Phone::new("1003", 5090, 700.0).answering().start(lab, &server);
        let asks = Sipp::new(lab, "caller_is_hung_up_on.xml", "1002", 5086).dial("1003").start();
        ann.expect("CALL_ESTABLISHED");
        let ben = transferor(lab, "callee_transfers_to_call.xml").set("REPLACES", asks.replaces()).listen();
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        server.wait_for_metric("dialtone_conversations_merged_total", 1.0);
        is_tone(&alma.hears_more(4 * SECOND).last(SECOND), 700.0);
        is_tone(&ann.hears_more(2 * SECOND).last(SECOND), 440.0);
        ben.finish();
        asks.finish();
        alma.hang_up();
        ann.expect("CALL_CLOSED");
        let cdrs = server.finish(2);
        assert_eq!(cdrs[0].conversation, cdrs[1].conversation, "{cdrs:#?}");
        let transfer = cdrs.iter().find_map(|cdr| cdr.transfers.first()).unwrap();
        assert_eq!(
            (transfer.kind, transfer.outcome),
            (TransferKind::Attended, Some(TransferOutcome::Completed))
        );
    });
}
