//! Brings accepted events into the log: for each partition one loop, one group in flight.

use crate::acknowledged::AcknowledgedGroup;
use crate::planted::PlantedFault;
use crate::settings::ClusterContext;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use twinroute_journal::partition::{GroupFormer, PreparedBatch};
use twinroute_journal::{
    AppendError, AppendedRecord, ClusterLogError, LaneId, NewEvent, PartitionNumber, RecordAppend,
};
use twinroute_model::event::Event;

/// Resolves when the log has a batch: with the sequence of the record that holds its end. Dropping it undoes nothing.
pub type AppendTicket = oneshot::Receiver<u64>;

/// Brings events into the log. Clones share it.
#[derive(Clone, Debug)]
pub struct ClusterProducer {
    context: ClusterContext,
    partitions: Arc<BTreeMap<PartitionNumber, PartitionProducer>>,
}

type PartitionFormer = GroupFormer<oneshot::Sender<u64>>;

#[derive(Debug)]
struct PartitionProducer {
    former: Mutex<PartitionFormer>,
    /// There is something to append.
    work: Notify,
    /// The last group that was acknowledged to this router.
    acknowledged: Mutex<Option<AcknowledgedGroup>>,
    /// Events that were taken and not appended, for a fault that is planted.
    planted: Mutex<Vec<NewEvent>>,
}

impl PartitionProducer {
    fn lock(&self) -> MutexGuard<'_, PartitionFormer> {
        lock(&self.former)
    }

    /// Takes what was prepared, and has it appended.
    fn push(&self, former: &mut PartitionFormer, prepared: PreparedBatch) -> AppendTicket {
        let (done, ticket) = oneshot::channel();
        former.push_prepared(prepared, done);
        self.work.notify_one();
        ticket
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClusterProducer {
    /// Starts the loops.
    #[must_use]
    pub fn start(context: &ClusterContext) -> Self {
        let producer = |partition| PartitionProducer {
            former: Mutex::new(GroupFormer::new(
                partition,
                context.origin.clone(),
                context.register.clone(),
                context.times.former,
            )),
            work: Notify::new(),
            acknowledged: Mutex::new(None),
            planted: Mutex::default(),
        };
        let all = PartitionNumber::all(context.facts.partitions);
        let producer = Self {
            context: context.clone(),
            partitions: Arc::new(all.clone().map(|one| (one, producer(one))).collect()),
        };
        for partition in all {
            let this = producer.clone();
            context
                .spawner
                .spawn(async move { this.run(partition).await });
        }
        producer
    }

    /// Takes a batch of one partition, whole or not at all. Does not wait.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    ///
    /// # Panics
    /// When the cluster has no such partition.
    pub fn append(
        &self,
        partition: PartitionNumber,
        batch: &[NewEvent],
    ) -> Result<AppendTicket, AppendError> {
        let (done, ticket) = oneshot::channel();
        let of = &self.partitions[&partition];
        let accepted_at = self.context.clock.now();
        let pushed = of.lock().push(batch, accepted_at, done);
        pushed.map_err(|(error, _)| error)?;
        if self
            .context
            .times
            .planted
            .has(PlantedFault::GroupRenumbered)
        {
            lock(&of.planted).extend_from_slice(batch);
        }
        of.work.notify_one();
        Ok(ticket)
    }

    /// Takes a batch of several partitions, whole or not at all. Does not wait.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    ///
    /// # Panics
    /// When the cluster has no such partition.
    pub fn append_all(
        &self,
        batches: &BTreeMap<PartitionNumber, Vec<NewEvent>>,
    ) -> Result<Vec<AppendTicket>, AppendError> {
        let accepted_at = self.context.clock.now();
        // Locked in the order of their numbers, so that no two callers wait for each other.
        let mut formers = Vec::with_capacity(batches.len());
        for (partition, batch) in batches {
            let of = &self.partitions[partition];
            let former = of.lock();
            let prepared = former.prepare(batch, accepted_at)?;
            former.check_room(&prepared)?;
            formers.push((of, former, prepared));
        }
        let formers = formers.into_iter();
        let tickets = formers.map(|(of, mut former, prepared)| of.push(&mut former, prepared));
        Ok(tickets.collect())
    }

    /// Takes a dead letter that goes through its lane again; `replay_of` is its sequence where it is kept in the same
    /// partition, and is settled by the same record. Does not wait.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn append_replay(
        &self,
        lane: LaneId,
        replay_of: Option<u64>,
        (event, twin): (&Event, u64),
    ) -> Result<AppendTicket, AppendError> {
        let partition = PartitionNumber::of_twin(twin, self.context.facts.partitions);
        let of = &self.partitions[&partition];
        let mut former = of.lock();
        let accepted_at = self.context.clock.now();
        let prepared = former.prepare_replay(lane, replay_of, (event, twin), accepted_at)?;
        former.check_room(&prepared)?;
        Ok(of.push(&mut former, prepared))
    }

    /// The last group of each partition that was acknowledged to this router. A log that does not have it has lost what it
    /// acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<AcknowledgedGroup> {
        let all = self.partitions.values();
        let all = all.filter_map(|of| *lock(&of.acknowledged));
        all.collect()
    }

    async fn run(&self, partition: PartitionNumber) {
        let of = &self.partitions[&partition];
        loop {
            // The guard must not be held over the wait.
            let next = of.lock().next_append();
            let Some(append) = next else {
                of.work.notified().await;
                continue;
            };
            if self.context.times.planted.has(PlantedFault::EarlyAnswer) {
                answer(of.lock().appended(), 0);
                drop(self.context.call(self.context.log.append(append)).await);
                continue;
            }
            if self
                .context
                .times
                .planted
                .has(PlantedFault::GroupRenumbered)
            {
                self.append_as_next(of, append).await;
                continue;
            }
            if let Some(appended) = self.append_until_answered(append).await {
                let tickets = {
                    let mut former = of.lock();
                    *lock(&of.acknowledged) = Some(AcknowledgedGroup {
                        incarnation: self.context.origin.incarnation,
                        partition,
                        // The one in flight is the last that was formed.
                        counter: former.groups(),
                        sequence: appended.sequence,
                    });
                    former.appended()
                };
                answer(tickets, appended.sequence);
            }
        }
    }

    /// A planted fault: what was not answered is formed again, so that it has another number and id.
    async fn append_as_next(&self, of: &PartitionProducer, append: RecordAppend) {
        let events = std::mem::take(&mut *lock(&of.planted));
        let answer_to = self.context.call(self.context.log.append(append)).await;
        let tickets = of.lock().appended();
        match answer_to {
            Ok(appended) => answer(tickets, appended.sequence),
            Err(_) => {
                for ticket in tickets {
                    let accepted_at = self.context.clock.now();
                    drop(of.lock().push(&events, accepted_at, ticket));
                }
                lock(&of.planted).extend(events);
            }
        }
    }

    /// Appends a group as often as need be: until the log says that it has it.
    async fn append_until_answered(&self, mut append: RecordAppend) -> Option<AppendedRecord> {
        let planted = self.context.times.planted;
        loop {
            match self
                .context
                .call(self.context.log.append(append.clone()))
                .await
            {
                Ok(appended) => return Some(appended),
                Err(ClusterLogError::Unavailable(_)) if planted.has(PlantedFault::GroupDropped) => {
                    return Some(AppendedRecord {
                        sequence: 0,
                        is_repeated: false,
                    });
                }
                Err(ClusterLogError::Unavailable(_)) if planted.has(PlantedFault::TwoInFlight) => {
                    let context = self.context.clone();
                    self.context.spawner.spawn(async move {
                        drop(context.insist(|| context.log.append(append.clone())).await);
                    });
                    return Some(AppendedRecord {
                        sequence: 0,
                        is_repeated: false,
                    });
                }
                Err(ClusterLogError::Unavailable(_)) if planted.has(PlantedFault::GroupNewId) => {
                    append.message_id = format!("{}+", append.message_id).into();
                }
                Err(ClusterLogError::Unavailable(reason)) => {
                    tracing::debug!(%reason, id = %append.message_id, "a group is appended again");
                }
                Err(error) => {
                    // Nothing behind it may overtake it, so it waits for whoever has to act.
                    tracing::error!(%error, id = %append.message_id, "a group is refused; it is appended again");
                }
            }
            sleep(self.context.times.again).await;
        }
    }
}

fn answer(tickets: Vec<oneshot::Sender<u64>>, sequence: u64) {
    for ticket in tickets {
        // Whoever waited may have gone; the events are there all the same.
        let _gone = ticket.send(sequence);
    }
}
