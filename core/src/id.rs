//! Identities. Each carries the node and the boot that made it, so that ids of two machines, or of two
//! runs of one machine, never meet.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use foldhash::quality::RandomState;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A table by ids that we gave out ourselves: nobody outside can choose them so that they meet, and a fast hash
/// will do. What a peer chooses stands in a [`TextMap`].
pub type IdMap<K, V> = HashMap<K, V, FxBuildHasher>;

/// A table by texts of which a peer may choose some: its hash has a key that is random in each process.
pub type TextMap<K, V> = HashMap<K, V, RandomState>;

/// Which machine of the cluster; 1 on a single machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id of the form {prefix}<node>-<boot>-<number>")]
pub struct BadId {
    text: String,
    prefix: char,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            node: u16,
            boot: u32,
            number: u32,
        }

        impl $name {
            /// The id with this number that `source` stands for.
            pub const fn new(node: NodeId, boot: u32, number: u32) -> Self {
                Self { node: node.0, boot, number }
            }

            /// The running number within its boot.
            pub const fn number(self) -> u32 {
                self.number
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}-{:08x}-{}"), self.node, self.boot, self.number)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.number)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse(text, $prefix)
                    .map(|(node, boot, number)| Self { node, boot, number })
                    .ok_or_else(|| BadId { text: text.chars().take(64).collect(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// One caller's attempt.
    CallId,
    'c'
);
id!(
    /// One party's connection with us.
    LegId,
    'l'
);
id!(
    /// What a human calls "the call".
    ConversationId,
    'v'
);
id!(
    /// What joins the audio of legs.
    BridgeId,
    'b'
);
id!(
    /// One registered place of an endpoint.
    ContactId,
    'k'
);

/// A bound RTP/RTCP socket pair: the worker that owns it and its running number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortId {
    /// The worker that polls the sockets.
    pub worker: u16,
    /// Running number on that worker; never used twice.
    pub number: u32,
}

fn parse(text: &str, prefix: char) -> Option<(u16, u32, u32)> {
    let mut parts = text.strip_prefix(prefix)?.splitn(3, '-');
    let node = parts.next()?.parse().ok()?;
    let boot = u32::from_str_radix(parts.next()?, 16).ok()?;
    Some((node, boot, parts.next()?.parse().ok()?))
}

/// Hands out ids. Two sources with the same stride and different starts never collide, which lets
/// signaling name the legs that arrive and the PBX those that it originates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdSource {
    node: NodeId,
    boot: u32,
    next: u32,
    stride: u32,
}

impl IdSource {
    /// A source that hands out `start`, `start + stride`, …
    pub const fn new(node: NodeId, boot: u32, start: u32, stride: u32) -> Self {
        Self { node, boot, next: start, stride }
    }

    fn take(&mut self) -> u32 {
        let number = self.next;
        // At a thousand calls a second this wraps after weeks, far from any id still alive.
        self.next = self.next.wrapping_add(self.stride);
        number
    }

    /// The node whose ids these are.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The boot counter of the ids.
    pub const fn boot(&self) -> u32 {
        self.boot
    }

    /// A new call.
    pub fn call(&mut self) -> CallId {
        let number = self.take();
        CallId::new(self.node, self.boot, number)
    }

    /// A new leg.
    pub fn leg(&mut self) -> LegId {
        let number = self.take();
        LegId::new(self.node, self.boot, number)
    }

    /// A new bridge.
    pub fn bridge(&mut self) -> BridgeId {
        let number = self.take();
        BridgeId::new(self.node, self.boot, number)
    }

    /// A new contact.
    pub fn contact(&mut self) -> ContactId {
        let number = self.take();
        ContactId::new(self.node, self.boot, number)
    }
}

impl From<CallId> for ConversationId {
    /// A conversation begins with one call and takes its number.
    fn from(call: CallId) -> Self {
        ConversationId { node: call.node, boot: call.boot, number: call.number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_text() {
        let mut source = IdSource::new(NodeId(1), 0x6923_ab12, 1, 2);
        let (first, second) = (source.call(), source.call());
        assert_eq!(first.to_string(), "c1-6923ab12-1");
        assert_eq!(second.to_string(), "c1-6923ab12-3");
        assert_eq!("c1-6923ab12-3".parse::<CallId>(), Ok(second));
        for bad in ["", "c", "l1-6923ab12-3", "c1-6923ab12", "c1-xyz-3", "c99999-1-1", "c1-1-1-1"] {
            assert!(bad.parse::<CallId>().is_err(), "{bad}");
        }
    }
}
