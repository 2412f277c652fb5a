//! What a lane records in a log that several routers share.
//!
//! Ends of deliveries ride along with the owner's next group. That one failed, or is a dead letter, is awaited: nothing
//! follows from it before it is recorded.

use super::setup::LaneKey;
use crate::cluster_journal::ClusterJournal;
use std::sync::Arc;
use tokio::sync::oneshot;
use twinroute_cluster::{OutcomeReport, RecordedOutcome};
use twinroute_journal::LaneId;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::partition::FailedDelivery;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;

/// A lane's place in a shared log.
#[derive(Debug)]
pub(crate) struct ClusterLane {
    pub(super) journal: ClusterJournal,
    pub(super) number: LaneId,
}

impl ClusterLane {
    pub(super) fn new(journal: ClusterJournal, (instance, endpoint): &LaneKey) -> Self {
        let number = journal.bind(instance, endpoint);
        Self { journal, number }
    }

    pub(super) fn settle(&self, sequence: u64, settlement: DeliverySettlement) {
        let lane = self.number;
        let settled = OutcomeReport::Settled {
            lane,
            sequence,
            settlement,
        };
        self.journal.report(sequence, settled);
    }

    /// Resolves when the attempt is recorded.
    pub(super) fn attempt(&self, sequence: u64, attempts: u32, due: Timestamp) -> RecordedOutcome {
        let (recorded, heard) = oneshot::channel();
        let failed = FailedDelivery {
            lane: self.number,
            sequence,
            attempts,
            due: Some(due),
        };
        let report = OutcomeReport::Failed { failed, recorded };
        self.journal.report(sequence, report);
        heard
    }

    /// Resolves when the dead letter is recorded.
    pub(super) fn dead_letter(&self, sequence: u64, letter: &Arc<DeadLetter>) -> RecordedOutcome {
        let (recorded, heard) = oneshot::channel();
        let dead = OutcomeReport::Dead {
            lane: self.number,
            sequence,
            letter: Arc::clone(letter),
            recorded,
        };
        self.journal.report(sequence, dead);
        heard
    }
}
