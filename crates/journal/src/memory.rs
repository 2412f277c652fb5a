//! The journal in memory: nothing outlives the process.

use super::totals::{HeldSize, UsageGauge, UsageTotals};
use super::{JournalEntry, JournalFull, NewEvent};
use std::sync::Arc;
use twinroute_model::event::Event;

/// The journal in memory.
#[derive(Debug)]
pub struct MemoryJournal {
    totals: Arc<UsageTotals>,
    next_sequence: u64,
}

impl MemoryJournal {
    /// Holds at most `bytes_max` bytes of events.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self {
            totals: Arc::new(UsageTotals::in_memory(bytes_max)),
            next_sequence: 1,
        }
    }

    /// A handle that reads usage without the journal.
    #[must_use]
    pub fn gauge(&self) -> UsageGauge {
        UsageGauge(Arc::clone(&self.totals))
    }

    /// The sequence that the next event gets.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Appends a batch, whole or not at all, and numbers it without a gap.
    ///
    /// # Errors
    /// [`JournalFull`] when it would pass the limit.
    pub fn append(&mut self, mut batch: Vec<NewEvent>) -> Result<Vec<JournalEntry>, JournalFull> {
        self.append_from(&mut batch)
    }

    /// As [`MemoryJournal::append`]; what is not taken stays in `batch`, which is empty afterwards otherwise.
    ///
    /// # Errors
    /// [`JournalFull`] when it would pass the limit.
    pub fn append_from(
        &mut self,
        batch: &mut Vec<NewEvent>,
    ) -> Result<Vec<JournalEntry>, JournalFull> {
        let bytes = batch.iter().map(|new| new.event.size() as u64).sum();
        self.totals.reserve(HeldSize {
            events: batch.len() as u64,
            bytes,
        })?;
        Ok(self.number(batch.drain(..)))
    }

    /// Appends an event that takes the place of another: it is taken though the limit be passed, for the
    /// moment until the other is let go.
    pub fn exchange(&mut self, event: Event, twin: u64) -> JournalEntry {
        self.totals.take(HeldSize {
            events: 1,
            bytes: event.size() as u64,
        });
        let lanes = Vec::new();
        let new = NewEvent { event, twin, lanes };
        self.number(std::iter::once(new)).remove(0)
    }

    /// Numbers events whose room was taken.
    fn number(&mut self, events: impl Iterator<Item = NewEvent>) -> Vec<JournalEntry> {
        let entry = |new: NewEvent| {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            JournalEntry::new(sequence, new.event, new.twin, &self.totals)
        };
        events.map(entry).collect()
    }
}
