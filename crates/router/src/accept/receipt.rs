//! What is noted of a batch once it is accepted, whoever still waits for the answer by then.

use super::answer::Accepted;
use super::duplicates::BatchClaim;
use crate::table::{CompiledInstance, MatchScratch};
use metrics::{Counter, counter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts events since the start.
#[derive(Debug)]
pub(crate) struct EventTally {
    accepted: AtomicU64,
    unmatched: AtomicU64,
    duplicates: AtomicU64,
    accepted_total: Counter,
    unmatched_total: Counter,
    duplicate_total: Counter,
    refused_total: Counter,
}

impl EventTally {
    pub(crate) fn new() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            accepted_total: counter!("twinroute_events_accepted_total"),
            unmatched_total: counter!("twinroute_events_unmatched_total"),
            duplicate_total: counter!("twinroute_events_duplicate_total"),
            refused_total: counter!("twinroute_events_refused_total"),
        }
    }

    /// Events accepted, duplicates not among them.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Of these, events that matched no route.
    pub(crate) fn unmatched(&self) -> u64 {
        self.unmatched.load(Ordering::Relaxed)
    }

    /// Repeats of accepted events.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self, events: u64) {
        self.refused_total.increment(events);
    }
}

/// What is to be noted of a batch. Dropped without that, the batch was not accepted: nothing is counted,
/// and its events are no duplicates when they come again. The default is that of a batch that is no producer's.
#[derive(Debug, Default)]
pub(super) struct BatchReceipt {
    /// Where it is counted; nowhere when it is no producer's, or was counted.
    tally: Option<Arc<EventTally>>,
    /// Events that are no duplicates.
    events: u64,
    unmatched: u64,
    duplicates: u64,
    /// Events whose producer was answered before they were as safe as the journal makes them.
    answered_early: u64,
    /// Which routes matched.
    matched: Option<(Arc<CompiledInstance>, MatchScratch)>,
    claim: Option<BatchClaim>,
}

impl BatchReceipt {
    /// Of a producer's batch, as it is to be answered.
    pub(super) fn new(
        accepted: &Accepted,
        tally: Arc<EventTally>,
        matched: (Arc<CompiledInstance>, MatchScratch),
        claim: Option<BatchClaim>,
    ) -> Self {
        Self {
            tally: Some(tally),
            events: (accepted.events - accepted.duplicates) as u64,
            unmatched: accepted.unmatched as u64,
            duplicates: accepted.duplicates as u64,
            answered_early: 0,
            matched: Some(matched),
            claim,
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
    pub(super) fn accepted(mut self) {
        self.count();
        if let Some(claim) = self.claim {
            claim.accept();
        }
    }

    fn count(&mut self) {
        let Some(tally) = self.tally.take() else {
            return;
        };
        tally.accepted.fetch_add(self.events, Ordering::Relaxed);
        tally.unmatched.fetch_add(self.unmatched, Ordering::Relaxed);
        tally
            .duplicates
            .fetch_add(self.duplicates, Ordering::Relaxed);
        tally.accepted_total.increment(self.events);
        tally.unmatched_total.increment(self.unmatched);
        tally.duplicate_total.increment(self.duplicates);
        if let Some((compiled, scratch)) = self.matched.take() {
            compiled.count(&scratch);
        }
    }
}
