//! A cluster's log in memory that does what a log may do: elects leaders, answers late, twice or not at all, is cut off
//! from some routers, and, where it is asked to, what it must not: forgets and rewrites.

use crate::lease::LeaseRecord;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use twinroute_journal::partition::{PartitionCheckpoint, checkpoint_of};
use twinroute_journal::{
    AppendedRecord, ClusterEntry, ClusterKey, ClusterLogError, ClusterRecord, ExpectedRevision,
    PartitionBounds, PartitionNumber, RecordAppend, RecordSubject,
};

/// How long message ids are remembered.
const ID_WINDOW: Duration = Duration::from_secs(600);

/// Of a record and of an entry's value.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// The log. Clones share it.
#[derive(Clone)]
pub struct SimulatedLog(pub(super) Arc<LogShared>);

pub(super) struct LogShared {
    pub(super) state: Mutex<LogState>,
    /// Some record was appended.
    pub(super) appended: Notify,
    pub(super) partitions: u8,
}

pub(super) struct LogState {
    rng: fastrand::Rng,
    partitions: BTreeMap<PartitionNumber, PartitionState>,
    pub(super) entries: BTreeMap<ClusterKey, ClusterEntry>,
    revision: u64,
    /// Each writing of a lease that keeps it: of which epoch, and when.
    leases: Vec<(PartitionNumber, u64, Instant)>,
    /// Epochs whose lease was given back.
    released: BTreeSet<(PartitionNumber, u64)>,
    /// No leader answers for the entries until then.
    entries_elect_until: Instant,
}

pub(super) struct PartitionState {
    pub(super) records: BTreeMap<u64, ClusterRecord>,
    /// All records that there ever were, trimmed ones included.
    ever: Vec<(ClusterRecord, Instant)>,
    first: u64,
    last: u64,
    last_of: BTreeMap<RecordSubject, u64>,
    ids: BTreeMap<Arc<str>, (u64, Instant)>,
    elects_until: Instant,
    /// Trims after which the log alone would not have said where to begin.
    careless_trims: u64,
    /// A record that holds other bytes than it was given, and whether anybody has read it since.
    pub(super) rewritten: Option<(u64, bool)>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
            careless_trims: 0,
            rewritten: None,
        };
        let all = PartitionNumber::all(partitions);
        Self(Arc::new(LogShared {
            state: Mutex::new(LogState {
                rng: fastrand::Rng::with_seed(seed),
                partitions: all.map(|number| (number, partition())).collect(),
                entries: BTreeMap::new(),
                revision: 0,
                leases: Vec::new(),
                released: BTreeSet::new(),
                entries_elect_until: now,
            }),
            appended: Notify::new(),
            partitions,
        }))
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
        let beside = self.checkpoint(partition)?;
        let beside = PartitionCheckpoint::decode(&beside, partition).ok();
        self.change(partition, |state| {
            // Where the one beside it is lost, a trimmed log is read on from the last one within.
            let within = state.records.values().rev();
            let mut within = within.filter_map(|one| checkpoint_of(one, partition));
            let begin = match beside {
                None if state.first > 1 => within.next(),
                beside => beside,
            };
            let cursor = begin.map_or(1, |one| one.cursor());
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
            state.rewritten = Some((record.sequence, false));
            Some(record.sequence)
        })
    }

    /// All records that a partition ever had, with when they were appended.
    #[must_use]
    pub fn ever(&self, partition: PartitionNumber) -> Vec<(ClusterRecord, Instant)> {
        self.change(partition, |state| state.ever.clone())
    }

    /// Trims after which the log alone would not have said where to begin.
    pub(super) fn careless_trims(&self, partition: PartitionNumber) -> u64 {
        self.change(partition, |state| state.careless_trims)
    }

    /// Whether somebody has read a record that was rewritten.
    pub(super) fn is_rewritten_read(&self, partition: PartitionNumber) -> bool {
        self.change(partition, |state| {
            state.rewritten.is_some_and(|(_, is_read)| is_read)
        })
    }

    /// One of them, by its number.
    pub(super) fn ever_one(&self, partition: PartitionNumber, at: usize) -> Option<ClusterRecord> {
        self.change(partition, |state| {
            state.ever.get(at).map(|(record, _)| record.clone())
        })
    }

    /// Each writing of a lease that keeps it: of which epoch, and when.
    pub(super) fn lease_writes(&self) -> Vec<(PartitionNumber, u64, Instant)> {
        lock(&self.0.state).leases.clone()
    }

    /// Whether the lease of an epoch was given back.
    pub(super) fn is_released(&self, partition: PartitionNumber, epoch: u64) -> bool {
        lock(&self.0.state).released.contains(&(partition, epoch))
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

    pub(super) fn change<T>(
        &self,
        partition: PartitionNumber,
        change: impl FnOnce(&mut PartitionState) -> T,
    ) -> T {
        let mut state = lock(&self.0.state);
        let of = state.partitions.get_mut(&partition);
        change(of.expect("the cluster has the partition"))
    }

    pub(super) fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(lock(&self.0.state).rng.u64(range))
    }

    pub(super) fn happens(&self, percent: u32) -> bool {
        lock(&self.0.state).rng.u32(0..100) < percent
    }
}

impl LogState {
    pub(super) fn trim(&mut self, partition: PartitionNumber, before: u64) {
        let of = self
            .partitions
            .get_mut(&partition)
            .expect("the cluster has it");
        let before = before.min(of.last + 1);
        // Should the checkpoint beside the log be lost now, the one within must say where to begin.
        let within = of.records.values().rev();
        let mut within = within.filter_map(|record| checkpoint_of(record, partition));
        let is_within = within.next().is_some_and(|one| one.cursor() >= before);
        // And the one beside it must not say to begin before what is left.
        let beside = self.entries.get(&ClusterKey::Checkpoint(partition));
        let beside =
            beside.and_then(|entry| PartitionCheckpoint::decode(&entry.value, partition).ok());
        let is_kept = is_within && beside.is_none_or(|one| one.cursor() >= before);
        of.careless_trims += u64::from(before > of.first && !is_kept);
        of.records = of.records.split_off(&before);
        of.first = of.first.max(before);
        // A subject whose last record is gone has none any more.
        of.last_of.retain(|_, last| *last >= before);
    }

    pub(super) fn record(
        &self,
        partition: PartitionNumber,
        sequence: u64,
    ) -> Option<ClusterRecord> {
        self.partitions[&partition].records.get(&sequence).cloned()
    }

    pub(super) fn bounds(&self, partition: PartitionNumber) -> PartitionBounds {
        let PartitionState { first, last, .. } = self.partitions[&partition];
        PartitionBounds { first, last }
    }

    pub(super) fn append(
        &mut self,
        append: &RecordAppend,
    ) -> Result<AppendedRecord, ClusterLogError> {
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
        partition.ever.push((record, now));
        partition.last_of.insert(append.subject, sequence);
        partition
            .ids
            .insert(Arc::clone(&append.message_id), (sequence, now));
        Ok(AppendedRecord {
            sequence,
            is_repeated: false,
        })
    }

    pub(super) fn write_entry(
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
        if let (ClusterKey::Lease(partition), Some(lease)) = (key, LeaseRecord::decode(value)) {
            let epoch = match lease.epoch {
                0 => self.revision,
                epoch => epoch,
            };
            match lease.is_released {
                true => drop(self.released.insert((*partition, epoch))),
                false => self.leases.push((*partition, epoch, Instant::now())),
            }
        }
        let entry = ClusterEntry {
            revision: self.revision,
            value: value.clone(),
        };
        self.entries.insert(key.clone(), entry);
        Ok(self.revision)
    }

    /// Until when nobody answers for what a call is about.
    pub(super) fn elects_until(&self, about: Option<PartitionNumber>) -> Instant {
        match about {
            None => self.entries_elect_until,
            Some(partition) => self.partitions[&partition].elects_until,
        }
    }
}
