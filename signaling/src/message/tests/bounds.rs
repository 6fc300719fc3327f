//! Whatever comes, work is bounded: each byte is looked at a few times, and lists end at their limits.

use super::super::work::looked_at;
use super::super::{ELEMENTS_MAX, HEADERS_MAX, LINE_MAX, MESSAGE_MAX, Name, PARAMS_MAX, Via};
use super::*;

/// How often a byte is looked at, at most, from the datagram to the judgement on the request, or to the answer to
/// what is none: by the lines, by the header, by its list, by its view, and once more by the topmost Via or by what an
/// answer echoes.
const LOOKS_PER_BYTE: usize = 6;

/// All that the transport does to a message of a stranger.
fn judge(wire: &Bytes) {
    match Message::parse(wire.clone()) {
        Ok(Message::Request(request)) => {
            let _ = (request.headers.via(), request.check());
        }
        Ok(Message::Response(response)) => {
            let _ = (response.via(), response.cseq());
        }
        Err(error) => drop(error.reply(wire)),
    }
}

fn filled(pattern: &str, lines: usize) -> String {
    let line = |start: &str| format!("{start}{}\n", pattern.repeat((LINE_MAX - start.len()) / pattern.len()));
    invite(&line("v: SIP/2.0/UDP h").repeat(lines)) + &line("")
}

#[test]
fn each_byte_is_looked_at_a_few_times_at_most() {
    let patterns = [
        ",",
        ";",
        ";a",
        ";a=\"",
        "\"",
        "\\\"",
        "<",
        ", SIP/2.0/UDP h",
        ",\"<",
        " ",
        "\n ",
        "\n\t;a=b",
        "\n,",
        "\0",
        "((",
    ];
    let mut messages: Vec<String> = patterns.iter().map(|pattern| filled(pattern, 7)).collect();
    for header in ["To", "From", "Call-ID", "CSeq", "Max-Forwards", "Contact", "l", "X"] {
        let start = format!("{header}: ");
        messages.extend(patterns.iter().map(|pattern| {
            invite(&format!("{start}{}\n", pattern.repeat(LINE_MAX / pattern.len() - 2)).repeat(7))
        }));
    }
    messages.push(invite(&"X: y\n".repeat(10_000)));
    messages.push(invite(&"v: SIP/2.0/UDP h\n".repeat(3000)));
    messages.push("\n".repeat(MESSAGE_MAX));
    messages.push("A".repeat(MESSAGE_MAX));
    for text in messages {
        let wire = Bytes::from(text.replace('\n', "\r\n")).slice(..text.len().min(MESSAGE_MAX));
        let looks = looked_at(|| judge(&wire));
        let most = LOOKS_PER_BYTE * wire.len();
        assert!(looks <= most, "{looks} looks at {} bytes: {:.200}", wire.len(), text);
    }
}

#[test]
fn a_list_is_parsed_as_far_as_its_bound() {
    let many = request(&invite(&format!("v: {}\n", vec!["SIP/2.0/UDP h"; 500].join(","))));
    let parsed = std::cell::Cell::new(0);
    let counting = |text: &str| {
        parsed.set(parsed.get() + 1);
        Via::parse(text)
    };
    assert!(many.headers.list(&Name::Via, counting).is_err());
    assert_eq!(parsed.get(), ELEMENTS_MAX + 1);
}

#[test]
fn parameters_end_at_their_bound() {
    let via = |count: usize| Via::parse(&format!("SIP/2.0/UDP h{}", ";a=\"b;c\"".repeat(count)));
    assert!(via(PARAMS_MAX).is_ok() && via(PARAMS_MAX + 1).is_err());
}

#[test]
fn what_is_at_every_bound_at_once_is_read() {
    let vias = vec!["SIP/2.0/TCP h"; ELEMENTS_MAX - 1].join(",");
    let line = format!("Z: {}\n", "y".repeat(LINE_MAX - 3));
    let head = invite(&format!("v: {vias}\n{}{}", line.repeat(5), "Z: y\n".repeat(HEADERS_MAX - 11)));
    let crlf = head.matches('\n').count();
    let whole = format!("{head}{}", "b".repeat(MESSAGE_MAX - head.len() - crlf));
    let request = request(&whole);
    request.check().unwrap();
    assert_eq!((request.headers.len(), request.headers.vias().unwrap().len()), (HEADERS_MAX, ELEMENTS_MAX));
}
