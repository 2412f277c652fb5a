//! The journal: numbers accepted events and bounds what waits.

mod affected_deliveries;
mod append_error;
mod appended;
mod checkpoint;
mod cluster_log;
#[cfg(feature = "contract")]
pub mod cluster_log_contract;
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
        let gauge = journal.gauge();
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
