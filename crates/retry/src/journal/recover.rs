//! Reading a journal back: the fold of all segments, and what is wrong with them.
//!
//! Constraints: never panic, whatever the bytes; never skip anything without saying so; keep every
//! record whose checksum holds, also behind damage; what a newer program wrote is refused, not
//! guessed at.
//!
//! Reading changes nothing on disk.

use super::frame;
use super::index::{Index, Place};
use super::keys::{KEYS, Keys, Sealing};
use super::log::{name_of, read_frame, segment_of};
use super::record::{Hole, Record, Segment};
use super::report::{Correction, Damage, DamageKind, Report};
use super::storage::Storage;
use super::suspects::Suspects;
use crate::ledger::Discard;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("journal {path}: another process has it open")]
    Locked {
        /// The folder.
        path: String,
        /// Who.
        source: io::Error,
    },
    /// The system refused something.
    #[error("journal {path}: {step}")]
    Io {
        /// The folder.
        path: String,
        /// What was tried.
        step: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A newer version of twinroute wrote it.
    #[error(
        "segment {segment} of the journal: the record at offset {offset} has version {version} and \
         kind {kind}, which this program does not know; a newer one wrote it"
    )]
    Newer {
        /// The segment.
        segment: u64,
        /// Where the record stands.
        offset: u64,
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
    /// Its events are sealed, and there is no key.
    #[error(
        "journal {path}: it holds sealed events, and no key was given that opens its file \"{KEYS}\": bring back \
         the key; without it these accepted events are lost"
    )]
    Sealed {
        /// The folder.
        path: String,
    },
    /// The key does not open the file with its keys.
    #[error(
        "journal {path}: its file \"{KEYS}\" was sealed with another key, or is damaged: bring back the key, or \
         the file, as it was; without them its sealed events, which were accepted, are lost"
    )]
    OtherKey {
        /// The folder.
        path: String,
    },
    /// A key that events are sealed with is not there.
    #[error(
        "journal {path}: events are sealed with key {number}, which its file \"{KEYS}\" does not hold: bring back \
         the file that belongs to these segments; without it these accepted events are lost"
    )]
    KeyGone {
        /// The folder.
        path: String,
        /// The key's number.
        number: u32,
    },
}

impl OpenError {
    pub(crate) fn locking(storage: &dyn Storage, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock => Self::Locked {
                path: storage.describe(),
                source,
            },
            _ => Self::io(storage, "locking", source),
        }
    }

    pub(crate) fn io(storage: &dyn Storage, step: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            path: storage.describe(),
            step: step.into(),
            source,
        }
    }
}

/// Sequences that are skipped when it is not known which were given out: more than fit in what can
/// wait for a sync.
pub(crate) const SEQUENCES_SKIPPED: u64 = 1 << 20;

/// What the segments say.
pub(crate) struct Found {
    pub(crate) index: Index,
    pub(crate) segments: BTreeMap<u64, u64>,
    /// Where the log ends.
    pub(crate) end: (u64, u64),
    pub(crate) next_sequence: u64,
    /// The numbers of the keys that records name.
    pub(crate) keys: BTreeSet<u32>,
    pub(crate) report: Report,
}

/// Receives every record with its place. Used by dump.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Place, &Record<'_>);

/// Reads all segments. Events are not parsed.
pub(crate) fn read(storage: &dyn Storage, visit: Visit<'_>) -> Result<Found, OpenError> {
    let names = storage.list();
    let names = names.map_err(|error| OpenError::io(storage, "listing", error))?;
    let mut segments = BTreeMap::new();
    for name in names {
        if let Some(segment) = segment_of(&name) {
            let length = storage.len(&name);
            let length = length.map_err(|error| OpenError::io(storage, &*name, error))?;
            segments.insert(segment, length);
        }
    }
    let limits = limits(storage, &segments)?;
    let mut reader = Reader::new(visit);
    let mut buffer = Vec::new();
    let mut ahead = segments.keys().skip(1);
    for (segment, length) in &segments {
        if let Some(next) = ahead.next() {
            storage.will_read(&name_of(*next));
        }
        let kept = limits.get(segment).copied();
        let bytes = (*length).min(kept.unwrap_or(u64::MAX));
        read_segment(storage, *segment, bytes, &mut buffer)?;
        reader.segment(*segment, &buffer, kept)?;
    }
    drop(buffer);
    reader.missing(&segments);
    Ok(reader.finish(segments))
}

/// Fills `buffer` with the beginning of a segment.
fn read_segment(
    storage: &dyn Storage,
    segment: u64,
    bytes: u64,
    buffer: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let name = name_of(segment);
    buffer.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
    let read = storage.read_at(&name, buffer, 0);
    read.map_err(|error| OpenError::io(storage, format!("reading {name}"), error))
}

/// Where segments end that a later one knows the end of.
fn limits(
    storage: &dyn Storage,
    segments: &BTreeMap<u64, u64>,
) -> Result<BTreeMap<u64, u64>, OpenError> {
    const HEAD: u64 = 128;
    let mut limits = BTreeMap::new();
    let mut bytes = Vec::new();
    for (segment, length) in segments {
        read_segment(storage, *segment, (*length).min(HEAD), &mut bytes)?;
        let frame = frame::read(&bytes, 0, *segment);
        let header = match frame.map(|frame| Record::decode(&frame)) {
            Some(Ok(Record::Segment(header))) => header,
            _ => continue,
        };
        let previous = header.previous_segment;
        for (between, _) in segments.range(previous..*segment) {
            let end = if *between == previous {
                header.previous_end
            } else {
                0
            };
            limits.insert(*between, end);
        }
    }
    Ok(limits)
}

struct Reader<'a> {
    visit: Visit<'a>,
    index: Index,
    report: Report,
    /// The sequence that comes next, once one is known.
    expected: Option<u64>,
    /// What the last group said would come next after it.
    promised: u64,
    /// Where the last group said it would end.
    group_end: u64,
    /// The log was synced up to this segment and offset, at least.
    synced: (u64, u64),
    /// The first damage whose sequences are not told yet.
    untold: usize,
    oldest_needed: u64,
    /// Cuts that were told before.
    holes: Vec<Hole>,
    suspects: Suspects,
    keys: BTreeSet<u32>,
    end: (u64, u64),
}

impl<'a> Reader<'a> {
    fn new(visit: Visit<'a>) -> Self {
        Self {
            visit,
            index: Index::default(),
            report: Report::default(),
            expected: None,
            promised: 0,
            group_end: 0,
            synced: (0, 0),
            untold: 0,
            oldest_needed: 0,
            holes: Vec::new(),
            suspects: Suspects::default(),
            keys: BTreeSet::new(),
            end: (0, 0),
        }
    }

    fn segment(&mut self, segment: u64, bytes: &[u8], limit: Option<u64>) -> Result<(), OpenError> {
        self.group_end = 0;
        let mut at = 0;
        loop {
            if let Some(frame) = frame::read(bytes, at, segment) {
                self.record(&frame, segment, at)?;
                at += frame.len();
                continue;
            }
            if bytes[at..].iter().all(|byte| *byte == 0) {
                // What a known end cut off was told when it was.
                let missing = limit.unwrap_or(self.group_end);
                if missing > at as u64 {
                    self.damage(segment, at as u64, missing);
                }
                break;
            }
            let next = frame::find(bytes, at + 1, segment);
            let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            let end = next.unwrap_or(used);
            let number = self.report.damage.len();
            self.suspects.look(bytes, at, end, number);
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
        Ok(())
    }

    /// Notes damage; which kind, is known at the end.
    fn damage(&mut self, segment: u64, from: u64, to: u64) {
        self.report.closed = false;
        self.report.damage.push(Damage {
            kind: DamageKind::Cut,
            segment,
            from,
            to,
            sequences: None,
        });
    }

    fn record(
        &mut self,
        frame: &frame::Frame<'_>,
        segment: u64,
        at: usize,
    ) -> Result<(), OpenError> {
        let offset = at as u64;
        let record = Record::decode(frame).map_err(|unknown| OpenError::Newer {
            segment,
            offset,
            version: unknown.version,
            kind: unknown.kind,
        })?;
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let place = Place {
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
        match &record {
            Record::Segment(Segment { first_sequence, .. }) => {
                let first = *first_sequence;
                self.expected = Some(self.expected.map_or(first, |known| known.max(first)));
                self.untold = self.report.damage.len();
            }
            Record::Group(group) => {
                self.reach(group.first_sequence);
                self.promised = group.first_sequence.saturating_add(u64::from(group.events));
                self.group_end = offset.saturating_add(group.bytes);
                let synced = (group.synced_segment, group.synced_offset);
                self.synced = self.synced.max(synced);
            }
            Record::Event { event, .. } | Record::Replay { event, .. } => {
                self.reach(event.sequence);
                self.expected = Some(event.sequence.saturating_add(1));
            }
            Record::Hole(hole) => self.holes.push(*hole),
            Record::Checkpoint { oldest_segment, .. } => {
                self.oldest_needed = self.oldest_needed.max(*oldest_segment);
            }
            Record::Closed { next_sequence } => {
                self.reach(*next_sequence);
                self.report.closed = true;
            }
            _ => {}
        }
        let damages = self.report.damage.len();
        self.suspects.hear(&record, &self.index, damages);
        self.index.apply(&record, place);
        Ok(())
    }

    /// The next event is `sequence`: what was expected before it stood in the damage passed last.
    fn reach(&mut self, sequence: u64) {
        let Some(expected) = self.expected.filter(|expected| *expected < sequence) else {
            self.expected = self.expected.or(Some(sequence));
            return;
        };
        self.expected = Some(sequence);
        if let Some(damage) = self.report.damage.get_mut(self.untold..)
            && let Some(last) = damage.last_mut()
        {
            last.sequences = Some(expected..=sequence - 1);
            self.untold = self.report.damage.len();
        }
    }

    /// Looks for segments that are not there.
    fn missing(&mut self, segments: &BTreeMap<u64, u64>) {
        let mut next = self.oldest_needed;
        if next == 0 {
            next = segments.keys().next().copied().unwrap_or_default();
        }
        for segment in segments.keys() {
            if *segment > next {
                self.report.damage.push(Damage {
                    kind: DamageKind::Missing,
                    segment: next,
                    from: 0,
                    to: segment - 1,
                    sequences: None,
                });
            }
            next = next.max(segment + 1);
        }
    }

    fn finish(mut self, segments: BTreeMap<u64, u64>) -> Found {
        let expected = self.expected.unwrap_or(1);
        for damage in &mut self.report.damage {
            if damage.kind == DamageKind::Cut && (damage.segment, damage.from) < self.synced {
                damage.kind = DamageKind::Quarantined;
            }
        }
        let suspects = std::mem::take(&mut self.suspects);
        let (lost, lost_more) = suspects.lost(&mut self.index, &self.report.damage, expected);
        (self.report.lost, self.report.lost_more) = (lost, lost_more);
        let told = std::mem::take(&mut self.holes);
        let damage = &mut self.report.damage;
        damage.retain(|damage| !told.contains(&damage.place()));
        self.report.next_sequence = if self.report.closed || segments.is_empty() {
            expected
        } else {
            expected.saturating_add(SEQUENCES_SKIPPED)
        };
        self.report.segments = segments.len();
        self.report.bytes = segments.values().sum();
        self.report.events_open = self.index.events.len() as u64;
        let open = self.index.lanes.values().map(|lane| lane.open);
        self.report.deliveries_open = open.sum();
        self.settle_counts();
        Found {
            next_sequence: self.report.next_sequence,
            index: self.index,
            segments,
            keys: self.keys,
            end: self.end,
            report: self.report,
        }
    }

    /// Makes every lane add up again after damage, in the open.
    fn settle_counts(&mut self) {
        for (number, lane) in &mut self.index.lanes {
            let here = lane.open + lane.ledger.settled();
            let lost = lane.ledger.made().saturating_sub(here);
            let again = here.saturating_sub(lane.ledger.made());
            if lost + again > 0 {
                lane.ledger.discard_many(Discard::Lost, lost);
                lane.ledger.matched += again;
                self.report.corrections.push(Correction {
                    lane: *number,
                    name: lane.name.clone(),
                    lost,
                    again,
                });
            }
        }
    }
}

impl Found {
    /// Parses the events that are open, and tells those that cannot be.
    ///
    /// Without a key, those that are sealed are not looked at, which the report says.
    pub(crate) fn check_events(
        &mut self,
        storage: &dyn Storage,
        sealing: &Sealing,
    ) -> Result<(), OpenError> {
        let keys = match sealing {
            Sealing::Off => None,
            Sealing::Open(_) | Sealing::Seal(_) => Some(Keys::of(storage, sealing, &self.keys)?),
        };
        self.report.sealed_unopened = keys.is_none();
        for (sequence, live) in self.index.events.from(0) {
            let Place {
                segment,
                offset,
                bytes,
            } = live.place;
            if !is_readable(storage, live.place, keys.as_ref()) {
                self.report.damage.push(Damage {
                    kind: DamageKind::Unreadable,
                    segment,
                    from: offset,
                    to: offset + u64::from(bytes),
                    sequences: Some(sequence..=sequence),
                });
            }
        }
        Ok(())
    }
}

fn is_readable(storage: &dyn Storage, place: Place, keys: Option<&Keys>) -> bool {
    let Ok(bytes) = read_frame(storage, place) else {
        return false;
    };
    let frame = frame::read_at(&bytes, place.segment, place.offset);
    let event = frame.and_then(|frame| Record::event_in(&frame));
    event.is_some_and(|event| match keys {
        Some(keys) => event.parse(keys).is_some(),
        None => event.stamp.is_some() || event.parse_plain().is_some(),
    })
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "damage_tests.rs"]
mod damage_tests;
