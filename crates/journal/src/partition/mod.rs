//! A partition of a cluster's log: how groups are formed and read, and what its records come to.
//!
//! All of it is pure: no call of the log, no task, no clock. What the cluster does with it stands in the crate `cluster`.

mod chain;
mod checkpoint;
mod damage;
mod fold;
mod folded;
mod former;
mod group;
mod lanes;
mod numbers;
mod place;
mod read;
mod settlements;
mod writers;

pub use checkpoint::{PartitionCheckpoint, UnreadableCheckpoint};
pub use damage::{DamagedHistory, HistoryDamage};
pub use fold::PartitionFold;
pub use folded::{FoldedEvent, FoldedRecord, OpenClusterDelivery};
pub use former::{FormerLimits, GroupFormer, PreparedBatch};
pub use group::{GroupOrigin, GroupOwner, OwnerStatement};
pub use lanes::{ClusterLaneId, LaneName, LaneRegister};
pub use place::{EventPlace, GROUP_EVENTS_MAX};
pub use read::{checkpoint_of, events_of};
pub use settlements::{FailedDelivery, SettlementGroup};
pub use writers::WRITER_LIVES;

#[cfg(test)]
#[path = "fold_tests.rs"]
mod fold_tests;
