//! What waits for the writer, between it and the handles.

use super::append_error::{AppendError, JournalHealth, NotDurable};
use super::commit_failure::CommitFailure;
use super::contents::SEQUENCES_SKIPPED;
use super::disk_room::RoomRecord;
use super::group::GroupWork;
use super::pages::WaitingOutcomes;
use super::totals::{HeldSize, JournalFull};
use super::window::MANY;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, oneshot};

/// Answers who waits for the disk.
pub(super) type DurableSender = oneshot::Sender<Result<(), NotDurable>>;

/// What waits for the writer.
#[derive(Default)]
pub(super) struct WriterInbox {
    pub(super) work: GroupWork<DurableSender>,
    pub(super) flushes: Vec<DurableSender>,
    /// Outcomes that the writer has taken and not recorded yet, while there is no room for another segment.
    pub(super) in_commit: WaitingOutcomes,
    /// Bytes of events that are not on disk.
    pub(super) bytes: u64,
    /// When what nobody waits for is written.
    pub(super) lazy_at: Option<Instant>,
    pub(super) retry_at: Option<Instant>,
    pub(super) health: JournalHealth,
    pub(super) next_sequence: u64,
    pub(super) durable_sequence: u64,
    pub(super) closing: bool,
    /// The writer is gone.
    pub(super) ended: bool,
    /// The writer sleeps and nobody has woken it.
    pub(super) idle: bool,
    pub(super) disk_bytes: u64,
    pub(super) segments: usize,
    pub(super) history_bytes: u64,
    pub(super) room: RoomRecord,
}

/// Between handles and writer.
#[derive(Default)]
pub(super) struct WriterQueue {
    inbox: Mutex<WriterInbox>,
    wake: Condvar,
    /// Tells that there was no room on the disk for another segment.
    pub(super) no_room: Notify,
}

impl WriterQueue {
    pub(super) fn new(inbox: WriterInbox) -> Self {
        Self {
            inbox: Mutex::new(inbox),
            wake: Condvar::new(),
            no_room: Notify::new(),
        }
    }

    /// Every change to the inbox is made at once, so a panic elsewhere leaves it sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, WriterInbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer if it sleeps.
    pub(super) fn wake(&self, inbox: &mut WriterInbox) {
        if inbox.idle || inbox.work.batches.len() >= MANY {
            inbox.idle = false;
            self.wake.notify_one();
        }
    }

    pub(super) fn sleep<'a>(
        &'a self,
        mut inbox: MutexGuard<'a, WriterInbox>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, WriterInbox> {
        inbox.idle = true;
        let mut inbox = match until {
            None => self
                .wake
                .wait(inbox)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let woken = self.wake.wait_timeout(inbox, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inbox.idle = false;
        inbox
    }

    /// As sleep, but nobody is to wake the writer for single appends.
    pub(super) fn sleep_uninterrupted<'a>(
        &'a self,
        inbox: MutexGuard<'a, WriterInbox>,
        until: Instant,
    ) -> MutexGuard<'a, WriterInbox> {
        let left = until.saturating_duration_since(Instant::now());
        let woken = self.wake.wait_timeout(inbox, left);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes the writer, whatever it waits for.
    pub(super) fn wake_always(&self) {
        self.wake.notify_one();
    }
}

impl WriterInbox {
    /// Whether a batch may be handed over now.
    pub(super) fn admit(&self, new: HeldSize, bytes_max: u64) -> Result<(), AppendError> {
        let bytes_new = new.bytes;
        match &self.health {
            JournalHealth::Poisoned(reason) => {
                return Err(AppendError::Poisoned(Arc::clone(reason)));
            }
            JournalHealth::Full(reason) if self.retry_at.is_some_and(|at| Instant::now() < at) => {
                return Err(AppendError::NoRoom(Arc::clone(reason)));
            }
            JournalHealth::Full(_) | JournalHealth::Stalled(_) | JournalHealth::Ok => {}
        }
        if self.closing || self.ended {
            return Err(AppendError::Closed);
        }
        let ahead = self.next_sequence + new.events - self.durable_sequence;
        // A batch larger than the queue may go alone.
        let full = self.bytes > 0 && self.bytes + bytes_new > bytes_max;
        if full || ahead > SEQUENCES_SKIPPED {
            let bytes = self.bytes;
            return Err(AppendError::Backlog(JournalFull {
                bytes,
                bytes_new,
                bytes_max,
            }));
        }
        Ok(())
    }

    /// Takes note of a write that failed.
    pub(super) fn refused(&mut self, failure: &CommitFailure, retry_at: Instant) {
        let reason = failure.reason();
        if self.health == JournalHealth::Ok {
            tracing::error!(
                %reason,
                "the journal cannot be written; events are refused until it can"
            );
        }
        self.health = JournalHealth::Full(reason);
        self.retry_at = Some(retry_at);
    }
}
