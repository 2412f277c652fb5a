//! From a claimed lease to an open partition: everything is folded, and nothing of an earlier owner counts any more.

use super::end::OwnerEnd;
use super::recorder::SettlementRecorder;
use crate::acknowledged::{AcknowledgedView, check_acknowledged};
use crate::calls::expected_of;
use crate::planted::PlantedFault;
use crate::settings::ClusterContext;
use twinroute_journal::partition::{
    DamagedHistory, FoldedRecord, HistoryDamage, PartitionCheckpoint, PartitionFold, checkpoint_of,
};
use twinroute_journal::{
    ClusterKey, ClusterLogError, PartitionBounds, PartitionNumber, RecordTail,
};

/// A partition whose records are read in order.
pub(super) struct FoldedPartition {
    pub(super) fold: PartitionFold,
    pub(super) tail: Box<dyn RecordTail>,
    /// The revision of the checkpoint beside the log.
    pub(super) checkpoint: u64,
}

/// Reads a partition up to its end, and ends all lower epochs.
///
/// All that routers remember to have been acknowledged must be there. Dropping the future leaves at most an epoch record
/// behind, which the next claim ends as it ends any other.
pub(super) async fn open(
    context: &ClusterContext,
    partition: PartitionNumber,
    recorder: &mut SettlementRecorder,
    acknowledged: &AcknowledgedView,
) -> Result<FoldedPartition, OwnerEnd> {
    let (revision, checkpoint) = fence_checkpoint(context, partition).await?;
    let log = &context.log;
    let remembered = acknowledged.now();
    let bounds = context.insist(|| log.bounds(partition)).await?;
    let fold = begin(context, partition, checkpoint, bounds).await?;
    let from = fold.folded_to() + 1;
    let tail = context.insist(|| log.tail(partition, from)).await?;
    let mut folded = FoldedPartition {
        fold,
        tail,
        checkpoint: revision,
    };
    let planted = context.times.planted;
    while folded.fold.folded_to() < bounds.last {
        folded.next().await?;
    }
    let checked = check_acknowledged(&folded.fold, partition, bounds, &remembered);
    if !planted.has(PlantedFault::DamageIgnored) {
        checked?;
    }
    if !planted.has(PlantedFault::NoEpochRecord) {
        end_lower_epochs(partition, recorder, &mut folded).await?;
    }
    Ok(folded)
}

pub(super) fn shrunk(
    partition: PartitionNumber,
    bounds: PartitionBounds,
    seen: u64,
) -> HistoryDamage {
    let last = bounds.last;
    DamagedHistory::Shrunk { last, seen }.of(partition)
}

impl FoldedPartition {
    /// Folds the next record. Dropping it loses none.
    pub(super) async fn next(&mut self) -> Result<FoldedRecord, OwnerEnd> {
        let record = self.tail.next().await?;
        Ok(self.fold.fold(&record)?)
    }

    /// What is wrong where a record was appended that the fold has not come to though it has gone past its place: the log
    /// went back, and has grown again since.
    pub(super) fn is_ahead_of(&self, appended: u64) -> Option<DamagedHistory> {
        let seen = self.fold.folded_to();
        let last = appended - 1;
        (appended <= seen).then_some(DamagedHistory::Shrunk { last, seen })
    }
}

/// Reads the checkpoint beside the log and writes it again, so that an earlier owner, whose next one would be written over
/// this one, notices that it is none any more: what it would trim by then may be what is about to be read here.
async fn fence_checkpoint(
    context: &ClusterContext,
    partition: PartitionNumber,
) -> Result<(u64, Option<PartitionCheckpoint>), OwnerEnd> {
    let key = ClusterKey::Checkpoint(partition);
    loop {
        let entry = context.insist(|| context.log.entry(&key)).await?;
        let value = entry
            .as_ref()
            .map(|entry| entry.value.clone())
            .unwrap_or_default();
        match context
            .write(&key, &value, expected_of(entry.as_ref()))
            .await
        {
            Ok(revision) => {
                let read = PartitionCheckpoint::decode(&value, partition);
                if let (Err(error), false) = (&read, value.is_empty()) {
                    tracing::warn!(%error, "a checkpoint is lost; the log is read instead");
                }
                return Ok((revision, read.ok()));
            }
            Err(ClusterLogError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The fold to begin with: of the checkpoint beside the log, of the last one within, or of the first record.
async fn begin(
    context: &ClusterContext,
    partition: PartitionNumber,
    checkpoint: Option<PartitionCheckpoint>,
    bounds: PartitionBounds,
) -> Result<PartitionFold, OwnerEnd> {
    let register = context.register.clone();
    let checkpoint = match checkpoint {
        None if bounds.first > 1 => {
            let within = last_within(context, partition, bounds).await?;
            let missing = DamagedHistory::Missing {
                from: 1,
                to: bounds.first - 1,
            };
            Some(within.ok_or(OwnerEnd::Damaged(missing.of(partition)))?)
        }
        other => other,
    };
    let Some(checkpoint) = checkpoint else {
        return Ok(PartitionFold::new(partition, register));
    };
    if bounds.last < checkpoint.folded_to() {
        return Err(OwnerEnd::Damaged(shrunk(
            partition,
            bounds,
            checkpoint.folded_to(),
        )));
    }
    Ok(PartitionFold::from_checkpoint(checkpoint, register)?)
}

async fn last_within(
    context: &ClusterContext,
    partition: PartitionNumber,
    bounds: PartitionBounds,
) -> Result<Option<PartitionCheckpoint>, OwnerEnd> {
    let log = &context.log;
    let mut tail = context.insist(|| log.tail(partition, bounds.first)).await?;
    let mut last = None;
    loop {
        let record = tail.next().await?;
        last = checkpoint_of(&record, partition).or(last);
        if record.sequence >= bounds.last {
            return Ok(last);
        }
    }
}

/// Writes the epoch record behind the last settlements, and folds up to it. From then on the log refuses every append of an
/// earlier owner.
async fn end_lower_epochs(
    partition: PartitionNumber,
    recorder: &mut SettlementRecorder,
    folded: &mut FoldedPartition,
) -> Result<(), OwnerEnd> {
    loop {
        if folded.fold.epoch() > recorder.owner().epoch {
            return Err(OwnerEnd::Lost);
        }
        recorder.claim(&folded.fold);
        let behind = loop {
            tokio::select! {
                biased;
                appended = recorder.append() => match appended {
                    Ok(sequence) => {
                        let ahead = sequence.and_then(|sequence| folded.is_ahead_of(sequence));
                        if let Some(damage) = ahead {
                            return Err(OwnerEnd::Damaged(damage.of(partition)));
                        }
                    }
                    Err(ClusterLogError::Conflict { expected, found }) if found > expected => break found,
                    // The log went back.
                    Err(ClusterLogError::Conflict { expected, found }) => {
                        let (last, seen) = (found, expected);
                        let damage = DamagedHistory::Shrunk { last, seen };
                        return Err(OwnerEnd::Damaged(damage.of(partition)));
                    }
                    Err(error) => return Err(error.into()),
                },
                record = folded.tail.next() => {
                    let record = folded.fold.fold(&record?)?;
                    if recorder.folded(&record) {
                        return Ok(());
                    }
                }
            }
        };
        // The earlier owner was faster once more.
        while folded.fold.last_settlement() < behind {
            folded.next().await?;
        }
    }
}
