//! How deliveries come to a lane.

use super::tracker::DeliveryTracker;
use crate::trace::EventTraces;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::JournalEntry;
use twinroute_model::trace_context::TraceContext;

/// Why there are deliveries, when their events were accepted, and who waits for how they end.
#[derive(Clone, Debug)]
pub(crate) enum LaneArrival {
    /// Routes matched.
    Matched {
        came: Instant,
        tracker: Option<Arc<DeliveryTracker>>,
        /// Which traces they are part of.
        traces: EventTraces,
    },
    /// They were read from a log that several routers share, so old.
    Folded { came: Instant, age: Duration },
    /// A dead letter is replayed: this one if it was kept here.
    Replayed {
        of: Option<u64>,
        came: Instant,
        tracker: Arc<DeliveryTracker>,
    },
}

impl LaneArrival {
    /// The same, now that the journal has numbered the events.
    pub(crate) fn numbered(&self, entries: &[JournalEntry]) -> Self {
        let mut numbered = self.clone();
        if let Self::Matched { traces, .. } = &mut numbered {
            *traces = traces.numbered(entries);
        }
        numbered
    }

    pub(super) fn came(&self) -> Instant {
        match self {
            Self::Matched { came, .. }
            | Self::Folded { came, .. }
            | Self::Replayed { came, .. } => *came,
        }
    }

    /// How old their events were when they came.
    pub(super) fn age(&self) -> Duration {
        match self {
            Self::Folded { age, .. } => *age,
            Self::Matched { .. } | Self::Replayed { .. } => Duration::ZERO,
        }
    }

    /// The trace that an event is part of, where that does not stand in it.
    pub(super) fn trace_of(&self, sequence: u64) -> Option<Arc<TraceContext>> {
        match self {
            Self::Matched { traces, .. } => traces.of(sequence),
            Self::Folded { .. } | Self::Replayed { .. } => None,
        }
    }

    pub(super) fn tracker(&self) -> Option<&Arc<DeliveryTracker>> {
        match self {
            Self::Matched { tracker, .. } => tracker.as_ref(),
            Self::Folded { .. } => None,
            Self::Replayed { tracker, .. } => Some(tracker),
        }
    }
}
