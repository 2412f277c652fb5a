//! The TOML table `[audit]`.

use bytesize::ByteSize;
use serde::Deserialize;
use std::path::PathBuf;

/// Where changes are recorded, and how much of that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// The folder. The daemon chooses where it is empty.
    pub path: PathBuf,
    /// Bytes of one file, after which the next is begun.
    pub file_bytes_max: ByteSize,
    /// Files that are kept; the oldest goes when there are more. 0 keeps all.
    pub files_max: u32,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            file_bytes_max: ByteSize::mib(16),
            files_max: 64,
        }
    }
}

impl AuditSettings {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<(), String> {
        if !(ByteSize::mib(1)..=ByteSize::gib(1)).contains(&self.file_bytes_max) {
            return Err("file_bytes_max must be 1 MiB to 1 GiB".to_owned());
        }
        match self.files_max {
            1 => Err("files_max must be 0, which keeps all, or at least 2".to_owned()),
            _ => Ok(()),
        }
    }
}
