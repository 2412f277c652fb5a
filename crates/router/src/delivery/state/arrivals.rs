//! Deliveries that come to a lane: from the journal, from a replay, from before a restart.

use super::LaneCore;
use crate::delivery::arrival::LaneArrival;
use crate::delivery::kept_dead_letters::KeptDeadLetter;
use crate::delivery::queued_delivery::QueuedDelivery;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::history::HistoryState;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::{JournalEntry, PendingDelivery};
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::trace_context::TraceContext;
use twinroute_retry::schedule;

/// Bytes of events that a lane keeps in memory when they are on disk too. Enough for a few batches; what
/// waits behind them is read back.
const LANE_MEMORY_MAX: usize = 4 << 20;

impl LaneCore {
    /// Queues what was not settled before a restart; its matches are counted already.
    pub(in crate::delivery) fn restore(&mut self, pending: Vec<PendingDelivery>, now: Instant) {
        self.queue_pending(pending, now);
        self.hand_over();
        self.note_hold();
        self.update_ttl_clock(now);
    }

    /// Queues what is not settled, whose matches are counted already.
    pub(super) fn queue_pending(&mut self, pending: Vec<PendingDelivery>, now: Instant) {
        let wall = self.wall(now);
        for delivery in pending {
            if let Some(about) = delivery.dead.clone() {
                self.restore_dead_letter(&delivery, about);
                continue;
            }
            let waiting = QueuedDelivery {
                sequence: delivery.sequence,
                twin: delivery.twin,
                bytes: delivery.bytes,
                attempts: delivery.attempts,
                came: now,
                age_then: delivery.age,
                ttl_stopped_then: Duration::ZERO,
                event: None,
                trace: None,
            };
            match delivery.due {
                // The clock may have been set since: at worst it waits once more.
                Some(due) => {
                    let most =
                        now + schedule::event_delay_max(&self.setup.settings, waiting.attempts);
                    self.queue
                        .restore_retrying(waiting, wall.moment(due).min(most));
                }
                None => self.enqueue(waiting, now),
            }
        }
    }

    fn restore_dead_letter(&mut self, delivery: &PendingDelivery, about: Arc<DeadLetter>) {
        let dead = KeptDeadLetter {
            about,
            accepted_at: delivery.accepted_at,
            twin: delivery.twin,
            bytes: delivery.bytes,
            event: None,
            busy: false,
            unstorable: false,
            trace: None,
        };
        self.dead.insert(delivery.sequence, dead);
    }

    /// Queues deliveries, in order. Never refuses: at its cap the lane lets its oldest go. True when the loop has
    /// to hear of it.
    pub(in crate::delivery) fn offer(
        &mut self,
        deliveries: Vec<JournalEntry>,
        arrival: &LaneArrival,
    ) -> bool {
        let Some(first) = deliveries.first() else {
            return false;
        };
        self.count_arrivals(first.sequence, deliveries.len() as u64, arrival);
        let now = arrival.came();
        let dead_before = self.dead_count();
        let had_none = self.queue.oldest_sendable().is_none();
        let room = self.room_to_fill();
        let filled = self.queue.fills(room);
        for entry in deliveries {
            if let Some(tracker) = arrival.tracker() {
                self.trackers.add(entry.sequence, tracker);
            }
            let trace = arrival.trace_of(entry.sequence);
            let waiting = self.arrived(entry, trace, arrival);
            match self.ended {
                false => self.queue.push(waiting),
                true => self.make_dead_letter(waiting, DeadLetterReason::Removed, None, now),
            }
        }
        self.limit_queue(now);
        self.note_fullness(now);
        self.hand_over();
        let has_some = had_none && self.queue.oldest_sendable().is_some();
        let fills = !filled && self.queue.fills(room);
        let has_to_await = !self.unrecorded.to_await.is_empty();
        has_some || fills || has_to_await || self.dead_count() > dead_before
    }

    /// Counts what comes. A replay takes the place of a dead letter, which may have been one of those here; the journal
    /// has recorded both already.
    /// They are of the partition of `first`, where there are partitions.
    fn count_arrivals(&mut self, first: u64, count: u64, arrival: &LaneArrival) {
        self.counters.register();
        if self.is_clustered() {
            self.ensure_share(first);
        }
        let share = self.shares.of(first).map(|share| &mut share.ledger);
        match arrival {
            LaneArrival::Matched { .. } | LaneArrival::Folded { .. } => {
                share.into_iter().for_each(|share| share.matched += count);
                self.ledger.matched += count;
                self.counters.matched.increment(count);
            }
            LaneArrival::Replayed { of, .. } => {
                share.into_iter().for_each(|share| share.replayed += count);
                self.ledger.replayed += count;
                self.counters.replayed.increment(count);
                if let Some(of) = *of
                    && self.dead.remove(of).is_some()
                {
                    let replayed = DeliverySettlement::Replayed;
                    self.keep_outcome(of, None, || HistoryState::Settled(replayed, None));
                    self.count_settled(of, replayed);
                }
            }
        }
    }

    /// An accepted event as a delivery that was not tried.
    fn arrived(
        &self,
        entry: JournalEntry,
        trace: Option<Arc<TraceContext>>,
        arrival: &LaneArrival,
    ) -> QueuedDelivery {
        let now = arrival.came();
        let bytes = u32::try_from(entry.event.size()).unwrap_or(u32::MAX);
        QueuedDelivery {
            sequence: entry.sequence,
            twin: entry.twin,
            bytes,
            attempts: 0,
            came: now,
            age_then: arrival.age(),
            ttl_stopped_then: self.ttl_clock.total(now),
            event: self.keeps_event(bytes).then_some(entry.event),
            trace,
        }
    }

    /// Whether an event stays in memory although it is on disk.
    fn keeps_event(&self, bytes: u32) -> bool {
        let held_back = self.health.fault.is_some() || self.paused || self.setup.hold.is_some();
        let room = self.queue.memory() + bytes as usize <= LANE_MEMORY_MAX;
        match &self.journal {
            None => true,
            Some(journal) => room && !held_back && journal.has_memory(),
        }
    }

    fn enqueue(&mut self, waiting: QueuedDelivery, now: Instant) {
        self.queue.push(waiting);
        self.limit_queue(now);
        self.note_fullness(now);
    }
}
