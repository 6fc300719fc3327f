//! Prompts: short recordings, decoded once and held in memory.
//!
//! They are read before the engine starts, so that a worker never waits for a disk. What a prompt is
//! called is its file's name without `.wav`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::wav::{self, WavError};

/// Bytes of the longest prompt file: five minutes of 16-bit sound.
pub const FILE_BYTES_MAX: u64 = 5 * 60 * 16_000 + 4096;
/// Prompts in a library.
pub const PROMPTS_MAX: usize = 4096;
/// Samples in a library: 256 MiB of memory.
pub const SAMPLES_MAX: usize = 128 << 20;

const EMBEDDED: &[(&str, &[u8])] = &[("welcome", include_bytes!("../../conf/prompts/welcome.wav"))];

/// A prompt that cannot be taken into the library.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The folder or a file in it cannot be read.
    #[error("prompt {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not sound that we play.
    #[error("prompt {path}: {source}")]
    Wav {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: WavError,
    },
    /// The file is too long.
    #[error("prompt {path}: {bytes} bytes, at most {FILE_BYTES_MAX} are allowed")]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The name is not one that a flow can say.
    #[error("prompt {path}: a name has 1 to 64 letters, digits, '-', '_' or '.'")]
    Name {
        /// Which.
        path: PathBuf,
    },
    /// The library is full.
    #[error("prompt {path}: more than {PROMPTS_MAX} prompts or {SAMPLES_MAX} samples")]
    Full {
        /// The one that was too many.
        path: PathBuf,
    },
}

/// Every prompt that can be played, by name.
#[derive(Clone, Debug, Default)]
pub struct PromptLibrary {
    prompts: BTreeMap<String, Arc<[i16]>>,
    samples: usize,
}

impl PromptLibrary {
    /// The prompts that every installation has.
    ///
    /// # Errors
    /// [`PromptError`] when the build embedded something unplayable.
    pub fn embedded() -> Result<Self, PromptError> {
        let mut library = Self::default();
        for (name, bytes) in EMBEDDED {
            library.add(name, bytes, Path::new(name))?;
        }
        Ok(library)
    }

    /// Adds every `*.wav` file of a folder; one of the same name replaces an earlier one, so that a
    /// site can say its own welcome. Returns how many there were.
    ///
    /// # Errors
    /// [`PromptError`], with the file; nothing after it has been read.
    pub fn add_folder(&mut self, folder: &Path) -> Result<usize, PromptError> {
        let io_error = |path: &Path| {
            let path = path.to_path_buf();
            move |source| PromptError::Io { path, source }
        };
        let mut added = 0;
        for entry in fs::read_dir(folder).map_err(io_error(folder))? {
            let path = entry.map_err(io_error(folder))?.path();
            if path.extension().is_none_or(|extension| extension != "wav") {
                continue;
            }
            let bytes = fs::metadata(&path).map_err(io_error(&path))?.len();
            if bytes > FILE_BYTES_MAX {
                return Err(PromptError::TooLong { path, bytes });
            }
            let content = fs::read(&path).map_err(io_error(&path))?;
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            self.add(&name, &content, &path)?;
            added += 1;
        }
        Ok(added)
    }

    fn add(&mut self, name: &str, bytes: &[u8], path: &Path) -> Result<(), PromptError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            return Err(PromptError::Name { path: path.to_path_buf() });
        }
        let samples =
            wav::decode(bytes).map_err(|source| PromptError::Wav { path: path.to_path_buf(), source })?;
        let replaced = self.prompts.get(name).map_or(0, |samples| samples.len());
        let total = self.samples - replaced + samples.len();
        if total > SAMPLES_MAX || (replaced == 0 && self.prompts.len() >= PROMPTS_MAX) {
            return Err(PromptError::Full { path: path.to_path_buf() });
        }
        self.samples = total;
        self.prompts.insert(name.to_owned(), samples.into());
        Ok(())
    }

    /// The samples of a prompt, 16-bit at 8 kHz.
    pub fn get(&self, name: &str) -> Option<&Arc<[i16]>> {
        self.prompts.get(name)
    }

    /// The names of all prompts, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wav::tests::file;

    #[test]
    fn the_welcome_is_there_at_a_comfortable_level() {
        let library = PromptLibrary::embedded().unwrap();
        let welcome = library.get("welcome").unwrap();
        assert!((24_000..40_000).contains(&welcome.len()), "{} samples", welcome.len());
        let power = welcome.iter().map(|s| (f64::from(*s) / 32_768.0).powi(2)).sum::<f64>();
        let level = 10.0 * (power / welcome.len() as f64).log10();
        assert!((level + 18.0).abs() < 1.0, "{level} dBFS");
        assert!(library.get("nothing").is_none());
    }

    #[test]
    fn a_folder_adds_and_replaces() {
        let folder = std::env::temp_dir().join(format!("dialtone-prompts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("welcome.wav"), file(1, 1, 8000, 16, &[1, 0])).unwrap();
        fs::write(folder.join("closed.wav"), file(7, 1, 8000, 8, &[0xFF])).unwrap();
        fs::write(folder.join("readme.txt"), "no sound").unwrap();
        let mut library = PromptLibrary::embedded().unwrap();
        assert_eq!(library.add_folder(&folder).unwrap(), 2);
        assert_eq!(library.get("welcome").unwrap()[..], [1]);
        assert_eq!(library.names().collect::<Vec<_>>(), ["closed", "welcome"]);

        fs::write(folder.join("bad.wav"), "RIFF").unwrap();
        let text = library.add_folder(&folder).unwrap_err().to_string();
        assert!(text.contains("bad.wav") && text.contains("not a WAV"), "{text}");
        fs::remove_file(folder.join("bad.wav")).unwrap();

        fs::write(folder.join("two words.wav"), file(7, 1, 8000, 8, &[0xFF])).unwrap();
        assert!(matches!(library.add_folder(&folder), Err(PromptError::Name { .. })));
        fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(library.add_folder(&folder), Err(PromptError::Io { .. })));
    }
}
