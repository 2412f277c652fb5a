//! Reading records: every count is bounded by the bytes that are there, and what they do not hold is nothing,
//! never a panic.

use super::encode::{NO_TIME, letter_of, reason_of, settlement_of};
use super::history::fault_of;
use super::{
    AcceptedEvent, CutRange, GroupHead, ITEMS_MAX, JournalRecord, LaneList, LaneState,
    OpenDelivery, SealStamp, SegmentHead, kind,
};
use crate::frame;
use crate::ledger::Ledger;
use crate::time::TimeRecord;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::{DeadLetter, OUTCOME_BYTES_MAX};

/// Why a valid frame is no record that this program knows: it was written by a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownRecord {
    pub(crate) version: u8,
    pub(crate) kind: u8,
}

impl<'a> JournalRecord<'a> {
    /// Reads the record in a frame.
    pub(crate) fn decode(frame: &frame::RecordFrame<'a>) -> Result<Self, UnknownRecord> {
        let unknown = UnknownRecord {
            version: frame.version,
            kind: frame.kind,
        };
        if frame.version != frame::VERSION {
            return Err(unknown);
        }
        Self::decode_body(frame.kind, frame.body).ok_or(unknown)
    }

    fn decode_body(kind: u8, body: &'a [u8]) -> Option<Self> {
        let mut body = RecordBody(body);
        match kind {
            kind::SEGMENT => body.segment(),
            kind::GROUP => body.group(),
            kind::BINDING => body.binding(),
            kind::COUNTS_1 => body.counts_1(),
            kind::COUNTS => body.counts(),
            kind::STATE => body.state(),
            kind::CHECKPOINT => body.checkpoint(),
            kind::EVENT_1 => body.event_1(),
            kind::EVENT => body.event(),
            kind::EVENT_SEALED => body.event()?.sealed(),
            kind::COPY_1 => body.copy_1(),
            kind::COPY => body.copy(),
            kind::COPY_SEALED => body.copy()?.sealed(),
            kind::REPLAY => body.replay(),
            kind::REPLAY_SEALED => body.replay()?.sealed(),
            kind::SETTLE => body.settle(),
            kind::ATTEMPT => body.attempt(),
            kind::DEAD => body.dead(),
            kind::EXTENT => body.extent(),
            kind::TIME => body.journal_time(),
            kind::ACCEPTED_IN => body.u64().map(|time| Self::AcceptedIn { time }),
            kind::CLOCK => body.time().map(|at| Self::Clock { at }),
            kind::ORIGIN => body.origin(),
            kind::TABLE => body.table(),
            kind::FAILED => body.failed(),
            kind::UNMATCHED => body.unmatched(),
            kind::UNMATCHED_SEALED => body.unmatched()?.sealed(),
            kind::LOST => body.u64().map(|deliveries| Self::Lost { deliveries }),
            kind::REPORTED_CUT => body.reported_cut(),
            kind::CLOSED => body
                .u64()
                .map(|next_sequence| Self::Closed { next_sequence }),
            _ => None,
        }
    }

    /// The same record, whose content begins with its stamp.
    fn sealed(mut self) -> Option<Self> {
        if let Self::Event { event, .. }
        | Self::Copy { event, .. }
        | Self::Replay { event, .. }
        | Self::Unmatched { event } = &mut self
        {
            let mut body = RecordBody(event.content);
            event.stamp = Some(body.stamp()?);
            event.content = body.0;
        }
        Some(self)
    }

    /// The event in a frame that holds one.
    pub(crate) fn event_in(frame: &frame::RecordFrame<'a>) -> Option<AcceptedEvent<'a>> {
        Self::decode(frame).ok()?.event().copied()
    }
}

/// What is left of a body.
struct RecordBody<'a>(&'a [u8]);

impl<'a> RecordBody<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.chunk()
            .map(i64::from_le_bytes)
            .map(Timestamp::from_unix_millis)
    }

    fn name(&mut self) -> Option<&'a str> {
        let bytes = self.u8()?;
        std::str::from_utf8(self.take(bytes.into())?).ok()
    }

    fn optional_time(&mut self) -> Option<Option<Timestamp>> {
        self.time().map(|time| (time != NO_TIME).then_some(time))
    }

    /// An open delivery of the first records of version 1.
    fn open_1(&mut self) -> Option<OpenDelivery> {
        Some(OpenDelivery {
            lane: self.u32()?,
            attempts: self.u32()?,
            due: self.optional_time()?,
            dead: None,
        })
    }

    fn open(&mut self) -> Option<OpenDelivery> {
        let mut open = self.open_1()?;
        open.dead = match self.u8()? {
            0 => None,
            1 => Some(Arc::new(self.letter()?)),
            _ => return None,
        };
        Some(open)
    }

    fn letter(&mut self) -> Option<DeadLetter> {
        Some(DeadLetter {
            reason: letter_of(self.u8()?)?,
            attempts: self.u32()?,
            died_at: self.time()?,
            last_attempt_at: self.optional_time()?,
            outcome: self.outcome()?.into(),
        })
    }

    fn origin(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Origin {
            generation: self.u64()?,
            instance: self.name()?,
            caller: self.outcome()?,
            address: match self.u8()? {
                0 => None,
                4 => Some(IpAddr::from(self.chunk::<4>()?)),
                6 => Some(IpAddr::from(self.chunk::<16>()?)),
                _ => return None,
            },
        })
    }

    fn table(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Table {
            generation: self.u64()?,
            content: self.0,
        })
    }

    fn failed(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Failed {
            lane: self.u32()?,
            fault: fault_of(self.u8()?)?,
            text: self.outcome()?,
            sequences: self.items(Self::u64)?,
        })
    }

    fn unmatched(&mut self) -> Option<JournalRecord<'a>> {
        let mut event = self.accepted()?;
        event.content = self.0;
        Some(JournalRecord::Unmatched { event })
    }

    fn outcome(&mut self) -> Option<&'a str> {
        let bytes = self.chunk().map(u16::from_le_bytes)?;
        if usize::from(bytes) > OUTCOME_BYTES_MAX {
            return None;
        }
        std::str::from_utf8(self.take(bytes.into())?).ok()
    }

    /// As many items as the count before them says; no room is made for more than there are bytes.
    fn items<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()? as usize;
        if count > ITEMS_MAX || count > self.0.len() {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn segment(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Segment(SegmentHead {
            id: self.u64()?,
            first_sequence: self.u64()?,
            created: self.time()?,
            previous_segment: self.u64()?,
            previous_end: self.u64()?,
        }))
    }

    fn group(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Group(GroupHead {
            number: self.u64()?,
            synced_segment: self.u64()?,
            synced_offset: self.u64()?,
            bytes: self.u64()?,
            first_sequence: self.u64()?,
            events: self.u32()?,
        }))
    }

    fn binding(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Binding {
            lane: self.u32()?,
            instance: self.name()?,
            endpoint: self.name()?,
        })
    }

    fn counts_1(&mut self) -> Option<JournalRecord<'a>> {
        let lane = self.u32()?;
        let ledger = Ledger {
            matched: self.u64()?,
            delivered: self.u64()?,
            dead_lettered: self.u64()?,
            ..Ledger::default()
        };
        let ledger = self.discarded(ledger)?;
        Some(JournalRecord::Counts { lane, ledger })
    }

    fn counts(&mut self) -> Option<JournalRecord<'a>> {
        let lane = self.u32()?;
        let ledger = Ledger {
            matched: self.u64()?,
            replayed: self.u64()?,
            delivered: self.u64()?,
            dead_lettered: self.u64()?,
            dead_replayed: self.u64()?,
            ..Ledger::default()
        };
        let ledger = self.discarded(ledger)?;
        Some(JournalRecord::Counts { lane, ledger })
    }

    fn discarded(&mut self, mut ledger: Ledger) -> Option<Ledger> {
        for (code, count) in self.items(|body| Some((body.u8()?, body.u64()?)))? {
            ledger.discard_many(reason_of(code)?, count);
        }
        Some(ledger)
    }

    fn state(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::State {
            lane: self.u32()?,
            state: LaneState {
                paused: match self.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                },
                still: Duration::from_millis(self.u64()?),
                still_since: self.optional_time()?,
            },
        })
    }

    fn checkpoint(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Checkpoint {
            oldest_segment: self.u64()?,
            next_sequence: self.u64()?,
        })
    }

    fn event_1(&mut self) -> Option<JournalRecord<'a>> {
        let mut event = self.accepted_1()?;
        let lanes = self.lanes()?;
        event.content = self.0;
        Some(JournalRecord::Event { event, lanes })
    }

    fn event(&mut self) -> Option<JournalRecord<'a>> {
        let mut event = self.accepted()?;
        let lanes = self.lanes()?;
        event.content = self.0;
        Some(JournalRecord::Event { event, lanes })
    }

    /// What stands before the lanes; the JSON stands last.
    fn accepted(&mut self) -> Option<AcceptedEvent<'a>> {
        let mut event = self.accepted_1()?;
        event.twin = Some(self.u64()?);
        Some(event)
    }

    fn accepted_1(&mut self) -> Option<AcceptedEvent<'a>> {
        Some(AcceptedEvent {
            sequence: self.u64()?,
            accepted_at: self.time()?,
            twin: None,
            content: &[],
            stamp: None,
        })
    }

    fn lanes(&mut self) -> Option<LaneList<'a>> {
        let count = self.u32()? as usize;
        if count > ITEMS_MAX {
            return None;
        }
        let (lanes, _) = self.take(count * size_of::<u32>())?.as_chunks();
        Some(LaneList(lanes))
    }

    fn copy_1(&mut self) -> Option<JournalRecord<'a>> {
        let mut event = self.accepted_1()?;
        let lanes = self.items(Self::open_1)?;
        event.content = self.0;
        Some(JournalRecord::Copy { event, lanes })
    }

    fn copy(&mut self) -> Option<JournalRecord<'a>> {
        let mut event = self.accepted()?;
        let lanes = self.items(Self::open)?;
        event.content = self.0;
        Some(JournalRecord::Copy { event, lanes })
    }

    fn replay(&mut self) -> Option<JournalRecord<'a>> {
        let mut event = self.accepted()?;
        let lane = self.u32()?;
        let replay_of = self.u64()?;
        event.content = self.0;
        Some(JournalRecord::Replay {
            event,
            lane,
            replay_of,
        })
    }

    /// What a sealed event is sealed with.
    fn stamp(&mut self) -> Option<SealStamp> {
        Some(SealStamp {
            key: self.u32()?,
            count: self.u64()?,
        })
    }

    fn dead(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Dead {
            lane: self.u32()?,
            letter: Arc::new(self.letter()?),
            sequences: self.items(Self::u64)?,
        })
    }

    fn settle(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Settle {
            lane: self.u32()?,
            settlements: self.items(|body| Some((body.u64()?, settlement_of(body.u8()?)?)))?,
        })
    }

    fn journal_time(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Time(TimeRecord {
            now: self.u64()?,
            boot: self.u64()?,
            since_boot: self.u64()?,
        }))
    }

    fn extent(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Extent {
            length: self.u64()?,
            listed: match self.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        })
    }

    fn reported_cut(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::ReportedCut(CutRange {
            segment: self.u64()?,
            from: self.u64()?,
            to: self.u64()?,
        }))
    }

    fn attempt(&mut self) -> Option<JournalRecord<'a>> {
        Some(JournalRecord::Attempt {
            sequence: self.u64()?,
            lane: self.u32()?,
            attempts: self.u32()?,
            due: self.optional_time()?,
        })
    }
}
