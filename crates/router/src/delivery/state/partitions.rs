//! Partitions of a shared log that come to a lane and go, and outcomes that wait to be recorded there.

use super::LaneCore;
use crate::delivery::in_flight::InFlightBatch;
use crate::delivery::partition_shares::{
    AfterRecording, AwaitedRecord, OwnedEpochs, PartitionShare, PartitionStanding,
    UnrecordedOutcome, partition_of,
};
use crate::delivery::queue::DeliveryFate;
use crate::delivery::queued_delivery::QueuedDelivery;
use std::sync::Arc;
use tokio::time::Instant;
use twinroute_journal::ledger::{DeliverySettlement, Ledger};
use twinroute_journal::{PartitionNumber, PendingDelivery};
use twinroute_model::dead_letter::DeadLetter;

impl LaneCore {
    /// Whether its events stand in a shared log.
    pub(super) fn is_clustered(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| journal.cluster().is_some())
    }

    /// How a delivery's partition stands.
    pub(super) fn standing(&self, sequence: u64) -> PartitionStanding {
        match self.is_clustered() {
            true => self.shares.standing(sequence),
            false => PartitionStanding::Own,
        }
    }

    /// Takes a partition in that this router owns from here on: what was counted of it, and what is not settled.
    pub(in crate::delivery) fn open_partition(
        &mut self,
        partition: PartitionNumber,
        epoch: u64,
        ledger: &Ledger,
        pending: Vec<PendingDelivery>,
        now: Instant,
    ) {
        if self.shares.0.contains_key(&partition) {
            self.close_partition(partition, now);
        }
        self.ledger.add(ledger);
        let share = PartitionShare {
            epoch,
            ledger: *ledger,
            in_flight: 0,
            is_draining: false,
        };
        self.shares.0.insert(partition, share);
        self.queue_pending(pending, now);
        self.update_ttl_clock(now);
    }

    /// A partition has deliveries for this lane, which had none of it before.
    pub(super) fn ensure_share(&mut self, sequence: u64) {
        let partition = partition_of(sequence);
        if self.shares.0.contains_key(&partition) {
            return;
        }
        let cluster = self.journal.as_ref().and_then(|journal| journal.cluster());
        let epoch = cluster.and_then(|cluster| cluster.journal.owned().epoch(partition));
        let share = PartitionShare {
            epoch: epoch.unwrap_or_default(),
            ledger: Ledger::default(),
            in_flight: 0,
            is_draining: false,
        };
        self.shares.0.insert(partition, share);
    }

    /// Sends nothing more of a partition; outcomes of what is in flight are recorded yet.
    pub(in crate::delivery) fn drain_partition(&mut self, partition: PartitionNumber) {
        let Some(share) = self.shares.0.get_mut(&partition) else {
            return;
        };
        if std::mem::replace(&mut share.is_draining, true) {
            return;
        }
        let is_of = |sequence: u64| partition_of(sequence) == partition;
        self.queue.remove_where(is_of);
        let uploading = self.dead.remove_idle_where(is_of);
        self.ledger.subtract(&share.ledger);
        self.ledger.matched += share.in_flight + uploading;
    }

    /// Whether nothing of a partition is in flight.
    pub(in crate::delivery) fn is_drained(&self, partition: PartitionNumber) -> bool {
        let share = self.shares.0.get(&partition);
        let uploading = self
            .dead
            .count_where(|sequence| partition_of(sequence) == partition);
        self.abandoned || share.is_none_or(|share| share.in_flight == 0) && uploading == 0
    }

    /// Forgets a partition that is another's. What is in flight of it counts until it is answered.
    pub(in crate::delivery) fn close_partition(
        &mut self,
        partition: PartitionNumber,
        now: Instant,
    ) {
        self.drain_partition(partition);
        if self.shares.0.remove(&partition).is_none() {
            return;
        }
        let is_of = |sequence: &u64| partition_of(*sequence) == partition;
        let uploading = self.dead.remove_where(|sequence| is_of(&sequence));
        self.ledger.matched = self.ledger.matched.saturating_sub(uploading);
        let open = self.unrecorded.open.keys().copied();
        let open: Vec<u64> = open.filter(is_of).collect();
        for sequence in open {
            if let Some(unrecorded) = self.unrecorded.open.remove(&sequence) {
                self.let_go();
                self.queue
                    .resolve(&[unrecorded.waiting.twin], Vec::new(), now);
            }
        }
    }

    /// Drops what is queued of partitions whose lease has ended: they are another's any moment.
    pub(super) fn drop_ended_partitions(&mut self) {
        let Some(cluster) = self.journal.as_ref().and_then(|journal| journal.cluster()) else {
            return;
        };
        let owned = cluster.journal.owned();
        let ended = self.shares.0.iter();
        let ended = ended.filter(|(of, share)| !share.is_draining && !owned.may_send(**of));
        let ended: Vec<PartitionNumber> = ended.map(|(of, _)| *of).collect();
        ended.into_iter().for_each(|of| self.drain_partition(of));
    }

    /// Counts a delivery of another router's partition no more.
    fn let_go(&mut self) {
        self.ledger.matched = self.ledger.matched.saturating_sub(1);
    }

    /// Counts how a delivery ended. Nothing is counted of one whose partition is handed over: the next owner reads it.
    pub(super) fn count_settled(&mut self, sequence: u64, settlement: DeliverySettlement) {
        if self.standing(sequence) != PartitionStanding::Own {
            return self.let_go();
        }
        self.ledger.settle(settlement);
        if let Some(share) = self.shares.of(sequence) {
            share.ledger.settle(settlement);
        }
    }

    /// A batch is sent: gives the epochs in which it is.
    pub(super) fn begin_flight(&mut self, batch: &[QueuedDelivery]) -> OwnedEpochs {
        if !self.is_clustered() {
            return OwnedEpochs::new();
        }
        for waiting in batch {
            if let Some(share) = self.shares.of(waiting.sequence) {
                share.in_flight += 1;
            }
        }
        self.shares.epochs()
    }

    /// Whether a delivery's partition was another's since its batch was sent; then it counts no more, whatever became of it.
    pub(super) fn was_lost_in_flight(&mut self, flight: &OwnedEpochs, sequence: u64) -> bool {
        if !self.is_clustered() || self.shares.is_as_then(flight, sequence) {
            return false;
        }
        self.let_go();
        true
    }

    /// A delivery is in flight no more.
    pub(super) fn end_flight(&mut self, sequence: u64) {
        if let Some(share) = self.shares.of(sequence) {
            share.in_flight = share.in_flight.saturating_sub(1);
        }
    }

    /// Whether a delivery that came back is to be sent by another.
    pub(super) fn goes_to_another(&mut self, sequence: u64) -> bool {
        let is_gone = self.standing(sequence) != PartitionStanding::Own;
        if is_gone {
            self.let_go();
        }
        is_gone
    }

    /// Has an attempt recorded that failed; gives the delivery back where nobody waits for that.
    pub(super) fn await_retry(
        &mut self,
        waiting: QueuedDelivery,
        due: Instant,
        now: Instant,
    ) -> Option<QueuedDelivery> {
        let due_at = self.wall(now).at(due);
        let Some(cluster) = self.journal.as_ref().and_then(|journal| journal.cluster()) else {
            return Some(waiting);
        };
        let heard = cluster.attempt(waiting.sequence, waiting.attempts, due_at);
        self.await_record(waiting, heard, AfterRecording::Retry(due));
        None
    }

    /// Has a dead letter recorded; gives the delivery back where nobody waits for that. One that `was_queued` holds its
    /// twin from here on, as those in flight do.
    pub(super) fn await_dead_letter(
        &mut self,
        waiting: QueuedDelivery,
        about: &Arc<DeadLetter>,
        was_queued: bool,
    ) -> Option<QueuedDelivery> {
        let Some(cluster) = self.journal.as_ref().and_then(|journal| journal.cluster()) else {
            return Some(waiting);
        };
        let heard = cluster.dead_letter(waiting.sequence, about);
        if was_queued {
            self.queue.hold_twin(waiting.twin);
            if let Some(share) = self.shares.of(waiting.sequence) {
                share.in_flight += 1;
            }
        }
        self.await_record(waiting, heard, AfterRecording::Dead(Arc::clone(about)));
        None
    }

    fn await_record(
        &mut self,
        waiting: QueuedDelivery,
        heard: twinroute_cluster::RecordedOutcome,
        then: AfterRecording,
    ) {
        let sequence = waiting.sequence;
        let epoch = self.shares.of(sequence).map_or(0, |share| share.epoch);
        let awaited = AwaitedRecord {
            sequence,
            epoch,
            heard,
        };
        self.unrecorded.to_await.push(awaited);
        let unrecorded = UnrecordedOutcome { waiting, then };
        self.unrecorded.open.insert(sequence, unrecorded);
    }

    /// Whether outcomes are on their way to the log.
    pub(super) fn awaits_records(&self) -> bool {
        !self.unrecorded.open.is_empty()
    }

    /// An outcome is recorded, or never will be: then its partition is another's.
    pub(in crate::delivery) fn recorded(
        &mut self,
        sequence: u64,
        epoch: u64,
        is_recorded: bool,
        now: Instant,
    ) {
        let is_same = self.shares.of(sequence).map(|share| share.epoch) == Some(epoch);
        // What is not recorded goes with its partition.
        if !is_same || !is_recorded {
            return;
        }
        let Some(unrecorded) = self.unrecorded.open.remove(&sequence) else {
            return;
        };
        self.end_flight(sequence);
        let UnrecordedOutcome { waiting, then } = unrecorded;
        let twin = [waiting.twin];
        if self.goes_to_another(sequence) {
            return self.queue.resolve(&twin, Vec::new(), now);
        }
        match then {
            AfterRecording::Retry(due) => {
                let retrying = DeliveryFate::Retrying(waiting, due);
                self.queue.resolve(&twin, vec![retrying], now);
            }
            AfterRecording::Dead(about) => {
                self.queue.resolve(&twin, Vec::new(), now);
                self.keep_dead_letter(waiting, about, now);
            }
        }
        self.note_fullness(now);
    }

    /// A dead letter that was on its way is here again: it goes if its partition does.
    pub(super) fn drop_dead_of_another(&mut self, sequence: u64) {
        if self.standing(sequence) != PartitionStanding::Own && self.dead.remove(sequence).is_some()
        {
            self.let_go();
        }
    }
}

impl InFlightBatch {
    /// Whether each of its partitions may be sent of right now.
    pub(in crate::delivery) fn may_be_sent(&self) -> bool {
        use crate::delivery::lane_reader::LaneReader;
        let Some(LaneReader::Cluster(journal)) = &self.reader else {
            return true;
        };
        let mut batch = self.batch.iter();
        batch.all(|waiting| journal.owned().may_send(partition_of(waiting.sequence)))
    }
}
