//! What the segments of a journal say, once they are read.

use super::JournalOpenError;
use super::file_names::segment_name;
use super::frame::{self, FramePlace};
use super::index::LogIndex;
use super::keys::{DataKeys, EventSealing};
use super::manifest::FoundManifest;
use super::record::JournalRecord;
use super::report::{DamageKind, DamagedRange, JournalReport};
use super::storage::Storage;
use std::collections::{BTreeMap, BTreeSet};
use twinroute_model::clock::Timestamp;

/// Sequences that are skipped when it is not known which were given out: more than fit in what can
/// wait for a sync.
pub(crate) const SEQUENCES_SKIPPED: u64 = 1 << 20;

/// What the segments say.
pub(crate) struct LogContents {
    pub(crate) index: LogIndex,
    /// The files there are, with their lengths.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// Segments before this one are history: they were not read.
    pub(crate) needed: u64,
    /// When segments were begun, as far as they say.
    pub(crate) created: BTreeMap<u64, Timestamp>,
    /// The names of those that are not called what they are.
    pub(crate) names: BTreeMap<u64, String>,
    /// Where the log ends.
    pub(crate) end: (u64, u64),
    /// Up to where it was on disk once: behind its end where that is gone.
    pub(crate) synced: (u64, u64),
    /// The largest number that a segment has, or had.
    pub(crate) newest: u64,
    /// The last segment may be written behind this offset, if there is no room for another one.
    pub(crate) append_at: Option<u64>,
    /// Segments that must not be removed: not all of them could be read.
    pub(crate) kept: BTreeSet<u64>,
    pub(crate) manifest: Option<FoundManifest>,
    pub(crate) next_sequence: u64,
    /// The numbers of the keys that records name.
    pub(crate) keys: BTreeSet<u32>,
    pub(crate) report: JournalReport,
}

impl LogContents {
    /// Whether there are segments that are history.
    pub(crate) fn has_history(&self) -> bool {
        self.segments.range(..self.needed).next().is_some()
    }

    /// The newest segment and its length, if it was begun and holds no group: all of it is zeros.
    pub(crate) fn blank(&self) -> Option<(u64, u64)> {
        let begun = self.begun()?;
        self.damage_in(begun.0).next().is_none().then_some(begun)
    }

    /// The newest segment, its length, and where the rest of its first group ends, if a crash tore that: nothing in it
    /// counts.
    pub(crate) fn torn(&self) -> Option<(u64, u64, u64)> {
        let (id, length) = self.begun()?;
        let is_cut = self
            .damage_in(id)
            .all(|damage| damage.kind == DamageKind::Cut);
        let end = self.damage_in(id).map(|damage| damage.to).max()?;
        is_cut.then_some((id, length, end.min(length)))
    }

    /// The newest segment and its length, if nothing of it could be read and nothing of it is known to count.
    fn begun(&self) -> Option<(u64, u64)> {
        let (id, length) = self.segments.last_key_value()?;
        let is_begun = *id == self.newest && *id > self.end.0 && !self.kept.contains(id);
        is_begun.then_some((*id, *length))
    }

    fn damage_in(&self, segment: u64) -> impl Iterator<Item = &DamagedRange> {
        let damage = self.report.damage.iter();
        damage.filter(move |damage| damage.segment == segment)
    }

    /// Parses the events that are open, and tells those that cannot be.
    ///
    /// Without a key, those that are sealed are not looked at, which the report says.
    pub(crate) fn check_events(
        &mut self,
        storage: &dyn Storage,
        sealing: &EventSealing,
    ) -> Result<(), JournalOpenError> {
        let keys = match sealing {
            EventSealing::Off => None,
            EventSealing::Open(_) | EventSealing::Seal(_) => {
                Some(DataKeys::of(storage, sealing, &self.keys)?)
            }
        };
        self.report.sealed_unopened = keys.is_none();
        for (sequence, live) in self.index.events.from(0) {
            let FramePlace {
                segment,
                offset,
                bytes,
            } = live.place;
            let name = self.names.get(&segment);
            let name = name.map_or_else(|| segment_name(segment), Clone::clone);
            if !is_readable(storage, &name, live.place, keys.as_ref()) {
                self.report.damage.push(DamagedRange {
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

fn is_readable(
    storage: &dyn Storage,
    name: &str,
    place: FramePlace,
    keys: Option<&DataKeys>,
) -> bool {
    let mut bytes = vec![0; place.bytes as usize];
    if storage.read_at(name, &mut bytes, place.offset).is_err() {
        return false;
    }
    let frame = frame::read_at(&bytes, place.segment, place.offset);
    let event = frame.and_then(|frame| JournalRecord::event_in(&frame));
    event.is_some_and(|event| match keys {
        Some(keys) => keys.read_event(&event).is_some(),
        None => event.stamp.is_some() || event.parse_plain().is_some(),
    })
}
