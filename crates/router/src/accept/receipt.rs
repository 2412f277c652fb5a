//! What is recorded of a batch once it is accepted, whoever still waits for the answer by then.

use super::answer::AcceptedBatch;
use super::duplicates::BatchClaim;
use crate::table::{CompiledInstance, MatchScratch};
use crate::trace::BatchTrace;
use metrics::{Counter, counter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events since the start, for status and metrics.
#[derive(Debug)]
pub(crate) struct EventCount {
    since_start: AtomicU64,
    total: Counter,
}

impl EventCount {
    fn new(total: Counter) -> Self {
        let since_start = AtomicU64::new(0);
        Self { since_start, total }
    }

    pub(crate) fn get(&self) -> u64 {
        self.since_start.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, events: u64) {
        // Of most batches there is nothing to count but what was accepted.
        if events == 0 {
            return;
        }
        self.since_start.fetch_add(events, Ordering::Relaxed);
        self.total.increment(events);
    }
}

/// Counts events since the start.
#[derive(Debug)]
pub(crate) struct EventTally {
    /// Events accepted, duplicates not among them.
    pub(crate) accepted: EventCount,
    /// Of these, events that matched no route.
    pub(crate) unmatched: EventCount,
    /// Of those accepted, events that the program changed before they were matched.
    pub(crate) changed: EventCount,
    /// Of those accepted, events that the program dropped before they were matched.
    pub(crate) dropped: EventCount,
    /// Repeats of accepted events.
    pub(crate) duplicates: EventCount,
    pub(super) refused: EventCount,
}

impl EventTally {
    pub(super) fn new() -> Self {
        Self {
            accepted: EventCount::new(counter!("twinroute_events_accepted_total")),
            unmatched: EventCount::new(counter!("twinroute_events_unmatched_total")),
            changed: EventCount::new(counter!("twinroute_events_changed_total")),
            dropped: EventCount::new(counter!("twinroute_events_dropped_total")),
            duplicates: EventCount::new(counter!("twinroute_events_duplicate_total")),
            refused: EventCount::new(counter!("twinroute_events_refused_total")),
        }
    }
}

/// What is to be recorded of a batch. Dropped without that, the batch was not accepted: nothing is counted,
/// and its events are no duplicates when they come again. The default is that of a batch that is no producer's.
#[derive(Debug, Default)]
pub(super) struct BatchReceipt {
    /// Where it is counted; nowhere when it is no producer's, or was counted.
    tally: Option<Arc<EventTally>>,
    /// Events that are no duplicates.
    events: u64,
    unmatched: u64,
    changed: u64,
    dropped: u64,
    duplicates: u64,
    /// Events whose producer was answered before they were as safe as the journal makes them.
    answered_early: u64,
    /// Which routes matched.
    matched: Option<(Arc<CompiledInstance>, MatchScratch)>,
    claim: Option<BatchClaim>,
    /// What its spans are recorded with, where they are.
    trace: Option<Box<BatchTrace>>,
}

impl BatchReceipt {
    /// Of a producer's batch, as it is to be answered.
    pub(super) fn new(
        accepted: &AcceptedBatch,
        tally: Arc<EventTally>,
        matched: (Arc<CompiledInstance>, MatchScratch),
        claim: Option<BatchClaim>,
        trace: Option<Box<BatchTrace>>,
    ) -> Self {
        Self {
            tally: Some(tally),
            events: (accepted.events - accepted.duplicates) as u64,
            unmatched: accepted.unmatched as u64,
            changed: accepted.changed as u64,
            dropped: accepted.dropped as u64,
            duplicates: accepted.duplicates as u64,
            answered_early: 0,
            matched: Some(matched),
            claim,
            trace,
        }
    }

    /// Its events are handed to the journal.
    pub(super) fn appended(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.appended();
        }
    }

    /// The producer is answered, about so many events.
    pub(super) fn answered(&mut self, events: u64) {
        self.answered_early = events;
        self.count();
    }

    /// Events whose producer was answered before they were as safe as the journal makes them.
    pub(super) fn answered_early(&self) -> u64 {
        self.answered_early
    }

    /// The batch is as safe as the journal makes it.
    pub(super) fn accepted(&mut self) {
        self.count();
        if let Some(claim) = self.claim.take() {
            claim.accept();
        }
        if let Some(trace) = self.trace.take() {
            trace.accepted();
        }
    }

    fn count(&mut self) {
        let Some(tally) = self.tally.take() else {
            return;
        };
        tally.accepted.add(self.events);
        tally.unmatched.add(self.unmatched);
        // Most routers have no such function, and then an event costs nothing here.
        if self.changed + self.dropped > 0 {
            tally.changed.add(self.changed);
            tally.dropped.add(self.dropped);
        }
        tally.duplicates.add(self.duplicates);
        if let Some((compiled, scratch)) = self.matched.take() {
            compiled.count(&scratch);
        }
    }
}
