//! Writes settlement groups: one in flight, each behind the last settlements that were folded.
//!
//! A group counts as recorded when the fold has come to it, not when the log has answered: so everything that the owner
//! states of the log is of what it has read back, and a lost answer changes nothing.

use crate::planted::PlantedFault;
use crate::settings::ClusterContext;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::sleep;
use twinroute_journal::partition::{FoldedRecord, GroupOwner, PartitionFold, SettlementGroup};
use twinroute_journal::{
    AppendedRecord, ClusterLogError, LogFuture, PartitionNumber, RecordAppend, RecordSubject,
};

/// Writes settlement groups of one epoch.
pub(super) struct SettlementRecorder {
    context: ClusterContext,
    partition: PartitionNumber,
    owner: GroupOwner,
    /// The record in flight: appended again until it is folded.
    in_flight: Option<RecordInFlight>,
    /// Counts records of this epoch, for their message ids.
    counter: u64,
}

struct RecordInFlight {
    append: RecordAppend,
    /// The call that is under way; none once the log has answered that it has the record.
    call: Option<BoxFuture<'static, Result<AppendedRecord, ClusterLogError>>>,
    is_acknowledged: bool,
    waiters: Vec<oneshot::Sender<()>>,
}

impl SettlementRecorder {
    pub(super) const fn new(
        context: ClusterContext,
        partition: PartitionNumber,
        owner: GroupOwner,
    ) -> Self {
        Self {
            context,
            partition,
            owner,
            in_flight: None,
            counter: 0,
        }
    }

    /// Whether nothing is in flight.
    pub(super) const fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Tells `recorded` once what is in flight is recorded; at once when nothing is.
    pub(super) fn when_recorded(&mut self, recorded: oneshot::Sender<()>) {
        match &mut self.in_flight {
            Some(record) => record.waiters.push(recorded),
            // Whoever waited may have ended.
            None => drop(recorded.send(())),
        }
    }

    /// Writes the epoch record.
    pub(super) fn claim(&mut self, fold: &PartitionFold) {
        let statement = fold.statement(&self.owner, true);
        let bytes = statement.encode_alone(self.partition);
        self.write(fold, bytes, Vec::new());
    }

    /// Writes what became of deliveries; `waiters` hear when it is recorded.
    pub(super) fn settle(
        &mut self,
        fold: &PartitionFold,
        group: &SettlementGroup,
        waiters: Vec<oneshot::Sender<()>>,
    ) {
        let statement = fold.statement(&self.owner, false);
        let bytes = group.encode(self.partition, &statement, &self.context.register);
        self.write(fold, bytes, waiters);
    }

    /// Writes a checkpoint into the log. Gives it.
    pub(super) fn checkpoint(&mut self, fold: &PartitionFold, bytes: Bytes) {
        self.write(fold, bytes, Vec::new());
    }

    pub(super) const fn owner(&self) -> &GroupOwner {
        &self.owner
    }

    fn write(&mut self, fold: &PartitionFold, bytes: Bytes, waiters: Vec<oneshot::Sender<()>>) {
        self.counter += 1;
        let GroupOwner { router, epoch } = &self.owner;
        let id = format!("{router}.{epoch}.{}.s{}", self.partition, self.counter);
        let mut waiters = waiters;
        if self
            .context
            .times
            .planted
            .has(PlantedFault::SettlementNotAwaited)
        {
            tell(std::mem::take(&mut waiters));
        }
        let is_fenced = !self
            .context
            .times
            .planted
            .has(PlantedFault::UnfencedSettlements);
        self.in_flight = Some(RecordInFlight {
            append: RecordAppend {
                partition: self.partition,
                subject: RecordSubject::Settlements,
                message_id: id.into(),
                expected: is_fenced.then(|| fold.last_settlement()),
                bytes,
            },
            call: None,
            is_acknowledged: false,
            waiters,
        });
    }

    /// Appends what is in flight until the log has it, and gives its sequence then; waits without an end when it has, or
    /// when nothing is. Dropping it loses nothing: the next call goes on.
    ///
    /// # Errors
    /// [`ClusterLogError::Conflict`]: others' settlements stand where it was to, and it will never be there.
    pub(super) async fn append(&mut self) -> Result<Option<u64>, ClusterLogError> {
        let Some(record) = &mut self.in_flight else {
            return pending().await;
        };
        if record.is_acknowledged {
            return pending().await;
        }
        let (context, append) = (&self.context, &record.append);
        let call = record.call.get_or_insert_with(|| {
            let (context, append) = (context.clone(), append.clone());
            Box::pin(async move {
                let log = Arc::clone(&context.log);
                let call: LogFuture<'_, AppendedRecord> = log.append(append);
                let answer = context.call(call).await;
                if matches!(answer, Err(ClusterLogError::Unavailable(_))) {
                    sleep(context.times.again).await;
                }
                answer
            })
        });
        let answer = call.await;
        record.call = None;
        match answer {
            Ok(appended) => {
                record.is_acknowledged = true;
                Ok(Some(appended.sequence))
            }
            Err(ClusterLogError::Conflict { expected, found }) => {
                Err(ClusterLogError::Conflict { expected, found })
            }
            Err(error) => {
                tracing::debug!(%error, "settlements are appended again");
                if self
                    .context
                    .times
                    .planted
                    .has(PlantedFault::SettlementNewId)
                {
                    self.counter += 1;
                    let GroupOwner { router, epoch } = &self.owner;
                    let id = format!("{router}.{epoch}.{}.s{}", self.partition, self.counter);
                    record.append.message_id = id.into();
                }
                Ok(None)
            }
        }
    }

    /// Hears of a folded record; true when it was the one in flight, whose waiters hear of it.
    pub(super) fn folded(&mut self, record: &FoldedRecord) -> bool {
        let FoldedRecord::Settlements(statement) = record else {
            return false;
        };
        if statement.epoch != self.owner.epoch {
            return false;
        }
        let Some(record) = self.in_flight.take() else {
            return false;
        };
        tell(record.waiters);
        true
    }
}

fn tell(waiters: Vec<oneshot::Sender<()>>) {
    for waiter in waiters {
        // Whoever waited may have ended.
        let _gone = waiter.send(());
    }
}
