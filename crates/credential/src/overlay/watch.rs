//! Tells when the folder of secrets or the key vault changes.

use std::future::pending;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use twinroute_files::watch::FileWatch;

/// Where changes are missed, the folder is checked this often.
const POLL: Duration = Duration::from_secs(30);

/// Watches one folder and one key vault, or nothing. Stops when dropped.
#[derive(Debug)]
pub struct SecretsWatch {
    folder: Option<FileWatch>,
    /// Counts changes of what is known of the key vault.
    vault: Option<watch::Receiver<u64>>,
}

impl SecretsWatch {
    pub(super) fn new(folder: Option<&Path>, vault: Option<watch::Receiver<u64>>) -> Self {
        let folder = folder.map(|folder| FileWatch::new(&[folder], &[], POLL));
        Self { folder, vault }
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
                pending::<()>().await;
            }
        };
        let folder = async {
            match &self.folder {
                Some(folder) => folder.changed().await,
                None => pending().await,
            }
        };
        // Either wakes the reader, which then reads both; nothing is lost when the other is dropped
        // here.
        tokio::select! {
            () = stored => {}
            () = folder => {}
        }
        if let Some(vault) = &mut self.vault {
            vault.mark_unchanged();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tokio::time::{Instant, timeout};

    /// Only ends a test that fails: below the poll, which must not be what sees a change.
    const LIMIT: Duration = Duration::from_secs(20);

    /// A folder that was made after the start was found half a minute later.
    #[tokio::test]
    async fn a_folder_that_is_made_later_is_seen_at_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("secrets/inner");
        let mut watch = SecretsWatch::new(Some(&folder), None);
        fs::create_dir_all(&folder).unwrap();
        timeout(LIMIT, watch.changed()).await.unwrap();
        fs::write(folder.join("accessKey1"), b"k").unwrap();
        timeout(LIMIT, watch.changed()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_taken_in_turns_and_never_without_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = SecretsWatch::new(Some(root.path()), None);
        let started = Instant::now();
        watch.changed().await;
        assert!(started.elapsed() >= POLL);
        let mut never = SecretsWatch::new(None, None);
        let limit = Duration::from_secs(3_600);
        assert!(timeout(limit, never.changed()).await.is_err());
    }
}
