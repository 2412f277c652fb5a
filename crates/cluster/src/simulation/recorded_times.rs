//! When the log knew what an owner must not act upon before: that a delivery has failed, that it is a dead letter, and
//! until when a lease lasts.

use super::log::SimulatedLog;
use super::world::{DeliveryKey, RecordedLetter, RecordedSend, SimulatedAnswer};
use crate::lease::LeaseTimes;
use std::collections::BTreeMap;
use tokio::time::Instant;
use twinroute_journal::LaneId;
use twinroute_journal::PartitionNumber;
use twinroute_journal::partition::PartitionFold;

/// Since when failures and dead letters of a partition stand in the log.
#[derive(Debug, Default)]
pub(super) struct RecordedTimes {
    failed: BTreeMap<DeliveryKey, Instant>,
    died: BTreeMap<DeliveryKey, Instant>,
}

impl RecordedTimes {
    /// After a record of settlements that was appended at `at`.
    pub(super) fn folded(&mut self, fold: &PartitionFold, lanes: &[LaneId], at: Instant) {
        for open in fold.pending() {
            let Some(lane) = lanes.iter().position(|lane| *lane == open.lane) else {
                continue;
            };
            let key = (open.sequence, lane);
            if open.attempts > 0 {
                self.failed.entry(key).or_insert(at);
            }
            if open.dead.is_some() {
                self.died.entry(key).or_insert(at);
            }
        }
    }

    /// A dead letter that was written before the log knew that it is one.
    pub(super) fn early_letter<'a>(
        &self,
        mut letters: impl Iterator<Item = &'a RecordedLetter>,
    ) -> Option<&'a RecordedLetter> {
        letters.find(|letter| {
            let died = self.died.get(&letter.delivery);
            died.is_none_or(|died| *died > letter.at)
        })
    }

    /// A send of what had failed in the same epoch, before the log knew of that.
    pub(super) fn early_retry<'a>(
        &self,
        sends: impl Iterator<Item = &'a RecordedSend>,
    ) -> Option<&'a RecordedSend> {
        let mut last: BTreeMap<(DeliveryKey, u64), SimulatedAnswer> = BTreeMap::new();
        let mut sends = sends;
        sends.find(|send| {
            let before = last.insert((send.delivery, send.epoch), send.answer);
            let failed = self.failed.get(&send.delivery);
            before == Some(SimulatedAnswer::Rejected)
                && failed.is_none_or(|failed| *failed > send.began)
        })
    }
}

/// Until when leases lasted, as the log had them.
#[derive(Debug)]
pub(super) struct LeaseHistory {
    /// By partition and epoch: when it was written, in order.
    writes: BTreeMap<(PartitionNumber, u64), Vec<Instant>>,
    times: LeaseTimes,
}

impl LeaseHistory {
    pub(super) fn of(log: &SimulatedLog, times: LeaseTimes) -> Self {
        let mut writes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (partition, epoch, at) in log.lease_writes() {
            writes.entry((partition, epoch)).or_default().push(at);
        }
        Self { writes, times }
    }

    /// Whether a send began when nothing of what the log had of the lease allowed it any more.
    pub(super) fn is_past(&self, send: &RecordedSend) -> bool {
        let writes = self.writes.get(&(send.partition, send.epoch));
        let mut writes = writes.into_iter().flatten().rev();
        let last = writes.find(|at| **at <= send.began);
        last.is_none_or(|at| send.began > self.times.send_until(*at))
    }
}
