//! What a record of the cluster's log holds: a head, then records of the kind that a segment on disk has.
//!
//! Frames, checksums and bodies are those of a segment file. The checksum is seeded with the partition and the subject
//! in place of a segment, so that a record that stands elsewhere is not valid. Lanes have numbers of their own in each
//! group, which the bindings at its beginning explain.

use super::damage::DamagedHistory;
use super::lanes::{LaneName, LaneRegister};
use crate::cluster_log::{ClusterRecord, PartitionNumber, RecordSubject, RouterName};
use crate::frame::{self, FramePlace};
use crate::record::{JournalRecord, LaneId};
use bytes::Bytes;

/// Kinds of frames that stand in the cluster's log only: a segment on disk never has them.
mod cluster_kind {
    pub(super) const EVENTS: u8 = 128;
    pub(super) const STATEMENT: u8 = 129;
    pub(super) const CHECKPOINT: u8 = 130;
    pub(super) const SKIPPED: u8 = 131;
}

/// Which life of which router wrote a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupOrigin {
    /// The router.
    pub router: RouterName,
    /// Which start of it: higher for each.
    pub incarnation: u64,
}

/// The head of a group of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventsHead {
    pub(crate) origin: GroupOrigin,
    /// Counts the groups of this origin in the partition, from 1, without a gap.
    pub(crate) counter: u64,
}

/// The head of a group of settlements: who says it, and what it had read of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerStatement {
    /// Who owns the partition.
    pub owner: RouterName,
    /// Which owning it is: higher for each claim.
    pub epoch: u64,
    /// The sequence of the last record that it had folded.
    pub folded_to: u64,
    /// The rolling hash as of that record.
    pub hash: u64,
    /// Whether it is the first of its epoch, which ends all lower ones.
    pub is_claim: bool,
}

/// Who says what it says as an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOwner {
    /// The router.
    pub router: RouterName,
    /// Which owning it is.
    pub epoch: u64,
}

/// The head of a checkpoint, as of the record `folded_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointHead {
    pub(crate) epoch: u64,
    /// The first record that holds anything open.
    pub(crate) cursor: u64,
    /// The rolling hash before it.
    pub(crate) cursor_hash: u64,
    /// The epoch that counted before it.
    pub(crate) cursor_epoch: u64,
    /// Frames that follow and belong to it.
    pub(crate) frames: u32,
    pub(crate) folded_to: u64,
    pub(crate) hash: u64,
    pub(crate) last_settlement: u64,
}

/// One frame of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupPart<'a> {
    Events(EventsHead),
    Statement(OwnerStatement),
    Checkpoint(CheckpointHead),
    /// Records from the cursor on that repeat others.
    Skipped(Vec<u64>),
    Record(JournalRecord<'a>),
}

/// What the checksums of a group are seeded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupSeed(u64);

impl GroupSeed {
    /// Far above the number of any segment.
    const CLUSTER: u64 = 0x5457_434c << 32;

    pub(crate) const fn of(partition: PartitionNumber, subject: RecordSubject) -> Self {
        let subject = match subject {
            RecordSubject::Events => 1,
            RecordSubject::Settlements => 2,
        };
        Self(Self::CLUSTER | (partition.get() as u64) << 8 | subject)
    }

    /// Of a checkpoint that stands beside the log.
    pub(crate) const fn of_checkpoint(partition: PartitionNumber) -> Self {
        Self(Self::CLUSTER | (partition.get() as u64) << 8 | 3)
    }
}

impl EventsHead {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, cluster_kind::EVENTS);
        put_router(out, &self.origin.router);
        put_u64s(out, &[self.origin.incarnation, self.counter]);
        frame::end(out, start);
    }
}

impl OwnerStatement {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, cluster_kind::STATEMENT);
        put_router(out, &self.owner);
        put_u64s(out, &[self.epoch, self.folded_to, self.hash]);
        out.push(u8::from(self.is_claim));
        frame::end(out, start);
    }
}

impl CheckpointHead {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, cluster_kind::CHECKPOINT);
        put_u64s(out, &[self.epoch, self.cursor, self.folded_to, self.hash]);
        put_u64s(out, &[self.last_settlement]);
        put_u64s(out, &[self.cursor_hash, self.cursor_epoch]);
        out.extend_from_slice(&self.frames.to_le_bytes());
        frame::end(out, start);
    }
}

/// Records that repeat others.
pub(crate) fn encode_skipped(out: &mut Vec<u8>, sequences: &[u64]) {
    let start = frame::begin(out, cluster_kind::SKIPPED);
    put_u64s(out, sequences);
    frame::end(out, start);
}

/// Puts checksums into all frames of a group.
pub(crate) fn seal(mut bytes: Vec<u8>, seed: GroupSeed) -> Bytes {
    let mut at = 0;
    while at < bytes.len() {
        at += frame::seal(&mut bytes[at..], seed.0, at as u64);
    }
    Bytes::from(bytes)
}

/// Says which lane a number stands for in this group.
pub(crate) fn encode_binding(out: &mut Vec<u8>, lane: u32, (instance, endpoint): &LaneName) {
    JournalRecord::Binding {
        lane,
        instance: instance.as_str(),
        endpoint: endpoint.as_str(),
    }
    .encode(out);
}

/// Says which lanes numbers of this process stand for.
///
/// # Panics
/// When a number is not in the register, which gave them all.
pub(crate) fn encode_bindings(
    out: &mut Vec<u8>,
    lanes: impl IntoIterator<Item = LaneId>,
    register: &LaneRegister,
) {
    for lane in lanes {
        let name = register.name(lane).expect("the register gave the number");
        encode_binding(out, lane.0, &name);
    }
}

/// The frames of a record, from its first on; ends behind the first that cannot be read.
pub(crate) struct GroupReader<'a> {
    record: &'a ClusterRecord,
    seed: GroupSeed,
    at: usize,
}

impl<'a> GroupReader<'a> {
    pub(crate) fn new(record: &'a ClusterRecord, partition: PartitionNumber) -> Self {
        Self {
            record,
            seed: GroupSeed::of(partition, record.subject),
            at: 0,
        }
    }
}

impl<'a> Iterator for GroupReader<'a> {
    type Item = Result<(FramePlace, GroupPart<'a>), DamagedHistory>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = &self.record.bytes;
        if self.at >= bytes.len() {
            return None;
        }
        let offset = self.at;
        let read = read_part(bytes, offset, self.seed);
        self.at = read
            .as_ref()
            .map_or(bytes.len(), |(length, _)| offset + length);
        let unreadable = DamagedHistory::Unreadable {
            sequence: self.record.sequence,
            offset,
        };
        Some(read.ok_or(unreadable).map(|(length, part)| {
            let place = FramePlace {
                segment: self.record.sequence,
                offset: offset as u64,
                bytes: u32::try_from(length).expect("bodies are bounded"),
            };
            (place, part)
        }))
    }
}

/// The frame at `offset`, and its length.
pub(crate) fn read_part(
    bytes: &[u8],
    offset: usize,
    seed: GroupSeed,
) -> Option<(usize, GroupPart<'_>)> {
    let frame = frame::read(bytes, offset, seed.0)?;
    let part = match (frame.version, frame.kind) {
        (frame::VERSION, cluster_kind::EVENTS) => {
            let mut body = HeadBody(frame.body);
            GroupPart::Events(EventsHead {
                origin: body.origin()?,
                counter: body.u64()?,
            })
        }
        (frame::VERSION, cluster_kind::STATEMENT) => {
            let mut body = HeadBody(frame.body);
            GroupPart::Statement(OwnerStatement {
                owner: body.router()?,
                epoch: body.u64()?,
                folded_to: body.u64()?,
                hash: body.u64()?,
                is_claim: body.bool()?,
            })
        }
        (frame::VERSION, cluster_kind::CHECKPOINT) => {
            let mut body = HeadBody(frame.body);
            let (epoch, cursor) = (body.u64()?, body.u64()?);
            let (folded_to, hash) = (body.u64()?, body.u64()?);
            let last_settlement = body.u64()?;
            let cursor_hash = body.u64()?;
            let cursor_epoch = body.u64()?;
            let frames = body.u32()?;
            GroupPart::Checkpoint(CheckpointHead {
                epoch,
                cursor,
                cursor_hash,
                cursor_epoch,
                frames,
                folded_to,
                hash,
                last_settlement,
            })
        }
        (frame::VERSION, cluster_kind::SKIPPED) => {
            let (sequences, _) = frame.body.as_chunks();
            GroupPart::Skipped(
                sequences
                    .iter()
                    .map(|one| u64::from_le_bytes(*one))
                    .collect(),
            )
        }
        _ => GroupPart::Record(JournalRecord::decode(&frame).ok()?),
    };
    Some((frame.len(), part))
}

fn put_router(out: &mut Vec<u8>, router: &RouterName) {
    let name = router.as_str();
    out.push(u8::try_from(name.len()).expect("names have at most 32 bytes"));
    out.extend_from_slice(name.as_bytes());
}

fn put_u64s(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// What is left of a head's body.
struct HeadBody<'a>(&'a [u8]);

impl HeadBody<'_> {
    fn bool(&mut self) -> Option<bool> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        match first {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }

    fn router(&mut self) -> Option<RouterName> {
        let (length, rest) = self.0.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        RouterName::new(std::str::from_utf8(name).ok()?).ok()
    }

    fn origin(&mut self) -> Option<GroupOrigin> {
        Some(GroupOrigin {
            router: self.router()?,
            incarnation: self.u64()?,
        })
    }
}
