//! Why a group is not on disk.

use super::prepare::is_no_room;
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

/// Why a group is not on disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitFailure {
    /// Nothing of it counts; another segment may take the next group.
    #[error("segment {segment} of the journal: {step} failed")]
    Write {
        segment: u64,
        step: &'static str,
        source: io::Error,
    },
    /// What the disk holds is not known any more.
    #[error("segment {segment} of the journal: sync failed")]
    Sync { segment: u64, source: io::Error },
}

impl CommitFailure {
    /// Whether the disk is full.
    pub(super) fn is_no_room(&self) -> bool {
        matches!(self, Self::Write { source, .. } if is_no_room(source))
    }

    /// An error with its causes, in one line.
    pub(super) fn reason(&self) -> Arc<str> {
        let mut reason = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(reason, ": {error}").expect("a String takes all");
            cause = error.source();
        }
        reason.into()
    }
}
