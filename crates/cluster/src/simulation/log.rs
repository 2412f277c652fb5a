//! A cluster's log in memory that does what a log may do: elects leaders, answers late, twice or not at all, is cut off
//! from some routers, and, where it is asked to, what it must not: forgets and rewrites.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use twinroute_journal::partition::PartitionCheckpoint;
use twinroute_journal::{
    AppendedRecord, ClusterEntry, ClusterKey, ClusterKeyKind, ClusterLog, ClusterLogError,
    ClusterLogFacts, ClusterRecord, ExpectedRevision, LogFuture, PartitionBounds, PartitionNumber,
    RecordAppend, RecordSubject, RecordTail,
};

/// How long message ids are remembered.
const ID_WINDOW: Duration = Duration::from_secs(600);

/// Of a record and of an entry's value.
const BYTES_MAX: usize = 1 << 20;

/// The log. Clones share it.
#[derive(Clone)]
pub struct SimulatedLog(Arc<LogShared>);

struct LogShared {
    state: Mutex<LogState>,
    /// Some record was appended.
    appended: Notify,
    partitions: u8,
}

struct LogState {
    rng: fastrand::Rng,
    partitions: BTreeMap<PartitionNumber, PartitionState>,
    entries: BTreeMap<ClusterKey, ClusterEntry>,
    revision: u64,
    /// No leader answers for the entries until then.
    entries_elect_until: Instant,
}

struct PartitionState {
    records: BTreeMap<u64, ClusterRecord>,
    /// All records that there ever were, trimmed ones included.
    ever: Vec<ClusterRecord>,
    first: u64,
    last: u64,
    last_of: BTreeMap<RecordSubject, u64>,
    ids: BTreeMap<Arc<str>, (u64, Instant)>,
    elects_until: Instant,
}

/// One router's way to the log: what happens on it happens to this router alone.
#[derive(Clone)]
pub struct LogLink {
    log: SimulatedLog,
    state: Arc<Mutex<LinkState>>,
}

#[derive(Clone, Copy)]
struct LinkState {
    /// Nothing passes until then.
    cut_until: Instant,
    /// Of a hundred answers so many are lost until then.
    answers_lost: (u32, Instant),
}

impl fmt::Debug for LogLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogLink")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedLog {
    /// An empty log whose delays follow from a seed.
    ///
    /// Must be called within a tokio runtime, whose time should be paused.
    #[must_use]
    pub fn new(partitions: u8, seed: u64) -> Self {
        let now = Instant::now();
        let partition = || PartitionState {
            records: BTreeMap::new(),
            ever: Vec::new(),
            first: 1,
            last: 0,
            last_of: BTreeMap::new(),
            ids: BTreeMap::new(),
            elects_until: now,
        };
        let all = PartitionNumber::all(partitions);
        Self(Arc::new(LogShared {
            state: Mutex::new(LogState {
                rng: fastrand::Rng::with_seed(seed),
                partitions: all.map(|number| (number, partition())).collect(),
                entries: BTreeMap::new(),
                revision: 0,
                entries_elect_until: now,
            }),
            appended: Notify::new(),
            partitions,
        }))
    }

    /// A router's way to it.
    #[must_use]
    pub fn link(&self) -> LogLink {
        let now = Instant::now();
        LogLink {
            log: self.clone(),
            state: Arc::new(Mutex::new(LinkState {
                cut_until: now,
                answers_lost: (0, now),
            })),
        }
    }

    /// A partition has no leader for so long.
    pub fn elect(&self, partition: PartitionNumber, lasts: Duration) {
        self.change(partition, |state| {
            state.elects_until = Instant::now() + lasts
        });
    }

    /// The entries have no leader for so long.
    pub fn elect_entries(&self, lasts: Duration) {
        lock(&self.0.state).entries_elect_until = Instant::now() + lasts;
    }

    /// Loses a checkpoint.
    pub fn lose_checkpoint(&self, partition: PartitionNumber) {
        lock(&self.0.state)
            .entries
            .remove(&ClusterKey::Checkpoint(partition));
    }

    /// Loses the last records of a partition, as if they had never been acknowledged. Gives them.
    pub fn forget(&self, partition: PartitionNumber, records: u64) -> Vec<ClusterRecord> {
        self.change(partition, |state| {
            let last = state.last.saturating_sub(records).max(state.first - 1);
            let gone = state.records.split_off(&(last + 1));
            state.last = last;
            for subject in [RecordSubject::Events, RecordSubject::Settlements] {
                let of = state.records.values().filter(|one| one.subject == subject);
                let sequence = of.map(|one| one.sequence).max().unwrap_or_default();
                state.last_of.insert(subject, sequence);
            }
            state.ids.retain(|_, (sequence, _)| *sequence <= last);
            gone.into_values().collect()
        })
    }

    /// Puts other bytes in the place of a record of events that whoever claims the partition next will read, and that an
    /// owner had read: whole ones of another record, or its own with a flipped bit. Gives its sequence, if there is one.
    pub fn rewrite(&self, partition: PartitionNumber, pick: u64) -> Option<u64> {
        let checkpoint = self.checkpoint(partition)?;
        let cursor =
            PartitionCheckpoint::decode(&checkpoint, partition).map_or(1, |one| one.cursor());
        self.change(partition, |state| {
            let settlements = state.records.values();
            let settlements = settlements.filter(|one| one.subject == RecordSubject::Settlements);
            // Whoever wrote the last one had folded the one before.
            let read_to = settlements.rev().nth(1)?.sequence;
            let events = state.records.range(cursor..read_to.max(cursor));
            let events: Vec<_> = events
                .map(|(_, record)| record.clone())
                .filter(|one| one.subject == RecordSubject::Events)
                .collect();
            let at = usize::try_from(pick >> 1).ok()?.checked_rem(events.len())?;
            let other = &events[(at + 1) % events.len()];
            let record = state.records.get_mut(&events[at].sequence)?;
            if pick.is_multiple_of(2) && other.sequence != record.sequence {
                record.bytes = other.bytes.clone();
            } else {
                let mut bytes = record.bytes.to_vec();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                record.bytes = bytes.into();
            }
            Some(record.sequence)
        })
    }

    /// All records that a partition ever had.
    #[must_use]
    pub fn ever(&self, partition: PartitionNumber) -> Vec<ClusterRecord> {
        self.change(partition, |state| state.ever.clone())
    }

    /// One of them, by its number.
    pub(super) fn ever_one(&self, partition: PartitionNumber, at: usize) -> Option<ClusterRecord> {
        self.change(partition, |state| state.ever.get(at).cloned())
    }

    /// The records that a partition has.
    #[must_use]
    pub fn records(&self, partition: PartitionNumber) -> Vec<ClusterRecord> {
        self.change(partition, |state| state.records.values().cloned().collect())
    }

    /// The entry of a partition's checkpoint.
    #[must_use]
    pub fn checkpoint(&self, partition: PartitionNumber) -> Option<Bytes> {
        let state = lock(&self.0.state);
        let entry = state.entries.get(&ClusterKey::Checkpoint(partition));
        entry.map(|entry| entry.value.clone())
    }

    fn change<T>(
        &self,
        partition: PartitionNumber,
        change: impl FnOnce(&mut PartitionState) -> T,
    ) -> T {
        let mut state = lock(&self.0.state);
        let of = state.partitions.get_mut(&partition);
        change(of.expect("the cluster has the partition"))
    }

    fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(lock(&self.0.state).rng.u64(range))
    }

    fn happens(&self, percent: u32) -> bool {
        lock(&self.0.state).rng.u32(0..100) < percent
    }
}

impl LogState {
    fn append(&mut self, append: &RecordAppend) -> Result<AppendedRecord, ClusterLogError> {
        let now = Instant::now();
        let bytes = append.bytes.len();
        if bytes > BYTES_MAX {
            return Err(ClusterLogError::TooLarge {
                bytes,
                bytes_max: BYTES_MAX,
            });
        }
        let partition = self
            .partitions
            .get_mut(&append.partition)
            .expect("the cluster has it");
        partition
            .ids
            .retain(|_, (_, at)| now.duration_since(*at) < ID_WINDOW);
        if let Some((sequence, _)) = partition.ids.get(&append.message_id) {
            return Ok(AppendedRecord {
                sequence: *sequence,
                is_repeated: true,
            });
        }
        let found = partition
            .last_of
            .get(&append.subject)
            .copied()
            .unwrap_or_default();
        if let Some(expected) = append.expected.filter(|expected| *expected != found) {
            return Err(ClusterLogError::Conflict { expected, found });
        }
        partition.last += 1;
        let sequence = partition.last;
        let record = ClusterRecord {
            sequence,
            subject: append.subject,
            bytes: append.bytes.clone(),
        };
        partition.records.insert(sequence, record.clone());
        partition.ever.push(record);
        partition.last_of.insert(append.subject, sequence);
        partition
            .ids
            .insert(Arc::clone(&append.message_id), (sequence, now));
        Ok(AppendedRecord {
            sequence,
            is_repeated: false,
        })
    }

    fn write_entry(
        &mut self,
        key: &ClusterKey,
        value: &Bytes,
        expected: ExpectedRevision,
    ) -> Result<u64, ClusterLogError> {
        let found = self.entries.get(key).map_or(0, |entry| entry.revision);
        let expected = match expected {
            ExpectedRevision::Absent => 0,
            ExpectedRevision::Revision(revision) => revision,
        };
        if expected != found {
            return Err(ClusterLogError::Conflict { expected, found });
        }
        self.revision += 1;
        let entry = ClusterEntry {
            revision: self.revision,
            value: value.clone(),
        };
        self.entries.insert(key.clone(), entry);
        Ok(self.revision)
    }

    /// Until when nobody answers for what a call is about.
    fn elects_until(&self, about: Option<PartitionNumber>) -> Instant {
        match about {
            None => self.entries_elect_until,
            Some(partition) => self.partitions[&partition].elects_until,
        }
    }
}

impl LogLink {
    /// Nothing passes for so long.
    pub fn cut(&self, lasts: Duration) {
        lock(&self.state).cut_until = Instant::now() + lasts;
    }

    /// So many of a hundred answers are lost for so long.
    pub fn lose_answers(&self, percent: u32, lasts: Duration) {
        lock(&self.state).answers_lost = (percent, Instant::now() + lasts);
    }

    fn cut_until(&self) -> Instant {
        lock(&self.state).cut_until
    }

    fn is_cut(&self) -> bool {
        Instant::now() < self.cut_until()
    }

    fn loses_answer(&self) -> bool {
        let (percent, until) = lock(&self.state).answers_lost;
        Instant::now() < until && self.log.happens(percent)
    }

    /// Does something at the log, about a partition or the entries. It is done once it is sent, whatever becomes of whoever
    /// asked.
    fn ask<T: Send + 'static>(
        &self,
        about: Option<PartitionNumber>,
        ask: impl Fn(&mut LogState) -> Result<T, ClusterLogError> + Send + 'static,
    ) -> LogFuture<'static, T> {
        if let Some(missing) = about.filter(|one| one.get() >= self.log.0.partitions) {
            let reason = format!("the cluster has no partition {missing}");
            return Box::pin(async move { Err(ClusterLogError::Refused(reason.into())) });
        }
        let link = self.clone();
        let (answer, answered) = oneshot::channel();
        let asked = async move {
            sleep(link.log.millis(1..6)).await;
            if link.is_cut() {
                return;
            }
            let elects_until = lock(&link.log.0.state).elects_until(about);
            if Instant::now() < elects_until {
                // Some wait for the leader, some are lost with the last one.
                if link.log.happens(50) {
                    return;
                }
                sleep_until(elects_until).await;
            }
            let mut done = ask(&mut lock(&link.log.0.state));
            if link.log.happens(3) {
                sleep(link.log.millis(1..40)).await;
                done = ask(&mut lock(&link.log.0.state)).or(done);
            }
            link.log.0.appended.notify_waiters();
            if link.loses_answer() {
                return;
            }
            sleep(link.log.millis(1..6)).await;
            if !link.is_cut() {
                // Whoever asked may not wait any more.
                drop(answer.send(done));
            }
        };
        Box::pin(async move {
            drop(tokio::spawn(asked));
            match answered.await {
                Ok(done) => done,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl ClusterLog for LogLink {
    fn facts(&self) -> LogFuture<'_, ClusterLogFacts> {
        let partitions = self.log.0.partitions;
        self.ask(None, move |_| {
            Ok(ClusterLogFacts {
                partitions,
                record_bytes_max: BYTES_MAX,
                entry_bytes_max: BYTES_MAX,
                durable: Ok(()),
            })
        })
    }

    fn append(&self, append: RecordAppend) -> LogFuture<'_, AppendedRecord> {
        self.ask(Some(append.partition), move |state| state.append(&append))
    }

    fn tail(&self, partition: PartitionNumber, from: u64) -> LogFuture<'_, Box<dyn RecordTail>> {
        let tail = SimulatedTail {
            link: self.clone(),
            partition,
            next: from,
            ready_at: None,
        };
        let opened = self.ask(Some(partition), |_| Ok(()));
        Box::pin(async move {
            opened.await?;
            Ok(Box::new(tail) as Box<dyn RecordTail>)
        })
    }

    fn record(
        &self,
        partition: PartitionNumber,
        sequence: u64,
    ) -> LogFuture<'_, Option<ClusterRecord>> {
        self.ask(Some(partition), move |state| {
            Ok(state.partitions[&partition].records.get(&sequence).cloned())
        })
    }

    fn bounds(&self, partition: PartitionNumber) -> LogFuture<'_, PartitionBounds> {
        self.ask(Some(partition), move |state| {
            let PartitionState { first, last, .. } = state.partitions[&partition];
            Ok(PartitionBounds { first, last })
        })
    }

    fn trim(&self, partition: PartitionNumber, before: u64) -> LogFuture<'_, ()> {
        self.ask(Some(partition), move |state| {
            let of = state
                .partitions
                .get_mut(&partition)
                .expect("the cluster has it");
            let before = before.min(of.last + 1);
            of.records = of.records.split_off(&before);
            of.first = of.first.max(before);
            // A subject whose last record is gone has none any more.
            of.last_of.retain(|_, last| *last >= before);
            Ok(())
        })
    }

    fn entry<'a>(&'a self, key: &'a ClusterKey) -> LogFuture<'a, Option<ClusterEntry>> {
        let key = key.clone();
        self.ask(None, move |state| Ok(state.entries.get(&key).cloned()))
    }

    fn entries(&self, kind: ClusterKeyKind) -> LogFuture<'_, Vec<(ClusterKey, ClusterEntry)>> {
        self.ask(None, move |state| {
            let all = state.entries.iter().filter(|(key, _)| key.kind() == kind);
            Ok(all
                .map(|(key, entry)| (key.clone(), entry.clone()))
                .collect())
        })
    }

    fn write_entry<'a>(
        &'a self,
        key: &'a ClusterKey,
        value: Bytes,
        expected: ExpectedRevision,
    ) -> LogFuture<'a, u64> {
        let key = key.clone();
        self.ask(None, move |state| state.write_entry(&key, &value, expected))
    }

    fn remove_entry<'a>(&'a self, key: &'a ClusterKey, revision: u64) -> LogFuture<'a, ()> {
        let key = key.clone();
        self.ask(None, move |state| {
            let found = state.entries.get(&key).map(|entry| entry.revision);
            match found {
                Some(found) if found != revision => Err(ClusterLogError::Conflict {
                    expected: revision,
                    found,
                }),
                _ => {
                    state.entries.remove(&key);
                    Ok(())
                }
            }
        })
    }
}

struct SimulatedTail {
    link: LogLink,
    partition: PartitionNumber,
    next: u64,
    /// When the next record has come over the network.
    ready_at: Option<Instant>,
}

impl RecordTail for SimulatedTail {
    fn next(&mut self) -> LogFuture<'_, ClusterRecord> {
        Box::pin(async move {
            loop {
                let log = self.link.log.clone();
                let appended = log.0.appended.notified();
                let record = log.change(self.partition, |state| {
                    state
                        .records
                        .range(self.next..)
                        .next()
                        .map(|(_, record)| record.clone())
                });
                let Some(record) = record else {
                    appended.await;
                    continue;
                };
                let ready_at = *self
                    .ready_at
                    .get_or_insert_with(|| Instant::now() + log.millis(1..5));
                sleep_until(ready_at).await;
                if self.link.is_cut() {
                    sleep_until(self.link.cut_until()).await;
                    continue;
                }
                self.ready_at = None;
                self.next = record.sequence + 1;
                return Ok(record);
            }
        })
    }
}
