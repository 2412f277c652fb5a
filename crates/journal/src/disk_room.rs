//! What the disk has room for: recorded by the writer after each group, read by whoever makes room.

use super::log::SegmentLog;

/// What the disk has room for, as of the last group.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomRecord {
    pub(super) is_tight: bool,
    /// What the journal held when there was no room for another segment, as long as there is none.
    pub(super) held: Option<u64>,
    /// How often that began.
    pub(super) shortages: u64,
    /// Tries that found no room.
    pub(super) failures: u64,
    /// The active segment, what is left of it, and what of that is kept for notes.
    pub(super) active: u64,
    pub(super) left: u64,
    pub(super) reserve: u64,
    /// Segments up to this one are to be emptied.
    pub(super) empty_to: u64,
}

impl RoomRecord {
    /// Takes note of how things stand; true when no room was found since.
    pub(super) fn follow(&mut self, log: &SegmentLog) -> bool {
        self.is_tight = log.next.is_tight();
        self.active = log.active.id;
        self.left = log.room();
        self.reserve = log.reserve();
        // What was kept as history has gone for it.
        let is_short = log.next.found_no_room();
        if is_short && self.held.is_none() {
            self.shortages += 1;
            self.held = Some(log.totals.held().bytes);
        } else if !is_short {
            self.held = None;
        }
        let failures = std::mem::replace(&mut self.failures, log.next.failures());
        self.held.is_some() && failures < self.failures
    }
}
