//! Deliveries that cannot be made: they become dead letters, or are given up where somebody said so.

use super::super::dead::Dead;
use super::super::waiting::Waiting;
use super::{DeathReason, End, State};
use crate::lane::Hold;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::settings::WhenFull;
use twinroute_retry::dead_letter::DeadLetter;
use twinroute_retry::journal::PendingDelivery;
use twinroute_retry::ledger::{Discard, Fate};

impl State {
    /// Makes a dead letter of a delivery. `last` is its last outcome, if it was just tried.
    pub(super) fn die(
        &mut self,
        waiting: Waiting,
        reason: DeathReason,
        last: Option<&str>,
        now: Instant,
    ) {
        let wall = self.wall(now);
        let held = self.setup.hold.as_ref().map(Hold::why);
        let known = match (last, &held) {
            (Some(outcome), _) => outcome,
            // What held it back is the best there is to tell.
            (None, Some(why)) => why,
            (None, None) if waiting.attempts > 0 || self.fault.is_some() => &self.last_error,
            (None, None) => "",
        };
        let about = Arc::new(DeadLetter {
            reason,
            attempts: waiting.attempts,
            died_at: wall.wall,
            last_attempt_at: last.map(|_| wall.wall),
            outcome: DeadLetter::outcome(known),
        });
        if let Some(journal) = &self.journal {
            journal.dead_letter(waiting.sequence, &about);
        }
        self.counters.get().deaths[reason as usize].increment(1);
        self.tell(waiting.sequence, End::DeadLettered);
        let dead = Dead {
            about,
            accepted_at: wall.before(waiting.age(now)),
            twin: waiting.twin,
            bytes: waiting.bytes,
            event: waiting.event.filter(|_| self.journal.is_none()),
            busy: false,
            unstorable: false,
        };
        self.dead.insert(waiting.sequence, dead);
        self.limit_dead();
    }

    pub(super) fn restore_dead(&mut self, delivery: &PendingDelivery, about: Arc<DeadLetter>) {
        let dead = Dead {
            about,
            accepted_at: delivery.accepted_at,
            twin: delivery.twin,
            bytes: delivery.bytes,
            event: None,
            busy: false,
            unstorable: false,
        };
        self.dead.insert(delivery.sequence, dead);
    }

    /// Gives up the oldest dead letters where a limit was set for them.
    fn limit_dead(&mut self) {
        let most = self.setup.settings.dead_letter_bytes_max.as_u64();
        self.log_dead_limit(most);
        while most > 0 && self.dead.bytes() > most {
            let Some(oldest) = self.dead.remove_oldest() else {
                return;
            };
            self.settle(oldest.sequence, Fate::Discarded(Discard::Overflow));
            self.counters.get().discarded[Discard::Overflow as usize].increment(1);
        }
    }

    /// Logs once that dead letters leave at their limit, and again after there was room in between.
    fn log_dead_limit(&mut self, most: u64) {
        let bytes = self.dead.bytes();
        if self.dead_overflowing {
            self.dead_overflowing = bytes > most / 2;
        } else if most > 0 && bytes > most {
            self.dead_overflowing = true;
            tracing::error!(
                endpoint = self.label,
                bytes,
                bytes_max = most,
                "the dead letters kept here are at their limit: the oldest are discarded from here on; replay, \
                 export or purge them, or raise the limit"
            );
        }
    }

    /// Gives a delivery up.
    pub(super) fn discard(&mut self, sequence: u64, reason: Discard) {
        self.settle(sequence, Fate::Discarded(reason));
        self.counters.get().discarded[reason as usize].increment(1);
        self.tell(sequence, End::Discarded);
    }

    /// The oldest has to leave.
    pub(super) fn overflow(&mut self, oldest: Waiting, now: Instant) {
        self.note_overflow(&oldest);
        match self.setup.settings.when_full {
            WhenFull::DiscardOldest => self.discard(oldest.sequence, Discard::Overflow),
            WhenFull::DeadLetterOldest | WhenFull::Refuse => {
                self.die(oldest, DeathReason::Overflow, None, now);
            }
        }
    }

    /// Says once that a lane lets events go, and once more when it has stopped to.
    fn note_overflow(&mut self, oldest: &Waiting) {
        if self.overflowing {
            return;
        }
        self.overflowing = true;
        tracing::error!(
            endpoint = self.label,
            sequence = oldest.sequence,
            queue_bytes = self.queue.bytes(),
            queue_events = self.queue.queued(),
            policy = self.setup.settings.when_full.as_str(),
            "the endpoint's queue is full: its oldest events leave it until there is room; \
             mend the endpoint, or raise queue_bytes_max, queue_events_max or queue_age_max"
        );
    }

    /// Lets go of what is too old, and says when there will be more of it.
    pub(super) fn limit_age(&mut self, now: Instant) -> Option<Instant> {
        let mut expired = 0_u64;
        let next = loop {
            let Some(oldest) = self.queue.oldest() else {
                break None;
            };
            let settings = &self.setup.settings;
            let age = oldest.age(now);
            let still = self.still.total(now).saturating_sub(oldest.still_then);
            let lived = age.saturating_sub(still);
            let too_old = settings.queue_age_limit().is_some_and(|most| age >= most);
            // What was never tried is tried once, as Event Grid does: it looks at the time to live at an
            // attempt.
            let was_tried = oldest.attempts > 0;
            if lived >= settings.time_to_live && was_tried {
                let Some(oldest) = self.queue.evict_oldest() else {
                    break None;
                };
                expired += 1;
                self.die(oldest, DeathReason::Expired, None, now);
            } else if too_old && settings.when_full != WhenFull::Refuse {
                let Some(oldest) = self.queue.evict_oldest() else {
                    break None;
                };
                self.overflow(oldest, now);
            } else {
                let dies = (was_tried && !self.still.is_still())
                    .then(|| settings.time_to_live.saturating_sub(lived));
                let leaves = settings.queue_age_limit().filter(|_| !too_old);
                let leaves = leaves.map(|most| most.saturating_sub(age));
                let soonest = [dies, leaves].into_iter().flatten().min();
                break soonest.map(|wait| now + wait.max(Duration::from_millis(1)));
            }
        };
        if expired > 0 {
            self.hand_over();
            tracing::error!(
                endpoint = self.label,
                count = expired,
                "the time to live of events passed; they are dead letters"
            );
        }
        self.note_fullness(now);
        next
    }

    /// What waits is over, but for what a journal on disk keeps over a stop.
    pub(super) fn give_up(&mut self, reason: Discard, now: Instant) {
        let mut count = 0_u64;
        while let Some(waiting) = self.queue.evict_oldest() {
            match reason {
                Discard::Removed => self.die(waiting, DeathReason::Removed, None, now),
                reason => self.discard(waiting.sequence, reason),
            }
            count += 1;
        }
        // In memory, dead letters end with the process.
        while reason == Discard::Stopped
            && let Some(oldest) = self.dead.remove_oldest()
        {
            self.discard(oldest.sequence, reason);
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
}
