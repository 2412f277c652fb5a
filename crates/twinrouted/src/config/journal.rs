//! The table `[journal]`.

use bytesize::ByteSize;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use twinroute_router::DuplicateWindow;

/// Producers that try again do so within hours; whoever sends later means it.
const DUPLICATE_WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

/// Nearly a gibibyte of memory.
const DUPLICATE_EVENTS_MAX: usize = 10_000_000;

/// Where accepted events wait.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JournalConfig {
    /// The folder on disk, relative to this file; in memory when empty.
    pub(crate) path: PathBuf,
    /// Bytes of events that may wait in all.
    pub(crate) bytes_max: ByteSize,
    /// Bytes of events on disk that are kept in memory too.
    pub(crate) memory_bytes_max: ByteSize,
    /// Bytes of one file on disk.
    pub(crate) segment_bytes: ByteSize,
    /// The longest that an event waits for others to share a sync with.
    #[serde(with = "humantime_serde")]
    pub(crate) commit_window: Duration,
    /// Bytes of settled segments on disk that are kept as history; none when 0.
    pub(crate) keep: ByteSize,
    /// How long they are kept at most; as long as there is room when 0.
    #[serde(with = "humantime_serde")]
    pub(crate) keep_for: Duration,
    /// Whether events on disk are sealed with the key of `[management]`.
    pub(crate) seal: bool,
    /// How long repeats of an accepted event are known as such; not at all when 0.
    #[serde(with = "humantime_serde")]
    pub(crate) duplicate_window: Duration,
    /// Accepted events that are remembered for that at most.
    pub(crate) duplicate_window_events_max: usize,
}

/// What a history takes unless it is said otherwise.
const KEEP: ByteSize = ByteSize::mib(256);

impl Default for JournalConfig {
    fn default() -> Self {
        let disk = twinroute_journal::JournalSettings::default();
        Self {
            path: PathBuf::new(),
            bytes_max: ByteSize(disk.bytes_max),
            memory_bytes_max: ByteSize(disk.memory_bytes_max),
            segment_bytes: ByteSize(disk.segment_bytes),
            commit_window: disk.commit_window,
            keep: KEEP,
            keep_for: Duration::ZERO,
            seal: false,
            duplicate_window: Duration::ZERO,
            duplicate_window_events_max: 100_000,
        }
    }
}

impl JournalConfig {
    pub(crate) fn on_disk(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// How the journal on disk is to work.
    pub(crate) fn settings(&self) -> twinroute_journal::JournalSettings {
        twinroute_journal::JournalSettings {
            bytes_max: self.bytes_max.as_u64(),
            memory_bytes_max: self.memory_bytes_max.as_u64(),
            segment_bytes: self.segment_bytes.as_u64(),
            keep_bytes: self.keep.as_u64(),
            keep_for: self.keep_for,
            commit_window: self.commit_window,
            ..twinroute_journal::JournalSettings::default()
        }
    }

    /// Where repeats are to be known.
    pub(crate) fn duplicates(&self) -> Option<DuplicateWindow> {
        (!self.duplicate_window.is_zero()).then_some(DuplicateWindow::new(
            self.duplicate_window,
            self.duplicate_window_events_max,
        ))
    }

    pub(super) fn check(&self, errors: &mut Vec<String>) {
        if self.seal && !self.on_disk() {
            errors.push(
                "[journal]: seal is for a journal on disk: set path, or leave seal out".to_owned(),
            );
        }
        if self.bytes_max < ByteSize::mib(1) {
            errors.push("[journal]: bytes_max must be at least 1 MiB".to_owned());
        }
        if !(ByteSize::mib(1)..=ByteSize::gib(1)).contains(&self.segment_bytes) {
            errors.push("[journal]: segment_bytes must be 1 MiB to 1 GiB".to_owned());
        }
        if self.commit_window > Duration::from_millis(100) {
            errors.push("[journal]: commit_window must be 0 to 100ms".to_owned());
        }
        if self.duplicate_window > DUPLICATE_WINDOW_MAX {
            errors.push("[journal]: duplicate_window must be 0 to 24h".to_owned());
        }
        if !(1..=DUPLICATE_EVENTS_MAX).contains(&self.duplicate_window_events_max) {
            let rule = "must be 1 to 10000000";
            errors.push(format!("[journal]: duplicate_window_events_max {rule}"));
        }
    }
}
