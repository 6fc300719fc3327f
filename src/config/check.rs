//! What the types cannot say about a configuration: ranges, and keys that must fit one another.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::load::Places;
use super::problem::{Place, Problem};
use super::{Config, duration};

struct Checker<'a> {
    file: &'a Path,
    places: &'a Places,
    problems: &'a mut Vec<Problem>,
}

/// Reports everything about `config` that cannot work.
pub(super) fn check(config: &Config, file: &Path, places: &Places, problems: &mut Vec<Problem>) {
    let mut checker = Checker { file, places, problems };
    checker.sip(config);
    checker.rtp(config);
    checker.net(config);
    checker.dns(config);
    checker.rest(config);
}

impl Checker<'_> {
    fn sip(&mut self, config: &Config) {
        let sip = &config.sip;
        self.addresses("sip.udp", &sip.udp);
        self.addresses("sip.tcp", &sip.tcp);
        self.addresses("sip.tls", &sip.tls);
        if sip.udp.is_empty() && sip.tcp.is_empty() && sip.tls.is_empty() {
            self.report(
                "sip.udp",
                "no address to listen on".into(),
                "name one in sip.udp, sip.tcp or sip.tls",
            );
        }
        self.apart(("sip.tls", &sip.tls), ("sip.tcp", &sip.tcp));
        if !is_host(&sip.domain) {
            self.report("sip.domain", format!("{:?} is not a host name", sip.domain), HOST_FIX);
        }
        for alias in sip.aliases.iter().filter(|alias| !is_host(alias)) {
            self.report("sip.aliases", format!("{alias:?} is not a host name"), HOST_FIX);
        }
        self.time("sip.t1", sip.t1, Duration::from_millis(100), Duration::from_secs(4));
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        // RFC 4028 §5: no less than 90 s; RFC 3261 §16.6: more than three minutes.
        self.time("sip.min_se", sip.min_se, Duration::from_secs(90), day);
        self.time("sip.session_expires", sip.session_expires, Duration::from_secs(90), day);
        if sip.session_expires < sip.min_se {
            self.report("sip.session_expires", "it is below sip.min_se".into(), "raise it");
        }
        self.time("sip.timer_c", sip.timer_c, Duration::from_secs(181), day);
        self.time("sip.expires_min", sip.expires_min, Duration::from_secs(1), day);
        self.time("sip.expires_max", sip.expires_max, minute, Duration::from_secs(365 * 86_400));
        if sip.expires_min > sip.expires_max {
            self.report("sip.expires_min", "it is above sip.expires_max".into(), "lower it");
        }
        if sip.expires_default < sip.expires_min || sip.expires_default > sip.expires_max {
            self.report(
                "sip.expires_default",
                "it is not between sip.expires_min and sip.expires_max".into(),
                "choose a time between them",
            );
        }
        self.range("sip.max_message_bytes", sip.max_message_bytes, 1500, 1 << 20);
        self.range("sip.max_connections", sip.max_connections, 1, 1_000_000);
        self.range("sip.max_connections_per_source", sip.max_connections_per_source, 1, 1_000_000);
        self.time("sip.connection_idle", sip.connection_idle, minute, day);
        self.range("sip.max_transactions", sip.max_transactions, 16, 10_000_000);
        self.range("sip.max_dialogs", sip.max_dialogs, 2, 1_000_000);
    }

    fn rtp(&mut self, config: &Config) {
        let rtp = &config.rtp;
        self.one_of_each_family("rtp.bind", &rtp.bind);
        if rtp.bind.is_empty() {
            self.report("rtp.bind", "no address to receive voice on".into(), "name one");
        }
        if rtp.port_min < 1024 {
            self.report("rtp.port_min", "it is below 1024".into(), "choose a port of 1024 or above");
        }
        if rtp.port_max < rtp.port_min.saturating_add(3) {
            self.report(
                "rtp.port_max",
                "there is no room for two pairs above rtp.port_min".into(),
                "raise it",
            );
        }
        self.range("rtp.workers", rtp.workers, 0, 256);
        self.range("rtp.reserve", rtp.reserve, 2, 10_000);
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        self.time("rtp.timeout", rtp.timeout, second, day);
        self.time("rtp.hold_timeout", rtp.hold_timeout, second, day);
        self.time("rtp.quarantine", rtp.quarantine, Duration::ZERO, Duration::from_secs(600));
    }

    fn net(&mut self, config: &Config) {
        let net = &config.net;
        let fixed: Vec<IpAddr> = net.fixed().collect();
        self.one_of_each_family("net.external_address", &fixed);
        for ip in &fixed {
            if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
                self.report("net.external_address", format!("{ip} cannot be called"), "name a real address");
            }
        }
        if net.stun_servers().count() > 1 {
            self.report("net.external_address", "two STUN servers".into(), "keep one");
        }
        for (host, _) in net.stun_servers() {
            if !is_host(host) {
                self.report("net.external_address", format!("{host:?} is not a host name"), HOST_FIX);
            }
        }
        let (least, most) = (Duration::from_secs(5), Duration::from_secs(3600));
        self.time("net.stun_interval", net.stun_interval, least, most);
    }

    fn dns(&mut self, config: &Config) {
        let dns = &config.dns;
        let (millis, second, day) =
            (Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(86_400));
        self.range("dns.servers", dns.servers.len(), 0, 8);
        for server in &dns.servers {
            if server.0.ip().is_unspecified() || server.0.ip().is_multicast() || server.0.port() == 0 {
                self.report("dns.servers", format!("{server} cannot be asked"), "name a real address");
            }
        }
        self.time("dns.timeout", dns.timeout, millis, second * 30);
        self.range("dns.attempts", dns.attempts, 1, 10);
        self.time("dns.patience", dns.patience, millis, second * 30);
        self.time("dns.ttl_min", dns.ttl_min, Duration::ZERO, day);
        self.time("dns.ttl_max", dns.ttl_max, second, day * 7);
        self.time("dns.negative_ttl_max", dns.negative_ttl_max, second, day);
        for (key, most) in [("ttl_max", dns.ttl_max), ("negative_ttl_max", dns.negative_ttl_max)] {
            if dns.ttl_min > most {
                self.report("dns.ttl_min", format!("it is above dns.{key}"), "lower it");
            }
        }
        self.time("dns.stale_max", dns.stale_max, Duration::ZERO, day * 7);
        self.time("dns.failure_rest", dns.failure_rest, millis, Duration::from_secs(300));
        self.range("dns.cache", dns.cache, 16, 1 << 20);
        self.range("dns.max_waiting", dns.max_waiting, 1, 1 << 20);
        self.time("dns.failover_after", dns.failover_after, millis, second * 32);
        self.time("dns.failed_for", dns.failed_for, Duration::ZERO, Duration::from_secs(3600));
    }

    fn one_of_each_family(&mut self, key: &str, addresses: &[IpAddr]) {
        let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv4());
        if v4.len() > 1 || v6.len() > 1 {
            let fix = "keep one IPv4 and one IPv6 address at most";
            self.report(key, "two addresses of one family".into(), fix);
        }
    }

    fn rest(&mut self, config: &Config) {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        self.addresses("http.bind", &config.http.bind);
        self.addresses("http.tls_bind", &config.http.tls_bind);
        self.apart(("http.tls_bind", &config.http.tls_bind), ("http.bind", &config.http.bind));
        self.time("tls.handshake_timeout", config.tls.handshake_timeout, second, Duration::from_secs(60));
        self.range("http.max_body_bytes", config.http.max_body_bytes, 1024, 64 << 20);
        self.time("http.timeout", config.http.timeout, second, hour);
        self.range("calls.max_calls", config.calls.max_calls, 1, 1_000_000);
        self.range("calls.max_branches", config.calls.max_branches, 1, 256);
        self.range("calls.max_redirections", config.calls.max_redirections, 0, 20);
        self.time("calls.ring_timeout", config.calls.ring_timeout, second, hour);
        self.time("calls.drain_timeout", config.calls.drain_timeout, Duration::ZERO, hour * 24);
        self.time("auth.nonce_lifetime", config.auth.nonce_lifetime, second, hour * 24);
        self.time("auth.failure_window", config.auth.failure_window, second, hour * 24);
        self.range("auth.failures_per_account", config.auth.failures_per_account, 1, 1_000_000);
        self.range("auth.failures_per_source", config.auth.failures_per_source, 1, 1_000_000);
        let guard = &config.guard;
        self.range("guard.accounts_tried", guard.accounts_tried, 2, 1000);
        self.time("guard.silence", guard.silence, second, hour * 24 * 7);
        for (key, rate) in [
            ("guard.datagrams_per_second", guard.datagrams_per_second),
            ("guard.challenges_per_second", guard.challenges_per_second),
            ("guard.refusals_per_second", guard.refusals_per_second),
            ("guard.requests_per_account", guard.requests_per_account),
        ] {
            self.range(key, rate, 1, 10_000_000);
        }
        self.time("guard.shed_lag", guard.shed_lag, Duration::from_millis(1), Duration::from_secs(4));
        for (key, parts) in
            [("guard.scanners", &guard.scanners), ("guard.scanner_hosts", &guard.scanner_hosts)]
        {
            if parts.iter().any(|part| part.trim().is_empty()) {
                self.report(key, "an empty text stands there".into(), "remove it");
            }
        }
        self.range("data.cdr_file_bytes", config.data.cdr_file_bytes, 4096, 1 << 40);
        self.range("data.trace_file_bytes", config.data.trace_file_bytes, 4096, 1 << 40);
        let limits = &config.limits;
        for (key, length) in [
            ("limits.control_queue", limits.control_queue),
            ("limits.send_queue", limits.send_queue),
            ("limits.media_queue", limits.media_queue),
            ("limits.event_queue", limits.event_queue),
            ("limits.state_queue", limits.state_queue),
            ("limits.record_queue", limits.record_queue),
        ] {
            self.range(key, length, 16, 1 << 24);
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.log.level) {
            self.report("log.level", error.to_string(), "write error, warn, info, debug or trace");
        }
    }

    fn addresses(&mut self, key: &str, addresses: &[SocketAddr]) {
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                self.report(key, format!("{address} stands there twice"), "remove one");
            }
            if matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast()) || address.ip().is_multicast() {
                self.report(
                    key,
                    format!("{address} is not an address of one machine"),
                    "name one of this machine",
                );
            }
        }
    }

    /// One address cannot be listened on twice; port 0 is a new one each time.
    fn apart(&mut self, (key, addresses): (&str, &[SocketAddr]), (other, taken): (&str, &[SocketAddr])) {
        for address in addresses.iter().filter(|address| address.port() != 0 && taken.contains(address)) {
            self.report(key, format!("{address} stands in {other} too"), "give one of them another port");
        }
    }

    fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, low: T, high: T) {
        if value < low || value > high {
            self.report(key, format!("{value} is out of range"), &format!("choose {low} to {high}"));
        }
    }

    fn time(&mut self, key: &str, value: Duration, low: Duration, high: Duration) {
        if value < low || value > high {
            let fix = format!("choose {} to {}", duration::print(low), duration::print(high));
            self.report(key, format!("{} is out of range", duration::print(value)), &fix);
        }
    }

    fn report(&mut self, key: &str, what: String, fix: &str) {
        let place = self.places.get(key).cloned().unwrap_or_else(|| Place::File(self.file.to_path_buf()));
        self.problems.push(Problem { place, key: key.into(), what, fix: fix.into() });
    }
}

const HOST_FIX: &str = "write a host name or an address, without a port";

/// A host name, an IPv4 address, or an IPv6 address without brackets.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && (text.parse::<IpAddr>().is_ok() || text.split('.').all(label))
}
