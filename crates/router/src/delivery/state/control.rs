//! What people and new definitions ask of a lane.

use super::LaneCore;
use crate::delivery::concurrency::AdaptiveConcurrency;
use crate::delivery::hold::HoldReason;
use crate::delivery::setup::LaneSetup;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use twinroute_journal::ledger::DiscardReason;

/// What a purge discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeResult {
    /// Deliveries that waited.
    pub queued: u64,
    /// Dead letters that were kept here.
    pub dead_letters: u64,
}

impl LaneCore {
    /// Sends nothing from here on, or goes on; over restarts too.
    pub(in crate::delivery) fn set_paused(&mut self, paused: bool, now: Instant) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        tracing::info!(endpoint = self.label, paused, "pause or resume requested");
        if paused && self.journal.is_some() {
            self.queue.shed();
        }
        self.ttl_clock.set(self.stops_ttl(), now);
        self.note_state(now);
    }

    /// Gives what it was made of before.
    pub(in crate::delivery) fn reconfigure(&mut self, setup: LaneSetup, now: Instant) -> LaneSetup {
        self.queue.set_ordering(setup.settings.ordering);
        let before = std::mem::replace(&mut self.setup, setup);
        if self.setup.hold != before.hold {
            self.note_hold();
        }
        self.health.fault = None;
        self.store_health.fault = None;
        self.dead.retry_all();
        self.concurrency = AdaptiveConcurrency::new();
        self.epoch += 1;
        self.update_ttl_clock(now);
        self.note_fullness(now);
        before
    }

    /// Its endpoint is not ready to be sent to any more, or is again.
    pub(super) fn note_hold(&mut self) {
        match &self.setup.hold {
            // Logged where it is found.
            Some(HoldReason::Undefined) => {}
            Some(hold) => tracing::info!(
                endpoint = self.label,
                state = hold.state().as_str(),
                why = hold.why(),
                "the endpoint is sent nothing for now; its events wait"
            ),
            None if self.is_empty() => {}
            None => tracing::info!(endpoint = self.label, "the endpoint is sent events again"),
        }
        if self.setup.hold.is_some() && self.journal.is_some() {
            // They may wait for long, and others need the memory.
            self.queue.shed();
        }
    }

    /// Tries everything now that waits for a moment.
    pub(in crate::delivery) fn retry_now(&mut self, now: Instant) {
        tracing::info!(
            endpoint = self.label,
            "retry requested: everything is tried now"
        );
        self.health.retry_now(now);
        self.store_health.retry_now(now);
        self.queue.retry_now(now);
        self.dead.retry_all();
    }

    /// Discards what waits, what is in flight excepted; dead letters that are kept here too if asked.
    pub(in crate::delivery) fn purge(&mut self, dead_letters: bool) -> PurgeResult {
        let mut purged = PurgeResult::default();
        while let Some(waiting) = self.queue.evict_oldest() {
            self.discard(waiting.sequence, Some(&waiting), DiscardReason::Purged);
            purged.queued += 1;
        }
        while dead_letters && let Some(oldest) = self.dead.remove_oldest() {
            self.discard(oldest.sequence, None, DiscardReason::Purged);
            purged.dead_letters += 1;
        }
        self.hand_over();
        tracing::warn!(
            endpoint = self.label,
            queued = purged.queued,
            dead_letters = purged.dead_letters,
            "purged"
        );
        purged
    }
}
