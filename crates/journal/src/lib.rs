//! The journal: numbers accepted events and bounds what waits.

mod affected_deliveries;
mod append_error;
mod appended;
mod checkpoint;
mod cluster_log;
mod commit_failure;
mod compact;
mod contents;
mod disk;
mod disk_room;
mod disk_usage;
mod entry;
mod file_names;
mod fold;
mod frame;
mod full_disk;
mod group;
pub mod history;
mod inbox;
mod index;
mod inspect;
mod keys;
pub mod ledger;
mod log;
mod manifest;
mod memory;
mod open_error;
mod pages;
pub mod partition;
mod power_loss;
mod prepare;
mod read;
mod record;
mod recorded;
mod recover;
mod recovered;
mod release;
mod repair;
mod report;
mod reserve;
mod retention;
mod settings;
pub mod sim;
mod start;
pub mod storage;
mod survey;
mod time;
mod totals;
mod unlink;
mod watch;
mod window;
mod writer;

pub use append_error::{AppendError, JournalHealth, NotDurable};
pub use appended::{AppendedBatch, DurableTicket, LaneHolding, NewEvent};
pub use cluster_log::{
    AppendedRecord, ClusterEntry, ClusterKey, ClusterKeyKind, ClusterLog, ClusterLogError,
    ClusterLogFacts, ClusterRecord, ExpectedRevision, InvalidRouterName, LogFuture, PARTITIONS,
    PARTITIONS_MAX, PartitionBounds, PartitionNumber, RecordAppend, RecordSubject, RecordTail,
    RouterName,
};
pub use disk::DiskJournal;
pub use disk_usage::DiskUsage;
pub use entry::{HeldEvent, JournalEntry};
pub use file_names::KEYS;
pub use full_disk::{CrowdedEvent, CrowdedSegment, DiskRoom};
pub use group::BatchOrigin;
pub use inspect::{InspectError, dump, verify};
pub use keys::{EventSealing, reseal};
pub use memory::MemoryJournal;
pub use open_error::JournalOpenError;
pub use read::UnreadableEvent;
pub use record::{FailedSendFault, LaneId, LaneState};
pub use recovered::{PendingDelivery, RecoveredJournal, RecoveredLane};
pub use repair::repair;
pub use report::{
    DamageKind, DamagedRange, JournalReport, LedgerCorrection, LostDelivery, LostTotal,
};
pub use settings::JournalSettings;
pub use totals::{JournalFull, JournalUsage, UsageGauge};
pub use watch::SyncTimes;

use std::sync::Arc;

/// Where accepted events wait until every lane has settled them.
///
/// A closed set; a clustered journal would be a further variant.
#[derive(Debug)]
pub enum Journal {
    /// Nothing outlives the process.
    Memory(MemoryJournal),
    /// What is acknowledged as durable outlives the machine's power.
    Disk(DiskJournal),
}

impl Journal {
    /// A journal in memory of at most `bytes_max` bytes.
    #[must_use]
    pub fn memory(bytes_max: u64) -> Self {
        Self::Memory(MemoryJournal::new(bytes_max))
    }

    /// The word for status and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Disk(_) => "disk",
        }
    }

    /// The sequence that the next event gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.next_sequence(),
            Self::Disk(disk) => disk.next_sequence(),
        }
    }

    /// The journal on disk, if it is one.
    #[must_use]
    pub fn disk(&self) -> Option<&DiskJournal> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(disk) => Some(disk),
        }
    }

    /// A handle that reads usage without the journal.
    #[must_use]
    pub fn gauge(&self) -> UsageGauge {
        match self {
            Self::Memory(memory) => UsageGauge(Arc::clone(memory.totals())),
            Self::Disk(disk) => UsageGauge(Arc::clone(disk.totals())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::event::{EventLimits, EventParts};

    fn event() -> NewEvent {
        let event = EventParts::new("1", "s", "t")
            .json(&"1".repeat(1_000))
            .build(&EventLimits::default())
            .unwrap();
        NewEvent {
            event,
            twin: 7,
            lanes: Vec::new(),
        }
    }

    #[test]
    fn a_batch_is_appended_whole_or_not_at_all() {
        let bytes = event().event.size() as u64;
        let mut journal = MemoryJournal::new(3 * bytes);
        let entries = journal.append(vec![event(), event()]).unwrap();
        let numbered: Vec<_> = entries.iter().map(|one| (one.sequence, one.twin)).collect();
        assert_eq!(numbered, [(1, 7), (2, 7)]);
        let full = journal.append(vec![event(), event()]).unwrap_err();
        assert_eq!(
            full,
            JournalFull {
                bytes: 2 * bytes,
                bytes_new: 2 * bytes,
                bytes_max: 3 * bytes
            }
        );
        assert_eq!(journal.append(vec![event()]).unwrap()[0].sequence, 3);
    }

    #[test]
    fn bytes_come_back_when_the_last_lane_lets_go() {
        let mut journal = MemoryJournal::new(1 << 20);
        let entry = journal.append(vec![event()]).unwrap().remove(0);
        let gauge = Journal::Memory(journal).gauge();
        let second_lane = entry.clone();
        drop(entry);
        assert_eq!(gauge.usage().events, 1);
        assert_eq!(gauge.memory_bytes(), event().event.size() as u64);
        drop(second_lane);
        let usage = gauge.usage();
        assert_eq!((usage.events, usage.bytes), (0, 0));
        assert_eq!(gauge.memory_bytes(), 0);
        assert_eq!(usage.bytes_released, event().event.size() as u64);
    }
}
