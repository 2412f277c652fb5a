//! The journal in memory: nothing outlives the process.

use super::totals::{Held, Totals};
use super::{Entry, Full};
use std::sync::Arc;
use twinroute_model::event::Event;

/// The journal in memory.
#[derive(Debug)]
pub struct Memory {
    totals: Arc<Totals>,
    next_sequence: u64,
}

impl Memory {
    /// Holds at most `bytes_max` bytes of events.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self {
            totals: Arc::new(Totals::in_memory(bytes_max)),
            next_sequence: 1,
        }
    }

    pub(super) fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Appends a batch, whole or not at all, and numbers it without a gap.
    ///
    /// # Errors
    /// [`Full`] when it would pass the limit.
    pub fn append(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, Full> {
        let bytes = events.iter().map(|event| event.size() as u64).sum();
        self.totals.reserve(Held {
            events: events.len() as u64,
            bytes,
        })?;
        let mut sequences = self.next_sequence..;
        self.next_sequence += events.len() as u64;
        let entry = |event| {
            let sequence = sequences.next().expect("an open range has no end");
            Entry::new(sequence, Arc::new(event), &self.totals)
        };
        Ok(events.into_iter().map(entry).collect())
    }
}
