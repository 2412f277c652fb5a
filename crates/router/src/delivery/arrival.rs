//! How deliveries come to a lane.

use super::tracker::DeliveryTracker;
use std::sync::Arc;
use tokio::time::Instant;

/// Why there are deliveries, when their events were accepted, and who waits for how they end.
#[derive(Clone, Debug)]
pub(crate) enum LaneArrival {
    /// Routes matched.
    Matched {
        came: Instant,
        tracker: Option<Arc<DeliveryTracker>>,
    },
    /// A dead letter is replayed: this one if it was kept here.
    Replayed {
        of: Option<u64>,
        came: Instant,
        tracker: Arc<DeliveryTracker>,
    },
}

impl LaneArrival {
    pub(super) fn came(&self) -> Instant {
        match self {
            Self::Matched { came, .. } | Self::Replayed { came, .. } => *came,
        }
    }

    pub(super) fn tracker(&self) -> Option<&Arc<DeliveryTracker>> {
        match self {
            Self::Matched { tracker, .. } => tracker.as_ref(),
            Self::Replayed { tracker, .. } => Some(tracker),
        }
    }
}
