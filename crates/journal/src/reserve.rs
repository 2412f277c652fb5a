//! The room that is kept for what nobody may lose: when no new segment can be made, notes still are
//! written into the rest of the active one, part by part, and as they settle events, segments go and
//! room comes back.

use super::commit_failure::CommitFailure;
use super::group::{GroupWork, PendingUpdates};
use super::log::SegmentLog;
use super::release::RELEASE_MOST;
use std::io;

/// One in so many bytes of a segment is kept for notes when there is no room for a new one.
const RESERVE: u64 = 16;

/// More is kept where the counts of all lanes need it, but no more than one in so many bytes.
const RESERVE_MOST: u64 = 4;

const _: () = assert!(RELEASE_MOST > RESERVE_MOST);

/// Binding and counts of one lane, in bytes.
const LANE_BYTES: u64 = 192;

/// What a group needs beside its notes and its counts, in bytes, generously.
const HEAD_BYTES: u64 = 192;

/// Bytes of a note in a group, generously, by kind.
const SETTLED_BYTES: usize = 10;
const LETTER_BYTES: usize = 384;
const NOTE_BYTES: usize = 640;

/// Parts are not made smaller than this, in bytes.
const PART_BYTES_MIN: u64 = 64;

/// Settlements that take four fifths of a room are written in so many groups at most: each takes half of what is left.
const PARTS: u64 = 4;

/// Bytes that so many settlements take in what is left of a segment, with the counts of so many lanes in the groups
/// that let segments go; generously.
pub(super) fn notes_bytes(settled: usize, lanes: usize) -> u64 {
    let counts = 2 * (HEAD_BYTES + lanes as u64 * LANE_BYTES);
    let notes = (settled * SETTLED_BYTES) as u64;
    notes + notes / 4 + PARTS * HEAD_BYTES + counts
}

impl SegmentLog {
    /// Bytes of the active segment that groups with events leave alone.
    pub(super) fn reserve(&self) -> u64 {
        self.reserve_of(self.active.length)
    }

    /// The same of a segment of so many bytes.
    pub(super) fn reserve_of(&self, length: u64) -> u64 {
        let lanes = self.index.lock().lanes.len() as u64;
        // One group settles, the next has the counts, and so on.
        let groups = 4 * (HEAD_BYTES + lanes * LANE_BYTES);
        (length / RESERVE).max(groups.min(length / RESERVE_MOST))
    }

    /// How long a segment is made for a group of so many bytes. One with events leaves room for groups
    /// without any.
    pub(super) fn length_for(&self, group: u64, has_events: bool) -> u64 {
        let usual = self.segment_bytes;
        if !has_events || group + self.reserve_of(usual) <= usual {
            return usual.max(group);
        }
        // No reserve is more than a quarter.
        usual.max(group.saturating_mul(4).div_ceil(3))
    }

    /// Writes the notes of `work`, which has no batches, without a new segment, as far as the active one has
    /// room for them; what is left stays in `work`.
    pub(super) fn commit_rest<W>(&mut self, work: &mut GroupWork<W>) -> Result<(), CommitFailure> {
        self.retention.record_while(!self.next.is_tight());
        if let Some(table) = work.updates.table.take() {
            // The next segment begins with it.
            self.table = Some(table);
        }
        while has_rest(work) || self.releasable().is_some() {
            let written = self.release_by_counts(work)?
                || self.copy_forward(work)?
                || self.commit_part(work)?;
            if !written {
                return match has_rest(work) {
                    true => Err(self.no_room()),
                    false => Ok(()),
                };
            }
            self.unlink_released();
        }
        Ok(())
    }

    /// Writes some of the notes of `work`, or none but the counts that let segments go; false when there is no room
    /// for either.
    fn commit_part<W>(&mut self, work: &mut GroupWork<W>) -> Result<bool, CommitFailure> {
        let room = self.room().saturating_sub(self.kept_bytes());
        // Something is left for the counts, without which no segment goes.
        let mut budget = room.saturating_sub(HEAD_BYTES) / 2;
        while budget >= PART_BYTES_MIN {
            let part = self.part(work, budget);
            if part.updates.is_empty()
                && !part.close
                && part.reported_cuts.is_empty()
                && self.releasable().is_none()
            {
                // Not one note fits: an empty group would use up what is left for nothing.
                restore(work, part);
                return Ok(false);
            }
            if self.group_fits(&part, room) {
                if let Err(failure) = self.write_group(&part) {
                    restore(work, part);
                    return Err(failure);
                }
                return Ok(true);
            }
            restore(work, part);
            // The counts take more than was thought.
            budget /= 2;
        }
        Ok(false)
    }

    /// Carries forward what is left of a segment that is emptied, without the notes of `work`, which may not fit
    /// beside it; false when there is nothing, or no room for it.
    fn copy_forward<W>(&mut self, work: &GroupWork<W>) -> Result<bool, CommitFailure> {
        if !self.next.is_tight() {
            return Ok(false);
        }
        let settled = work.updates.outcomes();
        let mut copies = self.copying.copies(&self.segment_use(), &settled);
        while copies.is_empty() {
            let at_end = copies.cursor == 0;
            self.copying.copied(copies);
            if at_end {
                return Ok(false);
            }
            copies = self.copying.copies(&self.segment_use(), &settled);
        }
        let part = GroupWork::<W> {
            next_sequence: work.next_sequence,
            ..GroupWork::default()
        };
        if !self.copies_fit(&part, &copies) {
            self.copying.put_off(&copies, self.active.id);
            return Ok(false);
        }
        self.write_group(&part)?;
        self.copying.copied(copies);
        Ok(true)
    }

    /// Notes of about so many bytes; with the last of them, what else there is.
    fn part<W>(&self, work: &mut GroupWork<W>, budget: u64) -> GroupWork<W> {
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let mut part = GroupWork {
            updates: work.updates.take_part(budget),
            next_sequence: work.next_sequence,
            ..GroupWork::default()
        };
        // They first: what follows in the same segment makes them damage if they are not recorded.
        part.reported_cuts = std::mem::take(&mut work.reported_cuts);
        if work.updates.is_empty() {
            part.close = std::mem::take(&mut work.close);
        }
        part
    }

    pub(super) fn no_room(&self) -> CommitFailure {
        CommitFailure::Write {
            segment: self.active.id,
            step: "writing into what is left of it",
            source: io::ErrorKind::StorageFull.into(),
        }
    }
}

/// Puts back what was not written.
fn restore<W>(work: &mut GroupWork<W>, part: GroupWork<W>) {
    let mut updates = part.updates;
    updates.append(std::mem::take(&mut work.updates));
    work.updates = updates;
    if !part.reported_cuts.is_empty() {
        work.reported_cuts = part.reported_cuts;
    }
    work.close |= part.close;
}

fn has_rest<W>(work: &GroupWork<W>) -> bool {
    work.close || !work.reported_cuts.is_empty() || !work.updates.is_empty()
}

impl PendingUpdates {
    /// Takes the oldest notes, of about so many bytes in a group. Half of them are kept for settlements, which
    /// bring room back: those of the oldest events go first.
    fn take_part(&mut self, bytes: usize) -> Self {
        let mut part = Self::default();
        let mut left = bytes / 2;
        take(
            &mut self.bindings,
            &mut part.bindings,
            NOTE_BYTES,
            &mut left,
        );
        take(&mut self.states, &mut part.states, NOTE_BYTES, &mut left);
        take(
            &mut self.attempts,
            &mut part.attempts,
            NOTE_BYTES,
            &mut left,
        );
        take(
            &mut self.letters,
            &mut part.letters,
            LETTER_BYTES,
            &mut left,
        );
        let mut left = left + bytes / 2;
        self.settled
            .sort_unstable_by_key(|(_, sequence, _)| *sequence);
        take(
            &mut self.settled,
            &mut part.settled,
            SETTLED_BYTES,
            &mut left,
        );
        part
    }
}

fn take<T>(from: &mut Vec<T>, to: &mut Vec<T>, bytes: usize, left: &mut usize) {
    let count = from.len().min(*left / bytes);
    to.extend(from.drain(..count));
    *left -= count * bytes;
}
