//! Bodies that phones and browsers send, and what we answer.

use dialtone_core::description::Formats;
use dialtone_core::{Codec, Description, Direction, Format};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const SESSION: &str = "v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n";

fn sdp(media: &str) -> RemoteSdp {
    parse(format!("{SESSION}{media}").replace('\n', "\r\n").as_bytes()).unwrap()
}

fn describe(media: &str) -> Option<Description> {
    sdp(media).description().cloned()
}

fn format(codec: Codec, payload_type: u8, fmtp: &str) -> Format {
    Format { codec, payload_type, fmtp: fmtp.to_owned() }
}

fn ours() -> Description {
    Description {
        rtp: "198.51.100.1:40000".parse().unwrap(),
        rtcp: "198.51.100.1:40001".parse().unwrap(),
        formats: Formats::from_vec(vec![
            format(Codec::Opus, 111, "useinbandfec=1"),
            format(Codec::Pcma, 8, ""),
            format(Codec::TelephoneEvent, 101, ""),
        ]),
        direction: Direction::SendRecv,
        ptime_ms: Some(20),
    }
}

const ORIGIN: Origin = Origin { session_id: 77, version: 1 };

#[test]
fn a_desk_phone_offers() {
    let description = describe(
        "m=audio 11780 RTP/AVP 9 0 8 18 101 120\n\
         a=rtpmap:9 g722/8000\n\
         a=rtpmap:18 G729/8000\n\
         a=fmtp:18 annexb=no\n\
         a=rtpmap:101 telephone-event/8000\n\
         a=fmtp:101 0-15\n\
         a=rtpmap:120 OPUS/48000/2\n\
         a=fmtp:120 useinbandfec=1; maxaveragebitrate=20000\n\
         a=ptime:30\n\
         a=sendonly\n\
         m=video 0 RTP/AVP 31\n",
    )
    .unwrap();
    assert_eq!(
        description,
        Description {
            rtp: "192.0.2.1:11780".parse().unwrap(),
            rtcp: "192.0.2.1:11781".parse().unwrap(),
            formats: Formats::from_vec(vec![
                format(Codec::G722, 9, ""),
                format(Codec::Pcmu, 0, ""),
                format(Codec::Pcma, 8, ""),
                format(Codec::TelephoneEvent, 101, "0-15"),
                format(Codec::Opus, 120, "useinbandfec=1; maxaveragebitrate=20000"),
            ]),
            direction: Direction::SendOnly,
            ptime_ms: Some(30),
        }
    );
}

#[test]
fn which_line_is_used() {
    let port = |media: &str| describe(media).map(|description| description.rtp.port());
    let table = [
        ("m=audio 4000 RTP/AVP 0\n", Some(4000)),
        ("m=audio 4000 RTP/AVPF 0\n", Some(4000)),
        ("m=audio 4000/2 rtp/avp 0\n", Some(4000)),
        ("m=video 4000 RTP/AVP 0\nm=audio 5000 RTP/AVP 0\n", Some(5000)),
        ("m=audio 0 RTP/AVP 0\nm=audio 5000 RTP/AVP 0\n", Some(5000)),
        ("m=audio 4000 RTP/SAVP 0\nm=audio 5000 RTP/AVP 0\n", Some(5000)),
        ("m=audio 4000 RTP/AVP 18\nm=audio 5000 RTP/AVP 8\n", Some(5000)),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\n", None),
        ("m=audio 4000 RTP/SAVPF 0\n", None),
        ("m=audio 0 RTP/AVP 0\n", None),
        ("m=audio 0 RTP/AVP\n", None),
        ("m=audio 4000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000\n", None),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 pbx.example.com\n", None),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 224.2.1.1/127\n", None),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 224.2.1.1\n", None),
        ("m=image 4000 udptl t38\n", None),
        ("m=whiteboard 4000 RTP/AVP 0\n", None),
        ("", None),
    ];
    for (media, expected) in table {
        assert_eq!(port(media), expected, "{media}");
    }
}

#[test]
fn which_formats_are_known() {
    let table: &[(&str, &[(Codec, u8)])] = &[
        ("0 8 9", &[(Codec::Pcmu, 0), (Codec::Pcma, 8), (Codec::G722, 9)]),
        ("0 96\na=rtpmap:96 opus/48000/2", &[(Codec::Pcmu, 0), (Codec::Opus, 96)]),
        ("0 96\na=rtpmap:96 opus/48000", &[(Codec::Pcmu, 0)]),
        ("0 96\na=rtpmap:96 opus/48000/1", &[(Codec::Pcmu, 0)]),
        ("0 96\na=rtpmap:96 G722/16000", &[(Codec::Pcmu, 0)]),
        ("0 96\na=rtpmap:96 telephone-event/48000", &[(Codec::Pcmu, 0)]),
        ("0 96\na=rtpmap:96 Telephone-Event/8000", &[(Codec::Pcmu, 0), (Codec::TelephoneEvent, 96)]),
        ("96 97\na=rtpmap:97 pcmu/8000/1\na=rtpmap:96  PCMA/8000", &[(Codec::Pcma, 96), (Codec::Pcmu, 97)]),
        ("0 0 8 0", &[(Codec::Pcmu, 0), (Codec::Pcma, 8)]),
        ("0 8\na=rtpmap:8 strange/8000", &[(Codec::Pcmu, 0)]),
        ("0 128 300 x", &[(Codec::Pcmu, 0)]),
        ("0 96", &[(Codec::Pcmu, 0)]),
    ];
    for (formats, expected) in table {
        let description = describe(&format!("m=audio 4000 RTP/AVP {formats}\n")).unwrap();
        let found: Vec<_> =
            description.formats.iter().map(|format| (format.codec, format.payload_type)).collect();
        assert_eq!(found, *expected, "{formats}");
    }
    let many: String = (0..64).map(|number| format!(" {}", number + 64)).collect();
    let maps: String = (64..128).map(|number| format!("a=rtpmap:{number} PCMU/8000\n")).collect();
    let description = describe(&format!("m=audio 4000 RTP/AVP{many}\n{maps}")).unwrap();
    assert_eq!(description.formats.len(), dialtone_core::description::FORMATS_MAX);
}

#[test]
fn addresses_and_rtcp() {
    let of = |more: &str| {
        let description = describe(&format!("m=audio 4000 RTP/AVP 0\n{more}")).unwrap();
        (description.rtp.to_string(), description.rtcp.to_string())
    };
    let table = [
        ("", "192.0.2.1:4000", "192.0.2.1:4001"),
        ("c=IN IP6 2001:db8::1\n", "[2001:db8::1]:4000", "[2001:db8::1]:4001"),
        ("c=IN IP4 0.0.0.0\n", "0.0.0.0:4000", "0.0.0.0:4001"),
        ("a=rtcp:53020\n", "192.0.2.1:4000", "192.0.2.1:53020"),
        ("a=rtcp:53020 IN IP4 192.0.2.9\n", "192.0.2.1:4000", "192.0.2.9:53020"),
        ("a=rtcp:53020 IN IP6 2001:db8::2\n", "192.0.2.1:4000", "[2001:db8::2]:53020"),
        ("a=rtcp:9 IN IP4 0.0.0.0\n", "192.0.2.1:4000", "192.0.2.1:9"),
        ("a=rtcp:0\n", "192.0.2.1:4000", "192.0.2.1:4001"),
        ("a=rtcp:x\n", "192.0.2.1:4000", "192.0.2.1:4001"),
    ];
    for (more, rtp, rtcp) in table {
        assert_eq!(of(more), (rtp.to_owned(), rtcp.to_owned()), "{more}");
    }
    let last = describe("m=audio 65535 RTP/AVP 0\n").unwrap();
    assert_eq!(last.rtcp.port(), 65535);
    assert!(
        parse(b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n")
            .unwrap()
            .description()
            .is_none()
    );
}

#[test]
fn direction_and_packet_time() {
    let direction = |session: &str, media: &str| {
        let body = format!("{SESSION}{session}m=audio 4000 RTP/AVP 0\n{media}");
        parse(body.as_bytes()).unwrap().description().unwrap().direction
    };
    assert_eq!(direction("", ""), Direction::SendRecv);
    assert_eq!(direction("a=inactive\n", ""), Direction::Inactive);
    assert_eq!(direction("a=sendonly\n", "a=recvonly\n"), Direction::RecvOnly);
    for (ptime, expected) in
        [("20", Some(20)), ("10", Some(10)), ("9", None), ("121", None), ("999", None), ("x", None)]
    {
        let description = describe(&format!("m=audio 4000 RTP/AVP 0\na=ptime:{ptime}\n")).unwrap();
        assert_eq!(description.ptime_ms, expected, "{ptime}");
    }
}

#[test]
fn bodies_that_bend_the_grammar_are_read() {
    let table = [
        // Attributes before the time, no name, no time, LF, blank line ends.
        "v=0\no=- 1 1 IN IP4 192.0.2.1\na=sendrecv\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n",
        // An id beyond 64 bits, a name of two words, people and keys.
        "v=0\r\no=My Phone 123456789012345678901234567890 1 IN IP4 192.0.2.1\r\ns= \r\ni=x\r\nu=not a url\r\n\
         e=a\r\ne=b\r\np=1\r\nk=clear:x\r\nb=AS\r\nb=TIAS:64000\r\nc=IN IP4 192.0.2.1\r\nt=3034423619 -\r\nr=7d\r\nz=0\r\n\
         m=audio 4000 RTP/AVP 0\r\ni=x\r\nk=prompt\r\nb=CT:\r\n\r\n",
        // Not UTF-8, no end of the last line.
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=?\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0",
    ];
    for body in table {
        let bytes: Vec<u8> = body.bytes().map(|byte| if byte == b'?' { 0xfc } else { byte }).collect();
        let parsed = parse(&bytes).unwrap();
        let description = parsed.description();
        assert_eq!(
            description.map(|found| found.rtp.to_string()).as_deref(),
            Some("192.0.2.1:4000"),
            "{body}"
        );
    }
}

#[test]
fn what_is_no_body() {
    let table = [
        ("", SdpError::Line(1)),
        ("v=0\nno line\n", SdpError::Line(2)),
        ("v=0\n=x\n", SdpError::Line(2)),
        ("v=0\nq=x\n", SdpError::Line(2)),
        ("v=0\nvv=x\n", SdpError::Line(2)),
        ("v=0\na=x\ry=z\n", SdpError::Line(2)),
        ("o=- 1 1 IN IP4 h\n", SdpError::Line(1)),
    ];
    for (body, error) in table {
        assert_eq!(parse(body.as_bytes()), Err(error), "{body}");
    }
    for body in [
        "v=1\n",
        "v=0\nm=audio\n",
        "v=0\nm=audio 70000 RTP/AVP 0\n",
        "v=0\nm=audio 1 RTP//AVP 0\n",
        "v=0\nc=IN IP5 x\n",
    ] {
        assert!(matches!(parse(body.as_bytes()), Err(SdpError::Syntax(_))), "{body}");
    }
    let media = "m=audio 0 RTP/AVP 0\n";
    assert!(parse(format!("v=0\n{}", media.repeat(MEDIA_MAX)).as_bytes()).is_ok());
    assert_eq!(parse(format!("v=0\n{}", media.repeat(MEDIA_MAX + 1)).as_bytes()), Err(SdpError::Media));
    let formats = " 0".repeat(LINE_FORMATS_MAX + 1);
    assert_eq!(parse(format!("v=0\nm=audio 0 RTP/AVP{formats}\n").as_bytes()), Err(SdpError::Media));
    assert_eq!(parse(format!("v=0\n{}", "a=x\n".repeat(LINES_MAX)).as_bytes()), Err(SdpError::Lines));
    assert_eq!(parse(format!("v=0\na={}\n", "x".repeat(LINE_MAX)).as_bytes()), Err(SdpError::Lines));
    assert_eq!(parse(&[b'v'; BODY_MAX + 1]), Err(SdpError::BodyTooLong(BODY_MAX + 1)));
}

#[test]
fn our_offer() {
    let expected = "v=0\no=- 77 1 IN IP4 198.51.100.1\ns=-\nc=IN IP4 198.51.100.1\nt=0 0\n\
                    m=audio 40000 RTP/AVP 111 8 101\n\
                    a=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\n\
                    a=rtpmap:8 PCMA/8000\n\
                    a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n\
                    a=ptime:20\na=sendrecv\n";
    assert_eq!(offer(ORIGIN, &ours()), expected.replace('\n', "\r\n"));
}

#[test]
fn rtcp_is_said_when_it_is_elsewhere() {
    let said = |rtcp: &str| {
        let body = offer(ORIGIN, &Description { rtcp: rtcp.parse().unwrap(), ..ours() });
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("a=rtcp:").map(str::to_owned))
    };
    assert_eq!(said("198.51.100.1:40001"), None);
    assert_eq!(said("198.51.100.1:40000").as_deref(), Some("40000"));
    assert_eq!(said("[2001:db8::1]:40001").as_deref(), Some("40001 IN IP6 2001:db8::1"));
}

#[test]
fn an_answer_has_every_line_of_the_offer_in_its_place() {
    let offer = sdp("m=video 5000 RTP/AVP 96 97\n\
         m=audio 4000 RTP/SAVP 0\n\
         m=audio 4002 RTP/AVPF 0 8\n\
         m=audio 4004 RTP/AVP 0\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n\
         m=whiteboard 4006 RTP/AVP 7\n\
         m=video 0 RTP/AVP\n");
    let body = answer(ORIGIN, &ours(), &offer);
    let text = String::from_utf8(body.to_vec()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96 97",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 40000 RTP/AVPF 111 8 101",
            "m=audio 0 RTP/AVP 0",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "m=whiteboard 0 RTP/AVP 7",
            "m=video 0 RTP/AVP 0",
        ]
    );
    // As a dialog goes on, our own offers keep those places (RFC 3264 §8).
    let mut writer = SdpWriter::new(ORIGIN);
    assert_eq!(writer.answer(&ours(), &offer), body);
    assert_eq!(writer.offer(&ours()), body);
}

#[test]
fn the_version_counts_changes() {
    let mut writer = SdpWriter::new(ORIGIN);
    let first = writer.offer(&ours());
    assert_eq!(writer.offer(&ours()), first);
    let held = Description { direction: Direction::SendOnly, ..ours() };
    let second = writer.offer(&held);
    assert_eq!(version(&second), "o=- 77 2 IN IP4 198.51.100.1");
    assert_eq!(writer.answer(&held, &sdp("m=audio 4000 RTP/AVP 8\n")), second);
    assert_eq!(version(&writer.offer(&ours())), "o=- 77 3 IN IP4 198.51.100.1");
}

/// RFC 4028 §7.4, RFC 3264 §8: a refresh says what stands, under a version of its own when something else was
/// said since.
#[test]
fn a_refresh_says_what_was_agreed() {
    let mut writer = SdpWriter::new(ORIGIN);
    assert_eq!(writer.refresh(), None);
    let first = writer.offer(&ours());
    assert_eq!(writer.refresh(), None, "it is not answered");
    writer.answered();
    assert_eq!(writer.refresh(), Some(first.clone()));
    let held = Description { direction: Direction::SendOnly, ..ours() };
    writer.offer(&held); // It is refused.
    let again = writer.refresh().unwrap();
    assert_eq!(version(&again), "o=- 77 3 IN IP4 198.51.100.1");
    assert_eq!(parse(&again).unwrap().description(), parse(&first).unwrap().description());
    writer.answered();
    assert_eq!(writer.refresh(), Some(again));
    writer.offer(&ours());
    let answer = writer.answer(&held, &sdp("m=audio 4000 RTP/AVP 8\n"));
    writer.answered();
    assert_eq!(writer.refresh(), Some(answer));
}

fn version(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap().lines().find(|line| line.starts_with("o=")).unwrap()
}

#[test]
fn a_dialog_without_audio_gets_a_line_of_its_own() {
    let mut writer = SdpWriter::new(ORIGIN);
    writer.answer(&ours(), &sdp("m=video 5000 RTP/AVP 96\n"));
    let lines = parse(&writer.offer(&ours())).unwrap();
    assert_eq!(lines.description(), Some(&Description { formats: said(&ours()), ..ours() }));
    assert_eq!(lines.layout().lines.len(), 2);
}

#[test]
fn parameters_cannot_add_lines() {
    let mut local = ours();
    local.formats[0].fmtp = "x\r\na=sendonly".to_owned();
    let text = String::from_utf8(offer(ORIGIN, &local).to_vec()).unwrap();
    assert!(text.contains("a=fmtp:111 xa=sendonly\r\n"));
}

/// The formats with the parameters that we add.
fn said(description: &Description) -> Formats {
    let mut formats = description.formats.clone();
    for format in &mut formats {
        if format.codec == Codec::TelephoneEvent && format.fmtp.is_empty() {
            format.fmtp = "0-15".to_owned();
        }
    }
    formats
}

fn description() -> impl Strategy<Value = Description> {
    let codec = prop_oneof![
        Just(Codec::Pcmu),
        Just(Codec::Pcma),
        Just(Codec::G722),
        Just(Codec::Opus),
        Just(Codec::TelephoneEvent),
    ];
    let formats = vec((codec, "([a-z]{1,8}=[0-9]{1,3})?"), 1..6).prop_map(|formats| {
        let numbered = formats.into_iter().zip(96..);
        let mut formats: Vec<_> =
            numbered.map(|((codec, fmtp), number)| format(codec, number, &fmtp)).collect();
        formats.push(format(Codec::Pcmu, 0, ""));
        Formats::from_vec(formats)
    });
    let ip = || {
        prop_oneof![
            (1_u32..0xe000_0000).prop_map(|bits| std::net::IpAddr::V4(bits.into())),
            (1_u128..0xff << 120).prop_map(|bits| std::net::IpAddr::V6(bits.into())),
        ]
    };
    let direction = (any::<bool>(), any::<bool>()).prop_map(|(sends, hears)| Direction::new(sends, hears));
    (ip(), ip(), any::<bool>(), 1..=u16::MAX, 1..=u16::MAX, formats, direction, option::of(10..=120_u8))
        .prop_map(|(ip, other, same, port, rtcp, formats, direction, ptime_ms)| Description {
            rtp: (ip, port).into(),
            rtcp: (if same { ip } else { other }, rtcp).into(),
            formats,
            direction,
            ptime_ms,
        })
}

/// Failures are kept as tables, not as seeds.
fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_we_offer_is_what_is_read(local in description()) {
        let remote = parse(&offer(ORIGIN, &local)).unwrap();
        prop_assert_eq!(remote.description(), Some(&Description { formats: said(&local), ..local }));
    }

    #[test]
    fn an_answer_has_as_many_lines_as_its_offer(local in description(), tail in "(m=[a-z]{1,6} [0-9]{1,4} [A-Z/]{1,3}x( [a-z0-9]{1,3}){0,3}\r\n(a=[a-z]{1,4}(:[ -~]{0,9}[!-~])?\r\n){0,3}){0,3}") {
        let body = [&offer(ORIGIN, &local)[..], tail.as_bytes()].concat();
        if let Ok(remote) = parse(&body) {
            let json = serde_json::to_string(&remote).unwrap();
            prop_assert_eq!(serde_json::from_str::<RemoteSdp>(&json).unwrap(), remote.clone());
            let answered = parse(&answer(ORIGIN, &local, &remote)).unwrap();
            let kinds = |sdp: &RemoteSdp| sdp.layout().lines.iter().map(|line| line.kind.clone()).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&answered), kinds(&remote));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn mutations_never_panic(
        local in description(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut body = offer(ORIGIN, &local).to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut body) = byte;
        }
        if let Ok(remote) = parse(&body) {
            let answered = SdpWriter::new(ORIGIN).answer(&local, &remote);
            prop_assert!(parse(&answered).is_ok());
        }
    }
}
