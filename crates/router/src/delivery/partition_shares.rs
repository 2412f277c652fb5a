//! What a lane has of each partition that this router owns, where its events stand in a shared log: so that a partition can
//! come and go, with its counts.

use super::queued_delivery::QueuedDelivery;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;
use twinroute_cluster::RecordedOutcome;
use twinroute_journal::PartitionNumber;
use twinroute_journal::ledger::Ledger;
use twinroute_journal::partition::EventPlace;
use twinroute_model::dead_letter::DeadLetter;

/// What a lane has of one partition.
#[derive(Debug)]
pub(super) struct PartitionShare {
    /// Which owning of it this is.
    pub(super) epoch: u64,
    /// What of the lane's counts is of this partition.
    pub(super) ledger: Ledger,
    /// Deliveries in flight, and those whose outcome is on its way to the log.
    pub(super) in_flight: u64,
    /// It is handed over: nothing more of it is sent, and its counts are in the lane's no more, but for what is in flight.
    pub(super) is_draining: bool,
}

/// How a delivery's partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartitionStanding {
    /// It is this router's, or there are no partitions.
    Own,
    /// Its outcomes are recorded, and nothing else.
    Draining,
    /// It is another's.
    Gone,
}

/// The epochs in which a batch is sent.
pub(super) type OwnedEpochs = Vec<(PartitionNumber, u64)>;

/// All of them; none where there are no partitions.
#[derive(Debug, Default)]
pub(super) struct PartitionShares(pub(super) BTreeMap<PartitionNumber, PartitionShare>);

impl PartitionShares {
    pub(super) fn of(&mut self, sequence: u64) -> Option<&mut PartitionShare> {
        self.0.get_mut(&partition_of(sequence))
    }

    /// The epochs as of now.
    pub(super) fn epochs(&self) -> OwnedEpochs {
        let shares = self.0.iter();
        shares.map(|(of, share)| (*of, share.epoch)).collect()
    }

    pub(super) fn standing(&self, sequence: u64) -> PartitionStanding {
        match self.0.get(&partition_of(sequence)) {
            None => PartitionStanding::Gone,
            Some(share) if share.is_draining => PartitionStanding::Draining,
            Some(_) => PartitionStanding::Own,
        }
    }

    /// Whether a delivery's partition is owned as it was when its batch was sent.
    pub(super) fn is_as_then(&self, then: &OwnedEpochs, sequence: u64) -> bool {
        let partition = partition_of(sequence);
        let now = self.0.get(&partition).map(|share| share.epoch);
        let then = then.iter().find(|(of, _)| *of == partition);
        now.is_some() && now == then.map(|(_, epoch)| *epoch)
    }
}

/// The partition of an event.
pub(super) fn partition_of(sequence: u64) -> PartitionNumber {
    EventPlace::of_sequence(sequence).partition
}

/// A delivery whose outcome is on its way to the log. Its twin is in flight until it is there.
#[derive(Debug)]
pub(super) struct UnrecordedOutcome {
    pub(super) waiting: QueuedDelivery,
    pub(super) then: AfterRecording,
}

/// What follows once an outcome is recorded.
#[derive(Debug)]
pub(super) enum AfterRecording {
    /// It is tried again then.
    Retry(Instant),
    /// It is a dead letter.
    Dead(Arc<DeadLetter>),
}

/// An outcome that is awaited.
#[derive(Debug)]
pub(super) struct AwaitedRecord {
    pub(super) sequence: u64,
    pub(super) epoch: u64,
    pub(super) heard: RecordedOutcome,
}

/// Outcomes on their way to the log, by sequence.
#[derive(Debug, Default)]
pub(super) struct UnrecordedOutcomes {
    pub(super) open: BTreeMap<u64, UnrecordedOutcome>,
    /// Those that nobody waits for yet.
    pub(super) to_await: Vec<AwaitedRecord>,
}
