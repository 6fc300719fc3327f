//! Session descriptions as a phone writes and reads them (RFC 8866, RFC 3264): one audio stream.

use std::net::{IpAddr, SocketAddr};

/// Which way sound flows, from the point of view of whoever says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pub sends: bool,
    pub receives: bool,
}

impl Flow {
    pub const BOTH: Flow = Flow { sends: true, receives: true };
    pub const SEND: Flow = Flow { sends: true, receives: false };
    pub const NONE: Flow = Flow { sends: false, receives: false };

    fn word(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    /// What remains of it towards whoever says `theirs` (RFC 3264 §6.1).
    pub fn towards(self, theirs: Flow) -> Flow {
        Flow { sends: self.sends && theirs.receives, receives: self.receives && theirs.sends }
    }
}

/// What somebody says of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub rtp: SocketAddr,
    /// Payload types with their codecs, preferred first.
    pub formats: Vec<(u8, String)>,
    pub flow: Flow,
}

const KNOWN: [(u8, &str, &str); 4] = [
    (0, "PCMU", "PCMU/8000"),
    (8, "PCMA", "PCMA/8000"),
    (9, "G722", "G722/8000"),
    (101, "telephone-event", "telephone-event/8000"),
];

/// These codecs under their usual numbers.
pub fn formats(names: &[&str]) -> Vec<(u8, String)> {
    let known = |name: &&str| KNOWN.iter().find(|(_, known, _)| known == name);
    names.iter().filter_map(known).map(|(number, name, _)| (*number, (*name).to_owned())).collect()
}

impl Said {
    pub fn write(&self, version: u32) -> String {
        let (ip, family) = (self.rtp.ip(), if self.rtp.is_ipv6() { "IP6" } else { "IP4" });
        let numbers: Vec<String> = self.formats.iter().map(|(number, _)| number.to_string()).collect();
        let mut text = format!(
            "v=0\r\no=phone 7 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {}\r\n",
            self.rtp.port(),
            numbers.join(" ")
        );
        for (number, name) in &self.formats {
            let map = KNOWN.iter().find(|(_, known, _)| known == name).map_or("", |(_, _, map)| map);
            text.push_str(&format!("a=rtpmap:{number} {map}\r\n"));
        }
        text + "a=" + self.flow.word() + "\r\n"
    }

    pub fn read(body: &[u8]) -> Option<Said> {
        let text = std::str::from_utf8(body).ok()?;
        let (mut ip, mut port, mut numbers, mut flow) = (None, None, Vec::new(), Flow::BOTH);
        let mut names = Vec::new();
        for line in text.lines() {
            let address = line.strip_prefix("c=IN IP4 ").or_else(|| line.strip_prefix("c=IN IP6 "));
            if let Some(value) = address {
                ip = value.trim().parse::<IpAddr>().ok();
            } else if let Some(value) = line.strip_prefix("m=audio ") {
                let mut words = value.split(' ');
                port = words.next()?.parse::<u16>().ok();
                numbers = words.skip(1).filter_map(|word| word.parse::<u8>().ok()).collect();
            } else if let Some(value) = line.strip_prefix("a=rtpmap:") {
                let (number, name) = value.split_once(' ')?;
                names.push((number.parse::<u8>().ok()?, name.split('/').next()?.to_owned()));
            } else {
                flow = match line {
                    "a=sendrecv" => Flow::BOTH,
                    "a=sendonly" => Flow::SEND,
                    "a=recvonly" => Flow { sends: false, receives: true },
                    "a=inactive" => Flow::NONE,
                    _ => flow,
                };
            }
        }
        let name = |number: u8| {
            let mapped = names.iter().find(|(mapped, _)| *mapped == number).map(|(_, name)| name.clone());
            let usual = || KNOWN.iter().find(|(known, _, _)| *known == number).map(|(_, name, _)| *name);
            mapped.or_else(|| usual().map(str::to_owned))
        };
        let formats = numbers.into_iter().filter_map(|number| Some((number, name(number)?))).collect();
        Some(Said { rtp: SocketAddr::new(ip?, port?), formats, flow })
    }

    /// What both have, in the order and under the numbers of whoever says this (RFC 3264 §6.1); `None` when that is no
    /// voice.
    pub fn shared(&self, ours: &[(u8, String)]) -> Option<Vec<(u8, String)>> {
        let has = |(_, name): &&(u8, String)| ours.iter().any(|(_, other)| other == name);
        let shared: Vec<_> = self.formats.iter().filter(has).cloned().collect();
        voice(&shared).is_some().then_some(shared)
    }
}

/// Under which number sound is sent: the first (RFC 3264 §6.1, §7). Keys may be named first, and are no sound
/// (RFC 4733 §2.1).
pub fn voice(shared: &[(u8, String)]) -> Option<u8> {
    shared.iter().find(|(_, name)| name != "telephone-event").map(|(number, _)| *number)
}
