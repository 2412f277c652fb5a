//! The demo's journal: in a folder for temporary files, so that `history`, `plan` and `replay` have something to read.

use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::Arc;
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_model::clock::SystemClock;
use twinroute_router::RouterBuilder;

/// Bytes of settled events that stay.
const KEEP_BYTES: u64 = 64 << 20;

/// Bytes of a file.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A folder that goes when this is dropped.
pub(super) struct DemoJournal(PathBuf);

impl DemoJournal {
    /// Makes the folder, and has the router keep its journal there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(builder: RouterBuilder) -> anyhow::Result<(Self, RouterBuilder)> {
        let folder = std::env::temp_dir().join(format!("twinroute-demo-{}", std::process::id()));
        // What an earlier process of this number left.
        drop(std::fs::remove_dir_all(&folder));
        let made = Self(folder);
        let about = || format!("the demo's journal in {}", made.0.display());
        let storage = FolderStorage::create(&made.0).with_context(about)?;
        let settings = JournalSettings {
            segment_bytes: SEGMENT_BYTES,
            keep_bytes: KEEP_BYTES,
            ..JournalSettings::default()
        };
        let (disk, recovered) =
            DiskJournal::open(settings, Arc::new(storage), Arc::new(SystemClock))
                .with_context(about)?;
        let builder = builder.journal_on_disk(disk, recovered);
        Ok((made, builder))
    }
}

impl Drop for DemoJournal {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
