//! The last way to room on a full disk: what settles the oldest segments is recorded by counts alone.
//!
//! A note of each outcome may take more than what is left of the active segment, and outcomes that come one at a time
//! use it up group by group. Counts of all lanes with the outcomes in them take the same room however many outcomes
//! there are, and make the segments unneeded. So every other group leaves that much room alone, and what does not fit
//! beside it waits in memory: a crash has those deliveries made again, and the next process comes to this point too.

use super::checkpoint::SettledDelivery;
use super::commit_failure::CommitFailure;
use super::group::{GroupLayout, GroupWork, PendingUpdates};
use super::log::SegmentLog;
use super::pages::WaitingOutcomes;
use super::totals::HeldSize;
use crate::ledger::DeliverySettlement;
use std::collections::{BTreeMap, HashSet};

/// What a group needs beside its counts, in bytes, generously: its head, its time, its checkpoint, a cut or two that
/// are to be reported.
const HEAD_BYTES: u64 = 256;

/// There is room for so many: a crash may tear the first.
const GROUPS: u64 = 2;

/// It is no more than one in so many bytes of a segment.
pub(super) const RELEASE_MOST: u64 = 8;

/// What the oldest segments are settled by.
pub(super) struct SettledSegments {
    /// The first segment that is needed then.
    pub(super) needed: u64,
    /// Lane, sequence and outcome of every delivery that was open in those before it.
    pub(super) settled: Vec<SettledDelivery>,
}

impl PendingUpdates {
    /// Deliveries that these settle.
    pub(super) fn outcomes(&self) -> WaitingOutcomes {
        let settled = self.settled.iter();
        settled
            .map(|(lane, sequence, _)| (*lane, *sequence))
            .collect()
    }
}

impl SegmentLog {
    /// Bytes of a segment of so many that are kept for counts which let segments go.
    pub(super) fn release_bytes(&self, length: u64) -> u64 {
        let counts = self.index.lock().checkpoint_bytes_max();
        (GROUPS * (HEAD_BYTES + counts)).min(length / RELEASE_MOST)
    }

    /// Bytes of the active segment that a group without events leaves alone, unless it lets a segment go.
    pub(super) fn kept_bytes(&self) -> u64 {
        match self.releasable() {
            Some(_) => 0,
            None => self.release_bytes(self.active.length),
        }
    }

    /// Records by counts what settles the oldest segments, if `work` settles all of them; takes that from `work`.
    ///
    /// Everything else stays in `work`, and all of it when this fails.
    pub(super) fn release_by_counts<W>(
        &mut self,
        work: &mut GroupWork<W>,
    ) -> Result<bool, CommitFailure> {
        let Some(segments) = self.settled_segments(&work.updates) else {
            return Ok(false);
        };
        let part = GroupWork::<W> {
            next_sequence: work.next_sequence,
            // First of all: what follows in the same segment makes them damage if they are not recorded.
            reported_cuts: std::mem::take(&mut work.reported_cuts),
            ..GroupWork::default()
        };
        self.encode_counts(&part, &segments);
        let written = match self.buffer.len() as u64 <= self.room() {
            true => self.write_counts(&part, &segments),
            false => Err(self.no_room()),
        };
        if written.is_err() {
            work.reported_cuts = part.reported_cuts;
        }
        written?;
        let gone: HashSet<u64> = segments.settled.iter().map(|(_, one, _)| *one).collect();
        let updates = &mut work.updates;
        updates.settled.retain(|(_, one, _)| !gone.contains(one));
        updates.letters.retain(|(_, one, _)| !gone.contains(one));
        updates.attempts.retain(|one| !gone.contains(&one.sequence));
        Ok(true)
    }

    /// The oldest segments, as many as all open deliveries are settled of by what waits.
    fn settled_segments(&self, updates: &PendingUpdates) -> Option<SettledSegments> {
        let index = self.index.lock();
        let active = self.active.id;
        let (oldest, share) = index.shares.first_key_value()?;
        let may_go = *oldest < active && self.stuck != self.segments.keys().next().copied();
        if !may_go || (updates.settled.len() as u64) < share.events {
            return None;
        }
        let mut outcomes: BTreeMap<u64, BTreeMap<u32, DeliverySettlement>> = BTreeMap::new();
        for (lane, sequence, settlement) in &updates.settled {
            if index.is_open(*sequence, *lane) {
                let event = outcomes.entry(*sequence).or_default();
                event.entry(*lane).or_insert(*settlement);
            }
        }
        let mut whole: BTreeMap<u64, u64> = BTreeMap::new();
        for (sequence, lanes) in &outcomes {
            if let Some(live) = index.events.get(*sequence)
                && live.open.as_slice().len() == lanes.len()
            {
                *whole.entry(live.place.segment).or_default() += 1;
            }
        }
        let mut open = index.shares.iter();
        let open = open.find(|(segment, share)| whole.get(segment) != Some(&share.events));
        let needed = open.map_or(active, |(segment, _)| *segment).min(active);
        let settled = outcomes.into_iter().filter(|(sequence, _)| {
            let live = index.events.get(*sequence);
            live.is_some_and(|live| live.place.segment < needed)
        });
        let settled = settled.flat_map(|(sequence, lanes)| {
            let lanes = lanes.into_iter();
            lanes.map(move |(lane, settlement)| (lane, sequence, settlement))
        });
        (needed > *oldest).then(|| SettledSegments {
            needed,
            settled: settled.collect(),
        })
    }

    /// Lays out a group whose counts have what settles the segments.
    fn encode_counts<W>(&mut self, part: &GroupWork<W>, segments: &SettledSegments) {
        let index = self.index.clone();
        let index = index.lock();
        let layout = GroupLayout {
            number: self.groups,
            synced: self.synced,
            header: None,
            is_listed: self.manifest.is_there(),
            time: self.time.record(),
            checkpoint: Some((segments.needed, &index)),
            settled: &segments.settled,
            copies: &[],
            history: None,
        };
        layout.encode(part, &mut self.buffer);
    }

    /// Writes and syncs the group in the buffer, with which the segments are unneeded.
    fn write_counts<W>(
        &mut self,
        part: &GroupWork<W>,
        segments: &SettledSegments,
    ) -> Result<(), CommitFailure> {
        self.write()?;
        let (before, after) = {
            let mut index = self.index.lock();
            let before = index.held();
            for (lane, sequence, _) in &segments.settled {
                index.close(*lane, *sequence);
            }
            (before, index.held())
        };
        self.totals.logged(before, HeldSize::default(), after);
        self.written(part);
        self.counted = Some(segments.needed);
        Ok(())
    }
}
