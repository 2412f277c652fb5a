//! Where accepted events wait until every lane has settled them: in memory, or on disk.

use twinroute_journal::{DiskJournal, MemoryJournal, UsageGauge};

/// Where accepted events wait until every lane has settled them. A closed set.
#[derive(Debug)]
pub(crate) enum EventJournal {
    /// Nothing outlives the process.
    Memory(MemoryJournal),
    /// What is acknowledged as durable outlives the machine's power.
    Disk(DiskJournal),
}

impl EventJournal {
    /// The sequence that the next event gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.next_sequence(),
            Self::Disk(disk) => disk.next_sequence(),
        }
    }

    /// The journal on disk, if it is one.
    pub(crate) fn disk(&self) -> Option<&DiskJournal> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(disk) => Some(disk),
        }
    }

    /// A handle that reads usage without the journal.
    pub(crate) fn gauge(&self) -> UsageGauge {
        match self {
            Self::Memory(memory) => memory.gauge(),
            Self::Disk(disk) => disk.gauge(),
        }
    }
}
