//! What the log of a partition says in the end, read from its first record to its last or from a checkpoint on.

use super::log::SimulatedLog;
use super::recorded_times::RecordedTimes;
use super::world::DeliveryKey;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use twinroute_journal::partition::{
    FoldedEvent, FoldedRecord, HistoryDamage, LaneRegister, OwnerStatement, PartitionCheckpoint,
    PartitionFold, events_of,
};
use twinroute_journal::{ClusterRecord, LaneId, PartitionNumber};

/// What the log of a partition says, read from its first record to its last.
pub(super) struct PartitionReading {
    pub(super) partition: PartitionNumber,
    /// By sequence: the event's id, its twin and its endpoints.
    pub(super) events: BTreeMap<u64, (String, u64, Vec<usize>)>,
    /// The record that settled a delivery.
    pub(super) settled: BTreeMap<DeliveryKey, u64>,
    /// The first record of each epoch.
    pub(super) epochs: BTreeMap<u64, u64>,
    /// Epochs of settlements that count, with when they were appended; and statements that count for nothing.
    pub(super) statements: Vec<(u64, Instant)>,
    pub(super) void: Vec<OwnerStatement>,
    pub(super) times: RecordedTimes,
    pub(super) fold: PartitionFold,
    open: BTreeSet<DeliveryKey>,
}

impl PartitionReading {
    /// Reads all that a partition ever held.
    pub(super) fn of(
        log: &SimulatedLog,
        partition: PartitionNumber,
        lanes: &[LaneId],
        register: &LaneRegister,
    ) -> Result<Self, HistoryDamage> {
        let mut reading = Self {
            partition,
            events: BTreeMap::new(),
            settled: BTreeMap::new(),
            epochs: BTreeMap::new(),
            statements: Vec::new(),
            void: Vec::new(),
            times: RecordedTimes::default(),
            fold: PartitionFold::new(partition, register.clone()),
            open: BTreeSet::new(),
        };
        for (record, at) in log.ever(partition) {
            match reading.fold.fold(&record)? {
                FoldedRecord::Events(events) => reading.take_events(&record, events, lanes),
                FoldedRecord::Settlements(statement) => {
                    let epoch = statement.epoch;
                    reading.statements.push((epoch, at));
                    reading.epochs.entry(epoch).or_insert(record.sequence);
                    reading.times.folded(&reading.fold, lanes, at);
                    reading.settle(&record, lanes);
                }
                FoldedRecord::Repeated => {}
                FoldedRecord::Void(statement) => reading.void.push(statement),
            }
        }
        Ok(reading)
    }

    fn take_events(&mut self, record: &ClusterRecord, events: Vec<FoldedEvent>, lanes: &[LaneId]) {
        let ids: BTreeMap<_, _> = events_of(record, self.partition).collect();
        for event in events {
            let at = |lane| lanes.iter().position(|one| *one == lane);
            let of: Vec<_> = event.lanes.iter().filter_map(|lane| at(*lane)).collect();
            self.open
                .extend(of.iter().map(|lane| (event.sequence, *lane)));
            let id = ids[&event.sequence].id().to_owned();
            self.events.insert(event.sequence, (id, event.twin, of));
        }
    }

    fn settle(&mut self, record: &ClusterRecord, lanes: &[LaneId]) {
        for key @ (sequence, lane) in std::mem::take(&mut self.open) {
            if self.fold.is_open(sequence, lanes[lane]) {
                self.open.insert(key);
            } else {
                self.settled.insert(key, record.sequence);
            }
        }
    }
}

/// What whoever claims a partition comes to.
pub(super) fn refold(
    checkpoint: Option<PartitionCheckpoint>,
    records: &[ClusterRecord],
    partition: PartitionNumber,
    register: &LaneRegister,
) -> Result<PartitionFold, HistoryDamage> {
    let mut fold = match checkpoint {
        Some(checkpoint) => PartitionFold::from_checkpoint(checkpoint, register.clone())?,
        None => PartitionFold::new(partition, register.clone()),
    };
    let from = fold.folded_to();
    for record in records.iter().filter(|record| record.sequence > from) {
        fold.fold(record)?;
    }
    Ok(fold)
}
