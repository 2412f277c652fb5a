//! Tells when the folder of secrets or the key vault changes.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// A burst of changes is one change: quiet for this long ends it.
const QUIET: Duration = Duration::from_millis(100);

/// But no burst puts a look off for longer than this.
const BURST_MAX: Duration = Duration::from_secs(2);

/// Where no watch can be set or one misses changes (network file systems, a folder that was replaced as a
/// whole), a look is taken this often.
const POLL: Duration = Duration::from_secs(30);

/// Watches one folder and one key vault, or nothing. Stops when dropped.
#[derive(Debug)]
pub struct Watch {
    folder: Option<PathBuf>,
    /// Counts changes of what is known of the key vault.
    vault: Option<watch::Receiver<u64>>,
    seen: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    aim: Aim,
    /// A change was seen, but its burst was not over when the caller went away.
    open: bool,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Folder,
    /// The folder is not there yet: that in which it, or what it stands in, is to appear.
    Above,
}

impl Watch {
    pub(super) fn new(folder: Option<&Path>, vault: Option<watch::Receiver<u64>>) -> Self {
        let mut watch = Self {
            folder: folder.map(Path::to_owned),
            vault,
            seen: Arc::default(),
            watcher: None,
            aim: Aim::Folder,
            open: false,
        };
        watch.set();
        watch
    }

    /// Sets the watch anew: the folder may be another one by now.
    fn set(&mut self) {
        let Some(folder) = &self.folder else {
            return;
        };
        let folder = absolute(folder).unwrap_or_else(|_| folder.clone());
        let there = folder.ancestors().find(|above| above.is_dir());
        let (target, aim, mode) = match there {
            Some(above) if *above != *folder => (above, Aim::Above, RecursiveMode::NonRecursive),
            _ => (folder.as_path(), Aim::Folder, RecursiveMode::Recursive),
        };
        let seen = Arc::clone(&self.seen);
        let on_the_way = folder.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a secret must not look like a change; after an error anything may be missed.
            let counts = event.map_or(true, |event| {
                let near =
                    |path: &PathBuf| on_the_way.starts_with(path) || path.starts_with(&on_the_way);
                !matches!(event.kind, EventKind::Access(_))
                    && (event.paths.is_empty() || event.paths.iter().any(near))
            });
            if counts {
                seen.notify_one();
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(target, mode)?;
            Ok(watcher)
        });
        self.aim = aim;
        if let Err(error) = &watching {
            let folder = folder.display();
            tracing::debug!(%folder, %error, "secrets are not watched, only looked at in turns");
        }
        self.watcher = watching.ok();
    }

    /// Resolves when secrets may have changed: after a change, once it has been quiet for a moment, and
    /// in turns of half a minute; after each change of the key vault. Never, where there is neither.
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) {
        // A copy that has seen as much: dropping this future must not lose the receiver.
        let mut vault = self.vault.clone();
        let stored = async {
            let changed = match &mut vault {
                Some(vault) => vault.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stored => {}
            () = self.folder_changed() => {}
        }
        if let Some(vault) = &mut self.vault {
            vault.mark_unchanged();
        }
    }

    async fn folder_changed(&mut self) {
        if self.folder.is_none() {
            return std::future::pending().await;
        }
        if !self.open && timeout(POLL, self.seen.notified()).await.is_err() {
            self.set();
            return;
        }
        self.open = true;
        let latest = Instant::now() + BURST_MAX;
        loop {
            let quiet = (Instant::now() + QUIET).min(latest);
            let more = timeout_at(quiet, self.seen.notified()).await;
            if more.is_err() || Instant::now() >= latest {
                self.open = false;
                if self.aim == Aim::Above {
                    self.set();
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Waits for the watcher's word, not for time: the time limit only ends a test that fails.
    #[tokio::test]
    async fn a_change_is_told_also_when_a_caller_went_away() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(Some(root.path()), None);
        fs::write(root.path().join("accessKey1"), b"k").unwrap();
        // The caller leaves while the burst is still on.
        watch.seen.notified().await;
        watch.open = true;
        let limit = Duration::from_secs(20);
        timeout(limit, watch.changed()).await.unwrap();
        assert!(!watch.open);
        assert!(watch.watcher.is_some());
    }

    /// A folder that was made after the start was found half a minute later.
    #[tokio::test]
    async fn a_folder_that_is_made_later_is_seen_at_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("secrets/inner");
        let mut watch = Watch::new(Some(&folder), None);
        assert_eq!(watch.aim, Aim::Above);
        fs::write(root.path().join("beside"), b"x").unwrap();
        fs::create_dir_all(&folder).unwrap();
        let limit = Duration::from_secs(20);
        while watch.aim == Aim::Above {
            timeout(limit, watch.changed()).await.unwrap();
        }
        fs::write(folder.join("accessKey1"), b"k").unwrap();
        timeout(limit, watch.changed()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_taken_in_turns_and_never_without_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(Some(root.path()), None);
        let started = Instant::now();
        watch.changed().await;
        assert!(started.elapsed() >= POLL);
        let mut never = Watch::new(None, None);
        let limit = Duration::from_secs(3_600);
        assert!(timeout(limit, never.changed()).await.is_err());
    }
}
