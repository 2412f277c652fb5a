//! A router among others that share its log.

use serde::{Deserialize, Serialize};

/// What a router sees of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// This router's name; empty where its journal is shared with no other.
    pub router: String,
    /// Whether what a quorum has is synced.
    pub durable: bool,
    /// Why events are not accepted; empty when they are.
    pub fault: String,
    /// Milliseconds since the log answered last.
    pub silent_ms: u64,
    /// Routers that are there, by name.
    pub members: Vec<ClusterMemberStatus>,
    /// Partitions, by number.
    pub partitions: Vec<PartitionStatus>,
}

/// A router of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterMemberStatus {
    /// Its name.
    pub name: String,
    /// Whether it is the one that was asked.
    pub is_this: bool,
    /// Partitions that it owns.
    pub partitions: usize,
}

/// A partition of a cluster's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u8,
    /// The router that owns it; empty while none does.
    pub owner: String,
    /// Which owning of it this is; 0 while it is nobody's.
    pub epoch: u64,
    /// What of it is not settled; known of partitions of the router that was asked.
    pub backlog: Option<PartitionBacklog>,
    /// Why nothing is delivered from it; empty unless its log is damaged, as far as the router that was asked knows.
    pub damage: String,
}

/// Events of a partition that are not settled by all of their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartitionBacklog {
    /// How many.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
}
