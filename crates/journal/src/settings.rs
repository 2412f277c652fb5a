//! How a journal on disk works.

use std::time::Duration;

/// How a journal on disk works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Bytes of one segment file. A larger group gets a segment of its own size.
    pub segment_bytes: u64,
    /// Bytes that live events take on disk, dead letters that are kept included, and what waits for
    /// the disk.
    pub bytes_max: u64,
    /// Bytes of events that wait for the disk.
    pub queue_bytes_max: u64,
    /// Bytes of events that are on disk and may be kept in memory too, so that they need not be read
    /// back; see [`DiskJournal::has_memory`](super::DiskJournal::has_memory).
    pub memory_bytes_max: u64,
    /// The longest that a group waits for company; 0: never.
    pub commit_window: Duration,
    /// The longest that a settlement waits for a group to ride along with.
    pub settle_delay: Duration,
    /// How long after a failed write the next is tried. Each try takes what room there is, for a
    /// moment.
    pub retry_delay: Duration,
    /// Bytes of segments in which everything is settled that are kept as history; 0: none. They are in addition to
    /// [`Self::bytes_max`], and the first to go when the disk has no room.
    pub keep_bytes: u64,
    /// How long after its last event such a segment is kept at most; it is removed within a second. 0: as long as
    /// there is room.
    pub keep_for: Duration,
    /// How long a write or a sync may take before the journal is [`JournalHealth::Stalled`](super::JournalHealth::Stalled).
    pub disk_overdue_after: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            bytes_max: 256 << 20,
            queue_bytes_max: 64 << 20,
            memory_bytes_max: 128 << 20,
            commit_window: Duration::from_millis(1),
            settle_delay: Duration::from_millis(50),
            retry_delay: Duration::from_secs(5),
            keep_bytes: 0,
            keep_for: Duration::ZERO,
            disk_overdue_after: Duration::from_secs(5),
        }
    }
}

/// Whether what is appended has to stay below the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdmissionLimit {
    Kept,
    /// It takes the room of what the same record settles.
    Exchanged,
}
