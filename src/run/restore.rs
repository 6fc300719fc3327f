//! Bindings as they are kept over a restart: JSON under `endpoint/contact`, with a deadline that holds
//! across boots.

use dialtone_core::Number;
use dialtone_core::time::{ClockReading, Kept};
use dialtone_signaling::registrar::{Binding, BindingChange};
use dialtone_signaling::stack::SipInput;
use dialtone_store::{Batch, Change, StateError, StateStore};
use serde::{Deserialize, Serialize};

const TREE: &str = "bindings";

#[derive(Serialize, Deserialize)]
struct Record {
    endpoint: Number,
    binding: Binding,
    expires: Kept,
}

/// Changes, as the state writer takes them.
pub(super) fn batch(changes: &[BindingChange], notify: Option<u64>, clock: ClockReading) -> Batch {
    let key = |endpoint: &str, contact| format!("{endpoint}/{contact}").into_bytes();
    let change = |change: &BindingChange| match change {
        BindingChange::Put { endpoint, binding } => {
            let expires = clock.keep(binding.expires);
            let record = Record { endpoint: endpoint.clone(), binding: binding.clone(), expires };
            // A record is plain data with text keys: this cannot fail.
            let value = serde_json::to_vec(&record).unwrap_or_default();
            Change::Put { tree: TREE, key: key(endpoint, binding.contact), value }
        }
        BindingChange::Remove { endpoint, contact } => {
            Change::Remove { tree: TREE, key: key(endpoint, *contact) }
        }
    };
    Batch { changes: changes.iter().map(change).collect(), notify }
}

/// Every binding that was kept. One that cannot be read is left out: its phone registers again.
pub(super) fn bindings(store: &impl StateStore, clock: ClockReading) -> Result<Vec<SipInput>, StateError> {
    let mut restored = Vec::new();
    for (_, value) in store.scan(TREE, b"")? {
        match serde_json::from_slice::<Record>(&value) {
            Ok(Record { endpoint, mut binding, expires }) => {
                binding.expires = clock.restore(expires);
                restored.push(SipInput::Restore { endpoint, binding });
            }
            Err(error) => tracing::warn!(%error, "a kept registration cannot be read"),
        }
    }
    Ok(restored)
}
