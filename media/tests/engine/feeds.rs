//! What one phone hears of us: echo, tone, prompt, reports.

use std::sync::Arc;

use dialtone_core::codec::Codec;
use dialtone_core::media::{Feed, MediaEvent};
use dialtone_media::g711::Law;
use dialtone_media::{PromptLibrary, rtcp};

use crate::lab::{Lab, V4};

#[test]
fn an_echo_comes_back_on_a_line_of_our_own() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Opus, 107);
    lab.hold(&a, Feed::Echo);
    for sequence in [10, 11, 14] {
        a.say(107, sequence, &[sequence as u8; 40]);
    }
    let heard: Vec<_> = (0..3).map(|_| a.hear()).collect();
    let first = &heard[0].header;
    for (packet, ahead) in heard.iter().zip([0, 1, 4]) {
        assert_eq!(packet.header.payload_type, 107);
        assert_eq!(packet.header.sequence_number, first.sequence_number.wrapping_add(ahead));
        assert_eq!(packet.header.timestamp, first.timestamp.wrapping_add(u32::from(ahead) * 160));
        assert_eq!(packet.payload[..], [10 + ahead as u8; 40]);
    }
    assert_ne!(first.ssrc, 0xC0FFEE);
}

#[test]
fn a_tone_arrives_with_its_frequency_and_level() {
    let mut lab = Lab::new();
    for (codec, law, payload_type) in [(Codec::Pcmu, Law::Mu, 0), (Codec::Pcma, Law::A, 8)] {
        let a = lab.phone(V4, codec, payload_type);
        lab.hold(&a, Feed::Tone { hz: 1004, level_dbm0: -16 });
        let packets: Vec<_> = (0..25).map(|_| a.hear()).collect();
        for pair in packets.windows(2) {
            let (before, after) = (&pair[0].header, &pair[1].header);
            assert_eq!(after.sequence_number, before.sequence_number.wrapping_add(1));
            assert_eq!(after.payload_type, payload_type);
        }
        let samples: Vec<f64> = packets
            .iter()
            .flat_map(|packet| packet.payload.iter().map(|code| f64::from(law.decode(*code))))
            .collect();
        assert_eq!(samples.len(), 4000);
        let level = |hz: f64| 20.0 * (amplitude(&samples, hz) / law.zero_dbm0_amplitude()).log10();
        assert!((level(1004.0) + 16.0).abs() < 1.0, "{law:?}: {} dBm0", level(1004.0));
        for elsewhere in [504.0, 904.0, 1104.0, 2008.0, 3012.0] {
            assert!(level(elsewhere) < -45.0, "{law:?}: {} dBm0 at {elsewhere} Hz", level(elsewhere));
        }
    }
}

/// Goertzel's filter: the amplitude of the sine of this frequency.
fn amplitude(samples: &[f64], hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / 8000.0).cos();
    let (s1, s2) = samples.iter().fold((0.0, 0.0), |(s1, s2), sample| (sample + coefficient * s1 - s2, s1));
    2.0 * (s1 * s1 + s2 * s2 - coefficient * s1 * s2).max(0.0).sqrt() / samples.len() as f64
}

#[test]
fn a_prompt_is_played_and_its_end_told() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Pcma, 8);
    let bridge = lab.hold(&a, Feed::Prompt { prompt: "welcome".into() });
    let welcome = Arc::clone(PromptLibrary::embedded().unwrap().get("welcome").unwrap());
    let mut heard = Vec::new();
    while heard.len() < welcome.len() {
        heard.extend_from_slice(&a.hear().payload);
    }
    assert!(welcome.iter().zip(&heard).all(|(sample, code)| Law::A.encode(*sample) == *code));
    let ended = lab.event(|event| match event {
        MediaEvent::PlayEnded { port, bridge, complete } => Some((*port, *bridge, *complete)),
        _ => None,
    });
    assert_eq!(ended, (a.ours.port, bridge, true));
    let bridge = lab.hold(&a, Feed::Prompt { prompt: "missing".into() });
    let ended = lab.event(|event| match event {
        MediaEvent::PlayEnded { bridge, complete, .. } => Some((*bridge, *complete)),
        _ => None,
    });
    assert_eq!(ended, (bridge, false));
}

#[test]
fn a_report_arrives_and_one_is_understood() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Pcma, 8);
    lab.hold(&a, Feed::Echo);
    a.say(8, 1, b"x");
    let ssrc = a.hear().header.ssrc;
    let mut bytes = [0; 200];
    let (length, from) = a.rtcp.recv_from(&mut bytes).unwrap();
    assert_eq!(from, a.ours.rtcp);
    let report = rtcp::parse(&bytes[..length], 0xC0FFEE).unwrap();
    assert_eq!(report.about_us.unwrap().highest & 0xFFFF, 1);
    let block = rtcp::ReportBlock {
        about: ssrc,
        lost: 3,
        last_report: report.sender_report.unwrap(),
        ..rtcp::ReportBlock::default()
    };
    let mut answer = [0; rtcp::COMPOUND_MAX];
    let compound = rtcp::Compound {
        ssrc: 0xC0FFEE,
        sender: None,
        block: Some(block),
        cname: b"phone...........",
        goodbye: false,
    };
    let length = compound.write(&mut answer);
    a.rtcp.send_to(&answer[..length], a.ours.rtcp).unwrap();
    // An echo of what was said after the report shows that the report was read.
    a.say(8, 2, b"y");
    a.hear();
    let quality = lab.release(a.ours.port);
    assert_eq!(quality.peer_lost_packets, 3);
    assert!(quality.round_trip_us.is_some_and(|us| us < 20_000_000));
}
