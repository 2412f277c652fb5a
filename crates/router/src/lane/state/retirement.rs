//! How a lane ends: at a stop, or when its endpoint is removed.

use super::{State, Step};
use tokio::time::Instant;
use twinroute_retry::ledger::{Discard, Ledger};

/// A lane that is to end.
#[derive(Clone, Copy, Debug)]
pub(in crate::lane) struct Retirement {
    /// It stays at least until then.
    pub(in crate::lane) not_before: Instant,
    /// What is not settled by then is given up.
    pub(in crate::lane) deadline: Instant,
    /// Why.
    pub(in crate::lane) reason: Discard,
}

impl State {
    /// Ends the lane when it is time to, or says what its end waits for.
    pub(super) fn ending(&mut self, now: Instant) -> Option<Step> {
        let retired = self.retired?;
        if self.journal.is_some() && retired.reason == Discard::Stopped {
            // What waits stays in the journal; only what is in flight is waited for.
            if now >= retired.deadline && self.flights.is_empty() {
                self.ended = true;
                return Some(Step::End);
            }
            if now >= retired.deadline {
                return Some(Step::Wait(None));
            }
        } else if now >= retired.deadline {
            self.give_up(retired.reason, now);
        }
        if self.is_empty() && self.dead.is_empty() && now >= retired.not_before {
            self.ended = true;
            return Some(Step::End);
        }
        None
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

    pub(in crate::lane) fn retire(&mut self, retirement: Retirement) {
        self.retired = Some(retirement);
    }

    /// Ends it as it is; gives how many deliveries it had not settled.
    pub(in crate::lane) fn abandon(&mut self) -> u64 {
        let over = self.ended;
        self.abandoned = true;
        self.ended = true;
        let open = self.queue.events() + self.queue.in_flight() + self.dead.len();
        if over { 0 } else { open as u64 }
    }

    /// Takes a retirement back; false when its loop has ended already.
    pub(in crate::lane) fn revive(&mut self) -> bool {
        self.retired = None;
        !std::mem::take(&mut self.ended)
    }

    pub(in crate::lane) fn is_running(&self) -> bool {
        self.retired.is_none() && !self.ended
    }

    /// Whether there is nothing left of it but its counts.
    pub(in crate::lane) fn is_over(&self) -> Option<Ledger> {
        (self.ended && self.is_empty() && self.dead.is_empty()).then_some(self.ledger)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.queue.is_empty()
    }

    pub(in crate::lane) fn is_idle(&self) -> bool {
        let uploading = self.dead.busy() > 0
            || (self.setup.store.is_some()
                && self.dead.storable() > 0
                && self.store_fault.is_none());
        self.ended || (self.is_empty() && !uploading)
    }
}
