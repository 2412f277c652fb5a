//! The log: segment files, written group by group by one owner.
//!
//! Constraints: a group is one write and one sync; nothing of it counts before the sync; a segment
//! file is unlinked only when nothing in it is needed and the counts that covered it stand, synced,
//! in a newer one; segments go oldest first, one at a time, so that those on disk are always
//! without a gap.

use super::commit_failure::CommitFailure;
use super::compact::{CompactionCopies, CompactionState, SegmentUse};
use super::file_names::segment_name;
use super::frame::{self, FramePlace};
use super::group::{GroupHistory, GroupLayout, GroupWork, RoutingSnapshot};
use super::index::{LogIndex, SharedIndex};
use super::manifest::{ManifestContent, ManifestFile};
use super::pages::WaitingOutcomes;
use super::prepare::{NextSegment, is_no_room};
use super::record::{JournalRecord, SegmentHead};
use super::retention::SegmentRetention;
use super::storage::Storage;
use super::time::JournalTime;
use super::totals::{HeldSize, UsageTotals};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use twinroute_model::clock::Clock;

/// Groups are written with zeros up to a multiple of this, so that no page has to be read from the
/// disk before a part of it is overwritten.
pub(super) const PAGE_BYTES: u64 = 4 << 10;

/// Records that are applied while the index is locked once: some tens of microseconds.
const RECORDS_PER_LOCK: usize = 256;

/// The segment that is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) id: u64,
    /// Where the next group goes; everything before is synced.
    pub(crate) end: u64,
    pub(crate) length: u64,
    /// Nothing more is written to it.
    pub(crate) sealed: bool,
}

/// The log and what it says.
pub(crate) struct SegmentLog {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: Arc<JournalTime>,
    pub(crate) segment_bytes: u64,
    pub(crate) index: SharedIndex,
    pub(crate) totals: Arc<UsageTotals>,
    /// The files there are, with their lengths.
    pub(crate) segments: BTreeMap<u64, u64>,
    pub(crate) active: ActiveSegment,
    /// The segment and the offset up to which the log is on disk.
    pub(crate) synced: (u64, u64),
    pub(crate) groups: u64,
    pub(crate) buffer: Vec<u8>,
    pub(crate) copying: CompactionState,
    pub(crate) next: NextSegment,
    /// Segments before this one are done, and the group that was written last has the counts.
    pub(crate) counted: Option<u64>,
    /// A segment that could not be removed; tried again when the next one begins.
    pub(crate) stuck: Option<u64>,
    /// The largest number that a segment ever had.
    pub(crate) newest: u64,
    /// The newest segment, with its length, when it was begun and a crash came before its first group. The next
    /// group goes there: on a full disk it may be all the room there is.
    pub(crate) blank: Option<(u64, u64)>,
    /// Segments that are set aside in place of being removed: not all of them could be read.
    pub(crate) kept: BTreeSet<u64>,
    pub(crate) manifest: ManifestFile,
    pub(crate) retention: SegmentRetention,
    /// The routing table in use, which every segment begins with where there is a history.
    pub(crate) table: Option<Arc<RoutingSnapshot>>,
}

impl SegmentLog {
    /// Brings `work` to disk as one group. When it fails nothing of it counts.
    pub(crate) fn commit<W>(&mut self, work: &GroupWork<W>) -> Result<(), CommitFailure> {
        self.retention.record_while(!self.next.is_tight());
        let settled = match self.next.is_tight() {
            true => work.updates.outcomes(),
            false => WaitingOutcomes::default(),
        };
        let mut copies = self.copying.copies(&self.segment_use(), &settled);
        let oldest = self.releasable();
        self.encode(work, &copies, oldest, None);
        if self.next.is_tight() && !self.fits(work, &copies) {
            copies = self.without(copies, work, oldest);
        }
        if (work.roll || !self.fits(work, &copies))
            && let Err(failure) = self.roll(work, &copies)
        {
            let had_history = self.retention.record_while(!self.next.is_tight());
            let had_more = had_history || !copies.is_empty();
            copies = self.without(copies, work, oldest);
            let fits = !work.roll && self.fits(work, &copies);
            if !(had_more && failure.is_no_room() && fits) {
                return Err(failure);
            }
        }
        self.write_group(work)?;
        self.copying.copied(copies);
        self.release_before(oldest.unwrap_or(0));
        let is_half_full = self.active.end > self.active.length / 2;
        // On a full disk it is found out while there is room to make some.
        if (is_half_full || self.next.is_tight()) && !work.close {
            self.prepare_next();
        }
        Ok(())
    }

    /// Has the next segment's file made; what is kept as history goes for it.
    fn prepare_next(&mut self) {
        self.next.begin(self.segment_bytes);
        while self.next.has_failed_for_room() && self.remove_oldest_history() {
            self.next.begin(self.segment_bytes);
        }
        self.next.log_no_room();
    }

    /// Lays the group out again without copies: on a full disk they can wait for room, and what came in should not.
    fn without<W>(
        &mut self,
        copies: CompactionCopies,
        work: &GroupWork<W>,
        oldest: Option<u64>,
    ) -> CompactionCopies {
        if !copies.is_empty() {
            self.copying.put_off(&copies, self.active.id);
        }
        self.encode(work, &CompactionCopies::default(), oldest, None);
        CompactionCopies::default()
    }

    /// Whether the group in the buffer goes into the active segment.
    fn fits<W>(&self, work: &GroupWork<W>, copies: &CompactionCopies) -> bool {
        let has_events = !work.batches.is_empty();
        let reserve = match has_events || self.next.is_tight() && !copies.is_empty() {
            true => self.reserve(),
            false => self.kept_bytes(),
        };
        let needed = self.active.end + self.buffer.len() as u64 + reserve;
        !self.active.sealed && needed <= self.active.length
    }

    /// Lays out a group that carries nothing forward and begins no segment; says whether it fits into
    /// `room` bytes.
    pub(super) fn group_fits<W>(&mut self, work: &GroupWork<W>, room: u64) -> bool {
        let oldest = self.releasable();
        self.encode(work, &CompactionCopies::default(), oldest, None);
        self.buffer.len() as u64 <= room
    }

    /// Lays out a group of copies; says whether it fits beside what is kept for notes.
    pub(super) fn copies_fit<W>(&mut self, work: &GroupWork<W>, copies: &CompactionCopies) -> bool {
        let oldest = self.releasable();
        self.encode(work, copies, oldest, None);
        self.fits(work, copies)
    }

    /// What is left of the active segment, in bytes.
    pub(super) fn room(&self) -> u64 {
        if self.active.sealed {
            return 0;
        }
        self.active.length - self.active.end
    }

    /// Unlinks segments whose counts stand, synced, in a newer one. Those that the last group settled
    /// are not among them: their counts come with the next.
    pub(super) fn unlink_released(&mut self) {
        if let Some(counted) = self.counted.take() {
            self.release_before(counted);
        }
    }

    /// Writes and syncs the group in the buffer, which is `work`, and notes what it says.
    pub(super) fn write_group<W>(&mut self, work: &GroupWork<W>) -> Result<(), CommitFailure> {
        self.counted = self.releasable();
        self.write()?;
        self.written(work);
        Ok(())
    }

    /// Takes note of what the group in the buffer says, which is `work` and synced.
    pub(super) fn written<W>(&mut self, work: &GroupWork<W>) {
        self.apply(work.held());
        self.groups += 1;
        if let Some(table) = &work.updates.table {
            self.table = Some(Arc::clone(table));
        }
        let manifest = self.present(work.next_sequence);
        match work.close {
            true => self.manifest.sync(manifest),
            false => self.manifest.follow(manifest),
        }
    }

    /// What the manifest has to say now.
    fn present(&self, next_sequence: u64) -> ManifestContent {
        let index = self.index.lock();
        ManifestContent {
            oldest: self.oldest_needed().unwrap_or(0),
            newest: self.newest,
            last: self.synced.0,
            end: self.synced.1,
            first_sequence: index.fresh_from,
            next_sequence,
            made: index.made,
            open: index.open,
            fresh_open: index.fresh_open,
            lost: index.lost_known + index.lost_unknown,
        }
    }

    /// Seals, writes and syncs the group in the buffer.
    pub(super) fn write(&mut self) -> Result<(), CommitFailure> {
        let base = self.active.end;
        let id = self.active.id;
        let mut at = 0;
        while at < self.buffer.len() {
            at += frame::seal(&mut self.buffer[at..], id, base + at as u64);
        }
        let name = segment_name(id);
        let end = base + at as u64;
        let padded = end.next_multiple_of(PAGE_BYTES).min(self.active.length);
        let padding = usize::try_from(padded - end).expect("less than a page");
        self.buffer.resize(at + padding, 0);
        let written = self.storage.write_at(&name, &self.buffer, base);
        self.buffer.truncate(at);
        if let Err(source) = written {
            self.active.sealed = true;
            let (segment, step) = (id, "write");
            return Err(CommitFailure::Write {
                segment,
                step,
                source,
            });
        }
        let synced = self.storage.sync_data(&name);
        synced.map_err(|source| CommitFailure::Sync {
            segment: id,
            source,
        })
    }

    /// Whether a group without other reason would be of use.
    pub(crate) fn has_chores(&self) -> bool {
        self.releasable().is_some() || self.copying.worth_copying(&self.segment_use()).is_some()
    }

    pub(super) fn segment_use(&self) -> SegmentUse<'_> {
        SegmentUse {
            storage: &*self.storage,
            index: &self.index,
            segments: &self.segments,
            needed: self.retention.needed,
            active: self.active.id,
            segment_bytes: self.segment_bytes,
        }
    }

    /// The first segment to keep, when there are older ones.
    pub(super) fn releasable(&self) -> Option<u64> {
        let first = self.oldest_needed()?;
        let active = self.active.id;
        if self.stuck == Some(first) {
            return None;
        }
        let oldest_live = self.index.lock().oldest_live();
        let needed = oldest_live.unwrap_or(active).min(active);
        (first < needed).then_some(needed)
    }

    /// Notes in the index what the group in the buffer says, and moves on behind it. `reserved` is
    /// what its batches hold.
    fn apply(&mut self, reserved: HeldSize) {
        let index = self.index.clone();
        let before = index.lock().held();
        let mut at = 0;
        while at < self.buffer.len() {
            let mut index = index.lock();
            for _ in 0..RECORDS_PER_LOCK {
                let Some(frame) = frame::trusted(&self.buffer, at) else {
                    break;
                };
                let bytes = frame.len();
                let place = FramePlace {
                    segment: self.active.id,
                    offset: self.active.end + at as u64,
                    bytes: u32::try_from(bytes).expect("frames are far below 4 GiB"),
                };
                if let Ok(record) = JournalRecord::decode(&frame) {
                    index.apply(&record, place);
                }
                at += bytes;
            }
        }
        let after = index.lock().held();
        self.totals.logged(before, reserved, after);
        self.active.end += at as u64;
        self.synced = (self.active.id, self.active.end);
        index.lock().synced = self.synced;
    }

    /// Begins a new segment with the group that waits; what the old one has left is not used.
    fn roll<W>(
        &mut self,
        work: &GroupWork<W>,
        copies: &CompactionCopies,
    ) -> Result<(), CommitFailure> {
        let blank = self.blank.take();
        let id = blank.map_or(self.newest + 1, |(id, _)| id);
        if !self.manifest.is_there() {
            let present = self.present(work.first_sequence());
            self.manifest.sync(present);
        }
        let header = SegmentHead {
            id,
            first_sequence: work.first_sequence(),
            created: self.clock.now(),
            previous_segment: self.synced.0,
            previous_end: self.synced.1,
        };
        let oldest = self.releasable();
        self.encode(work, copies, oldest, Some((header, 0)));
        let length = self.length_for(self.buffer.len() as u64, !work.batches.is_empty());
        let failed = |step, source| CommitFailure::Write {
            segment: id,
            step,
            source,
        };
        let length = match blank.filter(|(_, there)| *there >= length) {
            Some((_, there)) => there,
            None => self.begin(id, length).map_err(|source| {
                self.blank = blank;
                failed("creation", source)
            })?,
        };
        // The same once more, with the length that it got.
        self.encode(work, copies, oldest, Some((header, length)));
        self.segments.insert(id, length);
        self.retention.created.insert(id, header.created);
        self.retention.ends.insert(self.active.id, self.active.end);
        self.newest = id;
        self.stuck = None;
        self.active = ActiveSegment {
            id,
            end: 0,
            length,
            sealed: false,
        };
        let synced = self.storage.sync_dir();
        synced.map_err(|source| CommitFailure::Sync {
            segment: id,
            source,
        })?;
        // The file is there for good, and nothing of it counts yet: all else stays as it is.
        let oldest = self.oldest_needed().unwrap_or(id);
        self.manifest.sync(ManifestContent {
            oldest,
            newest: id,
            ..self.manifest.written()
        });
        Ok(())
    }

    /// Makes the file of a segment, or takes the one that was prepared; gives its length.
    fn begin(&mut self, id: u64, length: u64) -> io::Result<u64> {
        if let Some(prepared) = self.next.take(id, length) {
            return Ok(prepared);
        }
        loop {
            match self.next.make(id, length) {
                Err(error) if is_no_room(&error) && self.remove_oldest_history() => {}
                made => return made.map(|()| length),
            }
        }
    }

    /// Lays the group out in the buffer, without checksums.
    fn encode<W>(
        &mut self,
        work: &GroupWork<W>,
        copies: &CompactionCopies,
        oldest: Option<u64>,
        header: Option<(SegmentHead, u64)>,
    ) {
        let index = self.index.clone();
        let index: Option<std::sync::MutexGuard<'_, LogIndex>> =
            (header.is_some() || oldest.is_some()).then(|| index.lock());
        let oldest = oldest.or_else(|| self.oldest_needed());
        let history = self.retention.is_recording().then(|| GroupHistory {
            at: self.clock.now(),
            table: self.table.as_deref().filter(|_| header.is_some()),
        });
        let layout = GroupLayout {
            number: self.groups,
            synced: self.synced,
            header,
            is_listed: self.manifest.is_there(),
            time: self.time.record(),
            checkpoint: index
                .as_deref()
                .map(|index| (oldest.unwrap_or_default(), index)),
            settled: &[],
            copies: &copies.frames,
            history,
        };
        layout.encode(work, &mut self.buffer);
    }

    /// Bytes of segments that are kept as history.
    pub(crate) fn history_bytes(&self) -> u64 {
        self.retention.bytes(&self.segments)
    }

    /// Bytes of all segments.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.values().sum()
    }
}
