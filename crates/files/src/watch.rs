//! Tells when files changed, or anything below folders, however they are replaced.
//!
//! A watch of the system hangs on a folder that was found once, not on a path: it follows a folder that is renamed and
//! stays behind when a link is pointed elsewhere. So every folder on the way to a path is watched, along each link, for
//! the one name in it that matters (`plan::WatchPlan`); and after each change the way is looked for again.

mod plan;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use plan::WatchPlan;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// A burst of changes (an editor's, a checkout's) is one change: quiet for this long ends it.
const QUIET: Duration = Duration::from_millis(100);

/// But no burst puts a reload off for longer than this.
const BURST_MAX: Duration = Duration::from_secs(2);

/// How often a watch is set again whose way changed meanwhile; the next change sets it anyway.
const TRIES_MAX: usize = 3;

/// No watch could be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {}", path.display())]
struct FileWatchError {
    path: PathBuf,
    source: notify::Error,
}

/// Watches folders and files. Stops when dropped.
#[derive(Debug)]
pub struct FileWatch {
    shared: Arc<WatchState>,
    poll: Duration,
}

#[derive(Debug)]
struct WatchState {
    changed: Arc<Notify>,
    trees: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// The watch of the way as it was last; nothing where the system refuses one.
    watcher: Mutex<Option<RecommendedWatcher>>,
    /// Whether the system refused the last one, which is logged once.
    refused: AtomicBool,
}

impl FileWatch {
    /// Watches everything under the `trees`, and the `files`. None of them need be there yet. Blocks on the file
    /// system.
    ///
    /// Where changes are missed (network file systems, folders that may not be read), files are checked every
    /// `poll`. If the system refuses the watch, that is logged, and it is tried again with each check.
    #[must_use]
    pub fn new(trees: &[&Path], files: &[&Path], poll: Duration) -> Self {
        let absolute = |path: &&Path| absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let shared = WatchState {
            changed: Arc::default(),
            trees: trees.iter().map(absolute).collect(),
            files: files.iter().map(absolute).collect(),
            watcher: Mutex::new(None),
            refused: AtomicBool::new(false),
        };
        shared.set_or_log();
        let shared = Arc::new(shared);
        Self { shared, poll }
    }

    /// Resolves after a change, once it has been quiet for a moment; and after some time without one, since the system
    /// does not see all of them.
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&self) {
        let changed = &self.shared.changed;
        let seen = match timeout(self.poll, changed.notified()).await {
            Ok(()) => Some(UnreportedChange::new(changed)),
            Err(_) => None,
        };
        if seen.is_some() {
            let latest = Instant::now() + BURST_MAX;
            while timeout_at((Instant::now() + QUIET).min(latest), changed.notified())
                .await
                .is_ok()
            {
                if Instant::now() >= latest {
                    break;
                }
            }
        }
        // Before the caller reads: what comes from here on is seen by the new watch.
        let shared = Arc::clone(&self.shared);
        if let Err(error) = tokio::task::spawn_blocking(move || shared.set_or_log()).await {
            tracing::error!(%error, "files are not watched but polled");
        }
        if let Some(seen) = seen {
            seen.reported();
        }
    }
}

impl WatchState {
    fn set_or_log(&self) {
        let set = self.set();
        let refused = self.refused.swap(set.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&set, refused) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "files are not watched but polled: raise fs.inotify.max_user_watches"
            );
        }
    }

    /// Sets the watch again along the way as it is now.
    fn set(&self) -> Result<(), FileWatchError> {
        let mut plan = WatchPlan::of(&self.trees, &self.files);
        for _ in 0..TRIES_MAX {
            let watcher = self.watcher(plan.clone());
            let mut held = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
            // The old one goes even if there is no new one: it may hang where nothing is any more.
            let (watcher, result) = match watcher {
                Ok(watcher) => (Some(watcher), Ok(())),
                Err(error) => (None, Err(error)),
            };
            *held = watcher;
            drop(held);
            result?;
            // What changed before the watch was set was seen by none.
            let now = WatchPlan::of(&self.trees, &self.files);
            if now == plan {
                return Ok(());
            }
            plan = now;
        }
        self.changed.notify_one();
        Ok(())
    }

    fn watcher(&self, plan: WatchPlan) -> Result<RecommendedWatcher, FileWatchError> {
        let folders: Vec<PathBuf> = plan.folders().map(Path::to_owned).collect();
        let changed = Arc::clone(&self.changed);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FileWatchError { path, source }
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // After an error anything may have been missed.
            if event.map_or(true, |event| counts(&plan, &event)) {
                changed.notify_one();
            }
        })
        .map_err(failed(Path::new(".")))?;
        for folder in &folders {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Err(error) if !is_left_out(&error) => return Err(failed(folder)(error)),
                _ => {}
            }
        }
        Ok(watcher)
    }
}

/// Whether a folder is left to the poll: it may be passed through but not read, or is gone, which the folder above
/// tells.
fn is_left_out(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
        ),
        _ => false,
    }
}

/// Whether an event is about what is watched.
fn counts(plan: &WatchPlan, event: &Event) -> bool {
    // Reading a definition must not look like a change to it.
    if matches!(event.kind, EventKind::Access(_)) {
        return false;
    }
    // An event without paths may mean any.
    event.paths.is_empty() || event.paths.iter().any(|path| plan.holds(path))
}

/// A change that was seen and not reported yet. Dropped, it is seen once more.
struct UnreportedChange<'a>(Option<&'a Notify>);

impl<'a> UnreportedChange<'a> {
    fn new(changed: &'a Notify) -> Self {
        Self(Some(changed))
    }

    fn reported(mut self) {
        self.0 = None;
    }
}

impl Drop for UnreportedChange<'_> {
    fn drop(&mut self) {
        if let Some(changed) = self.0 {
            changed.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
