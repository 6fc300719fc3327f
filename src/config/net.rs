//! `[net]`: how this machine is seen from elsewhere.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use dialtone_signaling::net::{Net, Network, local_networks};
use serde::{Deserialize, Serialize};

use super::load::Places;
use super::problem::{Place, Problem};
use super::{Config, duration};

/// The port of STUN (RFC 8489 §18.6).
const STUN_PORT: u16 = 3478;

/// `[net]`: see the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetConfig {
    /// What peers outside are told.
    pub external_address: Vec<ExternalAddress>,
    /// How often a STUN server is asked.
    #[serde(with = "duration")]
    pub stun_interval: Duration,
    /// Peers in these are inside.
    pub local_networks: Vec<Network>,
}

impl Default for NetConfig {
    fn default() -> Self {
        NetConfig {
            external_address: Vec::new(),
            stun_interval: Duration::from_secs(180),
            local_networks: local_networks(),
        }
    }
}

/// How the external address is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ExternalAddress {
    /// It does not change.
    Fixed(IpAddr),
    /// This server says: `stun:host:port`.
    Stun {
        /// A host name or an address.
        host: String,
        /// UDP.
        port: u16,
    },
}

impl FromStr for ExternalAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor \"stun:HOST:PORT\"");
        let Some(server) = text.strip_prefix("stun:") else {
            return text.parse().map(ExternalAddress::Fixed).map_err(|_| wrong());
        };
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => server.split_at(server.find(':').unwrap_or(server.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if port.is_empty() => STUN_PORT,
            None => return Err(wrong()),
        };
        if host.is_empty() || port == 0 { Err(wrong()) } else { Ok(Self::Stun { host: host.into(), port }) }
    }
}

impl TryFrom<String> for ExternalAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ExternalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternalAddress::Fixed(ip) => write!(f, "{ip}"),
            ExternalAddress::Stun { host, port } if host.contains(':') => write!(f, "stun:[{host}]:{port}"),
            ExternalAddress::Stun { host, port } => write!(f, "stun:{host}:{port}"),
        }
    }
}

impl From<ExternalAddress> for String {
    fn from(address: ExternalAddress) -> String {
        address.to_string()
    }
}

impl NetConfig {
    /// The external addresses that are written down.
    pub fn fixed(&self) -> impl Iterator<Item = IpAddr> {
        self.external_address.iter().filter_map(|address| match address {
            ExternalAddress::Fixed(ip) => Some(*ip),
            ExternalAddress::Stun { .. } => None,
        })
    }

    /// Hosts and ports of the STUN servers.
    pub fn stun_servers(&self) -> impl Iterator<Item = (&str, u16)> {
        self.external_address.iter().filter_map(|address| match address {
            ExternalAddress::Fixed(_) => None,
            ExternalAddress::Stun { host, port } => Some((host.as_str(), *port)),
        })
    }

    /// What signaling knows at the start.
    pub fn known(&self) -> Net {
        let mut net = Net { local_networks: self.local_networks.clone(), ..Net::default() };
        self.fixed().for_each(|ip| net.external.set(ip));
        net
    }
}

/// Addresses that peers outside would be told and cannot reach, one for each family. Nothing is said when
/// `net.external_address` is set, be it to nothing.
pub(super) fn warnings(config: &Config, file: &Path, places: &Places) -> Vec<Problem> {
    if places.contains_key("net.external_address") {
        return Vec::new();
    }
    let (sip, net) = (&config.sip, config.net.known());
    let sockets = [("sip.udp", &sip.udp), ("sip.tcp", &sip.tcp), ("sip.tls", &sip.tls)];
    let signaling = sockets.iter().flat_map(|(key, list)| list.iter().map(|socket| (*key, socket.ip())));
    let bound = signaling.chain(config.rtp.bind.iter().map(|ip| ("rtp.bind", *ip)));
    // A machine with IPv6 has an address that everybody reaches; with IPv4 and behind a router it has none.
    let hidden = |ip: IpAddr| (ip.is_ipv4() && ip.is_unspecified()) || net.is_inside(ip);
    let doubtful: Vec<_> = bound.filter(|(_, ip)| !ip.is_loopback() && hidden(*ip)).collect();
    let first = |v4: bool| doubtful.iter().find(|(_, ip)| ip.is_ipv4() == v4);
    let warning = |&(key, ip): &(&str, IpAddr)| Problem {
        place: places.get(key).cloned().unwrap_or_else(|| Place::File(file.to_path_buf())),
        key: key.into(),
        what: match ip.is_unspecified() {
            true => {
                format!("{ip} may be behind a router, where peers outside cannot call what they are told")
            }
            false => format!("{ip} is what peers outside are told too, and they cannot reach it"),
        },
        fix: "set net.external_address to the address that they reach, or to \"stun:HOST\"; \
              [] if nobody calls from outside"
            .into(),
    };
    [first(true), first(false)].into_iter().flatten().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, check_all};
    use crate::site::testing::Folder;

    fn warned(text: &str) -> Vec<String> {
        let folder = Folder::new();
        let file = folder.write("dialtone.toml", text);
        folder.write("site.toml", "[[extension]]\nnumber = \"1\"\nname = \"A\"\npassword = \"of my own\"\n");
        let checked = check_all(&file, &Environment::new(), dialtone_core::Wall::from_micros(0)).unwrap();
        let start = format!("{}:", file.display());
        checked.warnings.iter().map(|warning| warning.to_string().replace(&start, "")).collect()
    }

    #[test]
    fn an_address_that_nobody_outside_reaches_is_doubtful() {
        let of = |sip: &str, rest: &str| warned(&format!("[sip]\nudp = [\"{sip}\"]\ntls = []\n{rest}"));
        let lan = of("192.168.1.7:5060", "[rtp]\nbind = [\"192.168.1.7\"]\n");
        assert_eq!(lan.len(), 1, "once is enough: {lan:#?}");
        assert!(lan[0].starts_with("2: sip.udp: 192.168.1.7 is what peers outside are told"), "{lan:#?}");
        assert!(lan[0].contains("net.external_address"), "{lan:#?}");
        assert_eq!(of("0.0.0.0:5060", "").len(), 1);
        assert_eq!(of("[fd00::7]:5060", "").len(), 1);
        let fine = [
            ("127.0.0.1:5060", ""),
            ("192.0.2.7:5060", ""),
            ("[::]:5060", ""),
            ("192.168.1.7:5060", "[net]\nexternal_address = []\n"),
            ("192.168.1.7:5060", "[net]\nexternal_address = [\"192.0.2.1\"]\n"),
            ("0.0.0.0:5060", "[net]\nexternal_address = [\"stun:stun.example\"]\n"),
            ("192.168.1.7:5060", "[net]\nlocal_networks = [\"10.0.0.0/8\"]\n"),
        ];
        for (sip, rest) in fine {
            assert_eq!(of(sip, rest), Vec::<String>::new(), "{sip} {rest}");
        }
    }
}
