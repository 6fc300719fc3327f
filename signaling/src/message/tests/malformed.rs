//! What is refused, how, and what is answered.

use super::super::{Fault, HEADERS_MAX, LINE_MAX, MESSAGE_MAX, Name, content_length};
use super::*;

#[test]
fn faults_and_what_they_owe() {
    let long = "x".repeat(LINE_MAX);
    let table: Vec<(String, Fault, Option<u16>)> = vec![
        (String::new(), Fault::Empty, None),
        ("\n\n".into(), Fault::Empty, None),
        ("GET / HTTP/1.1\n\n".into(), Fault::NotSip, None),
        ("\0\0\0\0".into(), Fault::NotSip, None),
        (invite("").replace("SIP/2.0\nVia", "SIP/7.0\nVia"), Fault::Version, Some(505)),
        (invite("").replace(" SIP/2.0\nVia", "\nVia"), Fault::NotSip, None),
        (invite("").replace("sip:bob@example.com SIP", "sip:bob example SIP"), Fault::RequestLine, Some(400)),
        (invite("").replace("sip:bob@example.com SIP", " SIP"), Fault::RequestLine, Some(400)),
        (invite("No colon here\n"), Fault::HeaderLine(6), Some(400)),
        (invite("Sp ace: 1\n"), Fault::HeaderLine(6), Some(400)),
        (invite("Via\x08: 1\n"), Fault::HeaderLine(6), Some(400)),
        (invite("Subject: a\rVia: b\n"), Fault::HeaderLine(6), Some(400)),
        (invite(": empty\n"), Fault::HeaderLine(6), Some(400)),
        (invite("l: 0\nContent-Length: 0\n"), Fault::ContentLengthTwice, Some(400)),
        (invite("Content-Length: 9\n"), Fault::BodyTooShort { declared: 9, present: 0 }, Some(400)),
        (invite("Content-Length: x\n"), Fault::ContentLength, Some(400)),
        (invite("").trim_end().to_owned(), Fault::NoEnd, Some(400)),
        (invite(&format!("X: {long}\n")), Fault::HeaderTooLong(LINE_MAX + 3), Some(513)),
        // A compact line that is within the bound, and not when it is printed.
        (invite(&format!("k:{}\n", &long[2..])), Fault::HeaderTooLong(LINE_MAX + 9), Some(513)),
        (invite(&"X: y\n".repeat(HEADERS_MAX - 4)), Fault::TooManyHeaders, Some(513)),
        (
            invite("").replace("sip:bob@e", &format!("sip:{long}@e")),
            Fault::StartLineTooLong(LINE_MAX + 31),
            Some(414),
        ),
        (invite("").replace("INVITE", "ACK").trim_end().to_owned(), Fault::NoEnd, None),
        ("SIP/2.0 200 OK\nbroken\n\n".into(), Fault::HeaderLine(1), None),
    ];
    for (text, fault, owed) in table {
        let error = parse(&text).unwrap_err();
        assert_eq!((&error.fault, error.owed()), (&fault, owed), "{text}");
    }
}

#[test]
fn a_message_beyond_the_limit_is_too_large() {
    let whole = invite("") + &"x".repeat(MESSAGE_MAX);
    let wire = Bytes::from(whole.replace('\n', "\r\n"));
    let error = Message::parse(wire.clone()).unwrap_err();
    assert_eq!((&error.fault, error.owed()), (&Fault::MessageTooLong(wire.len()), Some(513)));
    assert_eq!(error.reply(&wire).unwrap().status, 513);
    assert!(Message::parse(wire.slice(..MESSAGE_MAX)).is_ok());
}

#[test]
fn a_malformed_request_is_answered_when_it_can_be() {
    let wire = Bytes::from(invite("broken\nv: SIP/2.0/TCP second\n").replace('\n', "\r\n"));
    let error = Message::parse(wire.clone()).unwrap_err();
    let answer = error.reply(&wire).unwrap();
    assert_eq!((answer.status, answer.reason_text().as_ref()), (400, "Malformed Header Line"));
    let names: Vec<_> = answer.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["Via", "Via", "From", "To", "Call-ID", "CSeq"]);
    assert!(answer.headers.to().unwrap().tag().is_some());
    assert_eq!(error.reply(&wire), Some(answer));
}

#[test]
fn no_answer_without_what_it_must_echo() {
    for gone in ["Via:", "From:", "To:", "Call-ID:", "CSeq:"] {
        let text = invite("broken\n").replace(gone, "X:");
        let error = parse(&text).unwrap_err();
        assert_eq!(error.owed(), Some(400));
        assert_eq!(error.reply(&Bytes::from(text)), None, "{gone}");
    }
    let twice = invite("broken\nt: <sip:other@h>\n");
    assert_eq!(parse(&twice).unwrap_err().reply(&Bytes::from(twice)), None);
    let long = invite(&format!("v: SIP/2.0/UDP h;branch={}\n", "x".repeat(LINE_MAX)));
    assert_eq!(parse(&long).unwrap_err().reply(&Bytes::from(long)), None);
    let response = "SIP/2.0 200 OK\nbroken\n\n";
    assert_eq!(parse(response).unwrap_err().reply(&Bytes::from(response)), None);
}

#[test]
fn check_names_what_is_wrong() {
    let table = [
        (invite("To: <sip:x@h>\n"), "Repeated To"),
        (invite("f: <sip:x@h>\n"), "Repeated From"),
        (invite("i: x\n"), "Repeated Call-ID"),
        (invite("CSeq: 1 INVITE\n"), "Repeated CSeq"),
        (invite("Max-Forwards: 1\nMax-Forwards: 2\n"), "Repeated Max-Forwards"),
        (invite("").replace("To:", "X:"), "Missing To"),
        (invite("").replace("From:", "X:"), "Missing From"),
        (invite("").replace("Via:", "X:"), "Missing Via"),
        (invite("").replace("Call-ID:", "X:"), "Missing Call-ID"),
        (invite("").replace("CSeq:", "X:"), "Missing CSeq"),
        (invite("").replace("1@192.0.2.1", ""), "Malformed Call-ID"),
        (invite("").replace("CSeq: 1", "CSeq: one"), "Malformed CSeq"),
        (invite("").replace("1 INVITE", "1 BYE"), "CSeq Method Mismatch"),
        (invite("").replace("1 INVITE", "1 invite"), "CSeq Method Mismatch"),
        (invite("").replace("SIP/2.0/UDP 1", "SIP/2.0/UDP/1"), "Malformed Via"),
        (invite("v: SIP/2.0 x\n"), "Malformed Via"),
        (invite(&format!("v: {}\n", "SIP/2.0/UDP x,".repeat(64))), "Malformed Via"),
        (invite("").replace("To: <sip:bob@example.com>", "To: \"bob <sip:bob@h>"), "Malformed To"),
        (invite("").replace("<sip:alice@example.com>", "sip:a b@h"), "Malformed From"),
        (invite("Max-Forwards: 256\n"), "Malformed Max-Forwards"),
        (invite("Max-Forwards: -1\n"), "Malformed Max-Forwards"),
        (invite("").replace("sip:bob@example.com SIP", "<sip:bob@h> SIP"), "Malformed Request-URI"),
        (invite("").replace("sip:bob@example.com SIP", "sip:bob@h?Route=x SIP"), "Headers In Request-URI"),
        (invite("c: text/plain\nContent-Type: application/sdp\n"), "Repeated Content-Type"),
    ];
    for (text, reason) in table {
        let invalid = request(&text).check().unwrap_err();
        assert_eq!((invalid.status, invalid.reason.as_str()), (400, reason), "{text}");
    }
    request(&invite("Max-Forwards: 70\n")).check().unwrap();
    let unknown = request(&invite("").replace("sip:bob@example.com SIP", "nobody:knows-it SIP"));
    assert_eq!(unknown.check().unwrap_err().status, 416);
}

#[test]
fn framing_reads_content_length_by_every_name() {
    let length = |more: &str| content_length(invite(more).as_bytes());
    assert_eq!(length(""), Ok(None));
    assert_eq!(length("CONTENT-length :\n 12\n"), Ok(Some(12)));
    assert_eq!(length("l: 7\n"), Ok(Some(7)));
    assert_eq!(length("l: 7\nContent-Length: 7\n"), Err(Fault::ContentLengthTwice));
    assert_eq!(length("l: seven\n"), Err(Fault::ContentLength));
}

#[test]
fn a_header_is_named_alike_by_all_readers() {
    let request = request(&invite("X-A \t : 1\nx-a:2\n"));
    assert_eq!(request.headers.all(&Name::from_bytes(b"X-a")).collect::<Vec<_>>(), [b"1", b"2"]);
}

#[test]
fn the_limit_of_headers_leaves_room_for_content_length() {
    let full = request(&invite(&"X: y\n".repeat(HEADERS_MAX - 5)));
    let again = Message::parse(full.to_bytes()).unwrap();
    assert_eq!(again.headers().len(), HEADERS_MAX + 1);
    assert!(parse(&format!("OPTIONS sip:h SIP/2.0\nl: 0\n{}", "X: y\n".repeat(HEADERS_MAX) + "\n")).is_ok());
}
