//! What a peer described.

use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dialtone_core::description::{FORMATS_MAX, Formats};
use dialtone_core::{Codec, Description, Direction, Format};
use rtc_sdp::description::common::{Attribute, ConnectionInformation};
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;
use serde::{Deserialize, Serialize};

use super::SdpError;
use super::local::{Layout, Line};
use super::tidy::{MediaLine, tidy};

/// The shortest and the longest packet that we are asked for and heed, milliseconds.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=120;

/// What matters of a peer's session description: its m-lines, in order, and the usable audio among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSdp {
    /// Shared with the answers to it.
    layout: Arc<Layout>,
    description: Option<Description>,
}

/// Parses a body. See [`super`] for its bounds.
pub fn parse(body: &[u8]) -> Result<RemoteSdp, SdpError> {
    let tidy = tidy(body)?;
    let parsed = SessionDescription::unmarshal(&mut Cursor::new(tidy.text.as_bytes()));
    let session = parsed.map_err(|error| SdpError::Syntax(error.to_string()))?;
    let mut layout = Layout::default();
    let mut description = None;
    for (at, (media, MediaLine { kind, formats })) in
        session.media_descriptions.iter().zip(tidy.media).enumerate()
    {
        let line = Line { kind, protocol: media.media_name.protos.join("/"), formats };
        if description.is_none() {
            description = describe(&session, media, &line);
            layout.audio = description.is_some().then_some(at);
        }
        layout.lines.push(line);
    }
    Ok(RemoteSdp { layout: Arc::new(layout), description })
}

impl RemoteSdp {
    /// Its first usable audio line: accepted (port not 0), plain RTP, an address that is no name and no
    /// group, and at least one voice codec that we know. `None` when there is none.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Its m-lines, and which of them [`RemoteSdp::description`] is of.
    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
}

/// What an m-line describes, if it can be used.
fn describe(session: &SessionDescription, media: &MediaDescription, line: &Line) -> Option<Description> {
    // RTP/SAVP and UDP/TLS/… need keys that we do not have.
    let plain = |known: &str| line.protocol.eq_ignore_ascii_case(known);
    if line.kind != "audio" || !["RTP/AVP", "RTP/AVPF"].into_iter().any(plain) {
        return None;
    }
    let port = u16::try_from(media.media_name.port.value).ok().filter(|port| *port != 0)?;
    let connection = media.connection_information.as_ref();
    let ip = address(connection.or(session.connection_information.as_ref())?)?;
    let description = Description {
        rtp: SocketAddr::new(ip, port),
        rtcp: rtcp(media, ip, port),
        formats: formats(media, &line.formats),
        direction: direction(&media.attributes)
            .or_else(|| direction(&session.attributes))
            .unwrap_or_default(),
        ptime_ms: value(media, "ptime")
            .and_then(|ptime| ptime.trim().parse().ok())
            .filter(|ptime| PTIME_MS.contains(ptime)),
    };
    description.voice().is_some().then_some(description)
}

/// The address of a `c=`; `None` for names and groups.
fn address(connection: &ConnectionInformation) -> Option<IpAddr> {
    let ip: IpAddr = connection.address.as_ref()?.address.parse().ok()?;
    (!ip.is_multicast()).then_some(ip)
}

/// The first attribute of this name that has a value.
fn value<'a>(media: &'a MediaDescription, key: &str) -> Option<&'a str> {
    media.attributes.iter().find(|attribute| attribute.key == key)?.value.as_deref()
}

/// Where RTCP goes (RFC 3605 §2.1): the next port of the same address unless it is said.
fn rtcp(media: &MediaDescription, ip: IpAddr, port: u16) -> SocketAddr {
    let mut fields = value(media, "rtcp").unwrap_or_default().split_ascii_whitespace();
    let said = fields.next().and_then(|port| port.parse().ok()).filter(|port| *port != 0);
    let address = fields.nth(2).and_then(|address| address.parse().ok());
    let ip = address.filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast()).unwrap_or(ip);
    SocketAddr::new(ip, said.unwrap_or(port.saturating_add(1)))
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| match attribute.key.as_str() {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    })
}

/// The formats that we know, in the peer's order.
fn formats(media: &MediaDescription, numbers: &[String]) -> Formats {
    let mut formats = Formats::new();
    for text in numbers {
        let Some(payload_type) = text.parse::<u8>().ok().filter(|payload_type| *payload_type < 128) else {
            continue;
        };
        let seen = formats.iter().any(|format: &Format| format.payload_type == payload_type);
        if let Some(codec) = codec(media, payload_type)
            && !seen
            && formats.len() < FORMATS_MAX
        {
            let fmtp = about(media, "fmtp", payload_type).unwrap_or_default().to_owned();
            formats.push(Format { codec, payload_type, fmtp });
        }
    }
    formats
}

/// What an attribute such as `rtpmap` or `fmtp` says about a payload type.
fn about<'a>(media: &'a MediaDescription, key: &str, payload_type: u8) -> Option<&'a str> {
    media.attributes.iter().filter(|attribute| attribute.key == key).find_map(|attribute| {
        let (number, text) = attribute.value.as_deref()?.trim_start().split_once([' ', '\t'])?;
        (number.parse() == Ok(payload_type)).then_some(text.trim())
    })
}

/// Which codec a payload type stands for: what its rtpmap says, or else RFC 3551's assignment.
fn codec(media: &MediaDescription, payload_type: u8) -> Option<Codec> {
    let Some(map) = about(media, "rtpmap", payload_type) else {
        return match payload_type {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            9 => Some(Codec::G722),
            _ => None,
        };
    };
    let mut fields = map.split('/').map(str::trim);
    let (name, clock) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
    // A missing channel count is one (RFC 4566 §6).
    let channels = fields.next().map_or(Some(1), |channels| channels.parse::<u8>().ok())?;
    let all = Codec::VOICE.iter().copied().chain([Codec::TelephoneEvent]);
    all.into_iter().find(|codec| {
        codec.name().eq_ignore_ascii_case(name) && codec.clock_rate() == clock && codec.channels() == channels
    })
}
