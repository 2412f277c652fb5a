//! The partitions that this router owns: until when it may send of each, and where outcomes go.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};
use twinroute_cluster::{OutcomeReport, PartitionHolding, SendPermit};
use twinroute_journal::PartitionNumber;
use twinroute_journal::partition::EventPlace;

/// A partition that this router owns.
#[derive(Debug)]
pub(crate) struct OwnedPartition {
    /// Which owning of it this is.
    pub(crate) epoch: u64,
    pub(crate) permit: SendPermit,
    /// Has no bound of its own: a lane reports each delivery a few times at most.
    pub(crate) outcomes: mpsc::UnboundedSender<OutcomeReport>,
    /// The last record that lanes have heard of.
    pub(crate) heard_of: u64,
    /// What of it is not settled.
    pub(crate) held: watch::Receiver<PartitionHolding>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct OwnedPartitions {
    owned: Mutex<BTreeMap<PartitionNumber, OwnedPartition>>,
    changed: watch::Sender<()>,
}

impl Default for OwnedPartitions {
    fn default() -> Self {
        Self {
            owned: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl OwnedPartitions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionNumber, OwnedPartition>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, partition: PartitionNumber, owned: OwnedPartition) {
        self.lock().insert(partition, owned);
    }

    /// Tells whoever waits that lanes have heard of what was opened.
    pub(crate) fn opened(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn close(&self, partition: PartitionNumber) {
        self.lock().remove(&partition);
        self.changed.send_replace(());
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.changed.send_replace(());
    }

    /// Lanes have heard of a record.
    pub(crate) fn hear_of(&self, partition: PartitionNumber, record: u64) {
        if let Some(owned) = self.lock().get_mut(&partition) {
            owned.heard_of = record;
        }
        self.changed.send_replace(());
    }

    /// The last record that lanes have heard of; none of a partition that is not owned.
    pub(crate) fn heard_of(&self, partition: PartitionNumber) -> Option<u64> {
        self.lock().get(&partition).map(|owned| owned.heard_of)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn is_owned(&self, partition: PartitionNumber) -> bool {
        self.lock().contains_key(&partition)
    }

    /// The epoch of a partition that this router owns.
    pub(crate) fn epoch(&self, partition: PartitionNumber) -> Option<u64> {
        self.lock().get(&partition).map(|owned| owned.epoch)
    }

    /// Whether a send of a partition may begin now.
    pub(crate) fn may_send(&self, partition: PartitionNumber) -> bool {
        let owned = self.lock();
        let owned = owned.get(&partition);
        owned.is_some_and(|owned| owned.permit.may_send())
    }

    pub(crate) fn outcomes(
        &self,
        partition: PartitionNumber,
    ) -> Option<mpsc::UnboundedSender<OutcomeReport>> {
        self.lock()
            .get(&partition)
            .map(|owned| owned.outcomes.clone())
    }

    /// Above the sequence of each event that lanes have heard of.
    pub(crate) fn next_sequence(&self) -> u64 {
        let owned = self.lock();
        let ends = owned.iter().map(|(partition, owned)| EventPlace {
            record: owned.heard_of + 1,
            partition: *partition,
            index: 0,
        });
        ends.map(EventPlace::sequence).max().unwrap_or_default()
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// What of one of them is not settled; none of a partition that is not owned.
    pub(crate) fn held_of(&self, partition: PartitionNumber) -> Option<PartitionHolding> {
        let owned = self.lock();
        owned.get(&partition).map(|owned| *owned.held.borrow())
    }

    /// What of all of them is not settled.
    pub(crate) fn held(&self) -> PartitionHolding {
        let owned = self.lock();
        let held = owned.values().map(|owned| *owned.held.borrow());
        held.fold(PartitionHolding::default(), |all, one| PartitionHolding {
            events: all.events + one.events,
            bytes: all.bytes + one.bytes,
        })
    }
}
