//! Groups: what one write and one sync bring to disk, laid out in one buffer.

use super::checkpoint::SettledDelivery;
use super::frame;
use super::index::LogIndex;
use super::record::{
    CutRange, FailedSendFault, GroupHead, JournalRecord, LaneState, SegmentHead, encode,
};
use super::time::TimeRecord;
use super::totals::HeldSize;
use crate::ledger::DeliverySettlement;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::name::{EndpointName, InstanceName};

/// Settlements in one record.
const SETTLEMENTS_PER_RECORD: usize = 4_096;

/// Where a batch came from, for the history. Cloning it allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOrigin {
    /// The generation of the routing table that it was matched against; 0: not known.
    pub generation: u64,
    /// The instance that it was sent to, if it is known.
    pub instance: Option<InstanceName>,
    /// The name of whoever sent it, if it is known.
    pub caller: Option<Arc<str>>,
    /// The address that it came from, if there is one.
    pub address: Option<IpAddr>,
}

/// A routing table, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutingSnapshot {
    pub(crate) generation: u64,
    pub(crate) content: Vec<u8>,
}

/// Deliveries of a lane that one answer failed.
#[derive(Clone, Debug)]
pub(crate) struct FailedSend {
    pub(crate) lane: u32,
    pub(crate) fault: FailedSendFault,
    pub(crate) text: String,
    pub(crate) sequences: Vec<u64>,
}

/// Events of one append, as frames without sequence and checksum.
pub(crate) struct EncodedBatch<W> {
    pub(crate) frames: Vec<u8>,
    pub(crate) first_sequence: u64,
    pub(crate) events: u32,
    pub(crate) origin: BatchOrigin,
    pub(crate) waiter: W,
}

/// What a group is made of.
pub(crate) struct GroupWork<W> {
    pub(crate) batches: Vec<EncodedBatch<W>>,
    pub(crate) updates: PendingUpdates,
    /// Frames of events that no route matched, each with its origin. Nobody waits for them, and they may be lost.
    pub(crate) unmatched: Vec<u8>,
    pub(crate) reported_cuts: Vec<CutRange>,
    /// The sequence that the next event after this group gets.
    pub(crate) next_sequence: u64,
    /// The last group.
    pub(crate) close: bool,
    /// Begin a new segment even if the group fits.
    pub(crate) roll: bool,
}

/// What nobody waits for and nobody may lose: it goes with the next group that goes well.
#[derive(Default)]
pub(crate) struct PendingUpdates {
    pub(crate) bindings: Vec<(u32, InstanceName, EndpointName)>,
    pub(crate) states: Vec<(u32, LaneState)>,
    pub(crate) attempts: Vec<FailedAttempt>,
    pub(crate) letters: Vec<(u32, u64, Arc<DeadLetter>)>,
    pub(crate) settled: Vec<(u32, u64, DeliverySettlement)>,
    /// The routing table that came into use.
    pub(crate) table: Option<Arc<RoutingSnapshot>>,
    /// For the history alone: may be lost.
    pub(crate) failed: Vec<FailedSend>,
}

/// A delivery failed alone.
pub(crate) struct FailedAttempt {
    pub(crate) sequence: u64,
    pub(crate) lane: u32,
    pub(crate) attempts: u32,
    pub(crate) due: Option<Timestamp>,
}

impl<W> Default for GroupWork<W> {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            updates: PendingUpdates::default(),
            unmatched: Vec::new(),
            reported_cuts: Vec::new(),
            next_sequence: 0,
            close: false,
            roll: false,
        }
    }
}

impl<W> GroupWork<W> {
    /// What its batches hold.
    pub(crate) fn held(&self) -> HeldSize {
        held(&self.batches)
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        let first = self.batches.first();
        first.map_or(self.next_sequence, |batch| batch.first_sequence)
    }
}

/// What batches hold.
pub(crate) fn held<W>(batches: &[EncodedBatch<W>]) -> HeldSize {
    batches
        .iter()
        .fold(HeldSize::default(), |held, batch| HeldSize {
            events: held.events + u64::from(batch.events),
            bytes: held.bytes + batch.frames.len() as u64,
        })
}

impl PendingUpdates {
    pub(crate) fn is_empty(&self) -> bool {
        self.bindings.is_empty()
            && self.states.is_empty()
            && self.attempts.is_empty()
            && self.letters.is_empty()
            && self.settled.is_empty()
    }

    /// Puts what came later behind.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.bindings.append(&mut later.bindings);
        self.states.append(&mut later.states);
        self.attempts.append(&mut later.attempts);
        self.letters.append(&mut later.letters);
        self.settled.append(&mut later.settled);
        self.failed.append(&mut later.failed);
        self.table = later.table.or(self.table.take());
    }

    fn encode_failed(&self, out: &mut Vec<u8>) {
        for failed in &self.failed {
            let (lane, fault, text) = (failed.lane, failed.fault, &*failed.text);
            let sequences = failed.sequences.clone();
            JournalRecord::Failed {
                lane,
                fault,
                text,
                sequences,
            }
            .encode(out);
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for (lane, state) in &self.states {
            let (lane, state) = (*lane, *state);
            JournalRecord::State { lane, state }.encode(out);
        }
        for attempt in &self.attempts {
            JournalRecord::Attempt {
                sequence: attempt.sequence,
                lane: attempt.lane,
                attempts: attempt.attempts,
                due: attempt.due,
            }
            .encode(out);
        }
        put_letters(out, &self.letters);
        put_settled(out, &self.settled);
    }
}

/// What a group says for the history alone.
pub(crate) struct GroupHistory<'a> {
    /// The wall's time.
    pub(crate) at: Timestamp,
    /// The routing table in use, where a segment begins.
    pub(crate) table: Option<&'a RoutingSnapshot>,
}

/// What a group says beside its work.
pub(crate) struct GroupLayout<'a> {
    pub(crate) number: u64,
    /// The log is on disk up to here.
    pub(crate) synced: (u64, u64),
    /// Begins a segment, whose file has so many bytes.
    pub(crate) header: Option<(SegmentHead, u64)>,
    /// Whether there is a manifest.
    pub(crate) is_listed: bool,
    /// Journal time.
    pub(crate) time: TimeRecord,
    /// Counts of all lanes and the oldest segment that is still needed.
    pub(crate) checkpoint: Option<(u64, &'a LogIndex)>,
    /// Deliveries that those counts have as settled, and the index has not.
    pub(crate) settled: &'a [SettledDelivery],
    /// Frames that are carried forward.
    pub(crate) copies: &'a [u8],
    /// What the history needs, if there is one.
    pub(crate) history: Option<GroupHistory<'a>>,
}

impl GroupLayout<'_> {
    fn encode_history<W>(&self, work: &GroupWork<W>, out: &mut Vec<u8>) {
        let Some(history) = &self.history else {
            return;
        };
        JournalRecord::Clock { at: history.at }.encode(out);
        let tables = [history.table, work.updates.table.as_deref()];
        for table in tables.into_iter().flatten() {
            JournalRecord::Table {
                generation: table.generation,
                content: &table.content,
            }
            .encode(out);
        }
    }

    /// Batches of one origin after the other have it once.
    fn put_batches<W>(&self, batches: &[EncodedBatch<W>], out: &mut Vec<u8>) {
        let none = BatchOrigin::default();
        let mut last = &none;
        for batch in batches {
            if batch.origin != *last && self.history.is_some() {
                last = &batch.origin;
                last.encode(out);
            }
            put_batch(out, batch);
        }
    }

    /// Lays the group out in `out`, without checksums.
    ///
    /// Counts stand before events and outcomes, so that they depend on nothing but what is synced already.
    pub(crate) fn encode<W>(&self, work: &GroupWork<W>, out: &mut Vec<u8>) {
        out.clear();
        if let Some((header, length)) = self.header {
            JournalRecord::Segment(header).encode(out);
            let listed = self.is_listed;
            JournalRecord::Extent { length, listed }.encode(out);
        }
        let start = out.len();
        let mut group = GroupHead {
            number: self.number,
            synced_segment: self.synced.0,
            synced_offset: self.synced.1,
            bytes: 0,
            first_sequence: work.first_sequence(),
            events: work.batches.iter().map(|batch| batch.events).sum(),
        };
        JournalRecord::Group(group).encode(out);
        let behind = out.len();
        JournalRecord::Time(self.time).encode(out);
        for cut in &work.reported_cuts {
            JournalRecord::ReportedCut(*cut).encode(out);
        }
        self.encode_history(work, out);
        if let Some((oldest, index)) = self.checkpoint {
            let (next, now) = (group.first_sequence, self.time.now);
            index.encode_checkpoint(oldest, next, now, self.settled, out);
        }
        for (lane, instance, endpoint) in &work.updates.bindings {
            JournalRecord::Binding {
                lane: *lane,
                instance: instance.as_str(),
                endpoint: endpoint.as_str(),
            }
            .encode(out);
        }
        if !self.copies.is_empty() {
            out.extend_from_slice(self.copies);
            let time = self.time.now;
            JournalRecord::AcceptedIn { time }.encode(out);
        }
        self.put_batches(&work.batches, out);
        if self.history.is_some() {
            out.extend_from_slice(&work.unmatched);
            work.updates.encode_failed(out);
        }
        work.updates.encode(out);
        if work.close {
            let next_sequence = work.next_sequence;
            JournalRecord::Closed { next_sequence }.encode(out);
        }
        group.bytes = (out.len() - start) as u64;
        let mut head = Vec::with_capacity(behind - start);
        JournalRecord::Group(group).encode(&mut head);
        out[start..behind].copy_from_slice(&head);
    }
}

impl BatchOrigin {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        JournalRecord::Origin {
            generation: self.generation,
            instance: self.instance.as_ref().map_or("", InstanceName::as_str),
            caller: self.caller.as_deref().unwrap_or_default(),
            address: self.address,
        }
        .encode(out);
    }
}

fn put_batch<W>(out: &mut Vec<u8>, batch: &EncodedBatch<W>) {
    let mut at = out.len();
    out.extend_from_slice(&batch.frames);
    let mut sequence = batch.first_sequence;
    while let Some(bytes) = frame::trusted(out, at).map(|frame| frame.len()) {
        encode::set_sequence(&mut out[at..], sequence);
        sequence += 1;
        at += bytes;
    }
}

/// One record for all that died in the same way, one after the other.
fn put_letters(out: &mut Vec<u8>, letters: &[(u32, u64, Arc<DeadLetter>)]) {
    let alike = |left: &(u32, u64, Arc<DeadLetter>), right: &(u32, u64, Arc<DeadLetter>)| {
        left.0 == right.0 && left.2 == right.2
    };
    for run in letters.chunk_by(alike) {
        for run in run.chunks(SETTLEMENTS_PER_RECORD) {
            let (lane, _, letter) = &run[0];
            JournalRecord::Dead {
                lane: *lane,
                letter: Arc::clone(letter),
                sequences: run.iter().map(|(_, sequence, _)| *sequence).collect(),
            }
            .encode(out);
        }
    }
}

fn put_settled(out: &mut Vec<u8>, settled: &[(u32, u64, DeliverySettlement)]) {
    let mut by_lane: BTreeMap<u32, Vec<(u64, DeliverySettlement)>> = BTreeMap::new();
    for (lane, sequence, settlement) in settled {
        by_lane
            .entry(*lane)
            .or_default()
            .push((*sequence, *settlement));
    }
    for (lane, settlements) in by_lane {
        for settlements in settlements.chunks(SETTLEMENTS_PER_RECORD) {
            let settlements = settlements.to_vec();
            JournalRecord::Settle { lane, settlements }.encode(out);
        }
    }
}
