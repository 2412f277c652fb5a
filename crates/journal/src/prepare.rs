//! The file of the next segment, made while the active one is filled, so that no group waits for it.

use super::file_names::{NEXT_SEGMENT, segment_name};
use super::storage::Storage;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The next segment's file.
pub(crate) struct NextSegment {
    storage: Arc<dyn Storage>,
    state: NextSegmentState,
}

enum NextSegmentState {
    /// Nothing was begun.
    Idle,
    /// A thread writes it.
    Made(JoinHandle<io::Result<()>>, u64),
    /// It is there, with so many bytes.
    Ready(u64),
    /// It could not be made: whoever needs a segment tries anew.
    Failed,
}

impl NextSegment {
    pub(crate) fn new(storage: &Arc<dyn Storage>) -> Self {
        Self {
            storage: Arc::clone(storage),
            state: NextSegmentState::Idle,
        }
    }

    /// Begins to make it, unless that was done before.
    pub(crate) fn begin(&mut self, bytes: u64) {
        if !matches!(self.state, NextSegmentState::Idle) {
            return;
        }
        if !self.storage.is_concurrent() {
            let made = self.storage.create(NEXT_SEGMENT, bytes);
            self.state = NextSegmentState::of(made, bytes);
            return;
        }
        let storage = Arc::clone(&self.storage);
        let thread = Builder::new().name("journal-next".to_owned());
        let made = thread.spawn(move || storage.create(NEXT_SEGMENT, bytes));
        self.state = match made {
            Ok(thread) => NextSegmentState::Made(thread, bytes),
            Err(error) => NextSegmentState::of(Err(error), bytes),
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
            NextSegmentState::Failed => {
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
        match self.storage.create(NEXT_SEGMENT, bytes) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.storage.remove(NEXT_SEGMENT)?;
                self.storage.create(NEXT_SEGMENT, bytes)?;
            }
            made => made?,
        }
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
            NextSegmentState::Idle | NextSegmentState::Failed => 0,
        }
    }

    /// Waits for the thread.
    fn settle(&mut self) {
        self.state = match std::mem::replace(&mut self.state, NextSegmentState::Idle) {
            NextSegmentState::Made(thread, bytes) => {
                let panicked = |_| Err(io::Error::other("the thread panicked"));
                NextSegmentState::of(thread.join().unwrap_or_else(panicked), bytes)
            }
            state => state,
        };
    }

    fn remove(&self) {
        if let Err(error) = self.storage.remove(NEXT_SEGMENT) {
            tracing::debug!(%error, "the segment that was prepared cannot be removed");
        }
    }
}

impl NextSegmentState {
    fn of(made: io::Result<()>, bytes: u64) -> Self {
        match made {
            Ok(()) => Self::Ready(bytes),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the next segment of the journal cannot be prepared; it is tried again when it \
                     is needed"
                );
                Self::Failed
            }
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
