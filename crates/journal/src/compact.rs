//! Emptying segments: the open events of the oldest are carried forward until nothing in it is needed.

use super::frame::{self, FramePlace};
use super::index::SharedIndex;
use super::pages::{LiveEvent, WaitingOutcomes};
use super::read::read_frame;
use super::record::{AcceptedEvent, JournalRecord};
use super::storage::Storage;
use std::collections::BTreeMap;
use std::io;

/// Live events copied forward in one group are about this many bytes, but no more than one in so many bytes of a
/// segment: none is made longer for them.
const COPY_BYTES: u64 = 1 << 20;
const COPY_PART: u64 = 4;

/// Live events that are examined for one group, and while the index is locked once.
const EXAMINED_MAX: usize = 65_536;
const EXAMINED_PER_LOCK: usize = 4_096;

/// How far the oldest segment is emptied.
#[derive(Debug, Default)]
pub(crate) struct CompactionState {
    segment: u64,
    /// Its live events before this sequence are copied.
    cursor: u64,
    /// Something in it could not be read.
    damaged: bool,
    /// Segments up to this one are emptied in any case.
    pub(crate) empty_to: u64,
    /// A segment of which only that is left; it stays until that is settled.
    unreadable: Option<u64>,
    /// A segment that is not emptied into this active one, which has no room for it.
    put_off: Option<(u64, u64)>,
}

/// What a group carries forward.
#[derive(Debug, Default)]
pub(crate) struct CompactionCopies {
    pub(crate) frames: Vec<u8>,
    segment: u64,
    /// Where to look on; 0 when there is no more.
    pub(super) cursor: u64,
    /// Something could not be read.
    damaged: bool,
}

/// What of the log is examined to empty a segment.
pub(crate) struct SegmentUse<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) index: &'a SharedIndex,
    /// The files there are, with their lengths.
    pub(crate) segments: &'a BTreeMap<u64, u64>,
    /// Those before are history.
    pub(crate) needed: u64,
    /// The segment that is written to.
    pub(crate) active: u64,
    /// How long a segment is as a rule.
    pub(crate) segment_bytes: u64,
}

impl CompactionCopies {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl CompactionState {
    /// Leaves what `copies` are from where it is until there is another active segment.
    pub(super) fn put_off(&mut self, copies: &CompactionCopies, active: u64) {
        self.put_off = Some((copies.segment, active));
    }

    /// Takes note that the group with the copies is on disk.
    pub(crate) fn copied(&mut self, copies: CompactionCopies) {
        if copies.segment != 0 {
            self.damaged |= copies.damaged;
            if self.damaged && copies.cursor == 0 {
                self.unreadable = Some(copies.segment);
                self.damaged = false;
            }
            self.segment = copies.segment;
            self.cursor = copies.cursor;
        }
    }

    /// The oldest segment, when it is to be emptied: dead bytes are most of what is full.
    pub(super) fn worth_copying(&self, log: &SegmentUse<'_>) -> Option<u64> {
        let index = log.index.lock();
        let oldest = index.oldest_live()?;
        let active = log.active;
        let is_put_off = self.put_off == Some((oldest, active));
        if oldest >= active || self.unreadable == Some(oldest) || is_put_off {
            return None;
        }
        if oldest <= self.empty_to {
            return Some(oldest);
        }
        let in_active = index.shares.get(&active).map_or(0, |share| share.bytes);
        let others = log
            .segments
            .range(log.needed..)
            .filter(|(segment, _)| **segment != active);
        let full: u64 = others.map(|(_, length)| length).sum();
        let live = index.live_bytes - in_active;
        (full > log.segment_bytes && live * 2 < full).then_some(oldest)
    }

    /// Frames of live events of the oldest segment, to be written once more, about a group's worth.
    ///
    /// Events of which all deliveries are among the `settled` need not be.
    pub(super) fn copies(
        &self,
        log: &SegmentUse<'_>,
        settled: &WaitingOutcomes,
    ) -> CompactionCopies {
        let Some(oldest) = self.worth_copying(log) else {
            return CompactionCopies::default();
        };
        let begun = self.segment == oldest;
        let cursor = if begun { self.cursor } else { 0 };
        let (found, cursor) = log.find(oldest, cursor);
        let mut copies = CompactionCopies {
            frames: Vec::new(),
            segment: oldest,
            cursor,
            damaged: false,
        };
        let mut accepted_in = None;
        for (sequence, live) in found {
            if live.is_settled_by(sequence, settled) {
                continue;
            }
            if accepted_in.replace(live.accepted_in) != Some(live.accepted_in) {
                let time = live.accepted_in;
                JournalRecord::AcceptedIn { time }.encode(&mut copies.frames);
            }
            if let Err(error) = log.copy(sequence, &live, &mut copies.frames) {
                tracing::error!(
                    segment = oldest, sequence, %error,
                    "an event of the journal cannot be read back; its segment stays"
                );
                copies.damaged = true;
            }
        }
        copies
    }
}

impl SegmentUse<'_> {
    /// Live events of a segment from a sequence on, and where to look on. All over again after the
    /// last: a group that failed may have had some of them.
    fn find(&self, segment: u64, mut cursor: u64) -> (Vec<(u64, LiveEvent)>, u64) {
        let mut found = Vec::new();
        let (mut bytes, mut examined) = (0, 0);
        let copy_bytes = COPY_BYTES.min(self.segment_bytes / COPY_PART);
        while bytes < copy_bytes && examined < EXAMINED_MAX {
            let index = self.index.lock();
            let mut seen = 0;
            for (sequence, live) in index.events.from(cursor).take(EXAMINED_PER_LOCK) {
                seen += 1;
                cursor = sequence + 1;
                if live.place.segment == segment {
                    bytes += u64::from(live.place.bytes);
                    found.push((sequence, live.clone()));
                    if bytes >= copy_bytes {
                        break;
                    }
                }
            }
            if seen == 0 {
                return (found, 0);
            }
            examined += seen;
        }
        (found, cursor)
    }

    fn copy(&self, sequence: u64, live: &LiveEvent, out: &mut Vec<u8>) -> io::Result<()> {
        let FramePlace {
            segment, offset, ..
        } = live.place;
        let bytes = read_frame(self.storage, live.place)?;
        let frame = frame::read_at(&bytes, segment, offset);
        let held = frame.and_then(|frame| JournalRecord::event_in(&frame));
        let held = held.ok_or_else(|| io::Error::other("checksum mismatch"))?;
        // What is sealed stays so, under what it was sealed with: no key is needed.
        let event = AcceptedEvent {
            sequence,
            accepted_at: live.accepted_at,
            twin: Some(live.twin),
            content: held.content,
            stamp: held.stamp,
        };
        JournalRecord::Copy {
            event,
            lanes: live.open.as_slice().to_vec(),
        }
        .encode(out);
        Ok(())
    }
}
