//! `[dns]`: how names in SIP URIs are looked up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use dialtone_signaling::locate::DnsPolicy;
use dialtone_signaling::transport::DnsConfig as Servers;
use serde::{Deserialize, Serialize};

use super::duration;

const DNS_PORT: u16 = 53;

/// The address of a DNS server; its port is 53 when none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameServer(pub SocketAddr);

impl FromStr for NameServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        let address = text.parse().or_else(|_| plain());
        address.map(NameServer).map_err(|_| format!("{text:?} is neither an address nor \"ADDRESS:PORT\""))
    }
}

impl TryFrom<String> for NameServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            DNS_PORT => write!(f, "{}", self.0.ip()),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl From<NameServer> for String {
    fn from(server: NameServer) -> String {
        server.to_string()
    }
}

/// `[dns]`: see the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Who is asked; empty for the system's servers.
    pub servers: Vec<NameServer>,
    /// How long one answer is waited for.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How often a server is asked.
    pub attempts: usize,
    /// How long a request waits for where to go.
    #[serde(with = "duration")]
    pub patience: Duration,
    /// The least time for which records are believed.
    #[serde(with = "duration")]
    pub ttl_min: Duration,
    /// The longest time for which records are believed.
    #[serde(with = "duration")]
    pub ttl_max: Duration,
    /// The longest time for which it is believed that there are none.
    #[serde(with = "duration")]
    pub negative_ttl_max: Duration,
    /// How long records serve after their time while DNS fails.
    #[serde(with = "duration")]
    pub stale_max: Duration,
    /// How long a question that nobody answered rests.
    #[serde(with = "duration")]
    pub failure_rest: Duration,
    /// Answers that are kept.
    pub cache: usize,
    /// Requests that wait for where to go.
    pub max_waiting: usize,
    /// How long a target may be silent while there is another.
    #[serde(with = "duration")]
    pub failover_after: Duration,
    /// How long a target that failed is tried last.
    #[serde(with = "duration")]
    pub failed_for: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        let (policy, servers) = (DnsPolicy::default(), Servers::default());
        DnsConfig {
            servers: Vec::new(),
            timeout: servers.timeout,
            attempts: servers.attempts,
            patience: policy.patience,
            ttl_min: policy.ttl_min,
            ttl_max: policy.ttl_max,
            negative_ttl_max: policy.negative_ttl_max,
            stale_max: policy.stale_max,
            failure_rest: policy.failure_rest,
            cache: policy.cache,
            max_waiting: policy.waiting,
            failover_after: policy.failover_after,
            failed_for: policy.failed_for,
        }
    }
}

impl DnsConfig {
    /// What signaling goes by.
    pub fn policy(&self) -> DnsPolicy {
        DnsPolicy {
            patience: self.patience,
            ttl_min: self.ttl_min,
            ttl_max: self.ttl_max,
            negative_ttl_max: self.negative_ttl_max,
            stale_max: self.stale_max,
            failure_rest: self.failure_rest,
            cache: self.cache,
            waiting: self.max_waiting,
            failover_after: self.failover_after,
            failed_for: self.failed_for,
        }
    }

    /// What the transport goes by.
    pub fn servers(&self) -> Servers {
        let servers = self.servers.iter().map(|server| server.0).collect();
        Servers { servers, timeout: self.timeout, attempts: self.attempts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        for (text, address, shown) in [
            ("192.0.2.53", "192.0.2.53:53", "192.0.2.53"),
            ("192.0.2.53:5353", "192.0.2.53:5353", "192.0.2.53:5353"),
            ("2001:db8::53", "[2001:db8::53]:53", "2001:db8::53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            let server: NameServer = text.parse().unwrap();
            assert_eq!((server.0, server.to_string()), (address.parse().unwrap(), shown.to_owned()));
        }
        for wrong in ["", "dns.example", "192.0.2.53:", "192.0.2.53:70000"] {
            assert!(wrong.parse::<NameServer>().is_err(), "{wrong}");
        }
    }
}
