//! History: events that were accepted, and what became of each of their deliveries, as far as segments hold it.
//!
//! It reads the files beside whoever writes them, in order and in small windows, and keeps no more in memory than
//! one page. It changes nothing.

mod page;
mod scan;
mod search;

pub use page::{
    HistoryAttempt, HistoryCursor, HistoryDelivery, HistoryEvent, HistoryPage, HistorySelection,
    HistoryState,
};

use crate::disk::DiskJournal;
use crate::index::SharedIndex;
use crate::inspect::hold;
use crate::keys::{DataKeys, EventSealing};
use crate::storage::Storage;
use crate::{JournalOpenError, recover};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;

/// Reads the history of a journal on disk. Cheap to clone; each search blocks.
#[derive(Clone)]
pub struct HistoryReader {
    storage: Arc<dyn Storage>,
    index: SharedIndex,
    keys: Arc<DataKeys>,
    /// Held where no other process may have the journal meanwhile.
    _lock: Option<Arc<dyn Any + Send + Sync>>,
}

impl DiskJournal {
    /// Reads its history beside what it writes.
    #[must_use]
    pub fn history(&self) -> HistoryReader {
        let reader = &self.0.reader;
        HistoryReader {
            storage: Arc::clone(&reader.storage),
            index: reader.index.clone(),
            keys: Arc::clone(&reader.keys),
            _lock: None,
        }
    }
}

impl HistoryReader {
    /// Reads the history of the journal in the folder `path`, which nobody else may have open meanwhile. Blocks
    /// for as long as reading what is open takes.
    ///
    /// # Errors
    /// When there is none, another process has it, a newer program wrote it, or sealed events cannot be opened.
    pub fn open(path: &Path, sealing: &EventSealing) -> Result<Self, JournalOpenError> {
        let (storage, lock) = hold(path)?;
        let found = recover::read(&storage, &mut |_, _| {})?;
        let keys = DataKeys::of(&storage, sealing, &found.keys)?;
        let mut index = found.index;
        index.synced = found.end;
        Ok(Self {
            storage: Arc::new(storage),
            index: SharedIndex::new(index),
            keys: Arc::new(keys),
            _lock: Some(Arc::from(lock)),
        })
    }
}

impl std::fmt::Debug for HistoryReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HistoryReader")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "../history_tests.rs"]
mod tests;
