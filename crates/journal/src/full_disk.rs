//! A disk without room for another segment: what the oldest segment holds, and what it takes to be rid of it.
//!
//! Only a segment that is removed gives room back, and they go oldest first. Before that, what is open in it has to be
//! settled, or carried forward into what is left of the active one.

use super::inbox::WriterQueue;
use super::index::SharedIndex;
use super::pages::WaitingOutcomes;
use super::record::LaneId;
use super::reserve::notes_bytes;
use std::sync::Arc;
use std::time::Instant;

/// Live events that are examined while the index is locked once.
const EXAMINED_PER_LOCK: usize = 4_096;

/// An event with open deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdedEvent {
    /// Its sequence.
    pub sequence: u64,
    /// Its bytes, as lanes hold them.
    pub bytes: u64,
    /// Bytes that it takes when it is carried forward, at most.
    pub copied_bytes: u64,
    /// Who has not settled it, and whether it is a dead letter there.
    pub lanes: Vec<(LaneId, bool)>,
}

/// The oldest segment of a journal whose disk has no room for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdedSegment {
    /// Its number.
    pub number: u64,
    /// Its events, in the order of their sequences.
    pub events: Vec<CrowdedEvent>,
    /// How often there was no room, after there was: as long as that lasts this stays the same.
    pub shortage: u64,
    /// Bytes that the journal held when it began.
    pub held: u64,
    /// Bytes of a segment as a rule.
    pub segment_bytes: u64,
    /// What is left of the active segment, what of that is kept for notes, and how many lanes have counts.
    left: u64,
    reserve: u64,
    lanes: usize,
    /// Bytes of their counts.
    counts: u64,
}

impl CrowdedSegment {
    /// Whether so many deliveries can be settled and so many bytes carried forward in what is left.
    #[must_use]
    pub fn fits(&self, settled: usize, copied_bytes: u64) -> bool {
        match copied_bytes {
            // Counts let it go, however much is settled.
            0 => self.counts <= self.left,
            bytes => notes_bytes(settled, self.lanes) + bytes + self.reserve <= self.left,
        }
    }
}

/// Looks after the room on a journal's disk.
#[derive(Clone)]
pub struct DiskRoom {
    shared: Arc<WriterQueue>,
    index: SharedIndex,
    segment_bytes: u64,
}

impl DiskRoom {
    pub(super) fn new(shared: &Arc<WriterQueue>, index: &SharedIndex, segment_bytes: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            index: index.clone(),
            segment_bytes,
        }
    }

    /// Whether the disk is full but for what the journal gives back: the latest segment found no room at the first try,
    /// or there is no room for the next.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.shared.lock().room.is_tight
    }

    /// Waits until no room was found for a segment, or [`Self::wake`]; for one at a time. Dropping the future is
    /// harmless.
    pub async fn no_room_found(&self) {
        self.shared.no_room.notified().await;
    }

    /// Ends the present or the next wait of [`Self::no_room_found`].
    pub fn wake(&self) {
        self.shared.no_room.notify_one();
    }

    /// Which shortage of room there is, as in [`CrowdedSegment::shortage`]; nothing when there is none.
    #[must_use]
    pub fn shortage(&self) -> Option<u64> {
        let room = &self.shared.lock().room;
        room.held.map(|_| room.shortages)
    }

    /// The oldest segment, while the last try to make one found no room; nothing when it is the one that is written to.
    #[must_use]
    pub fn crowded_segment(&self) -> Option<CrowdedSegment> {
        let (room, settled) = {
            let inbox = self.shared.lock();
            let held = inbox.room.held;
            held?;
            // What is not recorded yet needs no room once it is.
            let mut settled = inbox.work.updates.outcomes();
            settled.extend(&inbox.in_commit);
            (inbox.room.clone(), settled)
        };
        let held = room.held?;
        let (number, lanes, counts) = {
            let index = self.index.lock();
            let counts = index.checkpoint_bytes_max();
            (index.oldest_live()?, index.lanes.len(), counts)
        };
        (number < room.active).then(|| CrowdedSegment {
            number,
            events: self.events_of(number, &settled),
            shortage: room.shortages,
            held,
            segment_bytes: self.segment_bytes,
            left: room.left,
            reserve: room.reserve,
            lanes,
            counts,
        })
    }

    /// Events of a segment with deliveries that are not `settled`, and those deliveries.
    fn events_of(&self, segment: u64, settled: &WaitingOutcomes) -> Vec<CrowdedEvent> {
        let (mut events, mut cursor) = (Vec::new(), Some(0));
        while let Some(from) = cursor.take() {
            let index = self.index.lock();
            for (sequence, live) in index.events.from(from).take(EXAMINED_PER_LOCK) {
                cursor = Some(sequence + 1);
                if live.place.segment == segment && !live.is_settled_by(sequence, settled) {
                    let open = live.open.as_slice().iter();
                    events.push(CrowdedEvent {
                        sequence,
                        bytes: u64::from(live.place.bytes),
                        copied_bytes: live.copied_bytes_max(),
                        lanes: open
                            .filter(|open| !settled.contains(&(open.lane, sequence)))
                            .map(|open| (LaneId(open.lane), open.dead.is_some()))
                            .collect(),
                    });
                }
            }
        }
        events
    }

    /// Has what is left of a segment carried forward, so that it can be removed.
    pub fn empty(&self, segment: &CrowdedSegment) {
        let mut inbox = self.shared.lock();
        inbox.room.empty_to = inbox.room.empty_to.max(segment.number);
        inbox.lazy_at = Some(Instant::now());
        self.shared.wake(&mut inbox);
    }
}

impl std::fmt::Debug for DiskRoom {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DiskRoom").finish_non_exhaustive()
    }
}
