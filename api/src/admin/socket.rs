//! The socket file: for its owner alone, and gone when the server is.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Longest path that fits into a Unix socket address, without its final zero.
const PATH_MAX: usize = 107;

/// The admin socket; removes its file when dropped.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
}

impl AdminSocket {
    /// Listens on `path`. A socket that a killed server left there is replaced: the caller owns the
    /// folder, so no other server can be behind it.
    pub fn bind(path: &Path) -> io::Result<(AdminSocket, UnixListener)> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = reachable(path, |path| UnixListener::bind(path))?;
        let socket = AdminSocket { path: path.into() };
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok((socket, listener))
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // The file may be gone with its folder; nothing is left to do then.
        let _ = fs::remove_file(&self.path);
    }
}

/// Calls `act` with a path to the same socket that is short enough for a socket address.
pub(crate) fn reachable<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().as_bytes().len() <= PATH_MAX {
        return act(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // The open folder has a short name of its own in /proc.
    let folder = File::open(folder)?;
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}
