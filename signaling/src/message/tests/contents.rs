//! Bodies and their parts.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{ContentError, Headers, Name, PARTS_DEPTH_MAX, PARTS_MAX};
use super::*;

const SDP: &str = "application/sdp";

/// Headers of a body, from lines such as `Content-Type: text/plain`.
fn headers(lines: &[&str]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in lines.iter().map(|line| line.split_once(": ").unwrap()) {
        headers.push(Name::from_bytes(name.as_bytes()), value);
    }
    headers
}

fn content(lines: &[&str], body: &str) -> Result<Option<String>, ContentError> {
    let found = headers(lines).content(&Bytes::from(body.replace('\n', "\r\n")), SDP)?;
    Ok(found.map(|found| String::from_utf8(found.to_vec()).unwrap()))
}

const MIXED: &str = "Content-Type: Multipart/Mixed ; boundary=\"a b\"";
const OPTIONAL: &str = "Content-Disposition: signal;handling=Optional";

/// RFC 3261 §8.2.3, §20.11: what need not be understood is ignored.
#[test]
fn a_body_of_one_part() {
    let found = Ok(Some("x".to_owned()));
    assert_eq!(content(&[], "x"), found);
    assert_eq!(content(&[], ""), Ok(None));
    assert_eq!(content(&["c: application/SDP ; charset=x"], "x"), found);
    assert_eq!(content(&["c: application/sdp", "Content-Disposition: session"], "x"), found);
    assert_eq!(content(&["c: application/sdp", "e: identity"], "x"), found);
    assert_eq!(content(&["c: application/sdp", "e: gzip"], "x"), Err(ContentError::Unsupported));
    assert_eq!(content(&["c: application/sdp", "e: gzip", OPTIONAL], "x"), Ok(None));
    assert_eq!(content(&["c: text/plain"], "x"), Err(ContentError::Unsupported));
    assert_eq!(content(&["c: text/plain", OPTIONAL], "x"), Ok(None));
    assert_eq!(content(&["c: text/plain", "Content-Disposition: by-reference"], "x"), Ok(None));
    assert_eq!(
        content(&["c: application/sdp", "Content-Disposition: early-session;handling=optional"], "x"),
        Ok(None)
    );
    assert_eq!(content(&["c: ;;\"", OPTIONAL], "x"), Ok(None));
}

/// RFC 2046 §5.1.1, RFC 5621 §3.1.
#[test]
fn parts_are_what_stands_between_the_boundaries() {
    let table = [
        ("--a b\nc: application/sdp\n\nv=0\n--a b--", Ok(Some("v=0"))),
        ("before\n--a b  \nc: application/sdp\n\n\nv=0\n\n--a b-- \nafter", Ok(Some("\r\nv=0\r\n"))),
        ("--a b\nc: application/sdp\n\n--a bc\n--a b--", Ok(Some("--a bc"))),
        ("--a b\nc: application/sdp\n\none\n--a b\nc: application/sdp\n\ntwo\n--a b--", Ok(Some("one"))),
        ("--a b\nc: application/sdp\n\n--a b--", Ok(Some(""))),
        // A part without headers is text, and must be understood.
        ("--a b\n\nc: application/sdp\n\nv=0\n--a b--", Err(ContentError::Unsupported)),
        ("--a b\nc: text/plain\nContent-Disposition: x;handling=optional\n\n-\n--a b--", Ok(None)),
        (
            "--a b\nc: application/sdp\nContent-Transfer-Encoding: Base64\n\ndj0w\n--a b--",
            Err(ContentError::Unsupported),
        ),
        ("--a b\nc: application/sdp\n\nv=0\n", Err(ContentError::Malformed)),
        ("v=0", Err(ContentError::Malformed)),
        ("--a b--", Ok(None)),
    ];
    for (body, expected) in table {
        assert_eq!(content(&[MIXED], body), expected.map(|found| found.map(str::to_owned)), "{body}");
    }
    assert_eq!(content(&["c: multipart/mixed"], "x"), Err(ContentError::Malformed));
    assert_eq!(content(&["c: multipart/mixed;boundary=\"\""], "x"), Err(ContentError::Malformed));
}

/// RFC 3261 §20.11, RFC 5621 §9.1, RFC 6442 §4.1: a part that a header refers to is for those who follow the reference;
/// any other that says nothing of its handling must be understood.
#[test]
fn a_part_that_a_header_refers_to_may_be_ignored() {
    let body = |id: &str, disposition: &str| {
        let session = "--a b\nc: application/sdp\n\nv=0\n";
        let location =
            format!("--a b\nc: application/pidf+xml\nContent-ID: {id}{disposition}\n\n<p/>\n--a b--");
        [session, &location].concat()
    };
    let refers = |value: &str, id: &str, disposition: &str| {
        content(&[MIXED, &format!("Geolocation: {value}")], &body(id, disposition))
    };
    let found = Ok(Some("v=0".to_owned()));
    let refused = Err(ContentError::Unsupported);
    let required = "\nContent-Disposition: render;handling=required";
    for (value, id, disposition, expected) in [
        ("<cid:here@phone>;inserted-by=x", "<here@phone>", "", &found),
        ("<https://x.example>, <cid:here@phone>", "<here@phone>", "\nContent-Disposition: render", &found),
        ("<cid:he%2Fre@phone>", "<he/re@phone>", "", &found),
        ("<cid:here@phone>", "<here@phone>", required, &refused),
        ("<cid:here@phone>", "<there@phone>", "", &refused),
        ("<cid:here@phone.example>", "<here@phone>", "", &refused),
        ("<cid:>", "", "", &refused),
        ("<https://here@phone>", "<here@phone>", "", &refused),
    ] {
        assert_eq!(&refers(value, id, disposition), expected, "{value} {id}{disposition}");
    }
    // The whole body (RFC 8262 §1): a call without an offer.
    let whole = ["c: application/pidf+xml", "Content-ID: <x@y>", "Geolocation: <cid:x@y>"];
    assert_eq!(content(&whole, "<p/>"), Ok(None));
}

#[test]
fn parts_and_their_depth_are_bounded() {
    let part = "--a b\nc: application/sdp\n\nv=0\n";
    let end = "--a b--";
    assert!(content(&[MIXED], &format!("{}{end}", part.repeat(PARTS_MAX))).is_ok());
    let over = content(&[MIXED], &format!("{}{end}", part.repeat(PARTS_MAX + 1)));
    assert_eq!(over, Err(ContentError::Malformed));
    let nested = |depth: usize| {
        (1..depth).fold("--b0\nc: application/sdp\n\nv=0\n--b0--".to_owned(), |inner, level| {
            let below = level - 1;
            format!("--b{level}\nc: multipart/related;boundary=b{below}\n\n{inner}\n--b{level}--")
        })
    };
    let outer = |depth: usize| format!("c: multipart/mixed;boundary=b{}", depth - 1);
    let read = |depth: usize| content(&[&outer(depth)], &nested(depth));
    assert_eq!(read(PARTS_DEPTH_MAX), Ok(Some("v=0".into())));
    assert_eq!(read(PARTS_DEPTH_MAX + 1), Err(ContentError::Malformed));
}

/// RFC 2046 §5.1.4: the last alternative that is understood.
#[test]
fn of_alternatives_the_last_one_counts() {
    let kind = "c: multipart/alternative;boundary=b";
    let body = "--b\nc: application/sdp\n\none\n--b\nc: application/sdp\n\ntwo\n--b\nc: text/x\n\n-\n--b--";
    assert_eq!(content(&[kind], body), Ok(Some("two".into())));
    assert_eq!(content(&[kind], "--b\nc: text/x\n\n-\n--b--"), Err(ContentError::Unsupported));
}

/// RFC 3261 §20.1.
#[test]
fn what_an_answer_may_carry() {
    let table = [
        (&[][..], true),
        (&["Accept: application/sdp"], true),
        (&["Accept: text/plain, Application/SDP;level=1"], true),
        (&["Accept: text/plain", "Accept: application/*"], true),
        (&["Accept: */*;q=0.1"], true),
        (&["Accept: text/*"], false),
        (&["Accept: "], false),
    ];
    for (lines, accepted) in table {
        assert_eq!(headers(lines).accepts(SDP), accepted, "{lines:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes are in the parts, the one that is wanted is found whole.
    #[test]
    fn a_part_keeps_its_bytes(
        parts in vec((any::<bool>(), vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'-')], 0..40)), 1..8),
    ) {
        let mut body = Vec::new();
        for (wanted, bytes) in &parts {
            let kind = if *wanted { SDP } else { "text/plain" };
            let head = format!("--b0unDary\r\nContent-Type: {kind}\r\n{OPTIONAL}\r\n\r\n");
            body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        }
        body.extend(b"--b0unDary--\r\n");
        let first = parts.iter().find(|(wanted, _)| *wanted).map(|(_, bytes)| Bytes::from(bytes.clone()));
        let found = headers(&["c: multipart/mixed;boundary=b0unDary"]).content(&body.into(), SDP);
        prop_assert_eq!(found, Ok(first));
    }

    #[test]
    fn any_bytes_as_parts(kind in "multipart/(mixed|alternative);boundary=[a-]{0,2}", body in "(--|a|-|\r\n|\n|:|c: application/sdp){0,40}") {
        let _ = headers(&[&format!("c: {kind}")]).content(&body.into(), SDP);
    }
}
