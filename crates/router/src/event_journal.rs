//! Where accepted events wait until every lane has settled them: in memory, on disk, or in a log that
//! several routers share.

use crate::cluster_journal::ClusterJournal;
use twinroute_journal::{DiskJournal, MemoryJournal, UsageGauge};

/// Where accepted events wait until every lane has settled them. A closed set.
#[derive(Debug)]
pub(crate) enum EventJournal {
    /// Nothing outlives the process.
    Memory(MemoryJournal),
    /// What is acknowledged as durable outlives the machine's power.
    Disk(DiskJournal),
    /// A log that several routers share.
    Cluster(ClusterJournal),
}

impl EventJournal {
    /// The sequence that the next event gets; in a shared log one that is above all that lanes have heard of.
    pub(crate) fn next_sequence(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.next_sequence(),
            Self::Disk(disk) => disk.next_sequence(),
            Self::Cluster(cluster) => cluster.owned().next_sequence(),
        }
    }

    /// The journal on disk, if it is one.
    pub(crate) fn disk(&self) -> Option<&DiskJournal> {
        match self {
            Self::Memory(_) | Self::Cluster(_) => None,
            Self::Disk(disk) => Some(disk),
        }
    }

    /// The journal over a shared log, if it is one.
    pub(crate) fn cluster(&self) -> Option<&ClusterJournal> {
        match self {
            Self::Memory(_) | Self::Disk(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// A handle that reads usage without the journal.
    pub(crate) fn gauge(&self) -> UsageGauge {
        match self {
            Self::Memory(memory) => memory.gauge(),
            Self::Disk(disk) => disk.gauge(),
            Self::Cluster(cluster) => cluster.gauge().clone(),
        }
    }
}
