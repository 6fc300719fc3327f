//! What the switch has asked for so far.

use dialtone::switch::Effect;
use dialtone_core::media::MediaCommand;
use dialtone_signaling::wire::{Opens, Transport};

use super::world::World;

impl World {
    /// Over what the switch sent whatever begins so.
    pub fn ways_of(&self, prefix: &str) -> Vec<Transport> {
        let inner = self.0.borrow();
        let sent = inner.effects.iter().filter_map(|(_, effect)| match effect {
            Effect::Send(transmit) if transmit.payload.starts_with(prefix.as_bytes()) => {
                Some(transmit.path.transport)
            }
            _ => None,
        });
        sent.collect()
    }

    /// Who must prove to be there for whatever the switch sent that begins so; `None` is whoever has that address.
    pub fn domains_of(&self, prefix: &str) -> Vec<Option<String>> {
        let inner = self.0.borrow();
        let sent = inner.effects.iter().filter_map(|(_, effect)| match effect {
            Effect::Send(transmit) if transmit.payload.starts_with(prefix.as_bytes()) => {
                Some(match &transmit.opens {
                    Opens::Named(domain) => Some(domain.to_string()),
                    Opens::Peer | Opens::At(_) | Opens::Nowhere => None,
                })
            }
            _ => None,
        });
        sent.collect()
    }

    /// The connections that the switch has closed.
    pub fn closed(&self) -> Vec<u64> {
        let inner = self.0.borrow();
        let closed = inner.effects.iter().filter_map(|(_, effect)| match effect {
            Effect::Close(flow) => Some(flow.0),
            _ => None,
        });
        closed.collect()
    }

    /// What the media engine was told.
    pub fn media_commands(&self) -> Vec<MediaCommand> {
        let inner = self.0.borrow();
        let media = inner.effects.iter().filter_map(|(_, effect)| match effect {
            Effect::Media(command) => Some(command.clone()),
            _ => None,
        });
        media.collect()
    }

    /// The last bridge that the engine was told; its ports may be gone.
    pub fn last_bridge(&self) -> Option<MediaCommand> {
        let inner = self.0.borrow();
        let mut bridges = inner.effects.iter().rev().filter_map(|(_, effect)| match effect {
            Effect::Media(command @ MediaCommand::Bridge { .. }) => Some(command.clone()),
            _ => None,
        });
        bridges.next()
    }
}
