//! What an extension may register, and how it is reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked::through_proxy;
use crate::message::Request;
use crate::net::same_host;
use crate::wire::{Path, Transport};

/// How long bindings may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryPolicy {
    /// Shorter is refused with 423.
    pub min: Duration,
    /// Longer is shortened to this.
    pub max: Duration,
    /// When nothing is asked for.
    pub default: Duration,
}

impl Default for ExpiryPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        ExpiryPolicy { min: seconds(60), max: seconds(86_400), default: seconds(3600) }
    }
}

/// What one extension may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactPolicy {
    /// Contacts at a time.
    pub contacts_max: usize,
    /// Whether one more takes the place of the oldest, rather than being refused.
    pub replaces_oldest: bool,
}

impl Default for ContactPolicy {
    fn default() -> Self {
        ContactPolicy { contacts_max: 5, replaces_oldest: true }
    }
}

/// Whether a contact is believed, or its phone called back where its REGISTER came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// A contact of the host from which the REGISTER came is believed; any other is behind a NAT.
    #[default]
    Auto,
    /// Always called back.
    Always,
    /// Always believed.
    Never,
}

impl Nat {
    /// What is known when a request of the phone is seen: one that does not know the address from which its packets
    /// come is behind a NAT, whatever its contact says (RFC 3581 §4).
    pub(crate) fn of(self, request: &Request, path: Path) -> Nat {
        let via = request.via().ok().and_then(|via| via.host.ip());
        let elsewhere = via.is_some_and(|ip| !same_host(ip, path.remote.ip()));
        if self == Nat::Auto && elsewhere && !through_proxy(request) { Nat::Always } else { self }
    }
}

/// How one extension is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachPolicy {
    /// Whether its contacts are believed.
    pub nat: Nat,
    /// The only transports over which it registers, calls and is called; empty for any.
    pub transports: Vec<Transport>,
    /// How often its contacts are asked whether they are there; zero for never.
    pub qualify: Duration,
}

impl ReachPolicy {
    /// Whether it may speak over this transport.
    pub fn allows(&self, transport: Transport) -> bool {
        self.transports.is_empty() || self.transports.contains(&transport)
    }
}
