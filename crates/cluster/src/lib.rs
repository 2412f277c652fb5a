//! Several routers on one replicated log: who is there, who owns which partition, and what an owner does.
//!
//! What is decided is decided in pure functions ([`acknowledged`], [`lease`], [`member`], [`plan`], and the fold in `twinroute_journal`); a
//! loop around them asks the log and does it. Nothing here knows lanes or sinks: whoever delivers hears
//! [`PartitionNews`] and answers with [`OutcomeReport`]s.

pub mod acknowledged;
mod calls;
mod entry_text;
pub mod lease;
mod lease_keeper;
mod log_health;
pub mod member;
mod membership_view;
mod owner;
pub mod plan;
mod planted;
mod producer;
mod router_loop;
mod settings;
mod signal;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;

pub use lease_keeper::SendPermit;
pub use log_health::LogHealth;
pub use membership_view::{MembershipView, PartitionView};
pub use owner::{OpenedPartition, OutcomeReport, PartitionHolding, PartitionNews, RecordedOutcome};
pub use planted::{PlantedFault, PlantedFaults};
pub use producer::{AppendTicket, ClusterProducer};
pub use router_loop::{ClusterMember, MembershipEnd};
pub use settings::{ClusterContext, ClusterTimes, TaskSpawner};
