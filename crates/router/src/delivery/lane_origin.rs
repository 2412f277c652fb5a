//! What a lane begins with: where it records, and what it had before.

use super::cluster_lane::ClusterLane;
use super::durable::DiskLane;
use super::lane_journal::LaneJournal;
use super::lane_reader::LaneReader;
use super::metric_series::LaneSeries;
use super::setup::LaneKey;
use crate::cluster_journal::ClusterJournal;
use std::sync::Arc;
use twinroute_journal::ledger::Ledger;
use twinroute_journal::{DiskJournal, LaneId, LaneState, PendingDelivery, RecoveredLane};
use twinroute_model::clock::Clock;

/// What a lane begins with.
pub(crate) struct LaneOrigin {
    /// Where it notes what becomes of its deliveries; nowhere when the journal is in memory.
    pub(crate) journal: Option<LaneJournal>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What it had counted before.
    pub(crate) ledger: Ledger,
    /// What it had recorded of itself.
    pub(crate) state: LaneState,
    /// What it had not settled before the restart.
    pub(crate) pending: Vec<PendingDelivery>,
    /// Under which labels it counts.
    pub(crate) series: LaneSeries,
}

impl LaneOrigin {
    /// A lane whose deliveries end with the process.
    pub(crate) fn in_memory(clock: Arc<dyn Clock>, ledger: Ledger) -> Self {
        Self {
            journal: None,
            clock,
            ledger,
            state: LaneState::default(),
            pending: Vec::new(),
            series: LaneSeries::default(),
        }
    }

    /// A lane whose deliveries stand in a log that several routers share.
    pub(crate) fn clustered(journal: ClusterJournal, key: &LaneKey, clock: Arc<dyn Clock>) -> Self {
        let mut origin = Self::in_memory(clock, Ledger::default());
        origin.journal = Some(LaneJournal::Cluster(ClusterLane::new(journal, key)));
        origin
    }

    /// Where its events are read back from.
    pub(crate) fn reader(&self) -> Option<LaneReader> {
        self.journal.as_ref().map(LaneJournal::reader)
    }

    /// A lane whose deliveries outlive the process.
    pub(crate) fn durable(
        disk: DiskJournal,
        number: LaneId,
        clock: Arc<dyn Clock>,
        recovered: Option<RecoveredLane>,
    ) -> Self {
        let journal = DiskLane::new(disk, number);
        let mut origin = Self::in_memory(clock, Ledger::default());
        origin.journal = Some(LaneJournal::Disk(journal));
        if let Some(lane) = recovered {
            origin.ledger = lane.ledger;
            origin.state = lane.state;
            origin.pending = lane.pending;
        }
        origin
    }
}
