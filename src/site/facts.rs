//! What somebody with a phone in the hand needs to know; for the terminal and for the page.

use std::net::SocketAddr;

use super::Loaded;
use crate::config::{Config, NetConfig};

/// Names and values: where to register, with what, and what to dial first.
pub fn facts(config: &Config, loaded: &Loaded) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_string(), value));
    let sip = &config.sip;
    let transports = [("SIP over UDP", &sip.udp), ("SIP over TCP", &sip.tcp), ("SIP over TLS", &sip.tls)];
    for (name, addresses) in transports {
        for address in addresses {
            fact(name, reachable(address, &config.net));
        }
    }
    fact("Domain, realm", config.sip.domain.clone());
    if let (Some(first), Some(last)) = (loaded.accounts.first(), loaded.accounts.last()) {
        let numbers =
            if first == last { first.number.clone() } else { format!("{} to {}", first.number, last.number) };
        fact("Accounts", numbers);
        let sample = loaded.accounts.iter().all(super::AccountSpec::has_sample_password);
        let password = match sample {
            true => format!("dialtone-<number>, as in {}", first.password.reveal()),
            false => format!("as in {}", config.site.file.display()),
        };
        fact("Password", password);
    }
    if let Some(flow) = loaded.site.flows.values().next() {
        fact("Dial first", format!("{} ({})", flow.number, flow.name));
    }
    for address in &config.http.bind {
        fact("Web", format!("http://{address}/"));
    }
    for address in &config.http.tls_bind {
        fact("Web", format!("https://{address}/"));
    }
    facts
}

/// Where a phone reaches the socket at `address`, also from outside.
fn reachable(address: &SocketAddr, net: &NetConfig) -> String {
    let external = net.fixed().find(|ip| ip.is_ipv4() == address.is_ipv4() && !address.ip().is_loopback());
    match external.map(|ip| SocketAddr::new(ip, address.port())) {
        Some(external) if external != *address => format!("{address}; from outside {external}"),
        Some(_) | None => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load_all};

    fn told(variables: &[(&str, &str)]) -> String {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dialtone.toml");
        let environment: Environment =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (config, loaded) = load_all(&file, &environment).unwrap();
        let facts = facts(&config, &loaded);
        facts.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn the_sample_site_says_all_that_a_phone_needs() {
        assert_eq!(
            told(&[("DIALTONE_SIP_TCP", "[::1]:5060")]),
            "SIP over UDP: 127.0.0.1:5060\n\
             SIP over TCP: [::1]:5060\n\
             SIP over TLS: 127.0.0.1:5061\n\
             Domain, realm: dialtone\n\
             Accounts: 1001 to 1010\n\
             Password: dialtone-<number>, as in dialtone-1001\n\
             Dial first: *43 (Echo test)\n\
             Web: http://127.0.0.1:8080/\n\
             Web: https://127.0.0.1:8443/\n"
        );
    }

    #[test]
    fn the_address_outside_is_shown_too() {
        let mut net = NetConfig::default();
        let own = "192.168.1.7:5062".parse().unwrap();
        assert_eq!(reachable(&own, &net), "192.168.1.7:5062");
        net.external_address = vec!["192.0.2.1".parse().unwrap()];
        assert_eq!(reachable(&own, &net), "192.168.1.7:5062; from outside 192.0.2.1:5062");
        assert_eq!(reachable(&"127.0.0.1:5060".parse().unwrap(), &net), "127.0.0.1:5060");
        assert_eq!(reachable(&"[fd00::1]:5060".parse().unwrap(), &net), "[fd00::1]:5060");
    }
}
