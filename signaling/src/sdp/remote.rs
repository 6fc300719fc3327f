//! What a peer described.

use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};

use dialtone_core::description::{FORMATS_MAX, Formats};
use dialtone_core::{Codec, Description, Direction, Format};
use rtc_sdp::description::common::{Attribute, ConnectionInformation};
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;
use serde::{Deserialize, Serialize};

use super::SdpError;
use super::tidy::tidy;

/// The shortest and the longest packet that we are asked for and heed, milliseconds.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=120;

/// A peer's whole session description.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemoteSdp {
    session: SessionDescription,
}

/// Parses a body. See [`super`] for its bounds.
pub fn parse(body: &[u8]) -> Result<RemoteSdp, SdpError> {
    let tidy = tidy(body)?;
    let parsed = SessionDescription::unmarshal(&mut Cursor::new(tidy.text.as_bytes()));
    let mut session = parsed.map_err(|error| SdpError::Syntax(error.to_string()))?;
    for (media, line) in session.media_descriptions.iter_mut().zip(tidy.media) {
        media.media_name.media = line.kind;
        media.media_name.formats = line.formats;
    }
    Ok(RemoteSdp { session })
}

impl RemoteSdp {
    /// Its first usable audio line: accepted (port not 0), plain RTP, an address that is no name and no
    /// group, and at least one voice codec that we know. `None` when there is none.
    pub fn description(&self) -> Option<Description> {
        self.usable().map(|(_, description)| description)
    }

    /// The id and version of `o=`: the same version again means that nothing changed (RFC 3264 §8).
    pub fn origin(&self) -> (u64, u64) {
        (self.session.origin.session_id, self.session.origin.session_version)
    }

    /// Where the line of [`RemoteSdp::description`] stands among the m-lines, and the description.
    pub(super) fn usable(&self) -> Option<(usize, Description)> {
        let media = self.session.media_descriptions.iter().enumerate();
        media.filter_map(|(at, media)| Some((at, self.describe(media)?))).next()
    }

    /// The m-lines, in order.
    pub(super) fn media(&self) -> &[MediaDescription] {
        &self.session.media_descriptions
    }

    fn describe(&self, media: &MediaDescription) -> Option<Description> {
        let name = &media.media_name;
        let protocol = name.protos.join("/").to_ascii_uppercase();
        // RTP/SAVP and UDP/TLS/… need keys that we do not have.
        if name.media != "audio" || !["RTP/AVP", "RTP/AVPF"].contains(&protocol.as_str()) {
            return None;
        }
        let port = u16::try_from(name.port.value).ok().filter(|port| *port != 0)?;
        let connection = media.connection_information.as_ref();
        let ip = address(connection.or(self.session.connection_information.as_ref())?)?;
        let formats = formats(media);
        let description = Description {
            rtp: SocketAddr::new(ip, port),
            rtcp: rtcp(media, ip, port),
            formats,
            direction: direction(&media.attributes)
                .or_else(|| direction(&self.session.attributes))
                .unwrap_or_default(),
            ptime_ms: value(media, "ptime")
                .and_then(|ptime| ptime.trim().parse().ok())
                .filter(|ptime| PTIME_MS.contains(ptime)),
        };
        description.voice().is_some().then_some(description)
    }
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
fn formats(media: &MediaDescription) -> Formats {
    let mut formats = Formats::new();
    for text in &media.media_name.formats {
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

impl std::fmt::Display for RemoteSdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.session.fmt(f)
    }
}

impl From<RemoteSdp> for String {
    fn from(sdp: RemoteSdp) -> Self {
        sdp.session.marshal()
    }
}

impl TryFrom<String> for RemoteSdp {
    type Error = SdpError;

    fn try_from(text: String) -> Result<Self, SdpError> {
        parse(text.as_bytes())
    }
}

impl PartialEq for RemoteSdp {
    fn eq(&self, other: &RemoteSdp) -> bool {
        self.session.marshal() == other.session.marshal()
    }
}
