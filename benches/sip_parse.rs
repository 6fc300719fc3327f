//! What a message costs: an INVITE of about 1 kB as a browser sends it, parsed, viewed and printed, and
//! the session description in it. `cargo bench --bench sip_parse`

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dialtone_signaling::message::{Message, Name, NameAddr, Request, Response, Uri};
use dialtone_signaling::sdp::{self, Origin};

const SDP: &str = "v=0\r\n\
    o=- 2002085056260140791 2 IN IP4 192.0.2.2\r\n\
    s=-\r\n\
    c=IN IP4 192.0.2.2\r\n\
    t=0 0\r\n\
    m=audio 37374 RTP/AVP 111 9 0 8 126\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    a=fmtp:111 minptime=10;useinbandfec=1\r\n\
    a=rtpmap:9 G722/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:126 telephone-event/8000\r\n\
    a=ptime:20\r\n\
    a=sendrecv\r\n";

fn invite() -> Bytes {
    let head = "INVITE sip:1002@pbx.test SIP/2.0\r\n\
        Via: SIP/2.0/WS 8kt6gca9sjmd.invalid;branch=z9hG4bK2090897\r\n\
        Max-Forwards: 69\r\n\
        To: <sip:1002@pbx.test>\r\n\
        From: \"Alice\" <sip:1001@pbx.test>;tag=6jl10fhima\r\n\
        Call-ID: q8cral7nsp5l40diarpd\r\n\
        CSeq: 4751 INVITE\r\n\
        Contact: <sip:k630heaa@8kt6gca9sjmd.invalid;transport=ws;ob>;+sip.instance=\"<urn:uuid:5e7c65fa-c608-4d4f-be36-69bea2d2f359>\"\r\n\
        Content-Type: application/sdp\r\n\
        Session-Expires: 90\r\n\
        Min-SE: 90\r\n\
        Accept: application/sdp, application/dtmf-relay\r\n\
        Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY,SUBSCRIBE\r\n\
        Supported: timer,ice,replaces,outbound\r\n\
        User-Agent: JsSIP 3.10.1 (dialtone-ui)\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{SDP}", SDP.len()).into()
}

fn request(wire: &Bytes) -> Request {
    match Message::parse(wire.clone()) {
        Ok(Message::Request(request)) => request,
        _ => unreachable!("the sample is a request"),
    }
}

fn messages(c: &mut Criterion) {
    let wire = invite();
    let parsed = request(&wire);
    parsed.check().unwrap();
    let mut group = c.benchmark_group("sip");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("parse", |b| b.iter(|| Message::parse(black_box(&wire).clone())));
    group.bench_function("parse_check", |b| b.iter(|| request(black_box(&wire)).check()));
    group.bench_function("parse_views", |b| {
        b.iter(|| {
            let request = request(black_box(&wire));
            let views = (request.via(), request.from(), request.to(), request.contact(), request.cseq());
            black_box(&views);
            request
        })
    });
    group.bench_function("print", |b| b.iter(|| black_box(&parsed).to_bytes()));
    group.bench_function("answer", |b| {
        b.iter(|| {
            let mut answer = Response::to(black_box(&parsed), 180);
            answer.tag_to(|| "as58f4d3");
            answer.headers.push(Name::Contact, "<sip:192.0.2.9:5060>");
            answer.to_bytes()
        })
    });
    group.finish();

    c.bench_function("view/uri", |b| {
        b.iter(|| Uri::parse(black_box("sip:k630heaa@8kt6gca9sjmd.invalid;transport=ws;ob")))
    });
    c.bench_function("view/address", |b| {
        b.iter(|| NameAddr::parse(black_box("\"Alice\" <sip:1001@pbx.test>;tag=6jl10fhima")))
    });
}

fn descriptions(c: &mut Criterion) {
    let remote = sdp::parse(SDP.as_bytes()).unwrap();
    let local = remote.description().unwrap();
    let origin = Origin { session_id: 1, version: 1 };
    let mut group = c.benchmark_group("sdp");
    group.throughput(Throughput::Bytes(SDP.len() as u64));
    group.bench_function("parse", |b| b.iter(|| sdp::parse(black_box(SDP.as_bytes()))));
    group.bench_function("description", |b| b.iter(|| black_box(&remote).description()));
    group.bench_function("answer", |b| b.iter(|| sdp::answer(origin, black_box(local), &remote)));
    group.finish();
}

criterion_group!(benches, messages, descriptions);
criterion_main!(benches);
