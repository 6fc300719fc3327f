//! What we describe.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use bytes::Bytes;
use dialtone_core::{Codec, Description, Direction, Format};
use serde::{Deserialize, Serialize};

use super::RemoteSdp;

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
    /// Of the answer to an offer: its lines, and its usable audio line as ours.
    pub(super) fn of(offer: &RemoteSdp) -> Layout {
        let lines = offer.media().iter().map(|media| Line {
            kind: media.media_name.media.clone(),
            protocol: media.media_name.protos.join("/"),
            formats: media.media_name.formats.clone(),
        });
        Layout { lines: lines.collect(), audio: offer.usable().map(|(at, _)| at) }
    }

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
    write(origin, local, &Layout::of(offer))
}

/// Writes a description over a layout. By hand, as it is part of the turn that answers a call and has no
/// choices: building the library's value first costs five times as much as the text.
pub(super) fn write(origin: Origin, local: &Description, layout: &Layout) -> Bytes {
    let mut text = String::with_capacity(512);
    // Writing to a string cannot fail.
    let _ = session(&mut text, origin, local.rtp.ip());
    for (at, line) in layout.lines.iter().enumerate() {
        let _ =
            if layout.audio == Some(at) { audio(&mut text, local, line) } else { refused(&mut text, line) };
    }
    text.into()
}

/// RFC 4566 §5: the lines of the session, in their order.
fn session(text: &mut String, Origin { session_id, version }: Origin, ip: IpAddr) -> fmt::Result {
    let family = family(ip);
    write!(text, "v=0\r\no=- {session_id} {version} IN {family} {ip}\r\ns=-\r\n")?;
    write!(text, "c=IN {family} {ip}\r\nt=0 0\r\n")
}

const fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IP4" } else { "IP6" }
}

/// The m-line that carries our audio.
fn audio(text: &mut String, local: &Description, line: &Line) -> fmt::Result {
    write!(text, "m={} {} {}", line.kind, local.rtp.port(), line.protocol)?;
    for format in &local.formats {
        write!(text, " {}", format.payload_type)?;
    }
    text.push_str("\r\n");
    for format in &local.formats {
        rtpmap(text, format)?;
        fmtp(text, format)?;
    }
    if let Some(ptime) = local.ptime_ms {
        write!(text, "a=ptime:{ptime}\r\n")?;
    }
    rtcp(text, local)?;
    write!(text, "a={}\r\n", direction(local.direction))
}

/// An m-line that we do not take (RFC 3264 §6). The grammar wants one format at least, and refused lines
/// may come without.
fn refused(text: &mut String, line: &Line) -> fmt::Result {
    let formats = if line.formats.is_empty() { "0".to_owned() } else { line.formats.join(" ") };
    write!(text, "m={} 0 {} {formats}\r\n", line.kind, line.protocol)
}

fn rtpmap(text: &mut String, format: &Format) -> fmt::Result {
    let codec = format.codec;
    write!(text, "a=rtpmap:{} {}/{}", format.payload_type, codec.name(), codec.clock_rate())?;
    if codec.channels() > 1 {
        write!(text, "/{}", codec.channels())?;
    }
    text.write_str("\r\n")
}

/// The format's parameters, without what could end the line.
fn fmtp(text: &mut String, format: &Format) -> fmt::Result {
    let keys = format.codec == Codec::TelephoneEvent;
    let printable = || format.fmtp.chars().filter(|c| !c.is_control());
    if printable().next().is_none() && !keys {
        return Ok(());
    }
    write!(text, "a=fmtp:{} ", format.payload_type)?;
    if printable().next().is_none() {
        text.push_str(KEYS);
    }
    text.extend(printable());
    text.write_str("\r\n")
}

/// Where we take RTCP, when it is not where everybody expects it (RFC 3605 §2.1).
fn rtcp(text: &mut String, local: &Description) -> fmt::Result {
    let (rtp, rtcp) = (local.rtp, local.rtcp);
    match (rtcp.ip() == rtp.ip(), rtp.port().checked_add(1) == Some(rtcp.port())) {
        (true, true) => Ok(()),
        (true, false) => write!(text, "a=rtcp:{}\r\n", rtcp.port()),
        (false, _) => write!(text, "a=rtcp:{} IN {} {}\r\n", rtcp.port(), family(rtcp.ip()), rtcp.ip()),
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
