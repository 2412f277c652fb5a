//! What a record holds that was read back: its events, or its checkpoint.

use super::checkpoint::PartitionCheckpoint;
use super::group::{GroupPart, GroupReader};
use super::place::EventPlace;
use crate::cluster_log::{ClusterRecord, PartitionNumber};
use crate::record::JournalRecord;
use twinroute_model::event::Event;

/// The events of a record, with their sequences. Gives none from the first frame on that cannot be read.
pub fn events_of(
    record: &ClusterRecord,
    partition: PartitionNumber,
) -> impl Iterator<Item = (u64, Event)> {
    let parts = GroupReader::new(record, partition).map_while(Result::ok);
    let events = parts.filter_map(|(_, part)| match part {
        GroupPart::Record(
            JournalRecord::Event { event, .. } | JournalRecord::Replay { event, .. },
        ) => Some(event),
        _ => None,
    });
    (0..).zip(events).filter_map(move |(index, event)| {
        let place = EventPlace {
            record: record.sequence,
            partition,
            index,
        };
        Some((place.sequence(), event.parse_plain()?))
    })
}

/// The checkpoint that a record holds. Where the one beside the log is lost, the last one within replaces it.
#[must_use]
pub fn checkpoint_of(
    record: &ClusterRecord,
    partition: PartitionNumber,
) -> Option<PartitionCheckpoint> {
    let parts = GroupReader::new(record, partition).map(|part| part.map(|(_, part)| part));
    let mut parts = parts.collect::<Result<Vec<_>, _>>().ok()?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(GroupPart::Statement(_)), Some(GroupPart::Checkpoint(head))) => {
            PartitionCheckpoint::of_parts(partition, head, parts)
        }
        _ => None,
    }
}
