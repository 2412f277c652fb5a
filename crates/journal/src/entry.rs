//! The handle of an accepted event: whoever has a clone of it keeps the event in memory.

use super::totals::{MemoryShare, UsageGauge, UsageTotals};
use std::ops::Deref;
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

/// An event in memory, in buffers of its own, which count in the journal until the last clone is dropped. Clones share
/// it.
#[derive(Clone, Debug)]
pub struct HeldEvent(Arc<CountedEvent>);

#[derive(Debug)]
struct CountedEvent {
    event: Event,
    /// Gives the memory back when the last lane lets go.
    _share: Option<MemoryShare>,
}

impl JournalEntry {
    /// An entry whose event stands in a log elsewhere; in memory it counts until the last clone is dropped.
    #[must_use]
    pub fn of_log(sequence: u64, event: Event, twin: u64, gauge: &UsageGauge) -> Self {
        Self::new(sequence, event, twin, &gauge.0)
    }

    /// An entry whose room was taken already.
    pub(crate) fn new(sequence: u64, event: Event, twin: u64, totals: &Arc<UsageTotals>) -> Self {
        let share = MemoryShare::new(event.size() as u64, totals);
        Self {
            sequence,
            twin,
            event: HeldEvent(Arc::new(CountedEvent {
                event,
                _share: Some(share),
            })),
        }
    }
}

impl Deref for HeldEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0.event
    }
}

impl From<Event> for HeldEvent {
    /// An event that counts in no journal: whoever has it has bounded that.
    fn from(event: Event) -> Self {
        Self(Arc::new(CountedEvent {
            event,
            _share: None,
        }))
    }
}
