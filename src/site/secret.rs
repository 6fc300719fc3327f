//! A password or key that shows itself to nobody by accident.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

/// Bytes of a file that has one.
const SECRET_MAX: u64 = 65_536;

/// Text that must not be printed or logged; both `Debug` and `Serialize` hide it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// A secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It goes on and on.
    #[error("{0} is longer than {SECRET_MAX} bytes")]
    TooLong(PathBuf),
    /// It has no text.
    #[error("{0} is empty")]
    Empty(PathBuf),
}

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The first line of a file; a device that never ends is one too.
    pub fn from_file(file: &Path) -> Result<Self, SecretError> {
        let mut text = String::new();
        File::open(file)
            .and_then(|opened| opened.take(SECRET_MAX + 1).read_to_string(&mut text))
            .map_err(|error| SecretError::Unreadable(file.to_path_buf(), error))?;
        if text.len() as u64 > SECRET_MAX {
            return Err(SecretError::TooLong(file.to_path_buf()));
        }
        match text.lines().next().map(str::trim_end) {
            Some(line) if !line.is_empty() => Ok(Self(line.into())),
            _ => Err(SecretError::Empty(file.to_path_buf())),
        }
    }

    /// The text itself, for whoever must compute with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(…)" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let endless = Secret::from_file(Path::new("/dev/zero"));
        assert!(matches!(endless, Err(SecretError::TooLong(_))), "{endless:?}");
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?} {:?}", Secret::new("hush"), Secret::default()), "Secret(…) Secret(none)");
        assert_eq!(serde_json::to_string(&Secret::new("hush")).unwrap(), "\"\"");
    }
}
