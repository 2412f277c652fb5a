//! What a router sees of its cluster, for people.

use twinroute_journal::{PartitionNumber, RouterName};

/// The routers that are there, and who owns which partition, as of the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipView {
    /// The routers that are there, by name.
    pub members: Vec<RouterName>,
    /// The partitions, by number.
    pub partitions: Vec<PartitionView>,
}

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Which.
    pub partition: PartitionNumber,
    /// Whose lease it is; none while it is nobody's, or was given back.
    pub owner: Option<RouterName>,
    /// Which owning of it that is; 0 while it is nobody's.
    pub epoch: u64,
}
