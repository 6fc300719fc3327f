//! Messages that are almost what they should be: one that a phone could send, and what is wrong with it.

use bytes::Bytes;
use dialtone_signaling::message::{Message, Method, Name, RawUri};

use super::super::support::Phone;
use super::super::support::acts::NUMBERS;
use super::reader::Reader;

/// Bytes of a message; longer ones are cut.
const MESSAGE_MAX: usize = 16_384;

const METHODS: [&str; 16] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "PRACK",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "INFO",
    "REFER",
    "MESSAGE",
    "UPDATE",
    "invite",
    "X",
];

const STATUSES: [u16; 24] = [
    100, 180, 181, 183, 199, 200, 202, 299, 300, 302, 380, 401, 404, 408, 422, 481, 486, 487, 488, 491, 500,
    503, 603, 699,
];

const URIS: [&str; 12] = [
    "sip:1002@pbx.example",
    "sip:pbx.example",
    "sip:1003@10.0.0.1",
    "sip:900@pbx.example;transport=tcp",
    "sips:1002@pbx.example",
    "sip:1002@10.0.0.12:5060;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "sip:name.example",
    "sip:1002@name.example;maddr=10.0.0.13;ttl=1",
    "tel:+15551000",
    "urn:service:sos",
    "sip:%31%30%30%32@pbx.example?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2",
    "sip:1002@[2001:db8::15]:5060",
];

const NAMES: [Name; 40] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::Contact,
    Name::ContentLength,
    Name::ContentType,
    Name::ContentDisposition,
    Name::ContentEncoding,
    Name::Route,
    Name::RecordRoute,
    Name::Allow,
    Name::Supported,
    Name::Require,
    Name::ProxyRequire,
    Name::Expires,
    Name::MinExpires,
    Name::Accept,
    Name::Authorization,
    Name::Reason,
    Name::RetryAfter,
    Name::Event,
    Name::SubscriptionState,
    Name::Path,
    Name::Timestamp,
    Name::ReferTo,
    Name::ReferSub,
    Name::ReferredBy,
    Name::Replaces,
    Name::SessionExpires,
    Name::MinSe,
    Name::RAck,
    Name::RSeq,
    Name::PAssertedIdentity,
    Name::RemotePartyId,
    Name::Privacy,
    Name::Diversion,
    Name::HistoryInfo,
];

/// What may stand in a header, in this one or in another.
const VALUES: [&str; 56] = [
    "",
    "0",
    "1",
    "2",
    "60",
    "90",
    "89",
    "3600",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "-1",
    "x",
    "*",
    ",",
    "%",
    "\"",
    "<",
    "0 INVITE",
    "1 INVITE",
    "1 ACK",
    "2 BYE",
    "4294967295 INVITE",
    "1 1 INVITE",
    "90;refresher=uac",
    "90;refresher=uas",
    "1;refresher=nobody",
    "100rel",
    "timer, 100rel, replaces, gruu, path, outbound",
    "nothing-that-we-know",
    "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, REFER, NOTIFY",
    "application/sdp",
    "multipart/mixed;boundary=b",
    "message/sipfrag",
    "gzip",
    "session;handling=optional",
    "refer",
    "terminated;reason=noresource",
    "id;user",
    "SIP ;cause=200 ;text=\"Call completed elsewhere\"",
    "<sip:1001@pbx.example>;tag=1",
    "<sip:1002@pbx.example>",
    "\"A \\\" B\" <sip:1003@10.0.0.14:40003;transport=tcp>;expires=0;q=0.5",
    "<sip:1001@10.0.0.11:5060>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";reg-id=1",
    "<sip:name.example;lr>",
    "<sip:10.0.0.1:5060;lr>, <sip:10.0.0.12;lr>",
    "<sip:1004@other.example>",
    "<tel:+15551000>",
    "sip:a@b?x=y;tag=2",
    "call-0-2@phone;to-tag=1;from-tag=f0x2",
    "call-0-2@phone;to-tag=1;from-tag=f0x2;early-only",
    "SIP/2.0/UDP 10.0.0.11:5060;rport;branch=z9hG4bK-0-3",
    "SIP/2.0/TCP 10.0.0.14:40003;branch=z9hG4bK-3-1, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKproxy",
    "SIP/2.0/UDP name.example;branch=old;maddr=10.0.0.12;ttl=300",
    "SIP/2.0/TLS [2001:db8::15];branch=z9hG4bK",
];

const BODIES: [&str; 8] = [
    "",
    "v=0\r\no=- 7 9 IN IP4 10.0.0.99\r\ns=-\r\nc=IN IP4 10.0.0.99\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n\
     a=rtpmap:101 telephone-event/8000\r\n",
    "v=0\r\no=- 7 9 IN IP4 10.0.0.99\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=inactive\r\n",
    "v=0\r\no=- 1 1 IN IP6 2001:db8::9\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\n\
     a=rtpmap:96 H264/90000\r\nm=audio 4002 RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n",
    "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nt=0 0\r\n",
    "SIP/2.0 200 OK\r\n",
    "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
     m=audio 4000 RTP/AVP 0\r\n\r\n--b--\r\n",
];

/// A message of this phone with something wrong; `None` when there is none of the kind now.
pub fn damaged(input: &mut Reader<'_>, phones: &[Phone], phone: &Phone) -> Option<Bytes> {
    let mut message = base(input, phone)?;
    for _ in 0..input.below(6) {
        change(input, phones, &mut message);
    }
    let mut bytes = message.to_bytes().to_vec();
    for _ in 0..input.below(3) {
        overwrite(input, &mut bytes);
    }
    bytes.truncate(MESSAGE_MAX);
    Some(bytes.into())
}

fn base(input: &mut Reader<'_>, phone: &Phone) -> Option<Message> {
    match input.below(6) {
        0 => {
            let method = Method::from_token(input.pick(&METHODS));
            Some(phone.drafts(method, input.pick(&NUMBERS)))
        }
        1 => phone.drafts_within(Method::from_token(input.pick(&METHODS))),
        2 => phone.has_sent().then(|| phone.sent()),
        3 => phone.heard(),
        4 => phone.drafts_answer(input.pick(&STATUSES)),
        _ => {
            let mut message = phone.drafts(Method::Invite, input.pick(&NUMBERS));
            let body = input.pick(&BODIES[1..]);
            set_body(&mut message, "application/sdp", body.as_bytes());
            Some(message)
        }
    }
}

fn change(input: &mut Reader<'_>, phones: &[Phone], message: &mut Message) {
    let name = input.pick(&NAMES);
    match input.below(10) {
        0 => drop(message.headers_mut().remove(&name)),
        1 => message.headers_mut().set(name, input.pick(&VALUES)),
        2 => message.headers_mut().push(name, input.pick(&VALUES)),
        3 => message.headers_mut().push_front(name, input.pick(&VALUES)),
        4 => {
            let length = input.below(32);
            message.headers_mut().set(name, String::from_utf8_lossy(input.bytes(length)).into_owned());
        }
        5 | 6 => {
            // What somebody else was told, or said.
            let other = &phones[input.below(phones.len())];
            let from = if input.flag() { other.heard() } else { other.has_sent().then(|| other.sent()) };
            if let Some(from) = from {
                message.headers_mut().remove(&name);
                message.headers_mut().copy(&name, from.headers());
            }
        }
        7 => match message {
            Message::Request(request) if input.flag() => {
                request.method = Method::from_token(input.pick(&METHODS))
            }
            Message::Request(request) => request.uri = RawUri::from(input.pick(&URIS)),
            Message::Response(response) => response.status = input.pick(&STATUSES),
        },
        8 => {
            let kind = input.pick(&[
                "application/sdp",
                "multipart/mixed;boundary=b",
                "message/sipfrag",
                "text/plain",
            ]);
            let body = input.pick(&BODIES);
            set_body(message, kind, body.as_bytes());
        }
        _ => {
            let length = usize::from(input.byte());
            let body = input.bytes(length);
            set_body(message, "application/sdp", body);
        }
    }
}

fn set_body(message: &mut Message, kind: &str, body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    match message {
        Message::Request(request) => request.set_body(kind, body),
        Message::Response(response) => response.set_body(kind, body),
    }
}

/// Something else stands somewhere in it, of another length perhaps.
fn overwrite(input: &mut Reader<'_>, bytes: &mut Vec<u8>) {
    let at = usize::from(input.word()) % (bytes.len() + 1);
    let gone = input.below(16).min(bytes.len() - at);
    let length = input.below(16);
    bytes.splice(at..at + gone, input.bytes(length).iter().copied());
}
