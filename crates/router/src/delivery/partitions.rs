//! Partitions of a shared log, as they come to a lane and go.

use super::Lane;
use tokio::time::Instant;
use twinroute_journal::ledger::Ledger;
use twinroute_journal::{PartitionNumber, PendingDelivery};

impl Lane {
    /// Takes a partition in that this router owns from here on: what was counted of it, and what is not settled.
    pub(crate) fn open_partition(
        &self,
        partition: PartitionNumber,
        epoch: u64,
        ledger: &Ledger,
        pending: Vec<PendingDelivery>,
    ) {
        let now = Instant::now();
        self.lock()
            .open_partition(partition, epoch, ledger, pending, now);
        self.wake.notify_one();
    }

    /// Sends nothing more of a partition, and resolves when nothing of it is in flight and all outcomes were reported.
    pub(crate) async fn drain_partition(&self, partition: PartitionNumber) {
        self.lock().drain_partition(partition);
        self.wake.notify_one();
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.lock().is_drained(partition) {
                return;
            }
            settled.await;
        }
    }

    /// Forgets a partition that is another's.
    pub(crate) fn close_partition(&self, partition: PartitionNumber) {
        self.lock().close_partition(partition, Instant::now());
        self.settled.notify_waiters();
        self.wake.notify_one();
    }
}
