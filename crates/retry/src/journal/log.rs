//! The log: segment files, written group by group by one owner.
//!
//! Constraints: a group is one write and one sync; nothing of it counts before the sync; a segment
//! file is unlinked only when nothing in it is needed and the counts that covered it stand, synced,
//! in a newer one; segments go oldest first, one at a time, so that those on disk are always
//! without a gap.

use super::frame;
use super::index::{Index, Place};
use super::record::{self, Group, Hole, Open, Record, Segment};
use super::storage::Storage;
use crate::ledger::Fate;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use twinroute_model::clock::Clock;
use twinroute_model::name::{EndpointName, InstanceName};

/// Settlements in one record.
const FATES_PER_RECORD: usize = 4_096;

/// Live events copied forward in one group are about this many bytes.
const COPY_BYTES: usize = 1 << 20;

/// One in so many bytes of a segment is kept for settlements when there is no room for a new one.
const RESERVE: u64 = 16;

/// The name of a segment file.
pub(crate) fn name_of(segment: u64) -> String {
    format!("{segment:016x}.seg")
}

/// The segment that a file of this name is.
pub(crate) fn segment_of(name: &str) -> Option<u64> {
    let digits = name
        .strip_suffix(".seg")
        .filter(|digits| digits.len() == 16)?;
    let segment = u64::from_str_radix(digits, 16).ok()?;
    (name_of(segment) == name).then_some(segment)
}

/// Events of one append, as frames without sequence and checksum.
pub(crate) struct Batch<W> {
    pub(crate) frames: Vec<u8>,
    pub(crate) first_sequence: u64,
    pub(crate) events: u32,
    pub(crate) waiter: W,
}

/// What a group is made of.
pub(crate) struct Work<W> {
    pub(crate) bindings: Vec<(u32, InstanceName, EndpointName)>,
    pub(crate) batches: Vec<Batch<W>>,
    pub(crate) settled: Vec<(u32, u64, Fate)>,
    pub(crate) attempts: Vec<(u64, Open)>,
    pub(crate) holes: Vec<Hole>,
    /// The sequence that the next event after this group gets.
    pub(crate) next_sequence: u64,
    /// The last group.
    pub(crate) close: bool,
    /// Begin a new segment even if the group fits.
    pub(crate) roll: bool,
}

impl<W> Default for Work<W> {
    fn default() -> Self {
        Self {
            bindings: Vec::new(),
            batches: Vec::new(),
            settled: Vec::new(),
            attempts: Vec::new(),
            holes: Vec::new(),
            next_sequence: 0,
            close: false,
            roll: false,
        }
    }
}

/// Why a group is not on disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing of it counts; another segment may take the next group.
    #[error("segment {segment} of the journal: {step} failed")]
    Write {
        segment: u64,
        step: &'static str,
        source: io::Error,
    },
    /// What the disk holds is not known any more.
    #[error("segment {segment} of the journal: sync failed")]
    Sync { segment: u64, source: io::Error },
}

/// The segment that is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub(crate) id: u64,
    /// Where the next group goes; everything before is synced.
    pub(crate) end: u64,
    pub(crate) length: u64,
    /// Nothing more is written to it.
    pub(crate) sealed: bool,
}

/// The log and what it says.
pub(crate) struct Log {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) segment_bytes: u64,
    pub(crate) index: Index,
    /// The files there are, with their lengths.
    pub(crate) segments: BTreeMap<u64, u64>,
    pub(crate) active: Active,
    /// The segment and the offset up to which the log is on disk.
    pub(crate) synced: (u64, u64),
    pub(crate) groups: u64,
    pub(crate) buffer: Vec<u8>,
    pub(crate) copying: Copying,
    /// A segment that could not be removed; tried again when the next one begins.
    pub(crate) stuck: Option<u64>,
}

/// Events of the oldest segment that are on their way forward.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    segment: u64,
    sequences: Vec<u64>,
    /// A segment that could not be read; it stays.
    unreadable: Option<u64>,
}

impl Log {
    /// Brings `work` to disk as one group. When it fails nothing of it counts.
    pub(crate) fn commit<W>(&mut self, work: &Work<W>) -> Result<(), Failure> {
        let copies = self.copies();
        let oldest = self.releasable();
        self.encode(work, &copies, oldest, None);
        let reserve = if work.batches.is_empty() {
            0
        } else {
            self.active.length / RESERVE
        };
        let needed = self.active.end + self.buffer.len() as u64 + reserve;
        if self.active.sealed || work.roll || needed > self.active.length {
            self.roll(work, &copies)?;
        }
        let base = self.active.end;
        let id = self.active.id;
        let mut at = 0;
        while at < self.buffer.len() {
            at += frame::seal(&mut self.buffer[at..], id, base + at as u64);
        }
        let name = name_of(id);
        if let Err(source) = self.storage.write_at(&name, &self.buffer, base) {
            self.active.sealed = true;
            let (segment, step) = (id, "write");
            return Err(Failure::Write {
                segment,
                step,
                source,
            });
        }
        let synced = self.storage.sync_data(&name);
        synced.map_err(|source| Failure::Sync {
            segment: id,
            source,
        })?;
        self.apply();
        self.groups += 1;
        if let Some(oldest) = oldest {
            self.unlink_before(oldest);
        }
        Ok(())
    }

    /// Whether a group without other reason would be of use.
    pub(crate) fn has_chores(&self) -> bool {
        self.releasable().is_some() || self.worth_copying()
    }

    /// The first segment to keep, when there are older ones.
    fn releasable(&self) -> Option<u64> {
        let first = *self.segments.keys().next()?;
        let active = self.active.id;
        if self.stuck == Some(first) {
            return None;
        }
        let needed = self.index.oldest_live().unwrap_or(active).min(active);
        (first < needed).then_some(needed)
    }

    /// Notes in the index what the group in the buffer says, and moves on behind it.
    fn apply(&mut self) {
        let mut at = 0;
        while let Some(frame) = frame::trusted(&self.buffer, at) {
            let bytes = frame.len();
            let place = Place {
                segment: self.active.id,
                offset: self.active.end + at as u64,
                bytes: u32::try_from(bytes).expect("frames are far below 4 GiB"),
            };
            if let Ok(record) = Record::decode(&frame) {
                self.index.apply(&record, place);
            }
            at += bytes;
        }
        self.active.end += at as u64;
        self.synced = (self.active.id, self.active.end);
    }

    /// Begins a new segment with the group that waits; what the old one has left is not used.
    fn roll<W>(&mut self, work: &Work<W>, copies: &[u8]) -> Result<(), Failure> {
        let id = self.segments.keys().next_back().map_or(1, |last| last + 1);
        let header = Segment {
            id,
            first_sequence: first_sequence(work),
            created: self.clock.now(),
            previous_segment: self.synced.0,
            previous_end: self.synced.1,
        };
        let oldest = self.releasable();
        self.encode(work, copies, oldest, Some(header));
        let length = self.segment_bytes.max(self.buffer.len() as u64);
        let failed = |step, source| Failure::Write {
            segment: id,
            step,
            source,
        };
        let name = name_of(id);
        if let Err(source) = self.storage.create(&name, length) {
            return Err(failed("creation", source));
        }
        self.segments.insert(id, length);
        self.stuck = None;
        self.active = Active {
            id,
            end: 0,
            length,
            sealed: false,
        };
        let synced = self.storage.sync_dir();
        synced.map_err(|source| Failure::Sync {
            segment: id,
            source,
        })
    }

    /// Lays the group out in the buffer, without checksums.
    ///
    /// Counts stand first, so that they depend on nothing but what is synced already.
    fn encode<W>(
        &mut self,
        work: &Work<W>,
        copies: &[u8],
        oldest: Option<u64>,
        header: Option<Segment>,
    ) {
        let out = &mut self.buffer;
        out.clear();
        if let Some(header) = header {
            Record::Segment(header).encode(out);
        }
        let start = out.len();
        let mut group = Group {
            number: self.groups,
            synced_segment: self.synced.0,
            synced_offset: self.synced.1,
            bytes: 0,
            first_sequence: first_sequence(work),
            events: work.batches.iter().map(|batch| batch.events).sum(),
        };
        Record::Group(group).encode(out);
        let behind = out.len();
        if header.is_some() || oldest.is_some() {
            let oldest = oldest.or_else(|| self.segments.keys().next().copied());
            let oldest = oldest.unwrap_or_default();
            self.index
                .encode_checkpoint(oldest, group.first_sequence, out);
        }
        for (lane, instance, endpoint) in &work.bindings {
            Record::Binding {
                lane: *lane,
                instance: instance.as_str(),
                endpoint: endpoint.as_str(),
            }
            .encode(out);
        }
        out.extend_from_slice(copies);
        work.batches.iter().for_each(|batch| put_batch(out, batch));
        put_settled(out, &work.settled);
        for (sequence, open) in &work.attempts {
            let (sequence, open) = (*sequence, *open);
            Record::Attempt { sequence, open }.encode(out);
        }
        for hole in &work.holes {
            Record::Hole(*hole).encode(out);
        }
        if work.close {
            let next_sequence = work.next_sequence;
            Record::Closed { next_sequence }.encode(out);
        }
        group.bytes = (out.len() - start) as u64;
        let mut head = Vec::with_capacity(behind - start);
        Record::Group(group).encode(&mut head);
        out[start..behind].copy_from_slice(&head);
    }

    /// Unlinks segments before `oldest`. What fails is tried again later.
    fn unlink_before(&mut self, oldest: u64) {
        while let Some(first) = self.segments.keys().next().copied() {
            if first >= oldest {
                return;
            }
            let removed = self.storage.remove(&name_of(first));
            let gone = removed.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            });
            if let Err(error) = gone.and_then(|()| self.storage.sync_dir()) {
                tracing::warn!(segment = first, %error, "a segment that is done cannot be removed");
                self.stuck = Some(first);
                return;
            }
            self.segments.remove(&first);
        }
    }

    /// Bytes of all files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.values().sum()
    }

    /// Whether the oldest segment is to be emptied: dead bytes are most of what is full.
    fn worth_copying(&self) -> bool {
        let Some(oldest) = self.index.oldest_live() else {
            return false;
        };
        let active = self.active.id;
        if oldest >= active || self.copying.unreadable == Some(oldest) {
            return false;
        }
        let in_active = self
            .index
            .shares
            .get(&active)
            .map_or(0, |share| share.bytes);
        let full = self.disk_bytes() - self.segments.get(&active).copied().unwrap_or_default();
        let live = self.index.live_bytes() - in_active;
        full > self.segment_bytes && live * 2 < full
    }

    /// Frames of live events of the oldest segment, to be written once more, about a group's worth.
    fn copies(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.worth_copying() {
            return out;
        }
        let oldest = self.index.oldest_live().unwrap_or_default();
        if self.copying.segment != oldest || self.copying.sequences.is_empty() {
            let live = self.index.events.iter().rev();
            self.copying.segment = oldest;
            self.copying.sequences = live
                .filter(|(_, live)| live.place.segment == oldest)
                .map(|(sequence, _)| *sequence)
                .collect();
        }
        while out.len() < COPY_BYTES
            && let Some(sequence) = self.copying.sequences.pop()
        {
            if let Err(error) = self.copy(sequence, &mut out) {
                tracing::error!(segment = oldest, sequence, %error,
                    "an event of the journal cannot be read back; its segment stays");
                self.copying.unreadable = Some(oldest);
                self.copying.sequences.clear();
            }
        }
        out
    }

    fn copy(&self, sequence: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(live) = self.index.events.get(&sequence) else {
            return Ok(());
        };
        let bytes = read_frame(&*self.storage, live.place)?;
        let frame = frame::read_at(&bytes, live.place.segment, live.place.offset);
        let json = match frame.map(|frame| Record::decode(&frame)) {
            Some(Ok(Record::Event { json, .. } | Record::Copy { json, .. })) => json,
            _ => return Err(io::Error::other("checksum mismatch")),
        };
        Record::Copy {
            sequence,
            accepted_at: live.accepted_at,
            lanes: live.open.clone(),
            json,
        }
        .encode(out);
        Ok(())
    }
}

/// The bytes of one frame.
pub(crate) fn read_frame(storage: &dyn Storage, place: Place) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; place.bytes as usize];
    storage.read_at(&name_of(place.segment), &mut bytes, place.offset)?;
    Ok(bytes)
}

fn first_sequence<W>(work: &Work<W>) -> u64 {
    let first = work.batches.first();
    first.map_or(work.next_sequence, |batch| batch.first_sequence)
}

fn put_batch<W>(out: &mut Vec<u8>, batch: &Batch<W>) {
    let mut at = out.len();
    out.extend_from_slice(&batch.frames);
    let mut sequence = batch.first_sequence;
    while let Some(bytes) = frame::trusted(out, at).map(|frame| frame.len()) {
        record::set_sequence(&mut out[at..], sequence);
        sequence += 1;
        at += bytes;
    }
}

fn put_settled(out: &mut Vec<u8>, settled: &[(u32, u64, Fate)]) {
    let mut by_lane: BTreeMap<u32, Vec<(u64, Fate)>> = BTreeMap::new();
    for (lane, sequence, fate) in settled {
        by_lane.entry(*lane).or_default().push((*sequence, *fate));
    }
    for (lane, fates) in by_lane {
        for fates in fates.chunks(FATES_PER_RECORD) {
            let fates = fates.to_vec();
            Record::Settle { lane, fates }.encode(out);
        }
    }
}
