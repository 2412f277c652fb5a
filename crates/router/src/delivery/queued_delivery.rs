//! A delivery as its lane holds it.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::HeldEvent;
use twinroute_model::trace_context::TraceContext;

/// A delivery that is not settled.
#[derive(Clone, Debug)]
pub(crate) struct QueuedDelivery {
    pub(crate) sequence: u64,
    pub(crate) twin: u64,
    pub(crate) bytes: u32,
    /// Attempts that counted: those in which the event failed alone.
    pub(crate) attempts: u32,
    /// When it came to this process.
    pub(crate) came: Instant,
    /// How old it was by then.
    pub(crate) age_then: Duration,
    /// How long its lane's time-to-live had stood still by then.
    pub(crate) ttl_stopped_then: Duration,
    /// Its event, while that is in memory.
    pub(crate) event: Option<HeldEvent>,
    /// The trace that it is part of, where that does not stand in its event. It ends with the process.
    pub(crate) trace: Option<Arc<TraceContext>>,
}

impl QueuedDelivery {
    /// How long ago its event was accepted.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.came) + self.age_then
    }

    /// The bytes of its event.
    pub(super) fn bytes(&self) -> usize {
        self.bytes as usize
    }
}
