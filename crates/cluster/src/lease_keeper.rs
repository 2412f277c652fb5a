//! Claims, renews and releases the lease of one partition, and says until when its owner may send.

use crate::calls::expected_of;
use crate::lease::LeaseRecord;
use crate::planted::PlantedFault;
use crate::settings::ClusterContext;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use twinroute_journal::{ClusterKey, ClusterLogError, ExpectedRevision, PartitionNumber};
use twinroute_model::clock::Timestamp;

/// Until when deliveries of a partition may be sent, by the monotonic clock. Clones share it.
#[derive(Clone, Debug)]
pub struct SendPermit(watch::Receiver<Instant>);

impl SendPermit {
    /// Whether a send may begin now. It is asked right before each.
    #[must_use]
    pub fn may_send(&self) -> bool {
        Instant::now() < *self.0.borrow()
    }
}

/// The lease of a partition that this router claimed.
pub(crate) struct LeaseKeeper {
    context: ClusterContext,
    key: ClusterKey,
    epoch: u64,
    revision: u64,
    /// When it was claimed, by both clocks.
    claimed: (Instant, Timestamp),
    /// When the last renewal that went well was asked for.
    asked: Instant,
    permit: watch::Sender<Instant>,
}

/// Why a router owns a partition no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeaseLoss {
    /// It was not renewed in time.
    Ended,
    /// Another has it.
    Taken,
}

impl LeaseKeeper {
    /// Claims a partition whose lease was last seen at a revision. None when another was faster.
    ///
    /// Dropping it may leave the lease claimed; nobody renews it then.
    pub(crate) async fn claim(
        context: &ClusterContext,
        partition: PartitionNumber,
        expected: ExpectedRevision,
    ) -> Result<Option<Self>, ClusterLogError> {
        let key = ClusterKey::Lease(partition);
        let asked = Instant::now();
        let record = Self::record(context, 0, false);
        match context.write(&key, &record.encode(), expected).await {
            Ok(epoch) => {
                let until = context.times.lease.send_until(asked);
                Ok(Some(Self {
                    context: context.clone(),
                    key,
                    epoch,
                    revision: epoch,
                    claimed: (asked, context.clock.now()),
                    asked,
                    permit: watch::Sender::new(until),
                }))
            }
            Err(ClusterLogError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn record(context: &ClusterContext, epoch: u64, is_released: bool) -> LeaseRecord {
        LeaseRecord {
            owner: context.origin.router.clone(),
            incarnation: context.origin.incarnation,
            epoch,
            is_released,
        }
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn permit(&self) -> SendPermit {
        SendPermit(self.permit.subscribe())
    }

    /// Renews it until it is lost. Dropping it stops that; what was asked for may be done yet.
    pub(crate) async fn keep(&mut self) -> LeaseLoss {
        let times = self.context.times.lease;
        loop {
            sleep_until(times.renew_at(self.asked)).await;
            let asked = Instant::now();
            let mut until = times.send_until(self.asked);
            if self.context.times.planted.has(PlantedFault::SendPastLease) {
                until += times.lease * 60;
            }
            if asked >= until {
                return LeaseLoss::Ended;
            }
            let value = Self::record(&self.context, self.epoch, false).encode();
            let expected = ExpectedRevision::Revision(self.revision);
            let write = self.context.write(&self.key, &value, expected);
            match timeout_at(until, write).await {
                Err(_) => return LeaseLoss::Ended,
                Ok(Ok(revision)) => {
                    self.revision = revision;
                    let planted = self.context.times.planted;
                    self.asked = if planted.has(PlantedFault::LeaseFromAnswer) {
                        Instant::now()
                    } else if planted.has(PlantedFault::LeaseOnWallTime) {
                        let (claimed, at) = self.claimed;
                        claimed + self.context.clock.now().since(at)
                    } else {
                        asked
                    };
                    let mut until = times.send_until(self.asked);
                    if self.context.times.planted.has(PlantedFault::SendPastLease) {
                        until += times.lease * 60;
                    }
                    self.permit.send_replace(until);
                }
                Ok(Err(ClusterLogError::Conflict { .. })) => return LeaseLoss::Taken,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a lease is not renewed");
                    sleep(self.context.times.again).await;
                }
            }
        }
    }

    /// Has nothing more sent.
    pub(crate) fn stop_sending(&self) {
        self.permit.send_replace(Instant::now());
    }

    /// Gives it back, so that it may be claimed at once. One that is another's by now is no error.
    pub(crate) async fn release(self) -> Result<(), ClusterLogError> {
        self.stop_sending();
        let entry = self.context.call(self.context.log.entry(&self.key)).await?;
        let lease = entry
            .as_ref()
            .and_then(|entry| LeaseRecord::decode(&entry.value));
        // A renewal may have been under way: it counts by what it says, not by its revision.
        let is_ours = lease.is_some_and(|lease| {
            let origin = &self.context.origin;
            lease.owner == origin.router
                && lease.incarnation == origin.incarnation
                && (lease.epoch == self.epoch
                    || entry
                        .as_ref()
                        .is_some_and(|entry| entry.revision == self.epoch))
        });
        if !is_ours {
            return Ok(());
        }
        let value = Self::record(&self.context, self.epoch, true).encode();
        let write = self
            .context
            .log
            .write_entry(&self.key, value, expected_of(entry.as_ref()));
        match self.context.call(write).await {
            Ok(_) | Err(ClusterLogError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
