//! What an owner writes: claims, what became of deliveries, checkpoints. One record each.

use super::checkpoint::PartitionCheckpoint;
use super::group::{GroupSeed, OwnerStatement, encode_bindings, seal};
use super::lanes::LaneRegister;
use crate::cluster_log::{PartitionNumber, RecordSubject};
use crate::ledger::DeliverySettlement;
use crate::record::{JournalRecord, LaneId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;

/// What became of deliveries, on its way to the log.
#[derive(Clone, Debug, Default)]
pub struct SettlementGroup {
    settled: BTreeMap<LaneId, Vec<(u64, DeliverySettlement)>>,
    failed: Vec<FailedDelivery>,
    dead: BTreeMap<(LaneId, u64), Arc<DeadLetter>>,
}

/// A delivery that failed alone and is retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    /// Its lane.
    pub lane: LaneId,
    /// The sequence of its event.
    pub sequence: u64,
    /// Attempts in which it failed alone.
    pub attempts: u32,
    /// When it is to be tried again.
    pub due: Option<Timestamp>,
}

impl SettlementGroup {
    /// A group holds at most so many: as many as take 256 KiB with the longest dead letters.
    pub const ITEMS_MAX: usize = 768;

    /// A delivery came to its end.
    pub fn settle(&mut self, lane: LaneId, sequence: u64, settlement: DeliverySettlement) {
        self.settled
            .entry(lane)
            .or_default()
            .push((sequence, settlement));
    }

    /// A delivery failed alone.
    pub fn failed(&mut self, failed: FailedDelivery) {
        self.failed.push(failed);
    }

    /// A delivery is a dead letter from here on.
    pub fn dead(&mut self, lane: LaneId, sequence: u64, letter: Arc<DeadLetter>) {
        self.dead.insert((lane, sequence), letter);
    }

    /// How many deliveries it says something of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settled.values().map(Vec::len).sum::<usize>() + self.failed.len() + self.dead.len()
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As a record.
    #[must_use]
    pub fn encode(
        &self,
        partition: PartitionNumber,
        statement: &OwnerStatement,
        register: &LaneRegister,
    ) -> Bytes {
        let mut out = Vec::new();
        statement.encode(&mut out);
        let settled = self.settled.keys().copied();
        let failed = self.failed.iter().map(|failed| failed.lane);
        let dead = self.dead.keys().map(|(lane, _)| *lane);
        let mut lanes: Vec<_> = settled.chain(failed).chain(dead).collect();
        lanes.sort_unstable();
        lanes.dedup();
        encode_bindings(&mut out, lanes, register);
        for failed in &self.failed {
            JournalRecord::Attempt {
                sequence: failed.sequence,
                lane: failed.lane.0,
                attempts: failed.attempts,
                due: failed.due,
            }
            .encode(&mut out);
        }
        for ((lane, sequence), letter) in &self.dead {
            JournalRecord::Dead {
                lane: lane.0,
                letter: Arc::clone(letter),
                sequences: vec![*sequence],
            }
            .encode(&mut out);
        }
        for (lane, settlements) in &self.settled {
            JournalRecord::Settle {
                lane: lane.0,
                settlements: settlements.clone(),
            }
            .encode(&mut out);
        }
        seal(out, seed(partition))
    }
}

impl OwnerStatement {
    /// As a record that says nothing else: the first of an epoch.
    #[must_use]
    pub fn encode_alone(&self, partition: PartitionNumber) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        seal(out, seed(partition))
    }

    /// As a record with a checkpoint, so that the log can be folded without any other. It must be durable before anything
    /// below the checkpoint's cursor is trimmed.
    #[must_use]
    pub fn encode_checkpoint(&self, checkpoint: &PartitionCheckpoint) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        checkpoint.encode_frames(&mut out);
        seal(out, seed(checkpoint.partition))
    }
}

const fn seed(partition: PartitionNumber) -> GroupSeed {
    GroupSeed::of(partition, RecordSubject::Settlements)
}
