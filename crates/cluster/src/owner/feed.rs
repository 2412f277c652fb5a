//! What the owner of a partition and the lanes that deliver from it say to each other.

use crate::lease_keeper::SendPermit;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use twinroute_journal::ledger::{DeliverySettlement, Ledger};
use twinroute_journal::partition::{
    FailedDelivery, FoldedEvent, HistoryDamage, OpenClusterDelivery,
};
use twinroute_journal::{ClusterRecord, LaneId, PartitionNumber};
use twinroute_model::dead_letter::DeadLetter;

/// What lanes hear of a partition, in order. For each epoch: opened, then events, then closed.
#[derive(Debug)]
pub enum PartitionNews {
    /// This router owns it from here on.
    Opened(OpenedPartition),
    /// New events stand in the log.
    Arrived {
        /// Where.
        partition: PartitionNumber,
        /// The events, in order.
        events: Vec<FoldedEvent>,
        /// The record that holds them.
        record: ClusterRecord,
    },
    /// It is about to be handed over: nothing more is to be sent, and [`OutcomeReport::Drained`] is to follow the outcomes of
    /// what is in flight.
    Draining(PartitionNumber),
    /// This router owns it no longer. What is not recorded by now is another's to do.
    Closed(PartitionNumber),
    /// Its log is damaged: nothing is sent from it before somebody acts.
    Quarantined(HistoryDamage),
}

/// A partition that this router owns.
#[derive(Debug)]
pub struct OpenedPartition {
    /// Which.
    pub partition: PartitionNumber,
    /// Which owning of it this is: higher for each.
    pub epoch: u64,
    /// The sequence of the last record that was folded.
    pub folded_to: u64,
    /// What each lane has counted in it by then.
    pub ledgers: Vec<(LaneId, Ledger)>,
    /// What is not settled, in the order of the log.
    pub pending: Vec<OpenClusterDelivery>,
    /// What of it is not settled, from now on.
    pub held: watch::Receiver<PartitionHolding>,
    /// Until when may be sent.
    pub permit: SendPermit,
    /// Where outcomes go. It has no bound of its own: a lane reports each delivery a few times at most.
    pub outcomes: mpsc::UnboundedSender<OutcomeReport>,
}

/// Events of a partition that are not settled by all of their lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionHolding {
    /// How many.
    pub events: u64,
    /// What they take in their records, in bytes.
    pub bytes: u64,
}

/// Resolves when an outcome stands in the log. An error: this router owns the partition no longer, and it may stand there or
/// not.
pub type RecordedOutcome = oneshot::Receiver<()>;

/// What became of a delivery.
#[derive(Debug)]
pub enum OutcomeReport {
    /// It came to its end. Recorded with the next group; nobody need wait for it.
    Settled {
        /// Its lane.
        lane: LaneId,
        /// Its event.
        sequence: u64,
        /// How.
        settlement: DeliverySettlement,
    },
    /// It failed alone. Its next attempt must wait until that is recorded.
    Failed {
        /// What is known of it.
        failed: FailedDelivery,
        /// Heard when it is.
        recorded: oneshot::Sender<()>,
    },
    /// It is a dead letter. What follows from that, the next event of its twin included, must wait until that is recorded.
    Dead {
        /// Its lane.
        lane: LaneId,
        /// Its event.
        sequence: u64,
        /// What is known of it.
        letter: Arc<DeadLetter>,
        /// Heard when it is.
        recorded: oneshot::Sender<()>,
    },
    /// Nothing new: somebody waits for all that was reported before.
    Flush {
        /// Heard when it is recorded.
        recorded: oneshot::Sender<()>,
    },
    /// Nothing is in flight any more: the answer to [`PartitionNews::Draining`].
    Drained,
}
