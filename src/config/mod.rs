//! How the process runs: addresses, limits, folders, logging. `conf/dialtone.toml`, the environment
//! and nothing else; who can call whom is the site ([`crate::site`]).
//!
//! A value comes from, in rising order: the default written here, the file, and the environment
//! variable `DIALTONE_<SECTION>_<KEY>` (`DIALTONE_PROFILE` for the one key outside a section). In a
//! variable, a list is separated by commas. A relative path counts from the folder of the file; in a
//! variable it counts from the working directory. Durations are text with a unit: `"500ms"`, `"30s"`,
//! `"5m"`, `"1h"`, `"1d"`.
//!
//! `conf/dialtone.toml` shows every key with its default, and a test holds it to that.

mod check;
mod dns;
pub(crate) mod document;
#[cfg(test)]
mod documented;
pub mod duration;
mod load;
mod net;
mod problem;
mod section;

pub use dns::{DnsConfig, NameServer};
pub use document::Document;
pub use load::{Checked, Environment, check_all, load, load_all, parse};
pub(crate) use load::{Places, finish};
pub use net::{ExternalAddress, NetConfig};
pub use problem::{Place, Problem, Problems};
pub use section::{
    AuthConfig, CallsConfig, DataConfig, GuardConfig, HttpConfig, LimitsConfig, LogConfig, LogFormat,
    RtpConfig, SipConfig, SiteConfig, TlsConfig,
};

use serde::{Deserialize, Serialize};

/// What the installation is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Trying out: logs are text, sample passwords are accepted on loopback.
    #[default]
    Dev,
    /// Real callers: logs are JSON, sample passwords are refused everywhere.
    Prod,
}

/// Everything in `dialtone.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the installation is for.
    pub profile: Profile,
    /// Where the site is written down.
    pub site: SiteConfig,
    /// Where everything is kept.
    pub data: DataConfig,
    /// How the machine is seen from elsewhere.
    pub net: NetConfig,
    /// SIP.
    pub sip: SipConfig,
    /// How names in SIP addresses are looked up.
    pub dns: DnsConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Passwords: challenges and throttling.
    pub auth: AuthConfig,
    /// Who is not answered, and what is refused when there is too much.
    pub guard: GuardConfig,
    /// Voice packets.
    pub rtp: RtpConfig,
    /// The web server.
    pub http: HttpConfig,
    /// Calls.
    pub calls: CallsConfig,
    /// Lengths of the queues between threads.
    pub limits: LimitsConfig,
    /// Logging.
    pub log: LogConfig,
}
