//! How long a group waits for company: pure, fed with what waiting brought.
//!
//! Waiting pays when producers come one by one and often: fewer syncs, a third less CPU. It costs
//! when those who wait are all there are. So the window is judged by its second half: if next to
//! nobody comes in it three times in a row the window halves, down to none; otherwise it doubles,
//! up to its limit.

use std::time::Duration;

/// With this many waiting, a group goes at once.
pub(crate) const MANY: usize = 32;

/// A window below this is none.
const SHORTEST: Duration = Duration::from_micros(60);

/// After this many groups without one, a short window is tried again.
const TRY_AGAIN_AFTER: u32 = 64;

/// The second half is worth its while if it brings one for so many who wait already.
const WORTH: usize = 4;

const EMPTY_MAX: u32 = 3;

#[derive(Debug)]
pub(crate) struct CommitWindow {
    longest: Duration,
    now: Duration,
    empty: u32,
    skipped: u32,
}

impl CommitWindow {
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            longest,
            now: longest,
            empty: 0,
            skipped: 0,
        }
    }

    /// How long the next group is to wait when `waiting` producers do.
    pub(crate) fn next(&mut self, waiting: usize) -> Duration {
        if waiting >= MANY || self.longest.is_zero() {
            return Duration::ZERO;
        }
        if self.now >= SHORTEST {
            return self.now;
        }
        self.skipped += 1;
        if self.skipped >= TRY_AGAIN_AFTER {
            self.skipped = 0;
            return SHORTEST.min(self.longest);
        }
        Duration::ZERO
    }

    /// Takes note of how many waited at half of a window, and how many came after.
    pub(crate) fn came(&mut self, early: usize, late: usize) {
        if late * WORTH >= early.max(1) {
            self.empty = 0;
            self.now = (self.now.max(SHORTEST / 2) * 2).min(self.longest);
            return;
        }
        self.empty += 1;
        if self.empty >= EMPTY_MAX {
            self.empty = 0;
            self.now /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_lone_producer_soon_waits_for_nobody() {
        let mut window = CommitWindow::new(MILLISECOND);
        let mut waited = Duration::ZERO;
        for _ in 0..100 {
            let next = window.next(1);
            waited += next;
            if !next.is_zero() {
                window.came(1, 0);
            }
        }
        assert!(waited < 7 * MILLISECOND, "{waited:?}");
        assert_eq!(window.next(1), Duration::ZERO);
    }

    #[test]
    fn company_brings_the_window_back() {
        let mut window = CommitWindow::new(MILLISECOND);
        for _ in 0..30 {
            window.came(1, 0);
        }
        let tried = (0..TRY_AGAIN_AFTER).map(|_| window.next(2)).max();
        assert_eq!(tried, Some(SHORTEST));
        for _ in 0..6 {
            window.came(2, 1);
        }
        assert_eq!(window.next(2), MILLISECOND);
        assert_eq!(window.next(MANY), Duration::ZERO);
    }

    #[test]
    fn stragglers_do_not_hold_up_a_crowd() {
        let mut window = CommitWindow::new(MILLISECOND);
        for _ in 0..30 {
            window.came(9, 1);
        }
        assert_eq!(window.next(9), Duration::ZERO);
    }

    #[test]
    fn no_window_at_all() {
        let mut window = CommitWindow::new(Duration::ZERO);
        assert!((0..1_000).all(|_| window.next(1).is_zero()));
    }
}
