//! Reading record bodies: what the bytes do not hold is nothing, never a panic.

use super::record::{Group, Hole, ITEMS_MAX, NOT_DUE, Open, Record, Segment, fate_of, reason_of};
use crate::ledger::Ledger;
use twinroute_model::clock::Timestamp;

/// What is left of a body.
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
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

    pub(super) fn u64(&mut self) -> Option<u64> {
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

    fn open(&mut self) -> Option<Open> {
        Some(Open {
            lane: self.u32()?,
            attempts: self.u32()?,
            due: self.time().map(|due| (due != NOT_DUE).then_some(due))?,
        })
    }

    /// As many items as the count before them says; no room is made for more than there are bytes.
    fn items<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()? as usize;
        if count > ITEMS_MAX || count > self.0.len() {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn segment(&mut self) -> Option<Record<'a>> {
        Some(Record::Segment(Segment {
            id: self.u64()?,
            first_sequence: self.u64()?,
            created: self.time()?,
            previous_segment: self.u64()?,
            previous_end: self.u64()?,
        }))
    }

    pub(super) fn group(&mut self) -> Option<Record<'a>> {
        Some(Record::Group(Group {
            number: self.u64()?,
            synced_segment: self.u64()?,
            synced_offset: self.u64()?,
            bytes: self.u64()?,
            first_sequence: self.u64()?,
            events: self.u32()?,
        }))
    }

    pub(super) fn binding(&mut self) -> Option<Record<'a>> {
        Some(Record::Binding {
            lane: self.u32()?,
            instance: self.name()?,
            endpoint: self.name()?,
        })
    }

    pub(super) fn counts(&mut self) -> Option<Record<'a>> {
        let lane = self.u32()?;
        let mut ledger = Ledger {
            matched: self.u64()?,
            delivered: self.u64()?,
            dead_lettered: self.u64()?,
            ..Ledger::default()
        };
        for (code, count) in self.items(|body| Some((body.u8()?, body.u64()?)))? {
            ledger.discard_many(reason_of(code)?, count);
        }
        Some(Record::Counts { lane, ledger })
    }

    pub(super) fn checkpoint(&mut self) -> Option<Record<'a>> {
        Some(Record::Checkpoint {
            oldest_segment: self.u64()?,
            next_sequence: self.u64()?,
        })
    }

    pub(super) fn event(&mut self) -> Option<Record<'a>> {
        Some(Record::Event {
            sequence: self.u64()?,
            accepted_at: self.time()?,
            lanes: self.items(Self::u32)?,
            json: self.0,
        })
    }

    pub(super) fn copy(&mut self) -> Option<Record<'a>> {
        Some(Record::Copy {
            sequence: self.u64()?,
            accepted_at: self.time()?,
            lanes: self.items(Self::open)?,
            json: self.0,
        })
    }

    pub(super) fn settle(&mut self) -> Option<Record<'a>> {
        Some(Record::Settle {
            lane: self.u32()?,
            fates: self.items(|body| Some((body.u64()?, fate_of(body.u8()?)?)))?,
        })
    }

    pub(super) fn hole(&mut self) -> Option<Record<'a>> {
        Some(Record::Hole(Hole {
            segment: self.u64()?,
            from: self.u64()?,
            to: self.u64()?,
        }))
    }

    pub(super) fn attempt(&mut self) -> Option<Record<'a>> {
        Some(Record::Attempt {
            sequence: self.u64()?,
            open: self.open()?,
        })
    }
}
