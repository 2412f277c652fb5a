//! Where a router keeps its events on disk.

use crate::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{DiskJournal, JournalOpenError, JournalSettings, RecoveredJournal};
use twinroute_model::clock::SystemClock;

/// A journal on disk: its folder and how it works.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let folder = tempfile::tempdir()?;
/// let journal = JournalOptions::new(folder.path()).bytes_max(1 << 30).keep_for(Duration::from_secs(3_600));
/// let router = Router::builder().journal(journal).start().await?;
/// assert_eq!(router.status().journal.bytes_max, 1 << 30);
/// # router.stop(Duration::ZERO).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct JournalOptions {
    folder: PathBuf,
    settings: JournalSettings,
}

impl JournalOptions {
    /// A journal in a folder, which is made where it is not there. One process at a time may have it open.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            settings: JournalSettings::default(),
        }
    }

    /// Bytes that open events take on disk, dead letters that are kept here included; 256 MiB unless set. At this limit
    /// events are refused.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.settings.bytes_max = bytes;
        self
    }

    /// Bytes of one file; 64 MiB unless set.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.settings.segment_bytes = bytes;
        self
    }

    /// Bytes of files in which everything is settled that stay for the [history](crate::history), on top of those of open
    /// events; the oldest are removed first, and before anything else when the disk has no room. None unless set.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: u64) -> Self {
        self.settings.keep_bytes = bytes;
        self
    }

    /// How long such a file stays at most; as long as there is room unless set.
    #[must_use]
    pub fn keep_for(mut self, time: Duration) -> Self {
        self.settings.keep_for = time;
        self
    }

    /// Where replays record how far they are.
    pub(crate) fn replays(&self) -> PathBuf {
        self.folder.join("replays")
    }

    /// Opens it and reads all of it, where blocking is allowed.
    pub(crate) async fn open(&self) -> Result<(DiskJournal, RecoveredJournal), Error> {
        let Self { folder, settings } = self.clone();
        let opening = tokio::task::spawn_blocking(move || open(&folder, settings));
        let opened = opening.await.map_err(std::io::Error::from)?;
        Ok(opened?)
    }
}

fn open(
    folder: &Path,
    settings: JournalSettings,
) -> Result<(DiskJournal, RecoveredJournal), JournalOpenError> {
    let storage = FolderStorage::create(folder).map_err(|source| JournalOpenError::Io {
        path: folder.display().to_string(),
        step: "its folder cannot be made or opened".to_owned(),
        source,
    })?;
    let (disk, recovered) = DiskJournal::open(settings, Arc::new(storage), Arc::new(SystemClock))?;
    if !recovered.report.is_whole() {
        tracing::error!(folder = %folder.display(), report = %recovered.report,
            "the journal is open, but not all of it could be read");
    }
    Ok((disk, recovered))
}

impl From<&str> for JournalOptions {
    fn from(folder: &str) -> Self {
        Self::new(folder)
    }
}

impl From<&Path> for JournalOptions {
    fn from(folder: &Path) -> Self {
        Self::new(folder)
    }
}

impl From<PathBuf> for JournalOptions {
    fn from(folder: PathBuf) -> Self {
        Self::new(folder)
    }
}
