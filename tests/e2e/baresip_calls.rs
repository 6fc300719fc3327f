//! baresip calls baresip, and both hear each other.

use std::time::Duration;

use dialtone_core::Codec;
use dialtone_core::cdr::EndedBy;

use crate::harness::{
    Phone, Server, Setup, Sound, Transport, Voice, answered, heard_both_ways, only, scenario,
};

const SECOND: Duration = Duration::from_secs(1);

/// A sine of half the full scale, and of so many hertz, was heard, and nothing else.
fn is_tone(sound: &Sound, hz: f64, tolerance_db: f64) {
    let peak = sound.peak();
    assert!((peak.hz - hz).abs() < 2.0, "{peak:?} instead of {hz} Hz");
    assert!((peak.dbfs + 6.0).abs() < tolerance_db, "{peak:?} instead of -6 dB");
    assert!(peak.purity > 0.95, "{peak:?}: something else is heard with it");
}

fn tones_cross(transport: Transport, voice: Voice, codec: Codec) {
    scenario(move |lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).with(transport, voice, 440.0).start(lab, &server);
        let ben = Phone::new("1002", 5080, 0.0).with(transport, voice, 1000.0).answering();
        let mut ben = ben.start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(3 * SECOND).part(SECOND, 2 * SECOND), 1000.0, 1.0);
        is_tone(&ben.hears(3 * SECOND).part(SECOND, 2 * SECOND), 440.0, 1.0);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 140);
        assert!(cdr.legs.iter().all(|leg| leg.codec == Some(codec)), "{cdr:#?}");
    });
}

#[test]
fn tones_cross_in_pcmu_over_udp() {
    tones_cross(Transport::Udp, Voice::Pcmu, Codec::Pcmu);
}

#[test]
fn tones_cross_in_pcmu_over_tcp() {
    tones_cross(Transport::Tcp, Voice::Pcmu, Codec::Pcmu);
}

#[test]
fn tones_cross_in_g722_over_udp() {
    tones_cross(Transport::Udp, Voice::G722, Codec::G722);
}

#[test]
fn tones_cross_in_opus_over_udp() {
    tones_cross(Transport::Udp, Voice::Opus, Codec::Opus);
}

#[test]
fn tones_cross_in_opus_over_tcp() {
    tones_cross(Transport::Tcp, Voice::Opus, Codec::Opus);
}

#[test]
fn a_phone_of_many_codecs_talks_to_one_of_pcmu() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma =
            Phone::new("1001", 5070, 0.0).with(Transport::Udp, Voice::Any, 440.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        alma.dial("1002");
        ben.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(3 * SECOND).part(SECOND, 2 * SECOND), 1000.0, 1.0);
        // Its own resampler takes something off.
        is_tone(&ben.hears(3 * SECOND).part(SECOND, 2 * SECOND), 440.0, 2.0);
        ben.hang_up();
        alma.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
        assert!(cdr.legs.iter().all(|leg| leg.codec == Some(Codec::Pcmu)), "{cdr:#?}");
    });
}

#[test]
fn on_hold_nothing_is_heard_and_after_it_the_tone_is_back() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        is_tone(&ben.hears(2 * SECOND).part(SECOND, SECOND), 440.0, 1.0);
        is_tone(&alma.hears(2 * SECOND).part(SECOND, SECOND), 1000.0, 1.0);

        alma.hold();
        alma.expect("CALL_REMOTE_SDP");
        // What was on its way may still arrive; then ben speaks for a second and a half, unheard.
        let sent = server.metric("dialtone_media_packets_out_total");
        let received = server.metric("dialtone_media_packets_in_total");
        crate::harness::eventually("ben goes on speaking", || {
            (server.metric("dialtone_media_packets_in_total") >= received + 75.0).then_some(())
        });
        let leaked = server.metric("dialtone_media_packets_out_total") - sent;
        assert!(leaked < 15.0, "{leaked} packets were sent on hold");

        alma.resume();
        alma.expect("CALL_REMOTE_SDP");
        let heard = ben.hears_more(2 * SECOND);
        is_tone(&heard.last(SECOND), 440.0, 1.0);
        // This baresip stays deaf after a hold of its own, with any peer: its packets are counted instead.
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        let (caller, callee) = (cdr.legs[0].quality.unwrap(), cdr.legs[1].quality.unwrap());
        let unheard = callee.received_packets - caller.sent_packets;
        assert!(unheard >= 70, "{unheard} packets of ben were kept from alma: {cdr:#?}");
        assert!(caller.sent_packets > 180, "{cdr:#?}");
    });
}

#[test]
fn the_callee_hangs_up() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_RINGING");
        ben.expect("CALL_INCOMING");
        ben.answer();
        alma.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(2 * SECOND).part(SECOND, SECOND), 1000.0, 1.0);
        ben.hang_up();
        alma.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
    });
}

#[test]
fn speech_through_a_relay_of_pcmu_keeps_its_samples() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let speech = crate::harness::prompt("welcome");
        let mut says = Sound::tone(8000, 0.0, SECOND);
        for _ in 0..8 {
            says.samples.extend(&speech.samples);
        }
        let mut alma = Phone::new("1001", 5070, 0.0).saying(says).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        alma.dial("1002");
        ben.expect("CALL_ESTABLISHED");
        let heard = ben.hears(2 * SECOND + speech.length());
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        let (likeness, _) = crate::harness::correlation(&speech, &heard);
        assert!(likeness > 0.99, "the likeness of what was said and what was heard is {likeness}");
        server.finish(1);
    });
}
