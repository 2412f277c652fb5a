//! The traces of a batch's events, on their way to the lanes.

use std::sync::Arc;
use twinroute_journal::JournalEntry;
use twinroute_model::trace_context::TraceContext;

/// An event's place in its batch, or its sequence, and its trace.
pub(crate) type EventTrace = (u64, Arc<TraceContext>);

/// Which trace each event of a batch is part of, where that does not stand in the event. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventTraces {
    /// Of all but those below.
    shared: Option<Arc<TraceContext>>,
    /// Of events whose own trace is recorded: by place in the batch, then by sequence.
    own: Option<Arc<Vec<EventTrace>>>,
}

impl EventTraces {
    /// One for all events but those in `own`, which are given by their places, ascending.
    pub(crate) fn new(shared: Option<Arc<TraceContext>>, own: Vec<EventTrace>) -> Self {
        let own = (!own.is_empty()).then(|| Arc::new(own));
        Self { shared, own }
    }

    /// The same by sequence, now that the journal has numbered the events.
    pub(crate) fn numbered(&self, entries: &[JournalEntry]) -> Self {
        let Some(own) = &self.own else {
            return self.clone();
        };
        let sequence = |(place, trace): &EventTrace| {
            let entry = entries.get(usize::try_from(*place).ok()?)?;
            Some((entry.sequence, Arc::clone(trace)))
        };
        Self::new(
            self.shared.clone(),
            own.iter().filter_map(sequence).collect(),
        )
    }

    /// That of one event.
    pub(crate) fn of(&self, sequence: u64) -> Option<Arc<TraceContext>> {
        let own = self.own.as_ref().and_then(|own| {
            let place = own.binary_search_by_key(&sequence, |(of, _)| *of).ok()?;
            Some(Arc::clone(&own[place].1))
        });
        own.or_else(|| self.shared.clone())
    }
}
