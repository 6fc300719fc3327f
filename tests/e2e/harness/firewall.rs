//! What the network of a scenario lets pass, and connections that are broken in it.

use std::io::Write;
use std::process::{Command, Stdio};

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

/// Runs a script of nftables; gives what it printed.
fn nft(script: &str) -> String {
    let mut nft = Command::new("nft");
    let mut nft =
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("nft does not start ({error}): install the Debian package nftables")
        });
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = nft.wait_with_output().unwrap();
    assert!(output.status.success(), "nft: {}: {script}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Breaks every TCP connection of this network that `filter` of ss says, at both ends. Gives how many.
pub fn break_connections(filter: &str) -> usize {
    let mut ss = Command::new("ss");
    let output = ss.args(["--no-header", "--kill", "--tcp", "state", "established"]).arg(filter).output();
    let output = output.unwrap_or_else(|error| panic!("ss does not start ({error}): install iproute2"));
    String::from_utf8(output.stdout).unwrap().lines().count()
}
