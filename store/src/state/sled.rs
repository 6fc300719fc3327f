//! Live state in sled.
//!
//! sled's own `flush` asks the kernel to begin writing and does not wait for the disk's cache: after a
//! power cut, what it had acknowledged is gone or the files no longer open. So a commit is sled's flush
//! followed by an `fsync` of the file `db` in its folder.
//!
//! After a failure sled answers with that failure for ever, so the next change opens the folder anew: it has what was
//! committed, and whoever wrote the rest was told of the failure.
//!
//! What is in here can be rebuilt, so a store that does not open is moved aside, loudly, and an empty one
//! takes its place: phones register again within the hour, and until then nobody waits for a repair.

use std::collections::HashMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use dialtone_core::Wall;

use super::{Pair, StateError, StateStore};
use crate::data_dir::sync_folder;

/// Memory that sled may use for pages: state is small and read once.
const CACHE_BYTES: u64 = 32 << 20;

/// A store on disk.
pub struct SledStore {
    folder: PathBuf,
    /// `None` after a failure, until it is opened again.
    open: Option<Open>,
}

struct Open {
    db: ::sled::Db,
    trees: HashMap<String, ::sled::Tree>,
    /// The file that holds everything, for `fsync`.
    file: File,
}

/// A store that opened, and what it took.
pub struct Opened {
    /// The store.
    pub store: SledStore,
    /// Where a store that did not open has been moved to; everything registered is forgotten.
    pub moved_aside: Option<PathBuf>,
}

impl SledStore {
    /// Opens or makes the store in `folder`. `now` names the folder of one that must be moved aside.
    pub fn open(folder: &Path, now: Wall) -> Result<Opened, StateError> {
        let why = match Self::try_open(folder) {
            Ok(store) => return Ok(Opened { store, moved_aside: None }),
            // Moving it aside would help nobody: the disk, or another server, is what stands in the way.
            Err(error @ (StateError::InUse(_) | StateError::Io(..))) => return Err(error),
            Err(StateError::Store(_, why)) => why,
        };
        let aside = free_name(folder, now);
        let io = |error| StateError::Io(folder.to_path_buf(), error);
        fs::rename(folder, &aside).map_err(io)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent).map_err(io)?;
        }
        tracing::error!(
            kept = %aside.display(), why,
            "the live state did not open; it was moved aside, and phones must register again"
        );
        Ok(Opened { store: Self::try_open(folder)?, moved_aside: Some(aside) })
    }

    fn try_open(folder: &Path) -> Result<Self, StateError> {
        Ok(Self { folder: folder.into(), open: Some(Open::new(folder)?) })
    }

    /// Does something with the store, opened anew after a failure.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Open, &Path) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(&self.folder)?),
        };
        let done = act(open, &self.folder);
        if done.is_err() {
            let failed = self.open.take();
            // What sled does at its end may fail as what went before did.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(failed)));
        }
        done
    }
}

impl Open {
    fn new(folder: &Path) -> Result<Self, StateError> {
        let config = ::sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        // A damaged file makes sled return an error or panic, as it comes.
        let db = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| StateError::Store(folder.into(), "it panicked while opening".into()))?
            .map_err(|error| opening_failed(folder, error))?;
        let io = |error| StateError::Io(folder.to_path_buf(), error);
        let file = File::open(folder.join("db")).map_err(io)?;
        let mut open = Self { db, trees: HashMap::new(), file };
        open.commit(folder)?;
        // The names `db` and `conf`, and the folder's own, must survive as well.
        sync_folder(folder).map_err(io)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent).map_err(io)?;
        }
        Ok(open)
    }

    fn tree(&mut self, folder: &Path, name: &str) -> Result<&::sled::Tree, StateError> {
        if !self.trees.contains_key(name) {
            let tree = guard(folder, || self.db.open_tree(name))?;
            self.trees.insert(name.into(), tree);
        }
        self.trees.get(name).ok_or_else(|| StateError::Store(folder.into(), "no such tree".into()))
    }

    fn commit(&mut self, folder: &Path) -> Result<(), StateError> {
        guard(folder, || self.db.flush())?;
        self.file.sync_all().map_err(|error| StateError::Io(folder.into(), error))
    }
}

impl StateStore for SledStore {
    fn put(&mut self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.with(|open, folder| {
            let tree = open.tree(folder, tree)?;
            guard(folder, || tree.insert(key, value)).map(drop)
        })
    }

    fn remove(&mut self, tree: &str, key: &[u8]) -> Result<(), StateError> {
        self.with(|open, folder| {
            let tree = open.tree(folder, tree)?;
            guard(folder, || tree.remove(key)).map(drop)
        })
    }

    fn scan(&self, tree: &str, prefix: &[u8]) -> Result<Vec<Pair>, StateError> {
        let failed = || StateError::Store(self.folder.clone(), "it failed before".into());
        let open = self.open.as_ref().ok_or_else(failed)?;
        guard(&self.folder, || {
            let pairs = open.db.open_tree(tree)?.scan_prefix(prefix);
            pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    fn commit(&mut self) -> Result<(), StateError> {
        self.with(|open, folder| open.commit(folder))
    }
}

/// Runs a call into sled, which may panic where it should return an error.
fn guard<T>(folder: &Path, call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StateError> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| StateError::Store(folder.into(), "it panicked".into()))?
        .map_err(|error| StateError::Store(folder.into(), error.to_string()))
}

fn opening_failed(folder: &Path, error: ::sled::Error) -> StateError {
    use std::io::ErrorKind;
    match error {
        // sled says this in words only.
        ::sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            StateError::InUse(folder.into())
        }
        ::sled::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            StateError::Io(folder.into(), error)
        }
        error => StateError::Store(folder.into(), error.to_string()),
    }
}

fn free_name(folder: &Path, now: Wall) -> PathBuf {
    let name = |more: u32| {
        let mut name = folder.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".broken-{}", now.as_secs()));
        if more > 0 {
            name.push(format!("-{more}"));
        }
        folder.with_file_name(name)
    };
    (0..u32::MAX).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::Folder;

    const NOW: Wall = Wall::from_micros(1_795_361_388_000_000);

    fn open(folder: &Path) -> SledStore {
        let opened = SledStore::open(folder, NOW).unwrap();
        assert_eq!(opened.moved_aside, None);
        opened.store
    }

    #[test]
    fn what_was_put_is_found_again_and_what_was_removed_is_not() {
        let folder = Folder::new();
        let folder = folder.path().join("state");
        let mut store = open(&folder);
        for (key, value) in [("b/2", "two"), ("b/1", "one"), ("c", "three"), ("a", "zero")] {
            store.put("bindings", key.as_bytes(), value.as_bytes()).unwrap();
        }
        store.put("other", b"b/9", b"elsewhere").unwrap();
        store.remove("bindings", b"c").unwrap();
        store.remove("bindings", b"never there").unwrap();
        store.commit().unwrap();
        drop(store);
        let store = open(&folder);
        let found = store.scan("bindings", b"b/").unwrap();
        assert_eq!(found, [(b"b/1".to_vec(), b"one".to_vec()), (b"b/2".to_vec(), b"two".to_vec())]);
        assert_eq!(store.scan("bindings", b"").unwrap().len(), 3);
        assert_eq!(store.scan("nothing", b"").unwrap(), []);
    }

    #[test]
    fn a_damaged_store_is_moved_aside_and_an_empty_one_begins() {
        let folder = Folder::new();
        let folder = folder.path().join("state");
        let mut store = open(&folder);
        store.put("bindings", b"a", b"b").unwrap();
        store.commit().unwrap();
        drop(store);
        for round in 0..2 {
            fs::write(folder.join("conf"), "this was never written by a store").unwrap();
            let mut opened = SledStore::open(&folder, NOW).unwrap();
            let aside = opened.moved_aside.unwrap();
            let name = aside.file_name().unwrap().to_str().unwrap();
            let expected = ["state.broken-1795361388", "state.broken-1795361388-1"][round];
            assert_eq!(name, expected);
            assert!(aside.join("db").exists());
            assert_eq!(opened.store.scan("bindings", b"").unwrap(), []);
            opened.store.put("bindings", b"c", b"d").unwrap();
            opened.store.commit().unwrap();
        }
    }

    #[test]
    fn a_store_in_use_stays_where_it_is() {
        let folder = Folder::new();
        let folder = folder.path().join("state");
        let _store = open(&folder);
        assert!(matches!(SledStore::open(&folder, NOW), Err(StateError::InUse(_))));
        assert!(folder.join("db").exists());
    }
}
