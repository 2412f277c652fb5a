//! Why the journal on disk does not take or keep what it is handed, and how it does.

use super::totals::JournalFull;
use std::sync::Arc;

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// What is not settled, and what waits for the disk, would pass the limit.
    #[error(transparent)]
    Full(JournalFull),
    /// What waits for the disk would pass the limit.
    #[error(
        "the journal's disk does not keep up: {} of {} bytes wait for it, {} more do not fit",
        .0.bytes, .0.bytes_max, .0.bytes_new
    )]
    Backlog(JournalFull),
    /// The disk has no room, or does not take writes; it is tried again.
    #[error("the journal cannot be written: {0}")]
    NoRoom(Arc<str>),
    /// An event is longer than the journal can give back, or is for too many lanes.
    #[error("event {index} of the batch has {bytes} bytes; the journal takes {bytes_max}")]
    TooLarge {
        /// Its place in the batch.
        index: usize,
        /// Its bytes in CloudEvents JSON.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A sync failed: nothing is acknowledged until a restart.
    #[error("the journal is poisoned until a restart: {0}")]
    Poisoned(Arc<str>),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why something that was handed over is not on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// The write of its group failed. It counts as never appended, and what is appended later may
    /// go well.
    #[error("the group was abandoned: {0}")]
    Abandoned(Arc<str>),
    /// A sync failed: whether it is on disk is not known.
    #[error("the journal is poisoned until a restart: {0}")]
    Poisoned(Arc<str>),
    /// The journal was closed before.
    #[error("the journal is closed")]
    Closed,
}

/// How the journal does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JournalHealth {
    /// It takes events.
    #[default]
    Ok,
    /// It cannot write, says why, and tries again by itself.
    Full(Arc<str>),
    /// A write or a sync has not ended for longer than it should. It goes on when that does.
    Stalled(Arc<str>),
    /// A sync failed; only a restart helps.
    Poisoned(Arc<str>),
}
