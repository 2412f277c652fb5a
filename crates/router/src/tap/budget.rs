//! How many events all taps of a router look at together: decided for an event before anything is done for a watcher.

use super::selection::TapOutcome;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Events of one outcome that taps look at in a second, evenly; as many at once after a second without any. It is no
/// less than what one tap may show, and of each outcome, so that a flood of accepted events hides no dead letter.
pub(super) const EVENTS_MAX: u64 = 1_000;

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds that an event takes of its second.
const EVENT_TAKES: u64 = SECOND / EVENTS_MAX;

/// Outcomes there are.
const OUTCOMES: usize = TapOutcome::ALL.len();

/// Events that are looked at, and those that are not, by outcome.
#[derive(Debug)]
pub(super) struct TapBudget {
    begun: Instant,
    /// Until when what was looked at has used up the time, in nanoseconds from `begun`.
    used_until: [AtomicU64; OUTCOMES],
    skipped: [AtomicU64; OUTCOMES],
}

impl Default for TapBudget {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            used_until: Default::default(),
            skipped: Default::default(),
        }
    }
}

impl TapBudget {
    /// Whether one more event is looked at now. While none is, this reads one number.
    pub(super) fn admits(&self, outcome: TapOutcome, now: Instant) -> bool {
        // A second is ahead at most: what is left of it after the last burst.
        let now = nanoseconds(now.saturating_duration_since(self.begun)).saturating_add(SECOND);
        let used_until = &self.used_until[outcome as usize];
        let before = used_until.load(Ordering::Relaxed);
        let after = before.max(now - SECOND).saturating_add(EVENT_TAKES);
        // Another thread that takes at the same moment has taken: nobody tries twice here.
        after <= now
            && used_until
                .compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Counts what was not looked at.
    pub(super) fn skip(&self, outcome: TapOutcome, events: u64) {
        self.skipped[outcome as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// What was not looked at so far, of some outcomes.
    pub(super) fn skipped(&self, outcomes: &[TapOutcome]) -> u64 {
        let skipped = outcomes
            .iter()
            .map(|outcome| &self.skipped[*outcome as usize]);
        skipped.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
