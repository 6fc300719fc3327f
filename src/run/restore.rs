//! Bindings as they are kept over a restart: JSON under `endpoint/contact`, with a deadline that holds
//! across boots.

use dialtone_core::Number;
use dialtone_core::time::{ClockReading, Kept};
use dialtone_signaling::registrar::{Binding, BindingChange, GruuKey};
use dialtone_signaling::stack::SipInput;
use dialtone_store::{Batch, Change, StateError, StateStore};
use serde::{Deserialize, Serialize};

const TREE: &str = "bindings";
/// Where keys are that must be the same after a restart.
const KEYS: &str = "keys";
const GRUU_KEY: &[u8] = b"gruu";

/// What a record of now looks like. 1 had no flow, path or make of the phone; what it lacks is empty.
const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(default = "first_version")]
    version: u32,
    endpoint: Number,
    binding: Binding,
    expires: Kept,
}

const fn first_version() -> u32 {
    1
}

/// The key of temporary GRUUs: the one that was kept, or else `fresh`, which is kept from now on.
pub(super) fn gruu_key(store: &mut impl StateStore, fresh: [u8; 32]) -> Result<GruuKey, StateError> {
    let kept = store.scan(KEYS, GRUU_KEY)?.into_iter().find_map(|(_, value)| value.try_into().ok());
    if let Some(kept) = kept {
        return Ok(GruuKey::new(kept));
    }
    store.put(KEYS, GRUU_KEY, &fresh)?;
    store.commit()?;
    Ok(GruuKey::new(fresh))
}

/// Changes, as the state writer takes them.
pub(super) fn batch(changes: &[BindingChange], notify: Option<u64>, clock: ClockReading) -> Batch {
    let key = |endpoint: &str, contact| format!("{endpoint}/{contact}").into_bytes();
    let change = |change: &BindingChange| match change {
        BindingChange::Put { endpoint, binding } => {
            let expires = clock.keep(binding.expires);
            let record =
                Record { version: VERSION, endpoint: endpoint.clone(), binding: binding.clone(), expires };
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
            Ok(Record { version, .. }) if version > VERSION => {
                tracing::warn!(version, "a kept registration is of a newer version");
            }
            Ok(Record { endpoint, mut binding, expires, .. }) => {
                binding.expires = clock.restore(expires);
                restored.push(SipInput::Restore { endpoint, binding });
            }
            Err(error) => tracing::warn!(%error, "a kept registration cannot be read"),
        }
    }
    Ok(restored)
}

#[cfg(test)]
mod tests {
    use dialtone_core::{ContactId, Mono, NodeId};
    use dialtone_signaling::registrar::Nat;
    use dialtone_store::MemoryStore;

    use super::*;
    use crate::clock::ProcessClock;

    /// As version 1 wrote it.
    const OLD: &str = r#"{"endpoint":"1001","binding":{"contact":"k1-00000001-1","uri":[115,105,112,58,97,64,98],"q":1000,
        "instance":null,"call_id":"a","cseq":1,"path":{"transport":"Udp","flow":1,"local":"127.0.0.1:5060",
        "remote":"127.0.0.1:5070"},"expires":3600000000000},"expires":EXPIRES}"#;

    fn restored(record: &str) -> Vec<Binding> {
        let mut store = MemoryStore::default();
        store.put(TREE, b"1001/k", record.as_bytes()).unwrap();
        let inputs = bindings(&store, ProcessClock::start().reading()).unwrap();
        let binding = |input| match input {
            SipInput::Restore { binding, .. } => binding,
            other => panic!("{other:?}"),
        };
        inputs.into_iter().map(binding).collect()
    }

    #[test]
    fn what_an_older_version_kept_still_counts_and_what_a_newer_one_kept_does_not() {
        let expires = ProcessClock::start().reading().keep(Mono::ZERO + std::time::Duration::from_secs(3600));
        let old = OLD.replace("EXPIRES", &serde_json::to_string(&expires).unwrap());
        let [binding] = restored(&old).try_into().unwrap();
        assert_eq!((binding.uri.as_str(), binding.contact), ("sip:a@b", ContactId::new(NodeId(1), 1, 1)));
        assert_eq!((binding.reg_id, binding.nat, binding.routes.len()), (None, Nat::Auto, 0));
        let newer = old.replacen('{', r#"{"version":3,"#, 1);
        assert_eq!(restored(&newer), []);
    }

    #[test]
    fn a_binding_comes_back_with_all_that_is_known_of_its_way() {
        let expires = ProcessClock::start().reading().keep(Mono::ZERO + std::time::Duration::from_secs(3600));
        let old = OLD.replace("EXPIRES", &serde_json::to_string(&expires).unwrap());
        let [mut binding] = <[Binding; 1]>::try_from(restored(&old)).unwrap();
        binding.instance = Some("\"<urn:uuid:1>\"".into());
        binding.reg_id = Some(2);
        binding.routes = vec!["<sip:edge;lr;ob>".into()];
        binding.nat = Nat::Always;
        binding.agent = "Phone/1".into();
        let put = BindingChange::Put { endpoint: "1001".into(), binding: binding.clone() };
        let batch = batch(&[put], None, ProcessClock::start().reading());
        let [Change::Put { value, .. }] = &batch.changes[..] else { panic!("{batch:?}") };
        let [mut back] = <[Binding; 1]>::try_from(restored(std::str::from_utf8(value).unwrap())).unwrap();
        back.expires = binding.expires;
        assert_eq!(back, binding);
    }

    /// RFC 5627 §3.1.2: a GRUU does not end with the process that gave it.
    #[test]
    fn the_key_of_gruus_stays() {
        let mut store = MemoryStore::default();
        gruu_key(&mut store, [1; 32]).unwrap();
        gruu_key(&mut store, [2; 32]).unwrap();
        assert_eq!(store.scan(KEYS, GRUU_KEY).unwrap(), [(GRUU_KEY.to_vec(), vec![1; 32])]);
    }
}
