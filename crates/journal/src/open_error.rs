//! Why a journal does not open.

use super::file_names::KEYS;
use super::storage::Storage;
use std::io;

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalOpenError {
    /// Another process, or another part of this one, has it open.
    #[error("journal {path}: another process has it open")]
    Locked {
        /// The folder.
        path: String,
        /// Who.
        source: io::Error,
    },
    /// The system refused something.
    #[error("journal {path}: {step}")]
    Io {
        /// The folder.
        path: String,
        /// What was tried.
        step: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A newer version of twinroute wrote it.
    #[error(
        "segment {segment} of the journal: the record at offset {offset} has version {version} and \
         kind {kind}, which this program does not know; a newer one wrote it"
    )]
    Newer {
        /// The segment.
        segment: u64,
        /// Where the record stands.
        offset: u64,
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
    /// Its events are sealed, and there is no key.
    #[error(
        "journal {path}: it holds sealed events, and no key was given that opens its file \"{KEYS}\": bring back \
         the key; without it these accepted events are lost"
    )]
    Sealed {
        /// The folder.
        path: String,
    },
    /// The key does not open the file with its keys.
    #[error(
        "journal {path}: its file \"{KEYS}\" was sealed with another key, or is damaged: bring back the key, or \
         the file, as it was; without them its sealed events, which were accepted, are lost"
    )]
    OtherKey {
        /// The folder.
        path: String,
    },
    /// A key that events are sealed with is not there.
    #[error(
        "journal {path}: events are sealed with key {number}, which its file \"{KEYS}\" does not hold: bring back \
         the file that belongs to these segments; without it these accepted events are lost"
    )]
    KeyGone {
        /// The folder.
        path: String,
        /// The key's number.
        number: u32,
    },
    /// Numbers only grow, and the next would be too large.
    #[error(
        "journal {path}: the numbers of its {what} are used up: move the folder away once everything in it is \
         delivered, and begin with an empty one"
    )]
    NumbersUsedUp {
        /// The folder.
        path: String,
        /// Segments or sequences.
        what: &'static str,
    },
}

impl JournalOpenError {
    pub(crate) fn locking(storage: &dyn Storage, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock => Self::Locked {
                path: storage.describe(),
                source,
            },
            _ => Self::io(storage, "locking", source),
        }
    }

    pub(crate) fn io(storage: &dyn Storage, step: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            path: storage.describe(),
            step: step.into(),
            source,
        }
    }
}
