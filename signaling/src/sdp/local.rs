//! What we describe.

use std::net::IpAddr;

use bytes::Bytes;
use dialtone_core::{Codec, Description, Direction, Format};
use rtc_sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc_sdp::description::media::{MediaDescription, MediaName, RangedPort};
use rtc_sdp::description::session::{self, SessionDescription, TimeDescription};
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

/// Writes a description over a layout.
pub(super) fn write(origin: Origin, local: &Description, layout: &Layout) -> Bytes {
    let ip = local.rtp.ip();
    let lines = layout.lines.iter().enumerate();
    let media =
        lines.map(|(at, line)| if layout.audio == Some(at) { audio(local, line) } else { refused(line) });
    let description = SessionDescription {
        origin: session::Origin {
            username: "-".to_owned(),
            session_id: origin.session_id,
            session_version: origin.version,
            network_type: "IN".to_owned(),
            address_type: family(ip).to_owned(),
            unicast_address: ip.to_string(),
        },
        session_name: "-".to_owned(),
        connection_information: Some(ConnectionInformation {
            network_type: "IN".to_owned(),
            address_type: family(ip).to_owned(),
            address: Some(Address { address: ip.to_string(), ttl: None, range: None }),
        }),
        time_descriptions: vec![TimeDescription::default()],
        media_descriptions: media.collect(),
        ..SessionDescription::default()
    };
    description.marshal().into()
}

const fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IP4" } else { "IP6" }
}

/// The m-line that carries our audio.
fn audio(local: &Description, line: &Line) -> MediaDescription {
    let formats = local.formats.iter().map(|format| format.payload_type.to_string());
    let mut media = media_line(line, local.rtp.port(), formats.collect());
    for format in &local.formats {
        push(&mut media, "rtpmap", Some(rtpmap(format)));
        if let Some(fmtp) = fmtp(format) {
            push(&mut media, "fmtp", Some(format!("{} {fmtp}", format.payload_type)));
        }
    }
    if let Some(ptime) = local.ptime_ms {
        push(&mut media, "ptime", Some(ptime.to_string()));
    }
    if let Some(rtcp) = rtcp(local) {
        push(&mut media, "rtcp", Some(rtcp));
    }
    push(&mut media, direction(local.direction), None);
    media
}

/// An m-line that we do not take (RFC 3264 §6).
fn refused(line: &Line) -> MediaDescription {
    media_line(line, 0, line.formats.clone())
}

fn media_line(line: &Line, port: u16, formats: Vec<String>) -> MediaDescription {
    MediaDescription {
        media_name: MediaName {
            media: line.kind.clone(),
            port: RangedPort { value: isize::try_from(port).unwrap_or_default(), range: None },
            protos: line.protocol.split('/').map(str::to_owned).collect(),
            // The grammar wants one format at least, and refused lines may come without.
            formats: if formats.is_empty() { vec!["0".to_owned()] } else { formats },
        },
        ..MediaDescription::default()
    }
}

fn push(media: &mut MediaDescription, key: &str, value: Option<String>) {
    media.attributes.push(Attribute::new(key.to_owned(), value));
}

fn rtpmap(format: &Format) -> String {
    let codec = format.codec;
    match codec.channels() {
        1 => format!("{} {}/{}", format.payload_type, codec.name(), codec.clock_rate()),
        channels => format!("{} {}/{}/{channels}", format.payload_type, codec.name(), codec.clock_rate()),
    }
}

/// The format's parameters, without what could end the line.
fn fmtp(format: &Format) -> Option<String> {
    let text: String = format.fmtp.chars().filter(|c| !c.is_control()).collect();
    match (text.is_empty(), format.codec) {
        (false, _) => Some(text),
        (true, Codec::TelephoneEvent) => Some(KEYS.to_owned()),
        (true, Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus) => None,
    }
}

/// Where we take RTCP, when it is not where everybody expects it (RFC 3605 §2.1).
fn rtcp(local: &Description) -> Option<String> {
    let (rtp, rtcp) = (local.rtp, local.rtcp);
    match (rtcp.ip() == rtp.ip(), rtp.port().checked_add(1) == Some(rtcp.port())) {
        (true, true) => None,
        (true, false) => Some(rtcp.port().to_string()),
        (false, _) => Some(format!("{} IN {} {}", rtcp.port(), family(rtcp.ip()), rtcp.ip())),
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
