//! Deliveries that cannot be made: they become dead letters, or are discarded where the settings say so.

use super::LaneCore;
use crate::delivery::hold::HoldReason;
use crate::delivery::kept_dead_letters::KeptDeadLetter;
use crate::delivery::lane_journal::LaneJournal;
use crate::delivery::queued_delivery::QueuedDelivery;
use crate::delivery::tracker::DeliveryEnd;
use crate::tap::TapOutcome;
use std::sync::Arc;
use tokio::time::Instant;
use twinroute_journal::history::HistoryState;
use twinroute_journal::ledger::DiscardReason;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::settings::WhenFull;

impl LaneCore {
    /// Makes a dead letter of a delivery. `last` is its last outcome, if it was just tried.
    pub(super) fn make_dead_letter(
        &mut self,
        waiting: QueuedDelivery,
        reason: DeadLetterReason,
        last: Option<&str>,
        now: Instant,
    ) {
        let wall = self.wall(now);
        let held = self.setup.hold.as_ref().map(HoldReason::why);
        let known = match (last, &held) {
            (Some(outcome), _) => outcome,
            // What held it back is the best there is to tell.
            (None, Some(why)) => why,
            (None, None) if waiting.attempts > 0 || self.health.fault.is_some() => {
                &self.health.last_error
            }
            (None, None) => "",
        };
        let about = Arc::new(DeadLetter {
            reason,
            attempts: waiting.attempts,
            died_at: wall.wall,
            last_attempt_at: last.map(|_| wall.wall),
            outcome: DeadLetter::outcome(known),
        });
        if let Some(LaneJournal::Disk(disk)) = &self.journal {
            disk.dead_letter(waiting.sequence, &about);
        }
        if let Some(waiting) = self.await_dead_letter(waiting, &about, last.is_none()) {
            self.keep_dead_letter(waiting, about, now);
        }
    }

    /// Keeps a dead letter, which is recorded as far as it has to be.
    pub(super) fn keep_dead_letter(
        &mut self,
        waiting: QueuedDelivery,
        about: Arc<DeadLetter>,
        now: Instant,
    ) {
        let (reason, wall) = (about.reason, self.wall(now));
        let letter = || HistoryState::Dead(Arc::clone(&about));
        self.keep_outcome(waiting.sequence, Some(&waiting), letter);
        self.counters.get().deaths[reason as usize].increment(1);
        self.tell(waiting.sequence, DeliveryEnd::DeadLettered);
        let why = || match &*about.outcome {
            "" => reason.to_string(),
            outcome => format!("{reason}: {outcome}"),
        };
        let view = (waiting.sequence, waiting.event.as_deref());
        self.show(view, TapOutcome::DeadLettered, now, why);
        let trace = self.dead_letter_span(&waiting, &about, now);
        let dead = KeptDeadLetter {
            about,
            accepted_at: wall.before(waiting.age(now)),
            twin: waiting.twin,
            bytes: waiting.bytes,
            event: waiting.event.filter(|_| self.journal.is_none()),
            busy: false,
            unstorable: false,
            trace,
        };
        self.dead.insert(waiting.sequence, dead);
        self.limit_dead_letters();
    }

    /// Discards the oldest dead letters where a limit was set for them.
    fn limit_dead_letters(&mut self) {
        let most = self.setup.settings.dead_letter_bytes_max.as_u64();
        self.log_dead_limit(most);
        while most > 0 && self.dead.bytes() > most {
            let Some(oldest) = self.dead.remove_oldest() else {
                return;
            };
            self.discard(oldest.sequence, None, DiscardReason::Overflow);
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

    /// The oldest has to leave.
    pub(super) fn overflow(&mut self, oldest: QueuedDelivery, now: Instant) {
        self.note_overflow(&oldest);
        match self.setup.settings.when_full {
            WhenFull::DiscardOldest => {
                self.discard(oldest.sequence, Some(&oldest), DiscardReason::Overflow);
            }
            // One that refuses lets nothing come so far, but for a limit that became lower.
            _ => {
                self.make_dead_letter(oldest, DeadLetterReason::Overflow, None, now);
            }
        }
    }

    /// Says once that a lane lets events go, and once more when it has stopped to.
    fn note_overflow(&mut self, oldest: &QueuedDelivery) {
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
             fix the endpoint, or raise queue_bytes_max, queue_events_max or queue_age_max"
        );
    }
}
