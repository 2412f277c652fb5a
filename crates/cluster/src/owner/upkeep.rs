//! Checkpoints and trimming, and the regular look at where the log ends.
//!
//! In this order, each after the one before is certain: the checkpoint stands within the log; it stands beside it; what lies
//! before its cursor is trimmed. So whatever is lost on the way, what is left says everything.

use crate::acknowledged::{AcknowledgedView, RememberedGroups};
use crate::planted::PlantedFault;
use crate::settings::ClusterContext;
use futures_util::future::BoxFuture;
use std::future::pending;
use tokio::time::Instant;
use twinroute_journal::partition::{PartitionCheckpoint, PartitionFold};
use twinroute_journal::{
    ClusterKey, ClusterLogError, ExpectedRevision, PartitionBounds, PartitionNumber,
};

/// What of the upkeep was done.
#[derive(Debug)]
pub(super) enum UpkeepDone {
    /// Nothing that matters; it is tried again.
    Nothing,
    /// A checkpoint stands beside the log, and what it makes needless is trimmed.
    Checkpointed,
    /// Where the log ends.
    Bounds(CheckedBounds),
    /// Another owner has written a checkpoint, or has fenced this one.
    Taken,
}

/// Where the log ends, and what was known of it before that was asked.
#[derive(Debug)]
pub(super) struct CheckedBounds {
    pub(super) bounds: PartitionBounds,
    /// Up to where it had been folded,
    pub(super) seen: u64,
    /// and what routers had been acknowledged.
    pub(super) acknowledged: RememberedGroups,
}

pub(super) struct PartitionUpkeep {
    context: ClusterContext,
    partition: PartitionNumber,
    /// The checkpoint beside the log: its revision.
    revision: u64,
    state: UpkeepState,
    /// When the next checkpoint is due, and the next look at the end.
    checkpoint_at: Instant,
    bounds_at: Instant,
    /// Bytes that were folded since the last one.
    bytes: u64,
    /// The last record that the last one covers, itself included.
    covered_to: u64,
    is_finished: bool,
}

enum UpkeepState {
    Idle,
    /// It is on its way into the log.
    Recording(PartitionCheckpoint),
    /// It is written beside it, and the log trimmed.
    Running(BoxFuture<'static, (Option<u64>, UpkeepDone)>),
}

impl PartitionUpkeep {
    pub(super) fn new(context: ClusterContext, partition: PartitionNumber, revision: u64) -> Self {
        let now = Instant::now();
        Self {
            checkpoint_at: now + context.times.checkpoint_every,
            bounds_at: now + context.times.lease.lease / 2,
            context,
            partition,
            revision,
            state: UpkeepState::Idle,
            bytes: 0,
            covered_to: 0,
            is_finished: false,
        }
    }

    /// Whether nothing is under way.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.state, UpkeepState::Idle)
    }

    /// When something is due that can be begun by then; a checkpoint only while no other record is on its way.
    pub(super) fn due(&self, can_record: bool) -> Option<Instant> {
        let due = match can_record {
            true => self.checkpoint_at.min(self.bounds_at),
            false => self.bounds_at,
        };
        self.is_idle().then_some(due)
    }

    /// A record was folded.
    pub(super) fn folded(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Whether a checkpoint is to be made. None is where nothing has happened since the last.
    pub(super) fn is_checkpoint_due(&mut self, fold: &PartitionFold) -> bool {
        let now = Instant::now();
        let times = &self.context.times;
        let is_due = now >= self.checkpoint_at || self.bytes >= times.checkpoint_bytes;
        if !is_due || !matches!(self.state, UpkeepState::Idle) {
            if is_due {
                self.checkpoint_at = now + times.again;
            }
            return false;
        }
        self.checkpoint_at = now + times.checkpoint_every;
        self.bytes = 0;
        fold.folded_to() > self.covered_to
    }

    /// A checkpoint is being written into the log.
    pub(super) fn begin(&mut self, checkpoint: PartitionCheckpoint) {
        // Its own record is the next, if nobody else's comes between.
        self.covered_to = checkpoint.folded_to() + 1;
        if self
            .context
            .times
            .planted
            .has(PlantedFault::TrimBeforeCheckpoint)
        {
            self.state = self.write_beside(checkpoint);
            return;
        }
        self.state = UpkeepState::Recording(checkpoint);
    }

    /// What was on its way into the log stands there.
    pub(super) fn recorded(&mut self) {
        if let UpkeepState::Recording(checkpoint) = &self.state {
            self.state = self.write_beside(checkpoint.clone());
        }
    }

    fn write_beside(&self, checkpoint: PartitionCheckpoint) -> UpkeepState {
        let (context, partition) = (self.context.clone(), self.partition);
        let expected = ExpectedRevision::Revision(self.revision);
        UpkeepState::Running(Box::pin(async move {
            let key = ClusterKey::Checkpoint(partition);
            let planted = context.times.planted;
            if planted.has(PlantedFault::TrimBeforeCursor) {
                let before = checkpoint.cursor();
                drop(context.call(context.log.trim(partition, before)).await);
            }
            let revision = match context.write(&key, &checkpoint.encode(), expected).await {
                Ok(revision) => revision,
                Err(ClusterLogError::Conflict { .. }) => return (None, UpkeepDone::Taken),
                Err(error) => {
                    tracing::warn!(%error, %partition, "a checkpoint is not written");
                    return (None, UpkeepDone::Nothing);
                }
            };
            let before = match planted.has(PlantedFault::TrimPastOpen) {
                true => checkpoint.folded_to(),
                false => checkpoint.cursor(),
            };
            let end = context.call(context.log.bounds(partition));
            let before = match planted.has(PlantedFault::TrimPastFold) {
                true => end.await.map_or(before, |end| end.last + 1),
                false => before,
            };
            // One that was not trimmed is trimmed with the next.
            if let Err(error) = context.call(context.log.trim(partition, before)).await {
                tracing::debug!(%error, %partition, "the log is not trimmed");
            }
            (Some(revision), UpkeepDone::Checkpointed)
        }))
    }

    /// Looks at where the log ends, if that is due.
    pub(super) fn check_bounds(&mut self, fold: &PartitionFold, known: &AcknowledgedView) {
        let now = Instant::now();
        if now < self.bounds_at {
            return;
        }
        self.bounds_at = now + self.context.times.lease.lease / 2;
        if matches!(self.state, UpkeepState::Idle) {
            let (context, partition) = (self.context.clone(), self.partition);
            // What is folded while the answer is on its way may stand behind the end that it tells.
            let (seen, acknowledged) = (fold.folded_to(), known.now());
            self.state = UpkeepState::Running(Box::pin(async move {
                match context.call(context.log.bounds(partition)).await {
                    Ok(bounds) => {
                        let checked = CheckedBounds {
                            bounds,
                            seen,
                            acknowledged,
                        };
                        (None, UpkeepDone::Bounds(checked))
                    }
                    Err(_) => (None, UpkeepDone::Nothing),
                }
            }));
        }
    }

    /// What is done next; waits without an end when nothing is under way. Dropping it loses nothing.
    pub(super) async fn run(&mut self) -> UpkeepDone {
        let UpkeepState::Running(running) = &mut self.state else {
            return pending().await;
        };
        let (revision, done) = running.await;
        self.revision = revision.unwrap_or(self.revision);
        self.state = UpkeepState::Idle;
        done
    }

    /// The checkpoint of a hand-over is written.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.is_finished
    }
}
