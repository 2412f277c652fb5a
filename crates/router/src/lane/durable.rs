//! What a lane notes in the journal on disk: which deliveries ended, which wait for another attempt.
//!
//! Notes of one step are collected and handed over together; they ride along with the journal's next
//! group. Losing one to a crash costs a duplicate, never an event.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_retry::journal::{Disk, LaneNumber, PendingDelivery, RecoveredLane};
use twinroute_retry::ledger::{Fate, Ledger};

/// A lane's place in the journal on disk.
pub(crate) struct LaneJournal {
    disk: Disk,
    number: LaneNumber,
    clock: Arc<dyn Clock>,
    settled: Vec<(u64, Fate)>,
}

/// What a lane begins with.
#[derive(Default)]
pub(crate) struct Origin {
    /// Where it notes what becomes of its deliveries; nowhere when the journal is in memory.
    pub(crate) journal: Option<LaneJournal>,
    /// What it had counted before the restart.
    pub(crate) ledger: Ledger,
    /// What it had not settled before the restart.
    pub(crate) pending: Vec<PendingDelivery>,
}

impl Origin {
    /// A lane whose deliveries outlive the process.
    pub(crate) fn durable(
        disk: Disk,
        number: LaneNumber,
        clock: Arc<dyn Clock>,
        recovered: Option<RecoveredLane>,
    ) -> Self {
        let (ledger, pending) = match recovered {
            Some(lane) => (lane.ledger, lane.pending),
            None => (Ledger::default(), Vec::new()),
        };
        let settled = Vec::new();
        let journal = Some(LaneJournal {
            disk,
            number,
            clock,
            settled,
        });
        Self {
            journal,
            ledger,
            pending,
        }
    }
}

impl LaneJournal {
    pub(crate) fn number(&self) -> LaneNumber {
        self.number
    }

    pub(super) fn settle(&mut self, sequence: u64, fate: Fate) {
        self.settled.push((sequence, fate));
    }

    pub(super) fn attempt(&self, sequence: u64, attempts: u32, delay: Duration) {
        let due = self.clock.now().after(delay);
        self.disk
            .attempt(self.number, sequence, attempts, Some(due));
    }

    /// Hands over what was noted since the last time.
    pub(super) fn hand_over(&mut self) {
        if !self.settled.is_empty() {
            self.disk.settle(self.number, &self.settled);
            self.settled.clear();
        }
    }

    /// The moment on the runtime's clock that `wall` was.
    pub(super) fn moment(&self, wall: Timestamp, now: Instant) -> Instant {
        now.checked_sub(self.clock.now().since(wall)).unwrap_or(now)
    }

    /// When a delivery that is due at `wall` is to be tried.
    pub(super) fn due(&self, wall: Timestamp, now: Instant) -> Instant {
        now + wall.since(self.clock.now())
    }
}

impl std::fmt::Debug for LaneJournal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LaneJournal")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
