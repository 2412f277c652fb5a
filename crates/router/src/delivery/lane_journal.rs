//! Where a lane records what becomes of its deliveries, if they outlive the process.

use super::cluster_lane::ClusterLane;
use super::durable::{ClockReading, DiskLane};
use super::lane_reader::LaneReader;
use super::ttl_clock::TtlClock;
use crate::sink::FailureReason;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::{FailedSendFault, LaneId};

/// A lane's place in a journal that outlives the process. A closed set.
#[derive(Debug)]
pub(crate) enum LaneJournal {
    Disk(DiskLane),
    Cluster(ClusterLane),
}

impl LaneJournal {
    pub(crate) fn number(&self) -> LaneId {
        match self {
            Self::Disk(disk) => disk.number(),
            Self::Cluster(cluster) => cluster.number,
        }
    }

    /// Where its events are read back from.
    pub(super) fn reader(&self) -> LaneReader {
        match self {
            Self::Disk(disk) => disk.reader(),
            Self::Cluster(cluster) => LaneReader::Cluster(cluster.journal.clone()),
        }
    }

    /// That in a shared log, if it is one.
    pub(super) fn cluster(&self) -> Option<&ClusterLane> {
        match self {
            Self::Disk(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// Whether there is room in memory for events that can be read back.
    pub(super) fn has_memory(&self) -> bool {
        match self {
            Self::Disk(disk) => disk.has_memory(),
            Self::Cluster(cluster) => cluster.journal.has_memory(),
        }
    }

    pub(super) fn settle(&mut self, sequence: u64, settlement: DeliverySettlement) {
        match self {
            Self::Disk(disk) => disk.settle(sequence, settlement),
            Self::Cluster(cluster) => cluster.settle(sequence, settlement),
        }
    }

    /// Records an attempt that failed, where there is a history.
    pub(super) fn failed(&mut self, sequence: u64, fault: FailedSendFault, reason: &FailureReason) {
        if let Self::Disk(disk) = self {
            disk.failed(sequence, fault, reason);
        }
    }

    /// Records whether it is paused, and how its time to live goes. A shared log has none of that: another router may
    /// deliver from a partition next, and is not paused.
    pub(super) fn state(&self, paused: bool, ttl_clock: &TtlClock, wall: &ClockReading) {
        if let Self::Disk(disk) = self {
            disk.state(paused, ttl_clock, wall);
        }
    }

    /// Hands over what was recorded since the last time.
    pub(super) fn hand_over(&mut self) {
        if let Self::Disk(disk) = self {
            disk.hand_over();
        }
    }
}
