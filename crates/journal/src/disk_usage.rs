//! How much of a journal on disk is in use, and by whom.

use super::appended::LaneHolding;
use super::disk::DiskJournal;
use super::record::LaneId;

/// What a journal on disk takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes of its segment files, and of the next one where that is prepared.
    pub disk_bytes: u64,
    /// Its segment files.
    pub segments: usize,
    /// Bytes of events that wait for the disk.
    pub queue_bytes: u64,
    /// Bytes of segment files that are kept as history.
    pub history_bytes: u64,
}

impl DiskJournal {
    /// What each lane has of it, by number: what was handed over after the last group is not counted.
    #[must_use]
    pub fn holdings(&self) -> Vec<LaneHolding> {
        let index = self.0.index.lock();
        let holding = |(number, lane): (&u32, &super::index::LaneSummary)| LaneHolding {
            lane: LaneId(*number),
            bytes: lane.bytes,
            dead_letter_bytes: lane.dead_letter_bytes,
        };
        index.lanes.iter().map(holding).collect()
    }

    /// Bytes of an event, and how many lanes have not settled it, as of the last group that was written;
    /// nothing when all have.
    #[must_use]
    pub fn held(&self, sequence: u64) -> Option<(u64, usize)> {
        let index = self.0.index.lock();
        let live = index.events.get(sequence)?;
        Some((u64::from(live.place.bytes), live.open.as_slice().len()))
    }

    /// Whether events may be kept in memory although they are on disk.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        let memory = self.gauge().memory_bytes();
        memory < self.0.settings.memory_bytes_max
    }

    /// What it takes of the disk.
    #[must_use]
    pub fn usage(&self) -> DiskUsage {
        let inbox = self.0.shared.lock();
        DiskUsage {
            disk_bytes: inbox.disk_bytes,
            segments: inbox.segments,
            queue_bytes: inbox.bytes,
            history_bytes: inbox.history_bytes,
        }
    }
}
