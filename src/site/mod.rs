//! The site as an administrator writes it down (`site.toml`), checked as a whole and turned into what
//! calls and the registrar work with.
//!
//! Nothing half-good comes out: [`crate::config::load_all`] gives the whole [`Loaded`] or all problems.
//! What each key means stands in `conf/site.toml`.

mod entry;
mod exposure;
mod facts;
mod file;
mod read;
mod secret;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use exposure::check_exposure;
pub use facts::facts;
pub(crate) use read::load;
pub use read::parse;
pub use secret::{Secret, SecretError};

use dialtone_core::leg::Number;
use dialtone_core::site::Site;
use dialtone_signaling::registrar::ReachPolicy;
use dialtone_signaling::ua::{IdentityPolicy, Reliability};
use dialtone_signaling::wire::Transport;
use serde::{Deserialize, Serialize};

/// The challenges of a site that does not say.
const DIGEST_DEFAULT: [Digest; 2] = [Digest::Md5, Digest::Sha256];

/// A digest algorithm that a challenge may name (RFC 7616).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digest {
    /// MD5: what every phone knows.
    #[serde(rename = "md5")]
    Md5,
    /// SHA-256 (RFC 8760).
    #[serde(rename = "sha-256")]
    Sha256,
}

/// What a registration meets when an extension already has all its contacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContactPolicy {
    /// The contact registered longest ago goes.
    #[default]
    ReplaceOldest,
    /// The new one is refused.
    Refuse,
}

/// A transport as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// Datagrams.
    Udp,
    /// Connections in the clear.
    Tcp,
    /// Connections inside TLS.
    Tls,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => Transport::Udp,
            TransportName::Tcp => Transport::Tcp,
            TransportName::Tls => Transport::Tls,
        }
    }
}

/// What the registrar and the digest check know of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSpec {
    /// The extension; also the SIP user name.
    pub number: Number,
    /// Its password.
    pub password: Secret,
    /// The challenges it gets, in this order.
    pub algorithms: Vec<Digest>,
    /// Contacts it may have at once.
    pub max_contacts: u32,
    /// What happens to one more.
    pub contact_policy: ContactPolicy,
    /// Whether provisional answers to and from it are reliable.
    pub reliability: Reliability,
    /// How it is reached.
    pub reach: ReachPolicy,
    /// How far it is believed about who calls, and what it is told.
    pub identity: IdentityPolicy,
}

impl AccountSpec {
    /// Whether the password is the one that everybody can read in the sample site.
    pub fn has_sample_password(&self) -> bool {
        self.password.reveal().strip_prefix("dialtone-") == Some(&self.number)
    }
}

/// A site that has passed every check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// For calls.
    pub site: Site,
    /// For the registrar, by rising number.
    pub accounts: Vec<AccountSpec>,
    /// The challenges of the site, for whoever has no account of their own order: unknown users too.
    pub algorithms: Vec<Digest>,
    /// The realm of challenges; `sip.domain` of the configuration.
    pub realm: String,
}

/// Extensions of one site.
pub const EXTENSIONS_MAX: usize = 20_000;
/// Members of one ring group.
pub const MEMBERS_MAX: usize = 64;
/// Contacts of one extension.
pub const CONTACTS_MAX: u32 = 50;
/// Characters of a number.
pub const NUMBER_MAX: usize = 32;
/// Characters of a name.
pub const NAME_MAX: usize = 64;
/// Pickup groups of one extension at most.
pub const GROUPS_MAX: usize = 16;
