//! What a journal on disk gave back for lanes that do not run yet.

use crate::delivery::LaneKey;
use crate::delivery::lane_origin::LaneOrigin;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::{DiskJournal, RecoveredJournal, RecoveredLane};
use twinroute_model::clock::Clock;
use twinroute_model::name::InstanceName;

/// The journal on disk, and what it gave back for lanes that do not run yet.
pub(crate) struct RecoveredLanes {
    disk: DiskJournal,
    recovered: BTreeMap<LaneKey, RecoveredLane>,
}

impl RecoveredLanes {
    pub(crate) fn new(disk: DiskJournal, recovered: RecoveredJournal) -> Self {
        let named = recovered.lanes.into_iter().filter_map(|lane| {
            if lane.name.is_none() && !lane.pending.is_empty() {
                tracing::error!(
                    lane = lane.number.0,
                    events = lane.pending.len(),
                    "the journal lost which endpoint these events are for; they stay in it"
                );
            }
            Some((lane.name.clone()?, lane))
        });
        Self {
            disk,
            recovered: named.collect(),
        }
    }

    pub(super) fn origin(&mut self, key: &LaneKey, clock: Arc<dyn Clock>) -> LaneOrigin {
        let number = self.disk.bind(&key.0, &key.1);
        let recovered = self.recovered.remove(key);
        LaneOrigin::durable(self.disk.clone(), number, clock, recovered)
    }

    /// Journal time.
    pub(super) fn time(&self) -> Duration {
        self.disk.time()
    }

    /// The endpoints for which something waits that no lane has taken.
    pub(super) fn unclaimed(&self) -> Vec<LaneKey> {
        let waiting = self.recovered.iter();
        let waiting = waiting.filter(|(_, lane)| !lane.pending.is_empty());
        waiting.map(|(key, _)| key.clone()).collect()
    }

    /// The instances for whose endpoint of that name something was recovered that no lane has taken.
    pub(super) fn lanes_named(&self, endpoint: &str) -> Vec<InstanceName> {
        let keys = self.recovered.keys();
        let named = keys.filter(|(_, name)| name.as_str().eq_ignore_ascii_case(endpoint));
        named.map(|(instance, _)| instance.clone()).collect()
    }

    /// Whether something waits for that endpoint that no lane has taken.
    pub(super) fn waits(&self, key: &LaneKey) -> bool {
        let lane = self.recovered.get(key);
        lane.is_some_and(|lane| !lane.pending.is_empty())
    }
}
