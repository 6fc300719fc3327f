//! Session descriptions as phones write them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use dialtone_core::{Codec, Description, Direction};
use dialtone_signaling::sdp::parse;

/// What a phone would say of its stream.
#[derive(Clone, Debug)]
pub struct Sdp {
    pub formats: Vec<(Codec, u8)>,
    pub direction: Direction,
    /// Shown instead of the phone's own address.
    pub ip: Option<IpAddr>,
    /// Shown instead of the phone's own port.
    pub port: Option<u16>,
    pub ptime: Option<u8>,
    /// m-lines, and what belongs to them, before and after the audio line.
    pub before: String,
    pub after: String,
}

/// `"pcmu opus:111 te:126"`: codecs with their payload types, where those are not the usual ones.
pub fn sdp(formats: &str) -> Sdp {
    let format = |word: &str| {
        let (name, number) = word.split_once(':').unwrap_or((word, ""));
        let codec = match name {
            "pcmu" => Codec::Pcmu,
            "pcma" => Codec::Pcma,
            "g722" => Codec::G722,
            "opus" => Codec::Opus,
            "te" => Codec::TelephoneEvent,
            other => panic!("codec {other}"),
        };
        (codec, number.parse().unwrap_or(codec.default_payload_type()))
    };
    Sdp {
        formats: formats.split_whitespace().map(format).collect(),
        direction: Direction::SendRecv,
        ip: None,
        port: None,
        ptime: None,
        before: String::new(),
        after: String::new(),
    }
}

impl Sdp {
    pub fn direction(self, direction: Direction) -> Sdp {
        Sdp { direction, ..self }
    }

    pub fn ip(self, ip: &str) -> Sdp {
        Sdp { ip: ip.parse().ok(), ..self }
    }

    pub fn ptime(self, ms: u8) -> Sdp {
        Sdp { ptime: Some(ms), ..self }
    }

    pub fn before(self, lines: &str) -> Sdp {
        Sdp { before: lines.replace('\n', "\r\n"), ..self }
    }

    pub fn after(self, lines: &str) -> Sdp {
        Sdp { after: lines.replace('\n', "\r\n"), ..self }
    }

    /// The answer of a phone with these formats: what both have, in its own order, under the offer's
    /// numbers, its direction mirrored.
    pub fn answering(&self, offer: &[u8]) -> Sdp {
        let Some(offer) = description(offer) else { return self.clone() };
        let shared = |(codec, _): &(Codec, u8)| {
            let theirs = offer.formats.iter().find(|format| format.codec == *codec)?;
            Some((*codec, theirs.payload_type))
        };
        let formats = self.formats.iter().filter_map(shared).collect();
        let direction = self.direction.and(offer.direction.reversed());
        Sdp { formats, direction, ..self.clone() }
    }

    pub fn text(&self, rtp: SocketAddr, version: u32) -> String {
        let (ip, port) = (self.ip.unwrap_or(rtp.ip()), self.port.unwrap_or(rtp.port()));
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut text = format!(
            "v=0\r\no=- 7 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n{}",
            self.before
        );
        let numbers: String = self.formats.iter().map(|(_, number)| format!(" {number}")).collect();
        let _ = write!(text, "m=audio {port} RTP/AVP{numbers}\r\n");
        for (codec, number) in &self.formats {
            let channels = if codec.channels() == 2 { "/2" } else { "" };
            let _ = write!(text, "a=rtpmap:{number} {}/{}{channels}\r\n", codec.name(), codec.clock_rate());
            if *codec == Codec::TelephoneEvent {
                let _ = write!(text, "a=fmtp:{number} 0-16\r\n");
            }
        }
        if let Some(ptime) = self.ptime {
            let _ = write!(text, "a=ptime:{ptime}\r\n");
        }
        let direction = match self.direction {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        };
        let _ = write!(text, "a={direction}\r\n{}", self.after);
        text
    }
}

/// What a body says about its audio, when it can be used.
pub fn description(body: &[u8]) -> Option<Description> {
    parse(body).ok()?.description().cloned()
}

/// A description of ours with these formats, as calls give it.
pub fn ours(formats: &str) -> Description {
    let text = sdp(formats).text(SocketAddr::from(([10, 0, 0, 1], 10_000)), 1);
    description(text.as_bytes()).expect("a description")
}
