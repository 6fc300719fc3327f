//! The numbers of the sample site behind which there is no phone, heard by baresip.

use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use crate::harness::{Phone, Server, Setup, Transport, Voice, answered, correlation, only, prompt, scenario};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_echo_test_says_what_it_hears() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        alma.dial("*43");
        alma.expect("CALL_ESTABLISHED");
        let peak = alma.hears(3 * SECOND).part(SECOND, 2 * SECOND).peak();
        assert!((peak.hz - 440.0).abs() < 1.0 && (peak.dbfs + 6.0).abs() < 0.5, "{peak:?}");
        alma.hang_up();
        answered(&only(server.finish(1)), None, EndedBy::Caller);
    });
}

#[test]
fn the_test_tone_has_its_frequency_and_level() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        alma.dial("*44");
        alma.expect("CALL_ESTABLISHED");
        let peak = alma.hears(3 * SECOND).part(SECOND, 2 * SECOND).peak();
        assert!((peak.hz - 1004.0).abs() < 2.0, "{peak:?}");
        // A full-scale sine in mu-law is 3.17 dBm0 (ITU-T G.711), and the tone is one of -10 dBm0.
        assert!((peak.dbfs + 13.17).abs() < 0.5, "{peak:?}");
        assert!(peak.purity > 0.99, "{peak:?}");
        alma.hang_up();
        answered(&only(server.finish(1)), None, EndedBy::Caller);
    });
}

#[test]
fn the_welcome_is_heard_whole_and_then_we_hang_up() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        alma.dial("900");
        alma.expect("CALL_ESTABLISHED");
        alma.expect("CALL_CLOSED");
        let (welcome, heard) = (prompt("welcome"), alma.heard().unwrap());
        assert!(heard.length() + SECOND / 5 > welcome.length(), "only {:?} heard", heard.length());
        // Its first and last half seconds, with what was lost in the phone's own buffers left out.
        for from in [SECOND / 4, welcome.length() - SECOND] {
            let (likeness, _) = correlation(&welcome.part(from, SECOND / 2), &heard);
            assert!(likeness > 0.99, "at {from:?} what is heard is like the prompt by {likeness}");
        }
        answered(&only(server.finish(1)), None, EndedBy::System);
    });
}

#[test]
fn a_ring_group_lets_the_caller_hear_ringing_and_then_the_callee() {
    ring_group(Voice::Pcmu, Voice::Pcmu);
}

#[test]
fn a_ring_group_rings_a_caller_of_many_codecs() {
    ring_group(Voice::Any, Voice::Any);
}

#[test]
fn a_ring_group_of_phones_with_one_codec_rings_a_caller_of_many() {
    ring_group(Voice::Any, Voice::Pcmu);
}

/// The ringing is ours, so its codec is agreed before anybody answers; whoever does must be heard in it.
fn ring_group(caller: Voice, members: Voice) {
    scenario(move |lab| {
        let server = Server::start(lab, Setup::shipped());
        let udp = Transport::Udp;
        let mut carla = Phone::new("1005", 5070, 0.0).with(udp, caller, 440.0).start(lab, &server);
        let mut alma = Phone::new("1001", 5080, 0.0).with(udp, members, 700.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5090, 0.0).with(udp, members, 1000.0).start(lab, &server);
        carla.dial("500");
        alma.expect("CALL_INCOMING");
        ben.expect("CALL_INCOMING");
        let ringing = carla.hears(SECOND * 9 / 10).part(SECOND / 10, SECOND * 7 / 10).peak();
        assert!((ringing.hz - 425.0).abs() < 2.0 && ringing.purity > 0.95, "{ringing:?}");
        ben.answer();
        carla.expect("CALL_ESTABLISHED");
        alma.expect("CALL_CLOSED");
        let talk = carla.hears_more(3 * SECOND).last(2 * SECOND).peak();
        assert!((talk.hz - 1000.0).abs() < 2.0 && talk.purity > 0.95, "{talk:?}");
        let heard = ben.hears(2 * SECOND).last(SECOND).peak();
        assert!((heard.hz - 440.0).abs() < 2.0, "{heard:?}");
        carla.hang_up();
        ben.expect("CALL_CLOSED");
        answered(&only(server.finish(1)), Some("1002"), EndedBy::Caller);
    });
}
