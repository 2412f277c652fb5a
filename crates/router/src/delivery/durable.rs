//! What a lane notes in the journal on disk: which deliveries ended, which wait for another attempt, which
//! are dead letters.
//!
//! Notes of one step are collected and handed over together; they ride along with the journal's next
//! group. Losing one to a crash costs a duplicate, never an event.

use super::lane_reader::LaneReader;
use super::ttl_clock::TtlClock;
use crate::sink::FailureReason;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::{DiskJournal, FailedSendFault, LaneId, LaneState};
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;

/// A lane's place in the journal on disk.
pub(crate) struct DiskLane {
    disk: DiskJournal,
    number: LaneId,
    settled: Vec<(u64, DeliverySettlement)>,
    /// Attempts in vain, those with one outcome together; for the history.
    failed: Vec<FailedRun>,
}

/// Attempts with one outcome.
struct FailedRun {
    fault: FailedSendFault,
    reason: FailureReason,
    sequences: Vec<u64>,
}

impl DiskLane {
    pub(super) fn new(disk: DiskJournal, number: LaneId) -> Self {
        Self {
            disk,
            number,
            settled: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(crate) fn number(&self) -> LaneId {
        self.number
    }

    /// To read events back from.
    pub(super) fn reader(&self) -> LaneReader {
        LaneReader::Disk(self.disk.clone())
    }

    /// Whether there is room in memory for events that can be read back.
    pub(super) fn has_memory(&self) -> bool {
        self.disk.has_memory()
    }

    pub(super) fn settle(&mut self, sequence: u64, settlement: DeliverySettlement) {
        self.settled.push((sequence, settlement));
    }

    /// Records an attempt that failed, where there is a history.
    pub(super) fn failed(&mut self, sequence: u64, fault: FailedSendFault, reason: &FailureReason) {
        if !self.disk.keeps_history() {
            return;
        }
        let last = self.failed.last_mut();
        match last.filter(|last| last.fault == fault && last.reason == *reason) {
            Some(last) => last.sequences.push(sequence),
            None => self.failed.push(FailedRun {
                fault,
                reason: reason.clone(),
                sequences: vec![sequence],
            }),
        }
    }

    pub(super) fn attempt(&self, sequence: u64, attempts: u32, due: Timestamp) {
        self.disk
            .attempt(self.number, sequence, attempts, Some(due));
    }

    pub(super) fn dead_letter(&self, sequence: u64, letter: &Arc<DeadLetter>) {
        self.disk
            .dead_letter(self.number, sequence, Arc::clone(letter));
    }

    pub(super) fn state(&self, paused: bool, ttl_clock: &TtlClock, wall: &ClockReading) {
        let (still, since) = ttl_clock.parts();
        let still_since = since.map(|since| wall.at(since));
        let state = LaneState {
            paused,
            still,
            still_since,
        };
        self.disk.set_lane_state(self.number, state);
    }

    /// Hands over what was recorded since the last time.
    pub(super) fn hand_over(&mut self) {
        // Before the ends of the same deliveries.
        for run in self.failed.drain(..) {
            let text = run.reason.to_string();
            self.disk
                .record_failed(self.number, run.fault, text, run.sequences);
        }
        if !self.settled.is_empty() {
            self.disk.settle(self.number, &self.settled);
            self.settled.clear();
        }
    }
}

impl std::fmt::Debug for DiskLane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DiskLane")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The present moment by both clocks: the wall's, which is stored, and the runtime's, which timers use.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockReading {
    pub(super) wall: Timestamp,
    pub(super) now: Instant,
}

impl ClockReading {
    /// The wall time of a moment.
    pub(super) fn at(&self, moment: Instant) -> Timestamp {
        match moment.checked_duration_since(self.now) {
            Some(ahead) => self.wall.after(ahead),
            None => self.before(self.now - moment),
        }
    }

    /// The wall time so long ago.
    pub(super) fn before(&self, ago: Duration) -> Timestamp {
        let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_unix_millis(self.wall.unix_millis().saturating_sub(millis))
    }

    /// The moment of a wall time that is still to come; now if it has passed.
    pub(super) fn moment(&self, wall: Timestamp) -> Instant {
        self.now + wall.since(self.wall)
    }
}
