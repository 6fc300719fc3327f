//! Messages that are legal, or common, and that a careless parser fails on.

use super::super::{ContactList, Host, Method, Name, Request, Scheme};
use super::*;

/// RFC 3261 §7.3.1 in one message: folding, compact names, odd case, blanks everywhere, unknown headers,
/// escapes in quotes, several values in a line and several lines of a value.
#[test]
fn everything_that_the_grammar_allows_at_once() {
    let request = request(
        "INVITE sip:bea@front.example.org;whatsthis SIP/2.0
TO :
 sip:bea@front.example.org ;   tag    = tt-77x
f   : \"Anna Lind \\\\\\\"\"       <sip:anna@example.org>
  ;
  tag = ff-31
MaX-fOrWaRdS: 0068
i: spread.0815@192.0.2.1
l  : 135
cseq: 0009
  INVITE
v  : SIP  / 2.0
  / UDP
    192.0.2.2;branch=old-5-style
s :
X-Of-Tomorrow:   some words
 and some more words
X-Only-Marks: ,;,;;,,
c: application/sdp
Route:
 <sip:relay.example.org;lr;a-b=c;d-e>
v:  SIP  / 2.0  / TCP     hall.example.org   ;
  branch  =   z9hG4bK7tt  ,
 SIP  /    2.0   / UDP  192.0.2.111   ; branch=
 z9hG4bK8uu
m:\"Two words \\\"\\\"\" <sip:anna@example.org> ; fresh =
      value ;
  next ; q = 0.33

v=0
o=- 77 78 IN IP4 192.0.2.3
s=-
c=IN IP4 192.0.2.4
t=0 0
m=audio 49217 RTP/AVP 0 12
m=video 3227 RTP/AVP 31
a=rtpmap:31 LPC
",
    );
    request.check().unwrap();
    assert_eq!(request.body.len(), 135);
    assert_eq!(request.to().unwrap().tag(), Some("tt-77x"));
    let from = request.from().unwrap();
    assert_eq!((from.display.as_deref(), from.tag()), (Some("Anna Lind \\\""), Some("ff-31")));
    assert_eq!(request.max_forwards(), Ok(68));
    assert_eq!(request.cseq().unwrap().number, 9);
    let vias = request.headers.vias().unwrap();
    let branches: Vec<_> = vias.iter().map(|via| via.branch().unwrap()).collect();
    assert_eq!(branches, ["old-5-style", "z9hG4bK7tt", "z9hG4bK8uu"]);
    let transports: Vec<_> = vias.iter().map(|via| via.transport.as_str()).collect();
    assert_eq!(transports, ["UDP", "TCP", "UDP"]);
    assert_eq!(request.headers.get(&Name::Subject), Some(&b""[..]));
    let unusual = Name::from_bytes(b"x-only-marks");
    assert_eq!(request.headers.text(&unusual), Some(",;,;;,,"));
    let newfangled = Name::from_bytes(b"X-Of-Tomorrow");
    assert_eq!(request.headers.text(&newfangled), Some("some words and some more words"));
    let contact = request.contact().unwrap();
    assert_eq!(contact.display.as_deref(), Some("Two words \"\""));
    assert_eq!((contact.q(), contact.params.has("next")), (Some(330), true));
    let route = &request.routes(&Name::Route).unwrap()[0];
    assert!(route.uri.is_loose() && route.uri.params.has("d-e"));
    assert!(request.uri.parse().unwrap().params.has("whatsthis"));
}

/// Every token character in every place where a token may stand (RFC 3261 §25.1).
#[test]
fn the_widest_characters_are_read() {
    let request = request(
        "!All-Marks-42_*+`.%indeed'~ sip:7_marks.of-a~user!(all)*'of+them$,;?/:so&has=the+pass$word,(too)@example.org SIP/2.0
Via: SIP/2.0/TCP marks.example.org;branch=z9hG4bK-.!%66*_+`'~
To: \"bell \\\x07 nil \\\0 del \\\x7f\" <sip:7_marks.of-a~user!(all)*'of+them$,;?/@example.org>
From: one`~ two_+' three-.!%* <sip:plain@example.org>;p-.%!_*+~''=\"\u{434}\u{430}\";tag=-.!%*`+'9~_
Call-ID: all.marks%-!*+'@of{}?[]\"/\\:<>()~`
CSeq: 20271 !All-Marks-42_*+`.%indeed'~
Max-Forwards: 255
X-`~'_+*%.!-:\u{feff}\u{96ea}\u{5c71}
Content-Length: 0

",
    );
    request.check().unwrap();
    assert_eq!(request.method.as_str(), "!All-Marks-42_*+`.%indeed'~");
    assert_eq!(request.to().unwrap().display.as_deref(), Some("bell \x07 nil \0 del \x7f"));
    let from = request.from().unwrap();
    assert_eq!(from.display.as_deref(), Some("one`~ two_+' three-.!%*"));
    assert_eq!(from.params.text("p-.%!_*+~''").unwrap(), "\u{434}\u{430}");
    let uri = request.uri.parse().unwrap();
    assert_eq!(uri.user.as_deref(), Some("7_marks.of-a~user!(all)*'of+them$,;?/"));
    assert_eq!(uri.password.as_deref(), Some("so&has=the+pass$word,(too)"));
}

/// What JsSIP registers with (RFC 5626, RFC 7118).
#[test]
fn a_browser_registers() {
    let request = request(
        "REGISTER sip:pbx.test SIP/2.0
Via: SIP/2.0/WS 8kt6gca9sjmd.invalid;branch=z9hG4bK9857957
Max-Forwards: 69
To: <sip:1001@pbx.test>
From: <sip:1001@pbx.test>;tag=v32poevkcn
Call-ID: pthbcds0s0stgibfjoqu7h
CSeq: 1 REGISTER
Contact: <sip:k630heaa@8kt6gca9sjmd.invalid;transport=ws>;+sip.ice;reg-id=1;+sip.instance=\"<urn:uuid:5e7c65fa-c608-4d4f-be36-69bea2d2f359>\";expires=600
Supported: path,gruu,outbound
Content-Length: 0

",
    );
    request.check().unwrap();
    assert_eq!(request.via().unwrap().transport, "WS");
    let contact = request.contact().unwrap();
    assert_eq!(contact.uri.param("transport"), Some("ws"));
    assert_eq!(
        contact.params.text("+sip.instance").unwrap(),
        "<urn:uuid:5e7c65fa-c608-4d4f-be36-69bea2d2f359>"
    );
    assert_eq!((contact.expires(), contact.params.has("+SIP.ICE")), (Some(600), true));
    assert!(request.headers.has_token(&Name::Supported, "GRUU"));
    assert_eq!(Message::from(request.clone()).to_bytes(), request.to_bytes());
}

#[test]
fn ipv6_literals_are_read_everywhere() {
    let request = request(
        "OPTIONS sip:[2001:db8::10]:5070 SIP/2.0
Via: SIP/2.0/UDP [2001:db8::9]:5060;received=[2001:db8::9:255];branch=z9hG4bKas3;rport=5061
From: sip:user@[2001:db8::9];tag=1
To: <sip:user@[2001:DB8::10]>
Call-ID: x
CSeq: 8612 OPTIONS
Contact: \"Caller\" <sip:caller@[2001:db8::1]:5060;maddr=[2001:db8::2]>, sip:[::1]

",
    );
    request.check().unwrap();
    let via = request.via().unwrap();
    assert_eq!(via.sent_by(), "[2001:db8::9]:5060");
    let target = request.uri.parse().unwrap();
    assert_eq!((target.host.ip(), target.port), (Some("2001:db8::10".parse().unwrap()), Some(5070)));
    let ContactList::List(contacts) = request.contacts().unwrap() else { panic!() };
    assert_eq!(contacts[0].uri.param("maddr"), Some("[2001:db8::2]"));
    assert_eq!(contacts[1].uri.host, Host::parse("::1").unwrap());
}

#[test]
fn bytes_that_are_not_utf_8_survive() {
    let mut wire = invite("Subject: ?\nX-Latin: J?rgen\n").replace('\n', "\r\n").into_bytes();
    let expected: Vec<u8> = {
        wire.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xfc);
        wire.clone()
    };
    let message = Message::parse(wire.into()).unwrap();
    assert_eq!(message.headers().get(&Name::Subject), Some(&[0xfc][..]));
    assert_eq!(message.headers().text(&Name::Subject), None);
    let printed = message.to_bytes();
    let head = printed.strip_suffix(b"Content-Length: 0\r\n\r\n").unwrap();
    assert_eq!([head, b"\r\n"].concat(), expected);
}

#[test]
fn a_name_that_is_not_utf_8_can_still_be_called_back() {
    let wire = invite("").replace("<sip:alice", "\"J?rgen\" <sip:alice").replace('\n', "\r\n");
    let wire: Vec<u8> = wire.bytes().map(|byte| if byte == b'?' { 0xfc } else { byte }).collect();
    let message = Message::parse(wire.into()).unwrap();
    let from = message.headers().from().unwrap();
    assert_eq!(from.display.as_deref(), Some("J\u{fffd}rgen"));
    assert_eq!(from.tag(), Some("a"));
}

#[test]
fn line_feeds_alone_and_leading_empty_lines_are_forgiven() {
    let text = format!("\r\n\r\n{}body", invite("Content-Length: 4\n"));
    let Message::Request(request) = Message::parse(text.into()).unwrap() else { panic!() };
    request.check().unwrap();
    assert_eq!(*request.body, "body");
}

#[test]
fn the_body_follows_content_length() {
    let table = [("", "12345", Some("12345")), ("Content-Length: 3\n", "12345", Some("123"))];
    for (header, body, read) in table {
        let parsed = parse(&format!("{}{body}", invite(header))).unwrap();
        assert_eq!(Some(&parsed.body()[..]), read.map(str::as_bytes));
    }
    // RFC 4475 §3.1.2.3 is about negative numbers; a huge one is no body either.
    for length in ["6", "-999", "+5", "0x5", "", "5, 5", "99999999999999999999"] {
        let error = parse(&format!("{}12345", invite(&format!("l: {length}\n")))).unwrap_err();
        assert_eq!(error.owed(), Some(400), "{length}");
    }
}

#[test]
fn values_are_slices_of_the_datagram() {
    let wire = Bytes::from(invite("Subject: here\n folded\nDate: now\n").replace('\n', "\r\n"));
    let message = Message::parse(wire.clone()).unwrap();
    let inside = |value: &[u8]| wire.as_ptr_range().contains(&value.as_ptr());
    assert!(inside(message.headers().get(&Name::Date).unwrap()));
    assert!(!inside(message.headers().get(&Name::Subject).unwrap()));
    assert_eq!(message.headers().text(&Name::Subject), Some("here folded"));
}

#[test]
fn unknown_methods_and_schemes_are_no_error() {
    let text =
        invite("").replace("INVITE", "NEWMETHOD").replace("sip:bob@example.com SIP", "nobody:knows-it SIP");
    let request = request(&text);
    assert_eq!(request.method, Method::Other("NEWMETHOD".into()));
    assert_eq!(request.uri.parse().unwrap().scheme, Scheme::Other("nobody".into()));
}

#[test]
fn status_lines() {
    let table = [
        ("SIP/2.0 200 OK", Some((200, "OK"))),
        ("sip/2.0 183 Session  Progress ", Some((183, "Session  Progress "))),
        ("SIP/2.0 100 ", Some((100, ""))),
        ("SIP/2.0 100", Some((100, ""))),
        ("SIP/2.0 099 x", None),
        ("SIP/2.0 700 x", None),
        ("SIP/2.0 4294967301 better not break", None),
        ("SIP/3.0 200 OK", None),
    ];
    for (line, expected) in table {
        let parsed = parse(&format!("{line}\nCall-ID: 1\n\n"));
        let found = parsed.ok().map(|message| match message {
            Message::Response(response) => (response.status, response.reason_text().into_owned()),
            Message::Request(request) => panic!("{request:?}"),
        });
        assert_eq!(found.as_ref().map(|(status, reason)| (*status, reason.as_str())), expected, "{line}");
    }
}

#[test]
fn a_response_copies_what_it_must_in_order() {
    let request = request(&invite("v: SIP/2.0/TCP a, SIP/2.0/UDP b\nTimestamp: 54\nSubject: no\n"));
    let mut answer = Response::to(&request, 100);
    let names: Vec<_> = answer.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["Via", "Via", "From", "To", "Call-ID", "CSeq", "Timestamp"]);
    answer.tag_to(|| "x");
    answer.tag_to(|| "y");
    assert_eq!(answer.headers.to().unwrap().tag(), Some("x"));
    let printed = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
    assert!(
        printed
            .starts_with("SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\n")
    );
    assert!(printed.ends_with("Content-Length: 0\r\n\r\n"));
    let again = response(&printed.replace("\r\n", "\n"));
    assert_eq!(again.status, 100);
    assert_eq!(Response::to(&request, 486).with_reason("No\r\nVia: x").reason_text(), "No  Via: x");
}

#[test]
fn contacts_of_every_shape() {
    let contacts = |line: &str| request(&invite(line)).contacts();
    assert_eq!(contacts(""), Ok(ContactList::List(vec![])));
    assert_eq!(contacts("Contact: *\n"), Ok(ContactList::Star));
    assert!(contacts("Contact: *, <sip:a@b>\n").is_err());
    assert!(contacts("Contact: *\nm: *\n").is_err());
    assert!(contacts("Contact: not an address\n").is_err());
    let list = contacts("m: \"A, B\" <sip:a,b@c>;q=0.5, sip:d@e;q=1.0\nContact: <tel:+1-555>;q=x\n").unwrap();
    assert_eq!(list.to_string(), r#""A, B" <sip:a,b@c>;q=0.5, <sip:d@e>;q=1.0, <tel:+1-555>;q=x"#);
    let ContactList::List(list) = list else { panic!() };
    assert_eq!(list.iter().map(|contact| contact.q()).collect::<Vec<_>>(), [Some(500), Some(1000), None]);
}

#[test]
fn our_own_request_passes_its_check() {
    let mut request = Request::new(Method::Options, "sip:bob@192.0.2.1");
    request
        .headers
        .push(Name::Via, super::super::Via::new("UDP", Host::parse("192.0.2.9").unwrap(), None, "z9hG4bKx"));
    request.headers.push(Name::From, "<sip:us@192.0.2.9>;tag=1");
    request.headers.push(Name::To, "<sip:bob@192.0.2.1>");
    request.headers.push(Name::CallId, "1");
    request.headers.push(Name::CSeq, super::super::CSeq { number: 1, method: Method::Options });
    request.set_body("text/plain", "hi");
    request.check().unwrap();
    assert!(request.headers.has_content_type("text/plain"));
    let Message::Request(again) = Message::parse(request.to_bytes()).unwrap() else { panic!() };
    assert_eq!(*again.body, "hi");
    again.check().unwrap();
}

#[test]
fn a_reason_phrase_keeps_its_bytes() {
    let wire = Bytes::from_static(b"SIP/2.0 100 \0odd\xff\r\nContent-Length: 0\r\n\r\n");
    let parsed = Message::parse(wire.clone()).unwrap();
    assert_eq!(parsed.to_bytes(), wire);
}
