//! A checkpoint of a partition: from where its fold may begin, and what it will have counted by then.
//!
//! It holds no open delivery: those are read from the log again, from the first record that has one. So it stays small
//! however long the backlog is. It stands beside the log and, before anything is trimmed, also within: one that is lost
//! costs time only.

use super::chain::HashChain;
use super::group::{
    CheckpointHead, EventsHead, GroupPart, GroupSeed, encode_binding, encode_skipped, read_part,
    seal,
};
use super::lanes::{ClusterLaneId, LaneName};
use super::writers::WriterPlaces;
use crate::cluster_log::PartitionNumber;
use crate::ledger::Ledger;
use crate::record::{JournalRecord, LaneState};
use bytes::Bytes;
use std::collections::BTreeMap;
use twinroute_model::name::{EndpointName, InstanceName};

/// Where the fold of a partition may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCheckpoint {
    pub(crate) partition: PartitionNumber,
    pub(crate) head: CheckpointHead,
    pub(crate) writers: Vec<EventsHead>,
    pub(crate) skipped: Vec<u64>,
    pub(crate) lanes: Vec<CheckpointLane>,
}

/// What a lane has counted in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointLane {
    pub(crate) name: LaneName,
    pub(crate) ledger: Ledger,
    pub(crate) state: LaneState,
}

/// Bytes that are no checkpoint of the partition: damaged, of another partition, or of a newer program. The fold then
/// begins with the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint of partition {0} cannot be read")]
pub struct UnreadableCheckpoint(pub PartitionNumber);

impl PartitionCheckpoint {
    /// The first record that a fold has to read.
    #[must_use]
    pub const fn cursor(&self) -> u64 {
        self.head.cursor
    }

    /// The last record that is counted in it.
    #[must_use]
    pub const fn folded_to(&self) -> u64 {
        self.head.folded_to
    }

    /// The epoch of the owner that made it.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.head.epoch
    }

    /// As the value of an entry: the same bytes for the same state, whichever router writes them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode_frames(&mut out);
        seal(out, GroupSeed::of_checkpoint(self.partition))
    }

    /// Reads what [`PartitionCheckpoint::encode`] wrote.
    ///
    /// # Errors
    /// When it is not that.
    pub fn decode(bytes: &[u8], partition: PartitionNumber) -> Result<Self, UnreadableCheckpoint> {
        let seed = GroupSeed::of_checkpoint(partition);
        let mut parts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let part = read_part(bytes, at, seed).ok_or(UnreadableCheckpoint(partition))?;
            at += part.0;
            parts.push(part.1);
        }
        let mut parts = parts.into_iter();
        match parts.next() {
            Some(GroupPart::Checkpoint(head)) => Self::of_parts(partition, head, parts),
            _ => None,
        }
        .ok_or(UnreadableCheckpoint(partition))
    }

    /// Appends its frames, which are yet to be sealed.
    pub(crate) fn encode_frames(&self, out: &mut Vec<u8>) {
        let mut sorted: Vec<_> = self.lanes.iter().collect();
        sorted.sort_by_key(|lane| ClusterLaneId::of(&lane.name));
        let head = CheckpointHead {
            frames: u32::try_from(1 + self.writers.len() + 3 * sorted.len())
                .expect("endpoints are bounded"),
            ..self.head
        };
        head.encode(out);
        for writer in &self.writers {
            writer.encode(out);
        }
        encode_skipped(out, &self.skipped);
        for (number, lane) in (1..).zip(sorted) {
            encode_binding(out, number, &lane.name);
            JournalRecord::Counts {
                lane: number,
                ledger: lane.ledger,
            }
            .encode(out);
            JournalRecord::State {
                lane: number,
                state: lane.state,
            }
            .encode(out);
        }
    }

    /// Of the frames that follow its head.
    pub(crate) fn of_parts<'a>(
        partition: PartitionNumber,
        head: CheckpointHead,
        parts: impl Iterator<Item = GroupPart<'a>>,
    ) -> Option<Self> {
        let mut checkpoint = Self {
            partition,
            head,
            writers: Vec::new(),
            skipped: Vec::new(),
            lanes: Vec::new(),
        };
        let mut names = BTreeMap::new();
        let mut frames = 0;
        for part in parts {
            frames += 1;
            match part {
                GroupPart::Events(writer) => checkpoint.writers.push(writer),
                GroupPart::Skipped(sequences) => checkpoint.skipped = sequences,
                GroupPart::Record(JournalRecord::Binding {
                    lane,
                    instance,
                    endpoint,
                }) => {
                    let instance = InstanceName::new(instance).ok()?;
                    names.insert(lane, (instance, EndpointName::new(endpoint).ok()?));
                }
                GroupPart::Record(JournalRecord::Counts { lane, ledger }) => {
                    checkpoint.lanes.push(CheckpointLane {
                        name: names.get(&lane)?.clone(),
                        ledger,
                        state: LaneState::default(),
                    });
                }
                GroupPart::Record(JournalRecord::State { state, .. }) => {
                    checkpoint.lanes.last_mut()?.state = state;
                }
                _ => return None,
            }
        }
        // What follows in a newer layout would be a frame more.
        (frames == head.frames).then_some(checkpoint)
    }

    /// The chain as of the record before the cursor.
    pub(crate) fn chain(&self) -> HashChain {
        let head = &self.head;
        match head.cursor > head.folded_to {
            true => HashChain::behind(head.folded_to, head.hash),
            false => HashChain::behind(head.cursor - 1, head.cursor_hash),
        }
    }

    /// How far routers had come.
    pub(crate) fn writer_places(&self) -> WriterPlaces {
        let mut places = WriterPlaces::default();
        for writer in &self.writers {
            places.set(writer.origin.clone(), writer.counter);
        }
        places
    }
}
