//! How a lane ends: at a stop, or when its endpoint is removed.

use super::{LaneCore, LaneRetirement};
use crate::delivery::action::LaneAction;
use tokio::time::Instant;
use twinroute_journal::ledger::{DiscardReason, Ledger};
use twinroute_model::dead_letter::DeadLetterReason;

impl LaneCore {
    /// Ends the lane when it is time to, or says what its end waits for.
    pub(super) fn ending(&mut self, now: Instant) -> Option<LaneAction> {
        let retired = self.retired?;
        if self.journal.is_some() && retired.reason == DiscardReason::Stopped {
            // What waits stays in the journal; only what is in flight is waited for.
            if now >= retired.deadline && self.in_flight.is_empty() {
                self.ended = true;
                return Some(LaneAction::End);
            }
            if now >= retired.deadline {
                return Some(LaneAction::Wait(None));
            }
        } else if now >= retired.deadline {
            self.end_deliveries(retired.reason, now);
        }
        if self.is_empty() && self.dead.is_empty() && now >= retired.not_before {
            self.ended = true;
            return Some(LaneAction::End);
        }
        None
    }

    /// What waits is over, but for what a journal on disk keeps over a stop.
    fn end_deliveries(&mut self, reason: DiscardReason, now: Instant) {
        let mut count = 0_u64;
        while let Some(waiting) = self.queue.evict_oldest() {
            match reason {
                DiscardReason::Removed => {
                    self.make_dead_letter(waiting, DeadLetterReason::Removed, None, now)
                }
                reason => self.discard(waiting.sequence, Some(&waiting), reason),
            }
            count += 1;
        }
        // In memory, dead letters end with the process.
        while reason == DiscardReason::Stopped
            && let Some(oldest) = self.dead.remove_oldest()
        {
            self.discard(oldest.sequence, None, reason);
            count += 1;
        }
        self.hand_over();
        if count > 0 {
            tracing::error!(
                endpoint = self.label,
                count,
                "events will not be delivered: {reason}"
            );
        }
    }

    /// When to look again, if it is to end.
    pub(super) fn retire_at(&self, now: Instant) -> Option<Instant> {
        let retired = self.retired?;
        let moment = if self.is_empty() {
            retired.not_before
        } else {
            retired.deadline
        };
        Some(moment).filter(|moment| *moment > now)
    }

    pub(in crate::delivery) fn retire(&mut self, retirement: LaneRetirement) {
        self.retired = Some(retirement);
    }

    /// Ends it as it is; gives how many deliveries it had not settled.
    pub(in crate::delivery) fn abandon(&mut self) -> u64 {
        let over = self.ended;
        self.abandoned = true;
        self.ended = true;
        let open = self.queue.events() + self.queue.in_flight() + self.dead.len();
        if over { 0 } else { open as u64 }
    }

    /// Takes a retirement back; false when its loop has ended already.
    pub(in crate::delivery) fn revive(&mut self) -> bool {
        self.retired = None;
        !std::mem::take(&mut self.ended)
    }

    /// Whether its endpoint was removed and the grace time is over: nothing of its queue is sent any more, even
    /// before its loop has had the time to make dead letters of it.
    pub(super) fn is_past_grace(&self, now: Instant) -> bool {
        let removed = self
            .retired
            .filter(|end| end.reason == DiscardReason::Removed);
        removed.is_some_and(|end| now >= end.deadline)
    }

    pub(in crate::delivery) fn is_running(&self) -> bool {
        self.retired.is_none() && !self.ended
    }

    /// Whether there is nothing left of it but its counts.
    pub(in crate::delivery) fn is_over(&self) -> Option<Ledger> {
        (self.ended && self.is_empty() && self.dead.is_empty()).then_some(self.ledger)
    }

    pub(in crate::delivery) fn is_idle(&self) -> bool {
        let uploading = self.dead.busy() > 0
            || (self.setup.store.is_some()
                && self.dead.storable() > 0
                && self.store_health.fault.is_none());
        self.ended || (self.is_empty() && !uploading)
    }
}
