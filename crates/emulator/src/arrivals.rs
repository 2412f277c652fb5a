//! How much an entity received: counted, and waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How much an entity took in since the emulator was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrivalCounts {
    /// Transfers, posts or requests that arrived, faulted ones included.
    pub requests: u64,
    /// Messages, events or blobs that were stored, whether still retained or not.
    pub stored: u64,
}

/// A wait that ended before enough had arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entity}: {seen} of {wanted} arrived within {waited:?}")]
pub struct TimedOut {
    /// What was waited on.
    pub entity: String,
    /// What had arrived.
    pub seen: u64,
    /// What was wanted.
    pub wanted: u64,
    /// How long the wait was.
    pub waited: Duration,
}

/// Counts what one entity takes in.
#[derive(Debug, Default)]
pub(crate) struct ArrivalTally {
    requests: AtomicU64,
    stored: watch::Sender<u64>,
}

impl ArrivalTally {
    /// Counts a request and returns its number, from 1.
    pub(crate) fn add_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn add_stored(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.stored.send_modify(|total| *total += count);
    }

    pub(crate) fn counts(&self) -> ArrivalCounts {
        ArrivalCounts {
            requests: self.requests.load(Ordering::Relaxed),
            stored: *self.stored.borrow(),
        }
    }

    /// Waits until `entity`, which this counts for, has stored so many overall.
    ///
    /// Dropping the future stops the waiting and changes nothing.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub(crate) async fn wait_for(
        &self,
        entity: &str,
        wanted: u64,
        waited: Duration,
    ) -> Result<(), TimedOut> {
        let mut stored = self.stored.subscribe();
        let reached = stored.wait_for(|total| *total >= wanted);
        if matches!(tokio::time::timeout(waited, reached).await, Ok(Ok(_))) {
            return Ok(());
        }
        Err(TimedOut {
            entity: entity.to_owned(),
            seen: self.counts().stored,
            wanted,
            waited,
        })
    }
}
