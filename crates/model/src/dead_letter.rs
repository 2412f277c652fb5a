//! Dead letters: why a delivery could not be made, and what is known of it beside its event.

use crate::clock::Timestamp;
use crate::visible;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest outcome that is kept with a dead letter, in bytes.
pub const OUTCOME_BYTES_MAX: usize = 256;

/// Why a delivery became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// Its lane was at its cap and this was the oldest waiting.
    Overflow,
    /// The destination will never take it.
    Rejected,
    /// All attempts failed.
    Exhausted,
    /// Its time to live passed.
    Expired,
    /// Its endpoint was removed and the grace time passed.
    Removed,
}

impl DeadLetterReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Overflow,
        Self::Rejected,
        Self::Exhausted,
        Self::Expired,
        Self::Removed,
    ];

    /// The word for metrics, logs and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Removed => "removed",
        }
    }

    /// Its number in stores, which never changes.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Overflow => 0,
            Self::Rejected => 1,
            Self::Exhausted => 2,
            Self::Expired => 3,
            Self::Removed => 4,
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What is known of a dead letter beside its event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeadLetter {
    /// Why it is one.
    pub reason: DeadLetterReason,
    /// Attempts in which the event failed alone.
    pub attempts: u32,
    /// When it became one. Fixes the hour in its blob's name, so it is on disk before any upload.
    pub died_at: Timestamp,
    /// When it was last tried; `None` if it never was.
    pub last_attempt_at: Option<Timestamp>,
    /// The last outcome as `code: detail`, at most [`OUTCOME_BYTES_MAX`] bytes; empty if it was never tried.
    pub outcome: Arc<str>,
}

impl DeadLetter {
    /// Cuts an outcome to what is kept, at a character's border.
    #[must_use]
    pub fn outcome(text: &str) -> Arc<str> {
        visible::cut(text, OUTCOME_BYTES_MAX).into()
    }
}
