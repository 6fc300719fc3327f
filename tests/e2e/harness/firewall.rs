//! What the network of a scenario lets pass, and connections that are broken in it.

use std::process::Command;

use super::place::nft;

/// Rules in force.
pub struct Firewall;

impl Firewall {
    /// These rules of nftables for whatever is sent in this network.
    pub fn start(rules: &str) -> Firewall {
        nft(&format!(
            "table inet lab {{ chain out {{ type filter hook output priority 0; policy accept; {rules}; }}\n}}"
        ));
        Firewall
    }

    /// One more.
    pub fn also(&self, rule: &str) {
        nft(&format!("add rule inet lab out {rule}"));
    }

    /// How many packets its rules have counted, in all.
    pub fn counted(&self) -> u64 {
        let listed = nft("list table inet lab");
        let numbers =
            listed.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        numbers.sum()
    }
}

/// Breaks every TCP connection of this network that `filter` of ss says, at both ends. Gives how many.
pub fn break_connections(filter: &str) -> usize {
    let mut ss = Command::new("ss");
    let output = ss.args(["--no-header", "--kill", "--tcp", "state", "established"]).arg(filter).output();
    let output = output.unwrap_or_else(|error| panic!("ss does not start ({error}): install iproute2"));
    String::from_utf8(output.stdout).unwrap().lines().count()
}
