//! Retention: which segments stay although everything in them is settled, as history.
//!
//! Constraints: such a segment is needed for nothing; it goes oldest first, and before anything else when the
//! disk has no room. The group that says that it is needed no more is on disk before it counts as history. While the
//! disk is tight there is no history: what is done is removed, and groups have nothing in them that only it reads.

use super::settings::JournalSettings;
use std::collections::BTreeMap;
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// Segments of history, whatever their length: each is a file that is looked at when the journal is opened.
const SEGMENTS_MAX: usize = 1_024;

/// Which segments stay although everything in them is settled.
#[derive(Debug)]
pub(crate) struct SegmentRetention {
    keep_bytes: u64,
    keep_for: Duration,
    /// Groups have what only the history reads.
    is_recording: bool,
    /// Segments before this one are history.
    pub(crate) needed: u64,
    /// When segments were begun, as far as that is known: what is before one of them is older.
    pub(crate) created: BTreeMap<u64, Timestamp>,
    /// Where segments end that are not written to any more, as far as that is known.
    pub(crate) ends: BTreeMap<u64, u64>,
}

impl SegmentRetention {
    pub(crate) fn new(
        settings: &JournalSettings,
        needed: u64,
        created: BTreeMap<u64, Timestamp>,
    ) -> Self {
        Self {
            keep_bytes: settings.keep_bytes,
            keep_for: settings.keep_for,
            is_recording: settings.keep_bytes > 0,
            needed,
            created,
            ends: BTreeMap::new(),
        }
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.keep_bytes > 0
    }

    /// Whether groups have what only the history reads.
    pub(crate) fn is_recording(&self) -> bool {
        self.is_recording
    }

    /// Has groups from here on with what only the history reads as long as there is `room` for it; true when they had it
    /// before and have not now.
    pub(crate) fn record_while(&mut self, room: bool) -> bool {
        let had = self.is_recording;
        self.is_recording = self.is_on() && room;
        had && !self.is_recording
    }

    /// The oldest segment, if it is history and has to go: there are too many bytes, or it is too old.
    pub(crate) fn surplus(&self, segments: &BTreeMap<u64, u64>, now: Timestamp) -> Option<u64> {
        let oldest = self.oldest(segments)?;
        let history = segments.range(..self.needed);
        let (count, bytes) = history.fold((0, 0), |(count, bytes), (_, length)| {
            (count + 1, bytes + length)
        });
        let is_too_much = bytes > self.keep_bytes || count > SEGMENTS_MAX;
        (is_too_much || self.is_too_old(oldest, now)).then_some(oldest)
    }

    /// The oldest segment, if it is history.
    pub(crate) fn oldest(&self, segments: &BTreeMap<u64, u64>) -> Option<u64> {
        let (oldest, _) = segments.range(..self.needed).next()?;
        Some(*oldest)
    }

    /// Bytes of history.
    pub(crate) fn bytes(&self, segments: &BTreeMap<u64, u64>) -> u64 {
        segments
            .range(..self.needed)
            .map(|(_, length)| length)
            .sum()
    }

    /// Its last event came before the next segment was begun.
    fn is_too_old(&self, segment: u64, now: Timestamp) -> bool {
        let mut later = self.created.range(segment + 1..);
        let ended = later.next().map(|(_, created)| *created);
        !self.keep_for.is_zero() && ended.is_some_and(|ended| now.since(ended) > self.keep_for)
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
