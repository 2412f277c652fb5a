//! Dead letters on their way to their store, and back into the queue.

use super::LaneCore;
use crate::delivery::action::{DeadLetterUpload, UploadOutcome};
use crate::delivery::kept_dead_letters::KeptDeadLetter;
use crate::delivery::lane_journal::LaneJournal;
use crate::sink::{EndpointFault, FaultKind};
use tokio::time::Instant;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_model::dead_letter::DeadLetterReason;

/// Dead letters of one endpoint that are written at a time.
pub(super) const UPLOADS_MAX: usize = 8;

impl LaneCore {
    /// The next dead letter to write, if one may be written now.
    pub(super) fn next_upload(&mut self, now: Instant) -> Option<DeadLetterUpload> {
        let store = self.setup.store.as_ref()?;
        let most = match self.store_health.fault.is_some() {
            true => 1,
            false => UPLOADS_MAX,
        };
        if self.store_health.is_backing_off(now) || self.dead.busy() >= most {
            return None;
        }
        let store = store.clone();
        let (sequence, dead) = self.dead.take_storable()?;
        Some(DeadLetterUpload {
            sequence,
            dead,
            store,
            reader: self.journal.as_ref().map(LaneJournal::reader),
            instance: self.instance.clone(),
            endpoint: self.name.clone(),
            epoch: self.epoch,
            begun: now,
        })
    }

    /// When the store is to be tried again.
    pub(super) fn upload_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.setup.store.is_some() && self.dead.storable() > self.dead.busy();
        let fault = self.store_health.fault.as_ref().filter(|_| waits)?;
        Some(fault.until).filter(|until| *until > now)
    }

    /// Takes note of how an upload went.
    pub(in crate::delivery) fn uploaded(
        &mut self,
        upload: &DeadLetterUpload,
        stored: UploadOutcome,
        now: Instant,
    ) {
        let sequence = upload.sequence;
        self.upload_span(upload, &stored, now);
        match stored {
            UploadOutcome::Done => {
                // One that had to make room meanwhile is counted as discarded already.
                if self.dead.remove(sequence).is_some() {
                    self.settle(sequence, None, DeliverySettlement::DeadLettered);
                    self.counters.dead_lettered.increment(1);
                }
                if self.store_health.fault.take().is_some() {
                    tracing::info!(endpoint = self.label, "dead letters are stored again");
                }
            }
            UploadOutcome::Unreadable(reason) => {
                tracing::error!(endpoint = self.label, sequence, %reason,
                    "the disk does not give a dead letter back; it stays here");
                self.dead.put_back(sequence, true);
            }
            UploadOutcome::Failed(fault) if fault.kind == FaultKind::Unsupported => {
                tracing::error!(endpoint = self.label, sequence, reason = %fault.reason,
                    "a dead letter cannot be stored; it stays here");
                self.store_health.last_error = fault.reason.to_string();
                self.dead.put_back(sequence, true);
            }
            UploadOutcome::Failed(fault) => {
                self.dead.put_back(sequence, false);
                if upload.epoch == self.epoch {
                    self.store_failed(&fault, now);
                }
            }
        }
        self.drop_dead_of_another(sequence);
        self.hand_over();
    }

    fn store_failed(&mut self, fault: &EndpointFault, now: Instant) {
        // Several were on their way when it failed: they tell of one failure.
        if self.store_health.is_backing_off(now) {
            return;
        }
        let (wall, random) = (self.wall(now), self.rng.f64());
        let is_new = self
            .store_health
            .fail(fault, &self.setup.settings, random, &wall);
        if is_new {
            tracing::error!(endpoint = self.label, kind = fault.kind.as_str(), reason = %fault.reason,
                "the dead-letter store accepts nothing; dead letters stay here and are tried again");
        }
        self.counters.get().store_faults.increment(1);
        self.trigger_refresh(fault.kind, is_new);
    }

    /// Takes a dead letter out for a replay; nothing when it is not here or on its way to its store.
    pub(in crate::delivery) fn take_dead(&mut self, sequence: u64) -> Option<KeptDeadLetter> {
        self.dead.take(sequence)
    }

    /// The replay of a dead letter did not come about.
    pub(in crate::delivery) fn put_back_dead(&mut self, sequence: u64) {
        self.dead.put_back(sequence, false);
        self.drop_dead_of_another(sequence);
    }

    /// How many dead letters there are here.
    pub(in crate::delivery) fn dead_count(&self) -> usize {
        self.dead.len()
    }

    /// Dead letters here behind a sequence, oldest first.
    pub(in crate::delivery) fn dead_after(
        &self,
        after: u64,
    ) -> impl Iterator<Item = (u64, &KeptDeadLetter)> {
        self.dead.after(after)
    }

    /// One of them.
    pub(in crate::delivery) fn dead_letter(&self, sequence: u64) -> Option<&KeptDeadLetter> {
        self.dead.get(sequence)
    }

    /// How many of them there are for each reason.
    pub(super) fn dead_by_reason(&self) -> [u64; DeadLetterReason::ALL.len()] {
        let mut counts = [0; DeadLetterReason::ALL.len()];
        for (_, dead) in self.dead.after(0) {
            counts[dead.about.reason as usize] += 1;
        }
        counts
    }
}
