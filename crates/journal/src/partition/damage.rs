//! What a log did that it must not do: it lost, changed or invented what was acknowledged.

use crate::cluster_log::{PartitionNumber, RouterName};

/// Why a partition's log is not believed any more. Who finds one neither sends from the partition nor writes to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} of the cluster's log {damage}")]
pub struct HistoryDamage {
    /// Where.
    pub partition: PartitionNumber,
    /// What.
    pub damage: DamagedHistory,
}

/// What is wrong with a partition's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamagedHistory {
    /// Records are not there.
    #[error("lacks its records {from} to {to}")]
    Missing {
        /// The sequence of the first.
        from: u64,
        /// The sequence of the last.
        to: u64,
    },
    /// It ends before what was seen of it, or acknowledged.
    #[error("ends at record {last}, though record {seen} was acknowledged")]
    Shrunk {
        /// Its last sequence.
        last: u64,
        /// The sequence that is known to have been there.
        seen: u64,
    },
    /// A record's checksum does not hold, or it holds no group.
    #[error("cannot be read in record {sequence}, at byte {offset}")]
    Unreadable {
        /// The record's sequence.
        sequence: u64,
        /// Where in it.
        offset: usize,
    },
    /// What stands there is not what an owner had read.
    #[error("holds other records than its owner had read, between {from} and {to}")]
    Rewritten {
        /// The first record that may be another.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Groups of a router are not there, though it was acknowledged all it wrote before the next.
    #[error("lacks {count} groups of router {router} before record {sequence}")]
    MissingGroups {
        /// Whose.
        router: RouterName,
        /// How many.
        count: u64,
        /// Where the next one of it stands.
        sequence: u64,
    },
    /// The last groups that a router was acknowledged are not there.
    #[error(
        "lacks the last {count} groups that router {router} was acknowledged, up to record {sequence}"
    )]
    Forgotten {
        /// Whose.
        router: RouterName,
        /// How many.
        count: u64,
        /// Where the last one of them stood.
        sequence: u64,
    },
    /// Counts that were recorded do not add up with the records that are there.
    #[error("does not add up with its counts as of record {sequence}")]
    Unaccounted {
        /// As of which record.
        sequence: u64,
    },
}

impl DamagedHistory {
    /// The same, with its partition.
    #[must_use]
    pub const fn of(self, partition: PartitionNumber) -> HistoryDamage {
        HistoryDamage {
            partition,
            damage: self,
        }
    }
}
