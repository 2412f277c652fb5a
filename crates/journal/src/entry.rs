//! The handle of an accepted event: whoever has a clone of it keeps the event in memory.

use super::totals::{MemoryShare, UsageTotals};
use std::sync::Arc;
use twinroute_model::event::Event;

/// An accepted event, as the journal numbered it.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// Stable hash of its twin.
    pub twin: u64,
    /// The event.
    pub event: HeldEvent,
}

/// An event in memory, in buffers of its own, which count in the journal until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct HeldEvent {
    event: Arc<Event>,
    /// Gives the memory back when the last lane lets go.
    _share: Option<Arc<MemoryShare>>,
}

impl JournalEntry {
    /// An entry whose room was taken already.
    pub(crate) fn new(sequence: u64, event: Event, twin: u64, totals: &Arc<UsageTotals>) -> Self {
        let share = MemoryShare::new(event.size() as u64, totals);
        Self {
            sequence,
            twin,
            event: HeldEvent {
                event: Arc::new(event),
                _share: Some(Arc::new(share)),
            },
        }
    }
}

impl HeldEvent {
    /// An event that was read back: whoever asked for it has bounded that.
    #[must_use]
    pub fn read_back(event: Event) -> Self {
        Self {
            event: Arc::new(event),
            _share: None,
        }
    }

    /// The event alone; its bytes go on to count only while this is held.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }
}
