//! The fold of all segments, oldest first: what they say, what stood in them that cannot be read, and
//! what is lost by that.

use super::JournalOpenError;
use super::affected_deliveries::{AffectedDeliveries, LogTail};
use super::contents::{LogContents, SEQUENCES_SKIPPED};
use super::frame::{self, FramePlace};
use super::index::{LaneSummary, LogIndex};
use super::manifest::{FoundManifest, ManifestContent};
use super::record::{CutRange, JournalRecord, SegmentHead};
use super::report::{DamageKind, DamagedRange, JournalReport, LedgerCorrection, LostTotal};
use crate::ledger::DiscardReason;
use std::collections::{BTreeMap, BTreeSet};

/// Receives every record with its place. Used by dump.
pub(crate) type RecordVisitor<'a> = &'a mut dyn FnMut(FramePlace, &JournalRecord<'_>);

/// Reads segment by segment.
pub(super) struct LogFold<'a> {
    visit: RecordVisitor<'a>,
    index: LogIndex,
    report: JournalReport,
    /// What the manifest says.
    known: Option<ManifestContent>,
    /// The segment that comes next, once one is known.
    next_segment: u64,
    /// How long the present segment's file was made.
    made_length: Option<u64>,
    /// Whether a segment says that there was a manifest.
    is_listed: bool,
    /// The sequence that comes next, once one is known.
    expected: Option<u64>,
    /// What the last group said would come next after it.
    promised: u64,
    /// Where the last group said it would end.
    group_end: u64,
    /// The log was synced up to this segment and offset, at least.
    synced: (u64, u64),
    /// The first damage whose sequences are not known yet.
    unnamed: usize,
    oldest_needed: u64,
    /// The same, when the group said so before its counts.
    needed_in_group: Option<u64>,
    /// Cuts that were reported before.
    reported_cuts: Vec<CutRange>,
    affected: AffectedDeliveries,
    keys: BTreeSet<u32>,
    end: (u64, u64),
}

impl<'a> LogFold<'a> {
    pub(super) fn new(known: Option<ManifestContent>, visit: RecordVisitor<'a>) -> Self {
        let synced = known.map(|known| (known.last, known.end));
        Self {
            visit,
            index: LogIndex::default(),
            report: JournalReport::default(),
            known,
            next_segment: known.map_or(0, |known| known.oldest),
            made_length: None,
            is_listed: false,
            expected: None,
            promised: 0,
            group_end: 0,
            synced: synced.unwrap_or_default(),
            unnamed: 0,
            oldest_needed: 0,
            needed_in_group: None,
            reported_cuts: Vec::new(),
            affected: AffectedDeliveries::default(),
            keys: BTreeSet::new(),
            end: (0, 0),
        }
    }

    /// Takes in what is wrong with the files themselves.
    pub(super) fn report_files(&mut self, damage: Vec<DamagedRange>) {
        self.report.damage.extend(damage);
        self.unnamed = self.report.damage.len();
    }

    /// The disk did not give back some of a segment, which was read as zeros.
    pub(super) fn report_unread(&mut self, segment: u64, from: u64, to: u64) {
        self.report.damage.push(DamagedRange {
            kind: DamageKind::ReadError,
            segment,
            from,
            to,
            sequences: None,
        });
    }

    /// Reads the next segment: `bytes` are those of its file, of `length`, up to `limit` if a later
    /// segment says that it ends there.
    pub(super) fn segment(
        &mut self,
        segment: u64,
        bytes: &[u8],
        length: u64,
        limit: Option<u64>,
    ) -> Result<(), JournalOpenError> {
        if self.next_segment > 0 && segment > self.next_segment {
            self.missing(self.next_segment, segment - 1);
        }
        self.next_segment = self.next_segment.max(segment + 1);
        self.group_end = 0;
        self.made_length = None;
        let mut at = 0;
        loop {
            if let Some(frame) = frame::read(bytes, at, segment) {
                self.record(&frame, segment, at)?;
                at += frame.len();
                continue;
            }
            if bytes[at..].iter().all(|byte| *byte == 0) {
                // What a known end cut off was reported when it was.
                let listed = self.known.filter(|known| known.last == segment);
                let listed = listed.map_or(0, |known| known.end);
                let missing = limit.unwrap_or(self.group_end.max(listed));
                if missing > at as u64 {
                    self.damage(segment, at as u64, missing);
                }
                break;
            }
            let next = frame::find(bytes, at + 1, segment);
            let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            let end = next.unwrap_or(used);
            let number = self.report.damage.len();
            self.affected.scan(bytes, at, end, number);
            self.damage(segment, at as u64, end as u64);
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        self.reach(self.promised);
        if at > 0 {
            self.end = (segment, at as u64);
        }
        if let Some(made) = self.made_length.filter(|made| length < *made) {
            self.damage_of(DamageKind::Short, segment, length, made);
        }
        Ok(())
    }

    /// Segments that should be there are not.
    fn missing(&mut self, first: u64, last: u64) {
        self.damage_of(DamageKind::Missing, first, 0, last);
    }

    /// Damage in a segment; whether it is a cut or worse is known at the end.
    fn damage(&mut self, segment: u64, from: u64, to: u64) {
        self.damage_of(DamageKind::Cut, segment, from, to);
    }

    fn damage_of(&mut self, kind: DamageKind, segment: u64, from: u64, to: u64) {
        self.report.closed = false;
        self.report.damage.push(DamagedRange {
            kind,
            segment,
            from,
            to,
            sequences: None,
        });
    }

    fn record(
        &mut self,
        frame: &frame::RecordFrame<'_>,
        segment: u64,
        at: usize,
    ) -> Result<(), JournalOpenError> {
        let offset = at as u64;
        let record = JournalRecord::decode(frame).map_err(|unknown| JournalOpenError::Newer {
            segment,
            offset,
            version: unknown.version,
            kind: unknown.kind,
        })?;
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let place = FramePlace {
            segment,
            offset,
            bytes,
        };
        (self.visit)(place, &record);
        self.report.records += 1;
        if let Some(stamp) = record.event().and_then(|event| event.stamp) {
            self.keys.insert(stamp.key);
            self.report.note_sealed(segment);
        }
        self.report.closed = false;
        self.follow(&record, offset);
        self.affected
            .hear(&record, &mut self.index, &self.report.damage);
        if let JournalRecord::Counts { lane, .. } = &record
            && let Some(needed) = self.needed_in_group
            && self.is_whole_so_far()
        {
            // With damage, what is open there may be all that is left of it.
            self.index.drop_before(*lane, needed);
        }
        self.index.apply(&record, place);
        Ok(())
    }

    /// Whether nothing is damaged but the ends of groups that never counted.
    fn is_whole_so_far(&self) -> bool {
        let mut damage = self.report.damage.iter();
        damage.all(|damage| self.reported_cuts.contains(&damage.place()))
    }

    /// Takes note of what a record says about the log itself.
    fn follow(&mut self, record: &JournalRecord<'_>, offset: u64) {
        match record {
            JournalRecord::Segment(head) => self.begin(head),
            JournalRecord::Extent { length, listed } => {
                self.made_length = Some(*length);
                self.is_listed |= listed;
            }
            JournalRecord::Group(group) => {
                self.reach(group.first_sequence);
                self.promised = group.first_sequence.saturating_add(u64::from(group.events));
                self.group_end = offset.saturating_add(group.bytes);
                self.needed_in_group = None;
                let synced = (group.synced_segment, group.synced_offset);
                self.synced = self.synced.max(synced);
            }
            JournalRecord::Event { event, .. } | JournalRecord::Replay { event, .. } => {
                self.reach(event.sequence);
                self.expected = Some(event.sequence.saturating_add(1));
            }
            JournalRecord::ReportedCut(cut) => self.reported_cuts.push(*cut),
            JournalRecord::Checkpoint { oldest_segment, .. } => {
                self.oldest_needed = self.oldest_needed.max(*oldest_segment);
                self.needed_in_group = Some(*oldest_segment);
            }
            JournalRecord::Closed { next_sequence } => {
                self.reach(*next_sequence);
                self.report.closed = true;
            }
            _ => {}
        }
    }

    /// A segment begins. Numbers before its first may stand nowhere: a crash leaves some out.
    fn begin(&mut self, head: &SegmentHead) {
        let first = head.first_sequence;
        let known = self.expected.unwrap_or(first);
        let place = self.report.damage.len().wrapping_sub(1);
        if let Some(last) = self.report.damage.get_mut(self.unnamed..)
            && let Some(last) = last.last_mut()
            && last.kind == DamageKind::Missing
            && (1..SEQUENCES_SKIPPED).contains(&first.saturating_sub(known))
        {
            last.sequences = Some(known..=first - 1);
        }
        let last = self.report.damage.get(place);
        if self.expected.is_none() && last.is_some_and(|last| last.kind == DamageKind::Missing) {
            self.affected.nothing_before(first, place);
        }
        self.expected = Some(known.max(first));
        self.unnamed = self.report.damage.len();
    }

    /// The next event is `sequence`: what was expected before it stood in the damage passed last.
    fn reach(&mut self, sequence: u64) {
        let Some(expected) = self.expected.filter(|expected| *expected < sequence) else {
            self.expected = self.expected.or(Some(sequence));
            return;
        };
        self.expected = Some(sequence);
        if let Some(damage) = self.report.damage.get_mut(self.unnamed..)
            && let Some(last) = damage.last_mut()
        {
            last.sequences = Some(expected..=sequence - 1);
            self.unnamed = self.report.damage.len();
        }
    }

    /// What the manifest says beyond what was found: gives it if the log ends before it should.
    fn beyond_the_end(&mut self) -> Option<ManifestContent> {
        let known = self.known?;
        if known.newest >= self.next_segment {
            self.missing(self.next_segment.max(1), known.newest);
        }
        self.next_segment = self.next_segment.max(known.newest.saturating_add(1));
        let is_short = (known.last, known.end) > self.end;
        if is_short {
            if self.end.0 < known.last {
                // Nothing of the last was read, so only its own sequences are known to be gone.
                let expected = self.expected.unwrap_or(0);
                self.expected = Some(expected.max(known.first_sequence));
            }
            self.reach(known.next_sequence);
        }
        self.expected = Some(self.expected.unwrap_or(1).max(known.next_sequence));
        is_short.then_some(known)
    }

    pub(super) fn finish(
        mut self,
        segments: BTreeMap<u64, u64>,
        manifest: Option<FoundManifest>,
    ) -> LogContents {
        let beyond = self.beyond_the_end();
        let first = segments.keys().next().copied().unwrap_or(self.next_segment);
        if self.known.is_none() && (1..first).contains(&self.oldest_needed) {
            self.missing(self.oldest_needed, first - 1);
        }
        if self.known.is_none() && self.is_listed {
            self.damage_of(DamageKind::Unlisted, 0, 0, 0);
        }
        let expected = self.expected.unwrap_or(1);
        let reported = std::mem::take(&mut self.reported_cuts);
        for damage in &mut self.report.damage {
            let synced = (damage.segment, damage.from) < self.synced;
            if damage.kind == DamageKind::Cut && synced && !reported.contains(&damage.place()) {
                damage.kind = DamageKind::Quarantined;
            }
        }
        self.count_lost(expected, beyond);
        let append_at = self.append_at(&segments);
        let oldest = self.oldest_needed;
        self.report.damage.retain_mut(|damage| {
            if damage.kind == DamageKind::Short && damage.segment < oldest {
                // What is kept as history has no zeros behind its end.
                return false;
            }
            if damage.kind == DamageKind::Missing {
                damage.segment = damage.segment.max(oldest);
                return damage.to >= oldest;
            }
            !reported.contains(&damage.place())
        });
        // Numbers may have been given to events that never came to the disk, unless there was nothing yet.
        let is_new = segments.is_empty() && self.known.is_none_or(|known| known.newest == 0);
        self.report.next_sequence = if self.report.closed || is_new {
            expected
        } else {
            expected.saturating_add(SEQUENCES_SKIPPED)
        };
        self.report.segments = segments.len();
        self.report.bytes = segments.values().sum();
        self.report.events_open = self.index.events.len() as u64;
        self.report.deliveries_open = self.index.open;
        let newest = segments.keys().next_back().copied().unwrap_or(0);
        LogContents {
            next_sequence: self.report.next_sequence,
            newest: newest.max(self.known.map_or(0, |known| known.newest)),
            synced: beyond.map_or(self.end, |known| (known.last, known.end)),
            kept: self.report.unread_segments(),
            index: self.index,
            segments,
            names: BTreeMap::new(),
            needed: 0,
            created: BTreeMap::new(),
            manifest,
            append_at,
            keys: self.keys,
            end: self.end,
            report: self.report,
        }
    }

    /// Where the last segment may be gone on with: it is whole, and so is its file.
    fn append_at(&self, segments: &BTreeMap<u64, u64>) -> Option<u64> {
        let (last, _) = segments.last_key_value()?;
        let (segment, end) = self.end;
        let newest = self.known.map_or(*last, |known| known.newest);
        if segment != *last || newest > segment {
            return None;
        }
        let damage = self.report.damage.iter();
        let mut behind = end;
        for damage in damage.filter(|damage| damage.segment == segment) {
            if damage.kind != DamageKind::Cut {
                return None;
            }
            behind = behind.max(damage.to);
        }
        Some(behind)
    }

    /// Counts what is lost, in the open: for each lane as far as it is known, else for none.
    fn count_lost(&mut self, expected: u64, beyond: Option<ManifestContent>) {
        // As old as the log, or younger: it counts every delivery that was ever made.
        let exact = self
            .known
            .filter(|known| (known.last, known.end) >= self.end);
        let tail = exact.map(|known| LogTail {
            made: known.made,
            open: known.open,
            fresh_open: known.fresh_open,
            last: known.last,
            is_short: beyond.is_some(),
        });
        let affected = std::mem::take(&mut self.affected);
        let mut lost = affected.lost(&mut self.index, &self.report.damage, expected, tail);
        (self.report.lost, self.report.lost_more) = (lost.named, lost.more);
        // What was lost before stood in counts that may be gone themselves.
        let known = self.index.lost_by_lanes() + self.index.lost_unknown;
        let in_last = |known: &ManifestContent| {
            let mut damage = self.report.damage.iter();
            damage.any(|damage| damage.takes_records() && damage.last_segment() == known.last)
        };
        let before = beyond.or(exact.filter(in_last));
        let forgotten = before.map_or(0, |before| before.lost.saturating_sub(known));
        let certain = match lost.unknown + lost.most.values().sum::<u64>() {
            0 => BTreeMap::new(),
            _ => self.open_behind_damage(),
        };
        let counted = self.settle_counts(&lost.most, &certain);
        if let Some(exact) = exact {
            // What was open is counted already, or is there for certain, or is lost.
            let known = counted + certain.values().sum::<u64>();
            lost.unknown = lost.unknown.min(exact.open.saturating_sub(known));
        }
        self.report.lost_unknown = lost.unknown;
        self.index.lost_unknown += lost.unknown + forgotten;
        self.index.lost_known = self.index.lost_by_lanes();
        // What waits for a lane whose name is lost goes nowhere.
        let of_lane = |(number, lane): (&u32, &LaneSummary)| LostTotal {
            lane: Some((*number, lane.name.clone())),
            deliveries: lane.ledger.discarded(DiscardReason::Lost)
                + if lane.name.is_none() { lane.open } else { 0 },
        };
        let unknown = LostTotal {
            lane: None,
            deliveries: self.index.lost_unknown,
        };
        let totals = self.index.lanes.iter().map(of_lane).chain([unknown]);
        self.report.lost_totals = totals.filter(|total| total.deliveries > 0).collect();
    }

    /// By lane, open deliveries of events whose records stand behind all damage: they are open for certain.
    fn open_behind_damage(&self) -> BTreeMap<u32, u64> {
        let damage = self.report.damage.iter().filter(|one| one.takes_records());
        let last = damage.map(|damage| match damage.kind {
            DamageKind::Missing => (damage.to, u64::MAX),
            _ => (damage.segment, damage.to),
        });
        let last = last.max().unwrap_or_default();
        let mut open = BTreeMap::new();
        for (_, live) in self.index.events.from(0) {
            let is_behind = (live.place.segment, live.place.offset) >= last;
            for delivery in live.open.as_slice() {
                *open.entry(delivery.lane).or_default() += u64::from(is_behind);
            }
        }
        open
    }

    /// Makes every lane add up again after damage, in the open. Of each, no more than `most` were made in
    /// damage.
    ///
    /// Counts tell how many more are lost than come back for want of their settlement. Both may have stood
    /// in the damage: then as many are taken to be lost as may be, and the others come back.
    ///
    /// Gives how many are lost.
    fn settle_counts(&mut self, most: &BTreeMap<u32, u64>, certain: &BTreeMap<u32, u64>) -> u64 {
        let mut counted = 0;
        for (number, lane) in &mut self.index.lanes {
            let made = lane.ledger.made();
            let here = lane.open + lane.ledger.settled();
            let open = made.saturating_sub(lane.ledger.settled());
            let certain = certain.get(number).copied().unwrap_or(0);
            let most = most.get(number).copied().unwrap_or(0);
            let most = most.min(open.saturating_sub(certain));
            let lost = made.saturating_sub(here).max(most);
            let again = (here + lost).saturating_sub(made);
            counted += lost;
            if lost + again > 0 {
                lane.ledger.discard_many(DiscardReason::Lost, lost);
                lane.ledger.matched += again;
                self.index.made += again;
                self.report.corrections.push(LedgerCorrection {
                    lane: *number,
                    name: lane.name.clone(),
                    lost,
                    again,
                });
            }
        }
        counted
    }
}
