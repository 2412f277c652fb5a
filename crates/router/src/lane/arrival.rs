//! How deliveries come to a lane.

use crate::awaited::Awaited;
use std::sync::Arc;
use tokio::time::Instant;

/// Why there are deliveries, when their events were accepted, and who waits for how they end.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// Routes matched.
    Matched {
        came: Instant,
        awaited: Option<Arc<Awaited>>,
    },
    /// A dead letter is replayed: this one if it was kept here.
    Replayed {
        of: Option<u64>,
        came: Instant,
        awaited: Arc<Awaited>,
    },
}

impl Arrival {
    pub(super) fn came(&self) -> Instant {
        match self {
            Self::Matched { came, .. } | Self::Replayed { came, .. } => *came,
        }
    }

    pub(super) fn awaited(&self) -> Option<&Arc<Awaited>> {
        match self {
            Self::Matched { awaited, .. } => awaited.as_ref(),
            Self::Replayed { awaited, .. } => Some(awaited),
        }
    }
}
