//! What we describe.

use std::net::IpAddr;

use bytes::Bytes;
use dialtone_core::{Codec, Description, Direction, Format};
use serde::{Deserialize, Serialize};

use super::RemoteSdp;
use crate::message::Print;

/// What we say about telephone events when nobody said more: the sixteen DTMF keys (RFC 4733 §2.4.1).
const KEYS: &str = "0-15";

/// Who describes, and which of its descriptions it is (`o=`, RFC 4566 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// One for the dialog; below 2⁶³, which is all that some peers can read.
    pub session_id: u64,
    /// Grows by one with each change (RFC 3264 §8).
    pub version: u64,
}

/// One m-line of a dialog; its place never changes (RFC 3264 §8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// What kind of media.
    pub(super) kind: String,
    /// The transport, such as `RTP/AVP`.
    pub(super) protocol: String,
    /// Its formats, echoed when the line is refused.
    pub(super) formats: Vec<String>,
}

/// The m-lines of a dialog, and which of them is our audio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// All of them, in order.
    pub(super) lines: Vec<Line>,
    /// The audio line that is taken.
    pub(super) audio: Option<usize>,
}

impl Layout {
    /// The same with an audio line of ours, added when there is none.
    pub(super) fn with_audio(mut self) -> Layout {
        if self.audio.is_none() {
            self.audio = Some(self.lines.len());
            let protocol = "RTP/AVP".to_owned();
            self.lines.push(Line { kind: "audio".to_owned(), protocol, formats: Vec::new() });
        }
        self
    }
}

/// An offer of one audio line.
pub fn offer(origin: Origin, local: &Description) -> Bytes {
    write(origin, local, &Layout::default().with_audio())
}

/// An answer: as many m-lines as the offer, in its order (RFC 3264 §6). The usable audio line gets
/// `local`, every other is refused with port 0.
pub fn answer(origin: Origin, local: &Description, offer: &RemoteSdp) -> Bytes {
    write(origin, local, offer.layout())
}

/// Writes a description over a layout. By hand, as it is part of the turn that answers a call and has no
/// choices: building the library's value first costs five times as much as the text.
pub(super) fn write(origin: Origin, local: &Description, layout: &Layout) -> Bytes {
    let mut text = String::with_capacity(512);
    session(&mut text, origin, local.rtp.ip());
    for (at, line) in layout.lines.iter().enumerate() {
        if layout.audio == Some(at) {
            audio(&mut text, local, line);
        } else {
            refused(&mut text, line);
        }
    }
    text.into()
}

/// Appends texts and numbers, one after the other.
macro_rules! push {
    ($out:expr, $($part:expr),*) => {{ $($part.print($out);)* }};
}

/// RFC 4566 §5: the lines of the session, in their order.
fn session(text: &mut String, Origin { session_id, version }: Origin, ip: IpAddr) {
    let family = family(ip);
    push!(text, "v=0\r\no=- ", session_id, " ", version, " IN ", family, " ", ip);
    push!(text, "\r\ns=-\r\nc=IN ", family, " ", ip, "\r\nt=0 0\r\n");
}

const fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IP4" } else { "IP6" }
}

/// The m-line that carries our audio.
fn audio(text: &mut String, local: &Description, line: &Line) {
    push!(text, "m=", line.kind, " ", local.rtp.port(), " ", line.protocol);
    for format in &local.formats {
        push!(text, " ", format.payload_type);
    }
    text.push_str("\r\n");
    for format in &local.formats {
        rtpmap(text, format);
        fmtp(text, format);
    }
    if let Some(ptime) = local.ptime_ms {
        push!(text, "a=ptime:", ptime, "\r\n");
    }
    rtcp(text, local);
    push!(text, "a=", direction(local.direction), "\r\n");
}

/// An m-line that we do not take (RFC 3264 §6). The grammar wants one format at least, and refused lines
/// may come without.
fn refused(text: &mut String, line: &Line) {
    let formats = if line.formats.is_empty() { "0".to_owned() } else { line.formats.join(" ") };
    push!(text, "m=", line.kind, " 0 ", line.protocol, " ", formats, "\r\n");
}

fn rtpmap(text: &mut String, format: &Format) {
    let codec = format.codec;
    push!(text, "a=rtpmap:", format.payload_type, " ", codec.name(), "/", codec.clock_rate());
    if codec.channels() > 1 {
        push!(text, "/", codec.channels());
    }
    text.push_str("\r\n");
}

/// The format's parameters, without what could end the line.
fn fmtp(text: &mut String, format: &Format) {
    let keys = format.codec == Codec::TelephoneEvent;
    let printable = || format.fmtp.chars().filter(|c| !c.is_control());
    if printable().next().is_none() && !keys {
        return;
    }
    push!(text, "a=fmtp:", format.payload_type, " ");
    if printable().next().is_none() {
        text.push_str(KEYS);
    }
    text.extend(printable());
    text.push_str("\r\n");
}

/// Where we take RTCP, when it is not where everybody expects it (RFC 3605 §2.1).
fn rtcp(text: &mut String, local: &Description) {
    let (rtp, rtcp) = (local.rtp, local.rtcp);
    match (rtcp.ip() == rtp.ip(), rtp.port().checked_add(1) == Some(rtcp.port())) {
        (true, true) => {}
        (true, false) => push!(text, "a=rtcp:", rtcp.port(), "\r\n"),
        (false, _) => {
            push!(text, "a=rtcp:", rtcp.port(), " IN ", family(rtcp.ip()), " ", rtcp.ip(), "\r\n");
        }
    }
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}
