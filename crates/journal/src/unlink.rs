//! Segments that are not needed any more: history for a while, then removed, oldest first.

use super::file_names::{QUARANTINED, free_name, segment_name};
use super::log::{PAGE_BYTES, SegmentLog};
use super::manifest::ManifestContent;
use super::storage::Storage;
use std::io;

/// Whether the disk says that it has less room than this. A history leaves room for the next segment, and as much again
/// for what else is written to that disk.
pub(super) fn is_lacking(storage: &dyn Storage, bytes: u64) -> bool {
    let free = storage.free_bytes();
    free.is_some_and(|free| free < bytes)
}

impl SegmentLog {
    /// Segments before `oldest` are history from here on: the group that has their counts is on disk. What is too
    /// much of that goes.
    pub(super) fn release_before(&mut self, oldest: u64) {
        let mut before = self.segments.range(..oldest);
        if before.any(|(segment, _)| *segment >= self.retention.needed) {
            self.manifest.sync(ManifestContent {
                oldest,
                ..self.manifest.written()
            });
            let released = self.retention.needed..oldest;
            self.retention.needed = oldest;
            self.shorten(released);
        }
        self.trim_history();
    }

    /// Removes what is too much of the history, or stands in the way.
    pub(super) fn trim_history(&mut self) {
        while let Some(segment) = self.surplus_history() {
            if !self.unlink(segment) {
                return;
            }
        }
    }

    /// The oldest segment, if it is history and has to go: there is too much, or something waits for its room, or
    /// would soon.
    pub(super) fn surplus_history(&self) -> Option<u64> {
        let oldest = self.retention.oldest(&self.segments)?;
        let files = (2 * self.segment_bytes).saturating_sub(self.next.bytes());
        match self.next.is_tight() || is_lacking(&*self.storage, files) {
            true => Some(oldest),
            false => self.retention.surplus(&self.segments, self.clock.now()),
        }
    }

    /// Gives back what history segments have behind their ends: a start begins a new one, however little is in the
    /// last.
    fn shorten(&mut self, released: std::ops::Range<u64>) {
        for (segment, length) in self.segments.range_mut(released) {
            let Some(end) = self.retention.ends.remove(segment) else {
                continue;
            };
            let used = end.next_multiple_of(PAGE_BYTES);
            let is_worth_it = used < *length && self.retention.is_on();
            if is_worth_it
                && !self.kept.contains(segment)
                && self.storage.shorten(&segment_name(*segment), used).is_ok()
            {
                *length = used;
            }
        }
    }

    /// Removes the oldest segment of the history, for which another file needs the room; false when there is none.
    pub(super) fn remove_oldest_history(&mut self) -> bool {
        let oldest = self.retention.oldest(&self.segments);
        let removed = oldest.is_some_and(|segment| self.unlink(segment));
        if removed {
            self.next.history_went();
        }
        removed
    }

    /// The oldest segment that is not history.
    pub(super) fn oldest_needed(&self) -> Option<u64> {
        let (first, _) = self.segments.range(self.retention.needed..).next()?;
        Some(*first)
    }

    /// Unlinks the oldest segment. What fails is tried again later.
    fn unlink(&mut self, segment: u64) -> bool {
        if self.stuck == Some(segment) {
            return false;
        }
        let removed = match self.kept.contains(&segment) {
            true => self.set_aside(segment),
            false => self.storage.remove(&segment_name(segment)),
        };
        let gone = removed.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        if let Err(error) = gone.and_then(|()| self.storage.sync_dir()) {
            tracing::warn!(segment, %error, "a segment that is done cannot be removed");
            self.stuck = Some(segment);
            return false;
        }
        self.segments.remove(&segment);
        self.retention.created.remove(&segment);
        self.next.room_came();
        true
    }

    /// Keeps a segment of which not all could be read under another name.
    fn set_aside(&self, segment: u64) -> io::Result<()> {
        let names = self.storage.list()?;
        let taken = names.iter().map(String::as_str).collect();
        let name = free_name(QUARANTINED, segment, &taken);
        self.storage.rename(&segment_name(segment), &name)?;
        tracing::warn!(
            segment,
            name,
            "a damaged segment of the journal is done; its file is kept under another name"
        );
        Ok(())
    }
}
