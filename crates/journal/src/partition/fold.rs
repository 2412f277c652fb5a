//! The fold of a partition: what its records say, by the same code for whoever reads them.
//!
//! Events and settlements go into the same index that a journal on disk has. Beside that the fold holds the log to what
//! it promised: no record is missing, none is another than an owner had read, no group of a router is lost or counted
//! twice, and what an owner says that is none any more counts for nothing.

use super::chain::HashChain;
use super::checkpoint::{CheckpointLane, PartitionCheckpoint};
use super::damage::{DamagedHistory, HistoryDamage};
use super::folded::{FoldedEvent, FoldedRecord, OpenClusterDelivery};
use super::group::{
    CheckpointHead, EventsHead, GroupOrigin, GroupOwner, GroupPart, GroupReader, OwnerStatement,
};
use super::lanes::LaneRegister;
use super::numbers::GroupNumbers;
use super::place::{EventPlace, GROUP_EVENTS_MAX};
use super::writers::{GroupVerdict, WriterPlaces};
use crate::cluster_log::{ClusterRecord, PartitionNumber, RecordSubject};
use crate::frame::FramePlace;
use crate::index::LogIndex;
use crate::ledger::Ledger;
use crate::record::{AcceptedEvent, JournalRecord, LaneId, LaneList};
use std::collections::{BTreeMap, BTreeSet};

/// The fold.
#[derive(Debug)]
pub struct PartitionFold {
    partition: PartitionNumber,
    register: LaneRegister,
    index: LogIndex,
    chain: HashChain,
    /// By record that holds anything open: how things stood before it.
    marks: BTreeMap<u64, RecordMark>,
    /// The sequence of the record that comes next.
    next: u64,
    epoch: u64,
    last_settlement: u64,
    writers: WriterPlaces,
    /// Records that repeat others.
    skipped: BTreeSet<u64>,
    counts: CountsOrigin,
}

#[derive(Clone, Copy, Debug)]
struct RecordMark {
    hash: u64,
    epoch: u64,
}

/// How the counts of lanes come to be right.
#[derive(Debug)]
enum CountsOrigin {
    /// They are.
    Known,
    /// A checkpoint has them, as of a record that is yet to come.
    Checkpoint(Box<PartitionCheckpoint>),
}

impl PartitionFold {
    /// Of a partition's log from its first record on.
    #[must_use]
    pub fn new(partition: PartitionNumber, register: LaneRegister) -> Self {
        Self {
            partition,
            register,
            index: LogIndex::default(),
            chain: HashChain::behind(0, 0),
            marks: BTreeMap::new(),
            next: 1,
            epoch: 0,
            last_settlement: 0,
            writers: WriterPlaces::default(),
            skipped: BTreeSet::new(),
            counts: CountsOrigin::Known,
        }
    }

    /// Of a partition's log from a checkpoint's cursor on.
    ///
    /// # Errors
    /// When its counts do not add up.
    pub fn from_checkpoint(
        checkpoint: PartitionCheckpoint,
        register: LaneRegister,
    ) -> Result<Self, HistoryDamage> {
        let head = checkpoint.head;
        let mut fold = Self::new(checkpoint.partition, register);
        fold.next = head.cursor;
        fold.chain = checkpoint.chain();
        fold.skipped = checkpoint.skipped.iter().copied().collect();
        fold.epoch = head.cursor_epoch;
        if head.cursor > head.folded_to {
            fold.reach_checkpoint(&checkpoint)
                .map_err(|damage| damage.of(fold.partition))?;
        } else {
            fold.counts = CountsOrigin::Checkpoint(Box::new(checkpoint));
        }
        Ok(fold)
    }

    /// Folds the record that comes next.
    ///
    /// # Errors
    /// When it cannot be the one: nothing more of the partition is to be believed.
    pub fn fold(&mut self, record: &ClusterRecord) -> Result<FoldedRecord, HistoryDamage> {
        self.fold_record(record)
            .map_err(|damage| damage.of(self.partition))
    }

    fn fold_record(&mut self, record: &ClusterRecord) -> Result<FoldedRecord, DamagedHistory> {
        let sequence = record.sequence;
        if sequence > self.next {
            return Err(DamagedHistory::Missing {
                from: self.next,
                to: sequence - 1,
            });
        }
        if sequence < self.next {
            return Err(DamagedHistory::Rewritten {
                from: sequence,
                to: self.next - 1,
            });
        }
        // All of it is read before any of it counts.
        let parts: Vec<_> = GroupReader::new(record, self.partition).collect::<Result<_, _>>()?;
        let mark = RecordMark {
            hash: self.chain.hash(),
            epoch: self.epoch,
        };
        self.chain.push(record);
        self.next += 1;
        let unreadable = DamagedHistory::Unreadable {
            sequence,
            offset: 0,
        };
        let mut parts = parts.into_iter();
        let folded = match (record.subject, parts.next()) {
            (RecordSubject::Events, Some((_, GroupPart::Events(head)))) => {
                self.fold_events(sequence, &head, parts)?
            }
            (RecordSubject::Settlements, Some((_, GroupPart::Statement(statement)))) => {
                self.last_settlement = sequence;
                self.fold_settlements(sequence, statement, parts)?
            }
            _ => return Err(unreadable),
        };
        if self.index.shares.contains_key(&sequence) {
            self.marks.insert(sequence, mark);
        }
        if let CountsOrigin::Checkpoint(checkpoint) = &self.counts
            && checkpoint.folded_to() == sequence
        {
            let checkpoint = checkpoint.clone();
            self.reach_checkpoint(&checkpoint)?;
        }
        Ok(folded)
    }

    fn fold_events<'a>(
        &mut self,
        sequence: u64,
        head: &EventsHead,
        parts: impl Iterator<Item = (FramePlace, GroupPart<'a>)>,
    ) -> Result<FoldedRecord, DamagedHistory> {
        let verdict = match &self.counts {
            // Whoever made the checkpoint has held them to it.
            CountsOrigin::Checkpoint(_) if self.skipped.contains(&sequence) => {
                GroupVerdict::Repeated
            }
            CountsOrigin::Checkpoint(_) => GroupVerdict::Next,
            CountsOrigin::Known => self.writers.push(head),
        };
        match verdict {
            GroupVerdict::Next => {}
            GroupVerdict::Repeated => {
                self.skipped.insert(sequence);
                return Ok(FoldedRecord::Repeated);
            }
            GroupVerdict::Gap(count) => {
                return Err(DamagedHistory::MissingGroups {
                    router: head.origin.router.clone(),
                    count,
                    sequence,
                });
            }
        }
        let mut events = Vec::new();
        self.apply(sequence, parts, &mut events)?;
        Ok(FoldedRecord::Events(events))
    }

    fn fold_settlements<'a>(
        &mut self,
        sequence: u64,
        statement: OwnerStatement,
        parts: impl Iterator<Item = (FramePlace, GroupPart<'a>)>,
    ) -> Result<FoldedRecord, DamagedHistory> {
        if statement.epoch < self.epoch {
            return Ok(FoldedRecord::Void(statement));
        }
        let folded_to = statement.folded_to;
        let compared = self.chain.compare(folded_to.min(sequence), statement.hash);
        compared.map_err(|from| DamagedHistory::Rewritten {
            from,
            to: folded_to,
        })?;
        self.epoch = statement.epoch;
        let mut parts = parts.peekable();
        if !matches!(parts.peek(), Some((_, GroupPart::Checkpoint(_)))) {
            self.apply(sequence, parts, &mut Vec::new())?;
        }
        Ok(FoldedRecord::Settlements(statement))
    }

    /// Takes the counts of a checkpoint over, as of whose record the fold is now.
    fn reach_checkpoint(&mut self, checkpoint: &PartitionCheckpoint) -> Result<(), DamagedHistory> {
        let head = checkpoint.head;
        let compared = self.chain.compare(head.folded_to, head.hash);
        compared.map_err(|from| DamagedHistory::Rewritten {
            from,
            to: head.folded_to,
        })?;
        self.set_counts(checkpoint);
        self.writers = checkpoint.writer_places();
        self.epoch = self.epoch.max(head.epoch);
        self.last_settlement = self.last_settlement.max(head.last_settlement);
        self.counts = CountsOrigin::Known;
        let unaccounted = DamagedHistory::Unaccounted {
            sequence: head.folded_to,
        };
        self.adds_up().then_some(()).ok_or(unaccounted)
    }

    fn set_counts(&mut self, checkpoint: &PartitionCheckpoint) {
        let place = FramePlace {
            segment: 0,
            offset: 0,
            bytes: 0,
        };
        for lane in &checkpoint.lanes {
            let number = self.register.bind(&lane.name).0;
            let records = [
                JournalRecord::Counts {
                    lane: number,
                    ledger: lane.ledger,
                },
                JournalRecord::State {
                    lane: number,
                    state: lane.state,
                },
            ];
            for record in records {
                self.index.apply(&record, place);
            }
        }
    }

    /// Applies records, each with the numbers of this process in place of the group's own.
    fn apply<'a>(
        &mut self,
        sequence: u64,
        parts: impl Iterator<Item = (FramePlace, GroupPart<'a>)>,
        events: &mut Vec<FoldedEvent>,
    ) -> Result<(), DamagedHistory> {
        let mut numbers = GroupNumbers::default();
        for (place, part) in parts {
            let offset = usize::try_from(place.offset).unwrap_or(usize::MAX);
            let applied = match part {
                GroupPart::Record(JournalRecord::Event { event, lanes }) => {
                    self.apply_event(sequence, place, event, &numbers.all(lanes), events)
                }
                GroupPart::Record(JournalRecord::Replay {
                    event,
                    lane,
                    replay_of,
                }) => numbers.of(lane).and_then(|lane| {
                    let place = (sequence, place);
                    self.apply_replay(place, event, lane, replay_of, events)
                }),
                GroupPart::Record(record) => numbers
                    .renumbered(record, &self.register)
                    .map(|record| self.index.apply(&record, place)),
                _ => None,
            };
            applied.ok_or(DamagedHistory::Unreadable { sequence, offset })?;
        }
        Ok(())
    }

    fn apply_event(
        &mut self,
        record: u64,
        place: FramePlace,
        mut event: AcceptedEvent<'_>,
        lanes: &Option<Vec<LaneId>>,
        events: &mut Vec<FoldedEvent>,
    ) -> Option<()> {
        let lanes = lanes.as_ref()?;
        event.sequence = self.place(record, events.len())?;
        let bytes: Vec<_> = lanes.iter().map(|lane| lane.0.to_le_bytes()).collect();
        events.push(FoldedEvent {
            sequence: event.sequence,
            twin: event.twin(),
            lanes: lanes.clone(),
            bytes: place.bytes,
            accepted_at: event.accepted_at,
            replay_of: None,
        });
        let lanes = LaneList::of(&bytes);
        self.index
            .apply(&JournalRecord::Event { event, lanes }, place);
        Some(())
    }

    fn apply_replay(
        &mut self,
        (record, place): (u64, FramePlace),
        mut event: AcceptedEvent<'_>,
        lane: LaneId,
        replay_of: u64,
        events: &mut Vec<FoldedEvent>,
    ) -> Option<()> {
        event.sequence = self.place(record, events.len())?;
        events.push(FoldedEvent {
            sequence: event.sequence,
            twin: event.twin(),
            lanes: vec![lane],
            bytes: place.bytes,
            accepted_at: event.accepted_at,
            replay_of: Some(replay_of),
        });
        let lane = lane.0;
        let replay = JournalRecord::Replay {
            event,
            lane,
            replay_of,
        };
        self.index.apply(&replay, place);
        Some(())
    }

    /// The sequence of a record's event behind `before` others; none where a group cannot have so many.
    fn place(&self, record: u64, before: usize) -> Option<u64> {
        let index = u16::try_from(before).ok()?;
        let place = EventPlace {
            record,
            partition: self.partition,
            index,
        };
        (before < GROUP_EVENTS_MAX).then(|| place.sequence())
    }

    /// A checkpoint as of the last record.
    pub fn checkpoint(&mut self) -> PartitionCheckpoint {
        let cursor = self.trim_point();
        let shares = &self.index.shares;
        self.marks.retain(|record, _| shares.contains_key(record));
        self.skipped = self.skipped.split_off(&cursor);
        let now = RecordMark {
            hash: self.chain.hash(),
            epoch: self.epoch,
        };
        let mark = self.marks.get(&cursor).copied().unwrap_or(now);
        let lanes = self.index.lanes.iter().filter_map(|(number, lane)| {
            Some(CheckpointLane {
                name: self.register.name(LaneId(*number))?,
                ledger: lane.ledger,
                state: lane.state,
            })
        });
        PartitionCheckpoint {
            partition: self.partition,
            head: CheckpointHead {
                epoch: self.epoch,
                cursor,
                cursor_hash: mark.hash,
                cursor_epoch: mark.epoch,
                folded_to: self.folded_to(),
                hash: self.chain.hash(),
                last_settlement: self.last_settlement,
                frames: 0,
            },
            writers: self.writers.iter().collect(),
            skipped: self.skipped.iter().copied().collect(),
            lanes: lanes.collect(),
        }
    }

    /// What an owner states of the log as of now.
    #[must_use]
    pub fn statement(&self, owner: &GroupOwner, is_claim: bool) -> OwnerStatement {
        OwnerStatement {
            owner: owner.router.clone(),
            epoch: owner.epoch,
            folded_to: self.folded_to(),
            hash: self.chain.hash(),
            is_claim,
        }
    }

    /// Records below this hold nothing that is open.
    #[must_use]
    pub fn trim_point(&self) -> u64 {
        self.index.oldest_live().unwrap_or(self.next)
    }

    /// The sequence of the last record that was folded.
    #[must_use]
    pub const fn folded_to(&self) -> u64 {
        self.next - 1
    }

    /// The sequence of the last settlements, whoever wrote them; 0: there are none.
    #[must_use]
    pub const fn last_settlement(&self) -> u64 {
        self.last_settlement
    }

    /// The highest epoch whose settlements were folded.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a router's groups are there, as many as `counter`, of which the last was acknowledged as record
    /// `sequence`. The fold must have come to that record, if it is there; before it has its counts it says nothing.
    ///
    /// # Errors
    /// When they are not.
    pub fn has_groups(
        &self,
        origin: &GroupOrigin,
        counter: u64,
        sequence: u64,
    ) -> Result<(), HistoryDamage> {
        let router = origin.router.clone();
        match self.writers.missing(origin, counter) {
            count if count > 0 && self.has_counts() => Err(DamagedHistory::Forgotten {
                router,
                count,
                sequence,
            }
            .of(self.partition)),
            _ => Ok(()),
        }
    }

    /// Whether counts are those of all records that there ever were: not before a fold from a checkpoint has come to the
    /// record as of which that was made.
    #[must_use]
    pub const fn has_counts(&self) -> bool {
        matches!(self.counts, CountsOrigin::Known)
    }

    /// Whether a delivery is not settled.
    #[must_use]
    pub fn is_open(&self, sequence: u64, lane: LaneId) -> bool {
        self.index.is_open(sequence, lane.0)
    }

    /// Deliveries that are not settled.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.index.open
    }

    /// Events that are not settled by all of their lanes, and what they take in their records, in bytes.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        let held = self.index.held();
        (held.events, held.bytes)
    }

    /// What each lane has counted in this partition.
    pub fn ledgers(&self) -> impl Iterator<Item = (LaneId, Ledger)> {
        let lanes = self.index.lanes.iter();
        lanes.map(|(number, lane)| (LaneId(*number), lane.ledger))
    }

    /// Whether of each lane as many deliveries were made as were settled and are open.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let mut lanes = self.index.lanes.values();
        lanes.all(|lane| lane.ledger.made() == lane.ledger.settled() + lane.open)
    }

    /// Deliveries that are not settled, in the order of the log.
    pub fn pending(&self) -> impl Iterator<Item = OpenClusterDelivery> {
        let events = self.index.events.from(0);
        events.flat_map(|(sequence, live)| {
            let open = live.open.as_slice().iter();
            open.map(move |open| OpenClusterDelivery::of(sequence, live, open))
        })
    }
}
