//! Which address of ours a peer is told: that of this machine, or that of the address translator (NAT) in front of
//! it, depending on where the peer is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::wire::Path;

/// At most one address of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Of IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Addresses {
    /// That of the family of `like`.
    pub fn of_family(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }

    /// Puts one in the place of its family.
    pub fn set(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.ipv4 = Some(ip),
            IpAddr::V6(ip) => self.ipv6 = Some(ip),
        }
    }

    /// The address that a socket bound to `bound` speaks from: that one, or, when it is every address, the one that a
    /// peer is known to see, or else what is here.
    pub fn instead_of(&self, bound: IpAddr, seen: IpAddr) -> IpAddr {
        let usable = seen.is_ipv4() == bound.is_ipv4() && !seen.is_unspecified();
        match (bound.is_unspecified(), usable) {
            (false, _) => bound,
            (true, true) => seen,
            (true, false) => self.of_family(bound).unwrap_or(bound),
        }
    }

    /// Both, as far as known.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// A block of addresses: `192.168.0.0/16` (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// What cannot be read as a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is no address, or none with a length behind a slash.
    #[error("not a network such as 192.168.0.0/16 or fc00::/7")]
    Malformed,
    /// It names one machine of the network and not its beginning.
    #[error("the address has bits beyond the length of the network")]
    HostBits,
}

/// Whether both are one address: an IPv4 address in the form of IPv6 counts as what it stands for.
pub(crate) fn same_host(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

impl Network {
    /// This machine.
    pub const LOOPBACK: [Network; 2] = [
        Network { base: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Network { base: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ];

    /// Whether an address is in it. An IPv4 address in the form of IPv6 counts as what it stands for.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && masked(ip, self.prefix) == self.base
    }
}

/// The address with all bits behind the first `prefix` cleared.
fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads an address with a length; an address alone is a network of one.
    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(ip, rest)| (ip, Some(rest)));
        let base: IpAddr = address.trim().parse().map_err(|_| NetworkError::Malformed)?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = length.map_or(Ok(longest), |length| length.trim().parse());
        let prefix = prefix.ok().filter(|prefix| *prefix <= longest).ok_or(NetworkError::Malformed)?;
        if masked(base, prefix) != base {
            return Err(NetworkError::HostBits);
        }
        Ok(Network { base, prefix })
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Network, NetworkError> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

/// The networks that nobody reaches through a translator: loopback and link-local (RFC 1122 §3.2.1.3, RFC 3927,
/// RFC 4291 §2.5), private (RFC 1918 §3) and unique local ones (RFC 4193 §3.1).
pub fn local_networks() -> Vec<Network> {
    let v4 = |base: [u8; 4], prefix| Network { base: base.into(), prefix };
    let v6 = |first: u16, prefix| Network { base: [first, 0, 0, 0, 0, 0, 0, 0].into(), prefix };
    let [loopback, loopback6] = Network::LOOPBACK;
    vec![
        loopback,
        v4([10, 0, 0, 0], 8),
        v4([172, 16, 0, 0], 12),
        v4([192, 168, 0, 0], 16),
        v4([169, 254, 0, 0], 16),
        loopback6,
        v6(0xfc00, 7),
        v6(0xfe80, 10),
    ]
}

/// How this machine is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// Peers in these are inside: they are told the address of this machine.
    pub local_networks: Vec<Network>,
    /// What everybody else is told; the address of this machine where there is none.
    pub external: Addresses,
    /// What the kernel would use towards the world: for sockets that are bound to every address, and peers of whom
    /// nothing better is known.
    pub default: Addresses,
}

impl Default for Net {
    fn default() -> Self {
        Net {
            local_networks: local_networks(),
            external: Addresses::default(),
            default: Addresses::default(),
        }
    }
}

impl Net {
    /// Whether an address is in one of our own networks.
    pub fn is_inside(&self, ip: IpAddr) -> bool {
        self.local_networks.iter().any(|network| network.contains(ip))
    }

    /// The address of ours that the peer at the far end of `path` is told, where a socket is bound to `bound`: in
    /// Via and Contact that of the path, in a description that of the media port.
    pub fn shown(&self, path: Path, bound: IpAddr) -> IpAddr {
        let external = || self.external.of_family(bound);
        if !self.is_inside(path.remote.ip())
            && let Some(external) = external()
        {
            return external;
        }
        // The kernel chose the path's own address towards this very peer.
        self.default.instead_of(bound, path.local.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FlowId, Transport};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn path(local: &str, remote: &str) -> Path {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Path { transport: Transport::Udp, flow: FlowId(1), local, remote }
    }

    /// RFC 4632 §3.1, RFC 4291 §2.3.
    #[test]
    fn a_network_is_an_address_with_a_length() {
        let network = |text: &str| text.parse::<Network>();
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "192.0.2.7/32", "fc00::/7", "2001:db8::1/128"] {
            assert_eq!(network(text).unwrap().to_string(), text);
        }
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "fc00::/129", "localhost", "10.0.0.0/-1"] {
            assert_eq!(network(text), Err(NetworkError::Malformed), "{text:?}");
        }
        for text in ["10.0.0.1/8", "fe80::1/10"] {
            assert_eq!(network(text), Err(NetworkError::HostBits), "{text:?}");
        }
        assert!(network("0.0.0.0/0").unwrap().contains(ip("255.255.255.255")));
        assert!(!network("0.0.0.0/0").unwrap().contains(ip("::1")), "another family");
        assert!(network("10.0.0.0/8").unwrap().contains(ip("::ffff:10.1.2.3")));
    }

    #[test]
    fn a_network_has_who_begins_like_it() {
        let cases = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "::1", true),
        ];
        for (network, ip, inside) in cases {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(ip.parse().unwrap()), inside, "{network} {ip}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
        for wrong in ["", "x", "192.0.2.0/33", "192.0.2.0/", "::/129", "192.0.2.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        for (network, ip) in Network::LOOPBACK.iter().zip(["127.0.0.1", "::1"]) {
            assert!(network.contains(ip.parse().unwrap()));
        }
    }

    /// RFC 1918 §3, RFC 4193 §3.1, RFC 3927, RFC 4291 §2.5.
    #[test]
    fn private_networks_are_inside() {
        let net = Net::default();
        let inside = [
            "127.0.0.1",
            "10.255.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.3.4",
            "::1",
            "fd00::1",
            "fe80::1",
        ];
        for address in inside {
            assert!(net.is_inside(ip(address)), "{address}");
        }
        for address in ["172.32.0.1", "192.169.0.1", "11.0.0.1", "128.0.0.1", "2001:db8::1", "::2", "fec0::1"]
        {
            assert!(!net.is_inside(ip(address)), "{address}");
        }
    }

    #[test]
    fn a_peer_outside_is_told_the_external_address_and_one_inside_our_own() {
        let mut net = Net::default();
        let (inside, outside) =
            (path("10.0.0.1:5060", "10.0.0.9:5060"), path("10.0.0.1:5060", "203.0.113.9:5060"));
        assert_eq!(net.shown(outside, ip("10.0.0.1")), ip("10.0.0.1"), "there is no other");
        net.external.set(ip("198.51.100.1"));
        assert_eq!(net.shown(outside, ip("10.0.0.1")), ip("198.51.100.1"));
        assert_eq!(net.shown(inside, ip("10.0.0.1")), ip("10.0.0.1"));
        let outside6 = path("[fd00::1]:5060", "[2001:db8::9]:5060");
        assert_eq!(net.shown(outside6, ip("fd00::1")), ip("fd00::1"), "there is none of this family");
        // The family of media may be another one than that of signaling.
        assert_eq!(net.shown(outside6, ip("10.0.0.1")), ip("198.51.100.1"));
    }

    #[test]
    fn every_address_is_none_that_can_be_told() {
        let mut net = Net::default();
        let inside = path("10.0.0.1:5060", "10.0.0.9:5060");
        assert_eq!(net.shown(inside, ip("0.0.0.0")), ip("10.0.0.1"));
        net.default.set(ip("2001:db8::1"));
        assert_eq!(net.shown(inside, ip("::")), ip("2001:db8::1"));
        assert_eq!(net.shown(path("0.0.0.0:5060", "[2001:db8::9]:5060"), ip("::")), ip("2001:db8::1"));
        net.external.set(ip("198.51.100.1"));
        assert_eq!(net.shown(path("0.0.0.0:5060", "203.0.113.9:5060"), ip("0.0.0.0")), ip("198.51.100.1"));
    }
}
