//! Tells when files under a folder changed.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A burst of changes (an editor's, a checkout's) is one change: quiet for this long ends it.
const QUIET: Duration = Duration::from_millis(100);

/// But no burst puts a reload off for longer than this.
const BURST_MAX: Duration = Duration::from_secs(2);

/// Where the watcher misses changes (network file systems), a look is taken this often.
const POLL: Duration = Duration::from_secs(60);

/// No watch could be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {}", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

/// Watches folders. Stops when dropped.
#[derive(Debug)]
pub struct Watch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches everything under the `trees`, and what stands directly in the `folders`.
    ///
    /// Folders are watched, not files: editors and Kubernetes replace files instead of writing them.
    ///
    /// # Errors
    /// When the system refuses the watch.
    pub fn new(trees: &[&Path], folders: &[&Path]) -> Result<Self, WatchError> {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WatchError { path, source }
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a definition must not look like a change to it.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                notify.notify_one();
            }
        })
        .map_err(failed(Path::new(".")))?;
        let modes = [
            (trees, RecursiveMode::Recursive),
            (folders, RecursiveMode::NonRecursive),
        ];
        for (paths, mode) in modes {
            for path in paths {
                watcher.watch(path, mode).map_err(failed(path))?;
            }
        }
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Resolves after a change, once it has been quiet for a moment.
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&self) {
        if tokio::time::timeout(POLL, self.changed.notified())
            .await
            .is_err()
        {
            return;
        }
        let latest = Instant::now() + BURST_MAX;
        while timeout_at(
            (Instant::now() + QUIET).min(latest),
            self.changed.notified(),
        )
        .await
        .is_ok()
        {
            if Instant::now() >= latest {
                return;
            }
        }
    }
}
