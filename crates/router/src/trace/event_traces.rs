//! The traces of a batch's events, on their way to the lanes.

use std::sync::Arc;
use twinroute_model::trace_context::TraceContext;

/// Which trace each event of a batch is part of, where that does not stand in the event. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventTraces {
    /// Of all of them.
    shared: Option<Arc<TraceContext>>,
}

impl EventTraces {
    /// One for all of them.
    pub(crate) fn shared(trace: Option<Arc<TraceContext>>) -> Self {
        Self { shared: trace }
    }

    /// That of one event.
    pub(crate) fn of(&self, _sequence: u64) -> Option<Arc<TraceContext>> {
        self.shared.clone()
    }
}
