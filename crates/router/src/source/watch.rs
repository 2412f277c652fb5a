//! Tells when files under a folder changed.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf, absolute};
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
    /// Watches everything under the `trees`, and the `files`.
    ///
    /// The files' folders are watched, not the files: editors and Kubernetes replace files instead of
    /// writing them. What else changes there is of no interest: it may be a log.
    ///
    /// # Errors
    /// When the system refuses the watch.
    pub fn new(trees: &[&Path], files: &[&Path]) -> Result<Self, WatchError> {
        let scope = Scope::of(trees, files);
        let folders = files.iter().map(|file| folder_of(file));
        let folders: Vec<&Path> = folders.collect();
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WatchError { path, source }
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // After an error anything may have been missed.
            if event.is_ok_and(|event| !scope.holds(&event)) {
                return;
            }
            notify.notify_one();
        })
        .map_err(failed(Path::new(".")))?;
        let modes = [
            (trees, RecursiveMode::Recursive),
            (&folders, RecursiveMode::NonRecursive),
        ];
        for (paths, mode) in modes {
            for &path in paths {
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
        let seen = Seen::new(&self.changed);
        let latest = Instant::now() + BURST_MAX;
        while timeout_at(
            (Instant::now() + QUIET).min(latest),
            self.changed.notified(),
        )
        .await
        .is_ok()
        {
            if Instant::now() >= latest {
                break;
            }
        }
        seen.told();
    }
}

/// A change that was seen and not told yet. Dropped, it is seen once more.
struct Seen<'a>(Option<&'a Notify>);

impl<'a> Seen<'a> {
    fn new(changed: &'a Notify) -> Self {
        Self(Some(changed))
    }

    fn told(mut self) {
        self.0 = None;
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        if let Some(changed) = self.0 {
            changed.notify_one();
        }
    }
}

/// Which changes count.
#[derive(Debug)]
struct Scope {
    trees: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Scope {
    fn of(trees: &[&Path], files: &[&Path]) -> Self {
        // The watcher names paths as absolute ones, but does not follow links.
        let absolute = |path: &&Path| absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Self {
            trees: trees.iter().map(absolute).collect(),
            files: files.iter().map(absolute).collect(),
        }
    }

    fn holds(&self, event: &Event) -> bool {
        // Reading a definition must not look like a change to it.
        if matches!(event.kind, EventKind::Access(_)) {
            return false;
        }
        let beside = |path: &PathBuf| {
            let mut files = self.files.iter();
            files.any(|file| path.parent() == file.parent() && path != file)
        };
        // Kubernetes swaps the link `..data` that its files point through.
        let swapped = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"..")
        };
        let in_tree = |path: &PathBuf| self.trees.iter().any(|tree| path.starts_with(tree));
        // An event without paths may mean any.
        event.paths.is_empty()
            || (event.paths.iter()).any(|path| !beside(path) || swapped(path) || in_tree(path))
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, ModifyKind};

    /// A log that was written beside the configuration made every reload wait for its silence, and
    /// the definitions be read again and again.
    #[test]
    fn a_busy_log_beside_the_configuration_is_no_change() {
        let trees = [Path::new("/etc/twinroute/definitions")];
        let scope = Scope::of(&trees, &[Path::new("/etc/twinroute/twinroute.toml")]);
        let modified = EventKind::Modify(ModifyKind::Any);
        let holds = |kind, path: &str| {
            scope.holds(&Event::new(kind).add_path(format!("/etc/twinroute/{path}").into()))
        };
        assert!(!holds(modified, "twinroute.log"));
        assert!(!holds(modified, "twinroute.toml.swp"));
        assert!(holds(modified, "twinroute.toml"));
        assert!(holds(modified, "..data"));
        assert!(holds(modified, "definitions"));
        assert!(holds(modified, "definitions/routes/hot.json"));
        let read = EventKind::Access(AccessKind::Any);
        assert!(!holds(read, "twinroute.toml"));
        assert!(scope.holds(&Event::new(modified)));
    }

    /// A reload for another reason that came in the quiet time lost the change.
    #[tokio::test(start_paused = true)]
    async fn a_change_is_not_lost_with_the_future_that_saw_it() {
        let folder = std::env::temp_dir();
        let watch = Watch::new(&[], &[&folder.join("twinroute-watch-test.toml")]).unwrap();
        watch.changed.notify_one();
        let dropped = tokio::time::timeout(QUIET / 2, watch.changed()).await;
        assert!(dropped.is_err());
        let started = Instant::now();
        watch.changed().await;
        assert!(started.elapsed() < BURST_MAX);
    }

    #[test]
    fn a_tree_that_holds_the_configuration_counts_as_a_whole() {
        let home = Path::new("/etc/twinroute");
        let scope = Scope::of(&[home], &[&home.join("twinroute.toml")]);
        let event = Event::new(EventKind::Any).add_path(home.join("routes"));
        assert!(scope.holds(&event));
    }
}
