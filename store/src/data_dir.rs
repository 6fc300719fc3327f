//! The data directory: one owner at a time, one boot number per start.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dialtone_core::Wall;

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server runs on it.
    #[error("{0} is in use by another dialtone")]
    InUse(PathBuf),
    /// The disk or its permissions.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// A data directory that this process, and no other, writes to until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    boot: u32,
    _lock: File,
}

impl DataDir {
    /// Makes the directory when it is missing, locks it, and counts the boot.
    ///
    /// `now` stands in for the boot counter when its file cannot be understood: numbers must rise, and
    /// seconds since 1970 are above any count of boots.
    pub fn claim(path: &Path, now: Wall) -> Result<Self, DataDirError> {
        let failed = |at: &Path| {
            let at = at.to_path_buf();
            move |error| DataDirError::Io(at, error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        let lock_file = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_file)
            .map_err(failed(&lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(path.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(DataDirError::Io(lock_file, error)),
        }
        let boot = count_boot(path, now).map_err(failed(&path.join("boot")))?;
        Ok(Self { path: path.to_path_buf(), boot, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of this start: never the same twice, rising. Ids carry it.
    pub fn boot(&self) -> u32 {
        self.boot
    }

    /// The folder of live state.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The folder of records.
    pub fn records(&self) -> PathBuf {
        records_in(&self.path)
    }

    /// The socket of the admin server.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }
}

/// The folder of records of a data directory that somebody else may own.
pub(crate) fn records_in(data_dir: &Path) -> PathBuf {
    data_dir.join("records")
}

/// Adds one to the counter in `boot`, and has it on disk before anybody uses the number.
fn count_boot(folder: &Path, now: Wall) -> io::Result<u32> {
    let file = folder.join("boot");
    let last: u32 = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().parse().unwrap_or_else(|_| {
            tracing::error!(file = %file.display(), "the boot counter is damaged; counting on from the clock");
            u32::try_from(now.as_secs()).unwrap_or(0)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let boot = last.wrapping_add(1).max(1);
    let fresh = folder.join("boot.new");
    let mut written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    writeln!(written, "{boot}")?;
    written.sync_all()?;
    fs::rename(&fresh, &file)?;
    sync_folder(folder)?;
    Ok(boot)
}

/// Makes creations, renames and removals in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::Folder;

    const NOW: Wall = Wall::from_micros(1_795_361_388_000_000);

    #[test]
    fn each_start_has_a_number_of_its_own() {
        let folder = Folder::new();
        let path = folder.path().join("a/b");
        for expected in 1..4 {
            assert_eq!(DataDir::claim(&path, NOW).unwrap().boot(), expected);
        }
        fs::write(path.join("boot"), "\0\0\0").unwrap();
        assert_eq!(DataDir::claim(&path, NOW).unwrap().boot(), 1_795_361_389);
        fs::write(path.join("boot"), b"\xff\xfe\n").unwrap();
        assert_eq!(DataDir::claim(&path, NOW).unwrap().boot(), 1_795_361_389, "not even text");
    }

    #[test]
    fn it_has_one_owner() {
        let folder = Folder::new();
        let first = DataDir::claim(folder.path(), NOW).unwrap();
        let second = DataDir::claim(folder.path(), NOW).unwrap_err();
        assert!(second.to_string().ends_with("is in use by another dialtone"), "{second}");
        drop(first);
        assert_eq!(DataDir::claim(folder.path(), NOW).unwrap().boot(), 2);
    }

    #[test]
    fn nobody_else_may_look_inside() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let path = folder.path().join("data");
        let _claimed = DataDir::claim(&path, NOW).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
