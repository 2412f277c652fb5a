//! Where a lane's events are read back from when they are not in memory, and where what was recorded of them stands.

use crate::cluster_journal::ClusterJournal;
use tokio::task::spawn_blocking;
use twinroute_journal::{DiskJournal, HeldEvent, NotDurable, UnreadableEvent};

/// Reads events back. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum LaneReader {
    /// From segments on this machine's disk.
    Disk(DiskJournal),
    /// From a log that several routers share.
    Cluster(ClusterJournal),
}

impl LaneReader {
    /// Reads events without blocking; none in place of one that is not given back.
    pub(super) async fn read(&self, sequences: Vec<u64>) -> Vec<Option<HeldEvent>> {
        match self {
            Self::Disk(disk) => {
                let disk = disk.clone();
                let reading = spawn_blocking(move || {
                    let events = disk.read(&sequences).into_iter();
                    let held = events.map(|event| event.ok().map(HeldEvent::from));
                    held.collect()
                });
                reading.await.unwrap_or_default()
            }
            Self::Cluster(cluster) => cluster.read(&sequences).await,
        }
    }

    /// Reads one event without blocking.
    pub(super) async fn read_one(&self, sequence: u64) -> Result<HeldEvent, UnreadableEvent> {
        match self {
            Self::Disk(disk) => {
                let disk = disk.clone();
                let read = spawn_blocking(move || disk.read(&[sequence]).pop());
                let read = read.await.ok().flatten();
                read.unwrap_or(Err(UnreadableEvent::Damaged))
                    .map(HeldEvent::from)
            }
            Self::Cluster(cluster) => {
                let read = cluster.read(&[sequence]).await.pop().flatten();
                read.ok_or(UnreadableEvent::Settled)
            }
        }
    }

    /// Waits until all that lanes have recorded so far of an event outlives this process.
    pub(super) async fn recorded(&self, sequence: u64) -> Result<(), NotDurable> {
        match self {
            Self::Disk(disk) => disk.flush().await,
            Self::Cluster(cluster) => match cluster.recorded(sequence).await {
                true => Ok(()),
                false => Err(NotDurable::Closed),
            },
        }
    }
}
