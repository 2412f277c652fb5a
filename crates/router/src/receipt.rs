//! What is noted of a batch once it is accepted, whoever still waits for the answer by then.

use crate::accept::Accepted;
use crate::duplicates::Claim;
use crate::table::{CompiledInstance, MatchScratch};
use metrics::{Counter, counter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts events since the start.
#[derive(Debug)]
pub(crate) struct Tally {
    accepted: AtomicU64,
    unmatched: AtomicU64,
    duplicates: AtomicU64,
    accepted_total: Counter,
    unmatched_total: Counter,
    duplicate_total: Counter,
    refused_total: Counter,
}

impl Tally {
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
/// and its events are no duplicates when they come again.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) counts: Option<Box<Counts>>,
    pub(crate) claim: Option<Claim>,
}

/// What a batch adds to the tally.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) tally: Arc<Tally>,
    /// Events that are no duplicates.
    pub(crate) events: u64,
    pub(crate) unmatched: u64,
    pub(crate) duplicates: u64,
    /// Which routes matched.
    pub(crate) compiled: Arc<CompiledInstance>,
    pub(crate) scratch: MatchScratch,
}

impl Receipt {
    /// Of a batch that is no producer's.
    pub(crate) fn none() -> Self {
        Self {
            counts: None,
            claim: None,
        }
    }

    /// The producer is answered.
    pub(crate) fn count(&mut self) {
        if let Some(counts) = self.counts.take() {
            counts.add();
        }
    }

    /// The batch is as safe as the journal makes it.
    pub(crate) fn accepted(mut self) {
        self.count();
        if let Some(claim) = self.claim {
            claim.accept();
        }
    }
}

impl Counts {
    pub(crate) fn of(
        accepted: &Accepted,
        tally: Arc<Tally>,
        compiled: Arc<CompiledInstance>,
        scratch: MatchScratch,
    ) -> Self {
        Self {
            tally,
            events: (accepted.events - accepted.duplicates) as u64,
            unmatched: accepted.unmatched as u64,
            duplicates: accepted.duplicates as u64,
            compiled,
            scratch,
        }
    }

    fn add(self) {
        let Self { tally, .. } = &self;
        tally.accepted.fetch_add(self.events, Ordering::Relaxed);
        tally.unmatched.fetch_add(self.unmatched, Ordering::Relaxed);
        tally
            .duplicates
            .fetch_add(self.duplicates, Ordering::Relaxed);
        tally.accepted_total.increment(self.events);
        tally.unmatched_total.increment(self.unmatched);
        tally.duplicate_total.increment(self.duplicates);
        self.compiled.count(&self.scratch);
    }
}
