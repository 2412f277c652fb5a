//! The file of the next segment, made while the active one is filled, so that no group waits for it.

use super::file_names::{NEXT_SEGMENT, segment_name};
use super::storage::Storage;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The next segment's file.
pub(crate) struct NextSegment {
    storage: Arc<dyn Storage>,
    state: NextSegmentState,
    /// How long after a failure it is tried again to prepare one.
    retry_delay: Duration,
    no_room: RoomSearch,
}

/// What is known of the disk's room, from the files that were made or were not.
#[derive(Default)]
struct RoomSearch {
    /// The last try found no room.
    failed: bool,
    /// How many tries found none.
    failures: u64,
    /// There was no room for the latest file at the first try, or there is none yet, and no history to remove for it.
    is_tight: bool,
    /// That stands in the log of the program.
    is_logged: bool,
}

/// Whether the disk is full, or the process may take no more of it.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl RoomSearch {
    fn note(&mut self, made: &io::Result<()>) {
        match made {
            Ok(()) => {
                self.is_tight = std::mem::take(&mut self.failed);
                self.is_logged &= self.is_tight;
            }
            Err(error) if is_no_room(error) => {
                self.failed = true;
                self.failures += 1;
                self.is_tight = true;
            }
            Err(_) => {}
        }
    }
}

enum NextSegmentState {
    /// Nothing was begun.
    Idle,
    /// A thread writes it.
    Made(JoinHandle<io::Result<()>>, u64),
    /// It is there, with so many bytes.
    Ready(u64),
    /// It could not be made then: whoever needs a segment tries again.
    Failed(Instant),
}

impl NextSegment {
    pub(crate) fn new(storage: &Arc<dyn Storage>, retry_delay: Duration) -> Self {
        Self {
            storage: Arc::clone(storage),
            state: NextSegmentState::Idle,
            retry_delay,
            no_room: RoomSearch::default(),
        }
    }

    /// Whether the last try to make a file found no room on the disk.
    pub(crate) fn found_no_room(&self) -> bool {
        self.no_room.failed
    }

    /// How many tries found no room.
    pub(crate) fn failures(&self) -> u64 {
        self.no_room.failures
    }

    /// Whether the disk is full but for what the journal itself gives back.
    pub(crate) fn is_tight(&self) -> bool {
        self.no_room.is_tight
    }

    /// Whether it could not be made for want of room, and that was not tried again since.
    pub(crate) fn has_failed_for_room(&self) -> bool {
        self.no_room.failed && matches!(self.state, NextSegmentState::Failed(_))
    }

    /// A segment of the history went: whether there is room is not known, and as long as there is a history the disk
    /// is not tight.
    pub(crate) fn history_went(&mut self) {
        self.no_room.failed = false;
        self.no_room.is_tight = false;
    }

    /// Logs once that there is no room for it, with no history left that could go.
    pub(crate) fn log_no_room(&mut self) {
        if self.has_failed_for_room() && !std::mem::replace(&mut self.no_room.is_logged, true) {
            tracing::warn!(
                "there is no room on the disk for the next segment of the journal; it is tried again when it is needed"
            );
        }
    }

    /// A file went: there may be room for one that could not be made.
    pub(crate) fn room_came(&mut self) {
        if matches!(self.state, NextSegmentState::Failed(_)) {
            self.state = NextSegmentState::Idle;
        }
    }

    /// Takes note of what its thread did, if that has ended, and whether it is time to try again.
    fn check_progress(&mut self) {
        match &self.state {
            NextSegmentState::Made(thread, _) if thread.is_finished() => self.settle(),
            NextSegmentState::Failed(at) if self.is_tight() && at.elapsed() >= self.retry_delay => {
                self.room_came();
            }
            _ => {}
        }
    }

    /// Begins to make it, unless that was done before; what found no room is tried again after a while.
    pub(crate) fn begin(&mut self, bytes: u64) {
        self.check_progress();
        if !matches!(self.state, NextSegmentState::Idle) {
            return;
        }
        if !self.storage.is_concurrent() {
            let made = self.storage.create(NEXT_SEGMENT, bytes);
            self.state = self.made(made, bytes);
            return;
        }
        let storage = Arc::clone(&self.storage);
        let thread = Builder::new().name("journal-next".to_owned());
        let made = thread.spawn(move || storage.create(NEXT_SEGMENT, bytes));
        self.state = match made {
            Ok(thread) => NextSegmentState::Made(thread, bytes),
            Err(error) => self.made(Err(error), bytes),
        };
    }

    /// Gives it the name of a segment that needs `bytes`, and tells its length. `None`: there is none
    /// that is long enough. Waits for one that is being made.
    pub(crate) fn take(&mut self, segment: u64, bytes: u64) -> Option<u64> {
        self.settle();
        match self.state {
            NextSegmentState::Ready(length) if length >= bytes => {
                let renamed = self.storage.rename(NEXT_SEGMENT, &segment_name(segment));
                self.state = NextSegmentState::Idle;
                if let Err(error) = renamed {
                    tracing::warn!(segment, %error, "the segment that was prepared cannot be used");
                    self.remove();
                    return None;
                }
                Some(length)
            }
            NextSegmentState::Failed(_) => {
                self.state = NextSegmentState::Idle;
                None
            }
            _ => None,
        }
    }

    /// Makes a segment's file now. It has its name once all of it is there.
    pub(crate) fn make(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.settle();
        if matches!(self.state, NextSegmentState::Ready(_)) {
            // It is too short.
            self.remove();
            self.state = NextSegmentState::Idle;
        }
        let mut made = self.storage.create(NEXT_SEGMENT, bytes);
        if matches!(&made, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            self.storage.remove(NEXT_SEGMENT)?;
            made = self.storage.create(NEXT_SEGMENT, bytes);
        }
        self.no_room.note(&made);
        made?;
        let renamed = self.storage.rename(NEXT_SEGMENT, &segment_name(segment));
        if renamed.is_err() {
            self.remove();
        }
        renamed
    }

    /// Bytes of the file, also while it is made.
    pub(crate) fn bytes(&self) -> u64 {
        match self.state {
            NextSegmentState::Made(_, bytes) | NextSegmentState::Ready(bytes) => bytes,
            NextSegmentState::Idle | NextSegmentState::Failed(_) => 0,
        }
    }

    /// Waits for the thread.
    fn settle(&mut self) {
        self.state = match std::mem::replace(&mut self.state, NextSegmentState::Idle) {
            NextSegmentState::Made(thread, bytes) => {
                let panicked = |_| Err(io::Error::other("the thread panicked"));
                self.made(thread.join().unwrap_or_else(panicked), bytes)
            }
            state => state,
        };
    }

    /// Takes note of a try to prepare it.
    fn made(&mut self, made: io::Result<()>, bytes: u64) -> NextSegmentState {
        self.no_room.note(&made);
        let Err(error) = made else {
            return NextSegmentState::Ready(bytes);
        };
        if !is_no_room(&error) {
            tracing::warn!(
                %error,
                "the next segment of the journal cannot be prepared; it is tried again when it \
                 is needed"
            );
        }
        NextSegmentState::Failed(Instant::now())
    }

    fn remove(&self) {
        if let Err(error) = self.storage.remove(NEXT_SEGMENT) {
            tracing::debug!(%error, "the segment that was prepared cannot be removed");
        }
    }
}

impl Drop for NextSegment {
    /// Nothing is written to the folder after this, and nothing left in it.
    fn drop(&mut self) {
        self.settle();
        if matches!(self.state, NextSegmentState::Ready(_)) {
            self.remove();
        }
    }
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
