//! Time-to-live that stands still: while an endpoint is paused, not defined, unavailable or refuses the
//! credential, nobody's time runs out.

use std::time::Duration;
use tokio::time::Instant;

/// How long a lane's time-to-live has stood still.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TtlClock {
    total: Duration,
    since: Option<Instant>,
}

impl TtlClock {
    /// Goes on from what was recorded before a restart.
    pub(crate) fn restored(total: Duration, since: Option<Instant>) -> Self {
        Self { total, since }
    }

    /// How long, in all, up to now.
    pub(crate) fn total(&self, now: Instant) -> Duration {
        let running = self.since.map(|since| now.saturating_duration_since(since));
        self.total + running.unwrap_or_default()
    }

    /// Whether it stands still now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.since.is_some()
    }

    /// Stops or goes on; true when that is a change.
    pub(crate) fn set(&mut self, is_stopped: bool, now: Instant) -> bool {
        if is_stopped == self.is_stopped() {
            return false;
        }
        self.total = self.total(now);
        self.since = is_stopped.then_some(now);
        true
    }

    /// Forgets the past, which matters to nobody when nothing waits.
    pub(crate) fn forget(&mut self) {
        self.total = Duration::ZERO;
    }

    /// What is to be found again after a restart.
    pub(crate) fn parts(&self) -> (Duration, Option<Instant>) {
        (self.total, self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_while_stopped() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = TtlClock::default();
        assert!(clock.set(true, at(10)));
        assert!(!clock.set(true, at(12)));
        assert_eq!(clock.total(at(15)), Duration::from_secs(5));
        assert!(clock.set(false, at(20)));
        assert_eq!(clock.total(at(99)), Duration::from_secs(10));
        clock.set(true, at(100));
        assert_eq!(clock.total(at(101)), Duration::from_secs(11));
    }
}
