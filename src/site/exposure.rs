//! Keeps passwords that everybody knows away from everybody's network.

use std::net::IpAddr;
use std::path::Path;

use super::Loaded;
use crate::config::{Config, Place, Places, Problem, Profile};

/// Reports each address that the sample passwords forbid.
pub(crate) fn check_exposure(
    config: &Config,
    places: &Places,
    file: &Path,
    loaded: &Loaded,
    problems: &mut Vec<Problem>,
) {
    let sample = || loaded.accounts.iter().filter(|account| account.has_sample_password());
    let Some(first) = sample().next() else { return };
    let others = sample().count() - 1;
    let whose = match others {
        0 => format!("extension {} has a sample password", first.number),
        others => format!("extension {} and {others} more have sample passwords", first.number),
    };
    let own_passwords = format!("give every extension of {} its own password", config.site.file.display());
    let mut report = |key: &str, what: String, fix: String| {
        let place = places.get(key).cloned().unwrap_or_else(|| Place::File(file.to_path_buf()));
        problems.push(Problem { place, key: key.into(), what, fix });
    };
    if config.profile == Profile::Prod {
        report("profile", format!("{whose}, which prod does not allow"), own_passwords.clone());
    }
    let rtp: Vec<(&str, IpAddr)> = config.rtp.bind.iter().map(|ip| ("rtp.bind", *ip)).collect();
    let sockets = [
        ("sip.udp", &config.sip.udp),
        ("sip.tcp", &config.sip.tcp),
        ("sip.tls", &config.sip.tls),
        ("http.bind", &config.http.bind),
        ("http.tls_bind", &config.http.tls_bind),
    ];
    let sockets = sockets.iter().flat_map(|(key, list)| list.iter().map(|address| (*key, address.ip())));
    for (key, ip) in sockets.chain(rtp) {
        if !ip.is_loopback() {
            report(
                key,
                format!("{ip} can be reached by others, and {whose}"),
                format!(
                    "{own_passwords}, or bind 127.0.0.1, or begin a site of your own with `dialtone init --lan`"
                ),
            );
        }
    }
}
