//! The sections of `dialtone.toml` and their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dialtone_signaling::net::Network;
use dialtone_signaling::transport::{GuardPolicy, Limits};
use serde::{Deserialize, Serialize};

use super::duration;
use crate::site::Secret;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// `[site]`: where the site is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteConfig {
    /// The site file.
    pub file: PathBuf,
    /// Folder of prompts, `<name>.wav`.
    pub prompts: PathBuf,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self { file: "site.toml".into(), prompts: "prompts".into() }
    }
}

/// `[data]`: where everything is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data directory; created when missing.
    pub dir: PathBuf,
    /// A file of call records is closed, and a new one begun, at this size.
    pub cdr_file_bytes: u64,
    /// The same for the traces of calls.
    pub trace_file_bytes: u64,
    /// Closed trace files kept; the oldest is removed. 0 keeps all. Call records are never removed.
    pub trace_files: u32,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dir: "../data".into(),
            cdr_file_bytes: 64 * 1024 * 1024,
            trace_file_bytes: 64 * 1024 * 1024,
            trace_files: 16,
        }
    }
}

/// `[sip]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SipConfig {
    /// UDP addresses to listen on.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses to listen on.
    pub tcp: Vec<SocketAddr>,
    /// TLS addresses to listen on.
    pub tls: Vec<SocketAddr>,
    /// The name of this system in SIP addresses, and the realm of its challenges.
    pub domain: String,
    /// Other names that phones know it by.
    pub aliases: Vec<String>,
    /// RFC 3261 T1: how long a round trip takes.
    #[serde(with = "duration")]
    pub t1: Duration,
    /// How long a call lasts that neither side refreshes (RFC 4028).
    #[serde(with = "duration")]
    pub session_expires: Duration,
    /// The shortest such time that a phone may ask for; less is answered 422.
    #[serde(with = "duration")]
    pub min_se: Duration,
    /// Timer C of RFC 3261: a phone that rings and says nothing more for so long is cancelled.
    #[serde(with = "duration")]
    pub timer_c: Duration,
    /// Shortest registration; less is answered 423.
    #[serde(with = "duration")]
    pub expires_min: Duration,
    /// Longest registration; more is cut to it.
    #[serde(with = "duration")]
    pub expires_max: Duration,
    /// Registration of a phone that names no time.
    #[serde(with = "duration")]
    pub expires_default: Duration,
    /// Largest message, bytes; a larger one is dropped, and its connection closed.
    pub max_message_bytes: usize,
    /// TCP and TLS connections at once.
    pub max_connections: usize,
    /// TCP and TLS connections at once from one address, which may be a router with many phones behind it.
    pub max_connections_per_source: usize,
    /// A connection that says nothing for so long is closed. Longer than registrations last: a phone
    /// may be silent between two of them.
    #[serde(with = "duration")]
    pub connection_idle: Duration,
    /// Transactions at once; beyond, requests are answered 503.
    pub max_transactions: usize,
    /// Dialogs at once; beyond, calls are answered 503.
    pub max_dialogs: usize,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            udp: vec![loopback(5060)],
            tcp: vec![loopback(5060)],
            tls: vec![loopback(5061)],
            domain: "dialtone".into(),
            aliases: Vec::new(),
            t1: Duration::from_millis(500),
            session_expires: Duration::from_secs(30 * 60),
            min_se: Duration::from_secs(90),
            timer_c: Duration::from_secs(4 * 60),
            expires_min: Duration::from_secs(60),
            expires_max: Duration::from_secs(86_400),
            expires_default: Duration::from_secs(3600),
            max_message_bytes: 65_535,
            max_connections: 8192,
            max_connections_per_source: 1024,
            connection_idle: Duration::from_secs(2 * 3600),
            max_transactions: 100_000,
            max_dialogs: 20_000,
        }
    }
}

/// `[tls]`: our certificate, and whom we believe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Our certificate and those that vouch for it, PEM; empty for a self-signed one of our own.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// Whether a peer that we connect to must prove who it is.
    pub verify_peers: bool,
    /// Whom to believe then instead of the system's authorities, PEM; empty for those.
    pub ca_file: PathBuf,
    /// Longest time that the handshake of a SIP peer may take.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            private_key: PathBuf::new(),
            verify_peers: true,
            ca_file: PathBuf::new(),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// `[auth]`: challenges and throttling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// How long a nonce may be used.
    #[serde(with = "duration")]
    pub nonce_lifetime: Duration,
    /// Key of the nonces; empty for a random one at each start.
    pub nonce_secret: Secret,
    /// The same, read from a file.
    pub nonce_secret_file: PathBuf,
    /// Failed attempts on one account within `failure_window` before it is slowed down.
    pub failures_per_account: u32,
    /// Failed attempts from one address within `failure_window` before it is slowed down.
    pub failures_per_source: u32,
    /// The window over which failures are counted.
    #[serde(with = "duration")]
    pub failure_window: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            nonce_lifetime: Duration::from_secs(300),
            nonce_secret: Secret::default(),
            nonce_secret_file: PathBuf::new(),
            failures_per_account: 5,
            failures_per_source: 20,
            failure_window: Duration::from_secs(60),
        }
    }
}

/// `[guard]`: who is not answered, and what is refused when there is too much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// Parts of a User-Agent by which scanners give themselves away.
    pub scanners: Vec<String>,
    /// Hosts that scanners write into From.
    pub scanner_hosts: Vec<String>,
    /// Networks whose members are neither taken for scanners nor silenced.
    pub trusted: Vec<Network>,
    /// Accounts at which one address may fail within `auth.failure_window`; then it is silenced.
    pub accounts_tried: u32,
    /// How long a silenced address is not answered.
    #[serde(with = "duration")]
    pub silence: Duration,
    /// Datagrams per second from one address; what shows that it is not forged has as many again.
    pub datagrams_per_second: u32,
    /// Challenges per second to one address, and as many 503.
    pub challenges_per_second: u32,
    /// Other stateless refusals per second to one address.
    pub refusals_per_second: u32,
    /// New requests per second of one account from one address.
    pub requests_per_account: u32,
    /// How long an input of the control thread may wait before new calls are refused.
    #[serde(with = "duration")]
    pub shed_lag: Duration,
}

impl Default for GuardConfig {
    fn default() -> Self {
        let (policy, limits) = (GuardPolicy::default(), Limits::default());
        Self {
            scanners: policy.scanners,
            scanner_hosts: policy.scanner_hosts,
            trusted: policy.trusted,
            accounts_tried: 10,
            silence: policy.silence,
            datagrams_per_second: limits.datagrams_per_second,
            challenges_per_second: limits.challenges_per_second,
            refusals_per_second: limits.refusals_per_second,
            requests_per_account: limits.requests_per_account,
            shed_lag: Duration::from_millis(100),
        }
    }
}

/// `[rtp]`: voice packets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtpConfig {
    /// Addresses to receive on: at most one of IPv4 and one of IPv6.
    pub bind: Vec<IpAddr>,
    /// Lowest port.
    pub port_min: u16,
    /// Highest port.
    pub port_max: u16,
    /// Media threads; 0 for one per core.
    pub workers: u16,
    /// Bound port pairs that each media thread keeps ready.
    pub reserve: u16,
    /// A call whose sound stops ends after this time.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The same for a call on hold.
    #[serde(with = "duration")]
    pub hold_timeout: Duration,
    /// How long a used port stays unused, so that late packets of one call never reach another.
    #[serde(with = "duration")]
    pub quarantine: Duration,
}

impl Default for RtpConfig {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port_min: 10_000,
            port_max: 20_000,
            workers: 0,
            reserve: 64,
            timeout: Duration::from_secs(60),
            hold_timeout: Duration::from_secs(1800),
            quarantine: Duration::from_secs(5),
        }
    }
}

/// `[http]`: the web server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Addresses to listen on.
    pub bind: Vec<SocketAddr>,
    /// Addresses to listen on with TLS.
    pub tls_bind: Vec<SocketAddr>,
    /// Largest request body, bytes.
    pub max_body_bytes: usize,
    /// Longest time that a request may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            bind: vec![loopback(8080)],
            tls_bind: vec![loopback(8443)],
            max_body_bytes: 64 * 1024,
            timeout: Duration::from_secs(10),
        }
    }
}

/// `[calls]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallsConfig {
    /// Calls at once; beyond, callers get 503.
    pub max_calls: u32,
    /// Phones that may ring at once for one caller.
    pub max_branches: u32,
    /// How often one call follows phones that send it elsewhere.
    pub max_redirections: u32,
    /// How long phones ring when the site does not say.
    #[serde(with = "duration")]
    pub ring_timeout: Duration,
    /// How long a stop waits for calls to end by themselves.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self {
            max_calls: 2000,
            max_branches: 32,
            max_redirections: 5,
            ring_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(60),
        }
    }
}

/// `[limits]`: lengths of the queues between threads. A full queue sheds or refuses, with a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Inputs that wait for the control thread.
    pub control_queue: usize,
    /// Messages that wait to be sent by one SIP socket.
    pub send_queue: usize,
    /// Commands that wait for one media thread.
    pub media_queue: usize,
    /// Events that wait for their folds.
    pub event_queue: usize,
    /// Changes of live state that wait to be written.
    pub state_queue: usize,
    /// Records that wait to be written; beyond, new calls are refused.
    pub record_queue: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            control_queue: 16_384,
            send_queue: 4096,
            media_queue: 4096,
            event_queue: 65_536,
            state_queue: 8192,
            record_queue: 8192,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// As the profile says: text for `dev`, JSON for `prod`.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged: a level, or a list such as `info,dialtone_signaling=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// A file for what concerns security, a line per event; empty for none but the log.
    pub security: PathBuf,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto, security: PathBuf::new() }
    }
}
