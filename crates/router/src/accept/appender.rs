//! From a matched batch to the journal, and from there to the lanes: the one way in for deliveries.

use super::admission::AdmissionGate;
use super::answer::{AcceptError, AckLevel};
use super::commit::{self, BatchTicket, CommitMessage, DurableBatch};
use super::drain::DrainRate;
use super::matched_batch::{LaneDeliveries, MatchedBatch};
use super::receipt::BatchReceipt;
use super::room_maker::RoomMaker;
use crate::cluster_journal::APPEND_WAIT_MAX;
use crate::delivery::{DeliveryTracker, Lane, LaneArrival, RecentOutcomes};
use crate::event_journal::EventJournal;
use crate::partition_feed::AwaitedReplays;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use twinroute_journal::{AppendError, BatchOrigin, DiskJournal, JournalFull, NewEvent, NotDurable};
use twinroute_model::event::Event;

/// Tells when a batch is on disk, and its lanes have it.
pub(crate) type OnDisk = oneshot::Receiver<Result<(), NotDurable>>;

/// Waits until a batch is on disk, and its lanes have it.
pub(super) async fn durable(on_disk: OnDisk, is_clustered: bool) -> Result<(), AcceptError> {
    let result = match is_clustered {
        false => on_disk.await,
        true => match timeout(APPEND_WAIT_MAX, on_disk).await {
            Ok(answer) => answer,
            Err(_) => return Err(AcceptError::Unanswered(APPEND_WAIT_MAX)),
        },
    };
    let result = result.unwrap_or(Err(NotDurable::Closed));
    result.map_err(|error| AcceptError::Journal {
        reason: error.to_string(),
    })
}

/// Appends to the journal and queues for the lanes, in one order for all.
pub(crate) struct JournalAppender {
    /// Held while a batch is numbered and handed to its lanes, so that lanes see one order.
    journal: Mutex<EventJournal>,
    stopping: AtomicBool,
    drain: DrainRate,
    pub(crate) room: Arc<RoomMaker>,
    admission: Arc<AdmissionGate>,
    /// The way of events from a journal on disk to their lanes.
    commits: Option<mpsc::UnboundedSender<CommitMessage>>,
    /// Events that were acknowledged in memory and did not reach the disk.
    lost: Arc<AtomicU64>,
    /// What happened lately, where the journal is in memory.
    recent: Option<RecentOutcomes>,
    /// Replays on their way through a shared log.
    pub(crate) replays: AwaitedReplays,
}

impl JournalAppender {
    /// Must be called within a tokio runtime: with a journal on disk a task hands batches to their lanes.
    pub(crate) fn new(
        journal: EventJournal,
        room: Arc<RoomMaker>,
        admission: Arc<AdmissionGate>,
    ) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let is_clustered = journal.cluster().is_some();
        let commits = (is_clustered || journal.disk().is_some()).then(|| {
            // Without a bound of its own: what is in it is in the journal, which has one, and sending
            // under the lock must not wait.
            let (commits, inbox) = mpsc::unbounded_channel();
            drop(match is_clustered {
                true => tokio::spawn(commit::run_clustered(inbox)),
                false => tokio::spawn(commit::run(inbox, Arc::clone(&lost))),
            });
            commits
        });
        Self {
            journal: Mutex::new(journal),
            recent: room.live.recent_outcomes(),
            stopping: AtomicBool::new(false),
            drain: DrainRate::new(),
            room,
            admission,
            commits,
            lost,
            replays: AwaitedReplays::default(),
        }
    }

    /// Whether what is acknowledged can be on disk.
    pub(crate) fn is_durable(&self) -> bool {
        match &self.room.cluster {
            Some(cluster) => cluster.durable().is_ok(),
            None => self.commits.is_some(),
        }
    }

    /// Whether what is acknowledged can be on several machines.
    pub(crate) fn is_replicated(&self) -> bool {
        self.room.cluster.is_some()
    }

    /// Whether what is settled is kept for a while, and events that match nothing are too.
    pub(crate) fn keeps_history(&self) -> bool {
        let disk = self.room.disk.as_ref();
        self.recent.is_some() || disk.is_some_and(DiskJournal::keeps_history)
    }

    /// Records events that matched nothing, where there is a history.
    pub(super) fn record_unmatched(&self, origin: &BatchOrigin, events: &[(Event, u64)]) {
        if let Some(disk) = &self.room.disk {
            disk.record_unmatched(origin, events);
        }
        if let (Some(recent), Some(instance)) = (&self.recent, &origin.instance) {
            recent.record_unmatched(instance, events.iter().map(|(event, _)| event));
        }
    }

    /// The sequence that the next event gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.lock().next_sequence()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Events that were acknowledged in memory and did not reach the disk.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, EventJournal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses events from here on. Whoever hands some over just now has done so when this returns.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Ordering::Release);
        self.admission.close();
        drop(self.lock());
    }

    /// Waits until lanes have what was handed over, or `until`: a disk that hangs must not keep the process; its
    /// events are found at the next start.
    pub(crate) async fn handed_over(&self, until: Instant) {
        if let Some(commits) = &self.commits {
            let (done, handed_over) = oneshot::channel();
            if commits.send(CommitMessage::Barrier(done)).is_ok() {
                drop(timeout_at(until, handed_over).await);
            }
        }
    }

    /// Appends a batch for some of `lanes`, the ones of its instance. A full journal is made room in, while an
    /// endpoint is above its share of it.
    ///
    /// With a journal on disk the lanes get the events once they are there, which the receiver tells. Nothing is
    /// accepted before this returns: what was discarded to make room goes to disk before the events, or with them.
    /// An accepted batch takes what is in its receipt.
    pub(super) async fn append(
        &self,
        lanes: &[Arc<Lane>],
        mut batch: MatchedBatch,
        level: AckLevel,
        arrival: LaneArrival,
        receipt: &mut BatchReceipt,
    ) -> Result<Option<OnDisk>, AcceptError> {
        if batch.is_empty() {
            receipt.accepted();
            return Ok(None);
        }
        receipt.appended();
        let mut turn = None;
        loop {
            let full = match self.try_append(lanes, &mut batch, level, &arrival, receipt) {
                Ok(on_disk) => {
                    if !self.is_replicated() {
                        self.room.relieve();
                    }
                    return Ok(on_disk);
                }
                Err(AppendError::Full(full)) => full,
                Err(error) => return Err(self.not_appended(error)),
            };
            // Kept until the events are taken, so that the room goes to them.
            if turn.is_none() {
                turn = Some(self.room.turn().await);
            }
            let turn = turn.as_mut().expect("it was just taken");
            if !self.room.make_room(&full, turn).await {
                return Err(self.full(full));
            }
        }
    }

    /// Has the journal take a batch, if it has room. Takes the receipt once it has.
    fn try_append(
        &self,
        lanes: &[Arc<Lane>],
        batch: &mut MatchedBatch,
        level: AckLevel,
        arrival: &LaneArrival,
        receipt: &mut BatchReceipt,
    ) -> Result<Option<OnDisk>, AppendError> {
        let mut journal = self.lock();
        // Once more under the lock: lanes that are told to stop must not get another event.
        if self.is_stopping() {
            return Err(AppendError::Closed);
        }
        match &mut *journal {
            EventJournal::Memory(memory) => {
                let entries = memory.append_from(batch.events_mut());
                let entries = entries.map_err(AppendError::Full)?;
                let arrival = arrival.numbered(&entries);
                batch.push(lanes, entries, &arrival);
                drop(journal);
                receipt.accepted();
                Ok(None)
            }
            EventJournal::Disk(disk) => {
                let (events, bytes) = (batch.events_mut().len() as u64, batch.bytes());
                let origin = batch.origin.clone();
                let appended = disk.append_of(batch.events_mut(), origin)?;
                let mut receipt = std::mem::take(receipt);
                if level == AckLevel::Memory {
                    receipt.answered(events);
                }
                let arrival = arrival.numbered(&appended.entries);
                let deliveries = batch.by_lane(lanes, appended.entries);
                let ticket = BatchTicket::Disk(appended.durable);
                self.commit(deliveries, arrival, bytes, ticket, receipt)
                    .map(Some)
            }
            EventJournal::Cluster(cluster) => {
                let (events, bytes) = (batch.events_mut().len() as u64, batch.bytes());
                if let Some(fault) = cluster.fault() {
                    return Err(AppendError::NoRoom(fault.into()));
                }
                let tickets = cluster.append(batch.events_mut())?;
                let mut receipt = std::mem::take(receipt);
                if level == AckLevel::Memory {
                    receipt.answered(events);
                }
                let ticket = BatchTicket::Cluster(tickets);
                // Lanes hear of them from the log.
                self.commit(Vec::new(), arrival.clone(), bytes, ticket, receipt)
                    .map(Some)
            }
        }
    }

    /// Waits for the turn of a replay; see [`AdmissionGate::admit_replay`].
    pub(crate) async fn admit_replay(
        &self,
        lane: &Lane,
        bytes: u64,
        wait_max: Duration,
    ) -> Result<(), AcceptError> {
        self.admission.admit_replay(lane, bytes, wait_max).await
    }

    /// Appends a dead letter again for the one endpoint that failed; `of` is its sequence if it is kept here
    /// and was taken from its lane.
    pub(crate) fn append_replay(
        &self,
        lane: &Arc<Lane>,
        of: Option<u64>,
        event: Event,
        twin: u64,
        tracker: &Arc<DeliveryTracker>,
    ) -> Result<Option<OnDisk>, AcceptError> {
        let arrival = LaneArrival::Replayed {
            of,
            came: Instant::now(),
            tracker: Arc::clone(tracker),
        };
        let mut journal = self.lock();
        if self.is_stopping() {
            return Err(AcceptError::Stopping);
        }
        match &mut *journal {
            EventJournal::Memory(memory) => {
                let entry = match of {
                    // It takes the place of the dead letter, which the lane lets go.
                    Some(_) => memory.exchange(event, twin),
                    None => {
                        let lanes = Vec::new();
                        let appended = memory.append(vec![NewEvent { event, twin, lanes }]);
                        appended.map_err(|full| self.full(full))?.remove(0)
                    }
                };
                lane.push(vec![entry], &arrival);
                Ok(None)
            }
            EventJournal::Disk(disk) => {
                let number = lane.number.ok_or(AcceptError::Stopping)?;
                let bytes = event.size() as u64;
                let appended = disk.replay(number, of, event, twin);
                let appended = appended.map_err(|error| self.not_appended(error))?;
                let deliveries = vec![LaneDeliveries {
                    lane: Arc::clone(lane),
                    entries: appended.entries,
                }];
                let receipt = BatchReceipt::default();
                let ticket = BatchTicket::Disk(appended.durable);
                let sent = self.commit(deliveries, arrival, bytes, ticket, receipt);
                sent.map(Some).map_err(|error| self.not_appended(error))
            }
            EventJournal::Cluster(cluster) => {
                let number = lane.number.ok_or(AcceptError::Stopping)?;
                let bytes = event.size() as u64;
                self.replays.add(number, of, tracker);
                let ticket = cluster.append_replay(number, of, (&event, twin));
                let ticket = ticket.map_err(|error| self.not_appended(error))?;
                let ticket = BatchTicket::Cluster(vec![ticket]);
                let receipt = BatchReceipt::default();
                let sent = self.commit(Vec::new(), arrival, bytes, ticket, receipt);
                sent.map(Some).map_err(|error| self.not_appended(error))
            }
        }
    }

    /// Has deliveries go to their lanes once they are on disk.
    fn commit(
        &self,
        deliveries: Vec<LaneDeliveries>,
        arrival: LaneArrival,
        bytes: u64,
        durable: BatchTicket,
        receipt: BatchReceipt,
    ) -> Result<OnDisk, AppendError> {
        let commits = self.commits.as_ref();
        let commits = commits.expect("a journal on disk comes with a way to the lanes");
        let (done, on_disk) = oneshot::channel();
        let batch = DurableBatch {
            deliveries,
            arrival,
            durable,
            receipt,
            unsynced: self.admission.unsynced(bytes),
            done,
        };
        let sent = commits.send(CommitMessage::Batch(Box::new(batch)));
        sent.map_err(|_| AppendError::Closed)?;
        Ok(on_disk)
    }

    fn not_appended(&self, error: AppendError) -> AcceptError {
        match error {
            AppendError::Full(full) => self.full(full),
            AppendError::Backlog(_) => AcceptError::Journal {
                reason: error.to_string(),
            },
            AppendError::TooLarge {
                bytes, bytes_max, ..
            } => AcceptError::TooLarge {
                bytes: bytes as u64,
                bytes_max: bytes_max as u64,
            },
            AppendError::NoRoom(reason) | AppendError::Poisoned(reason) => AcceptError::Journal {
                reason: reason.to_string(),
            },
            AppendError::Closed => AcceptError::Stopping,
        }
    }

    /// Says when there is likely to be room: what does not fit, by the rate at which things settle.
    fn full(&self, full: JournalFull) -> AcceptError {
        if full.bytes_new > full.bytes_max {
            return AcceptError::TooLarge {
                bytes: full.bytes_new,
                bytes_max: full.bytes_max,
            };
        }
        let lacking = (full.bytes + full.bytes_new - full.bytes_max) as f64;
        let rate = self.drain.bytes_per_second(&self.room.gauge);
        // Nothing drained lately: an endpoint may be back any moment.
        let seconds = if rate > 0.0 { lacking / rate } else { 5.0 };
        AcceptError::Full {
            bytes: full.bytes,
            bytes_max: full.bytes_max,
            retry_after: Duration::from_secs_f64(seconds.clamp(1.0, 60.0)),
        }
    }
}
