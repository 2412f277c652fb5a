//! Logs of what happens again and again: at most one in a while, with how often it happened.

use std::time::Duration;
use tokio::time::Instant;

/// Between two logs of one thing, at least.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Counts one thing between its logs.
#[derive(Debug, Default)]
pub(super) struct LogThrottle {
    logged_at: Option<Instant>,
    since: u64,
}

impl LogThrottle {
    /// It happened so many times more. Gives how often it did since the last log, when the next is due.
    pub(super) fn add(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.since += count;
        let is_due = |at: Instant| now.saturating_duration_since(at) >= LOG_INTERVAL;
        if !self.logged_at.is_none_or(is_due) {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}
