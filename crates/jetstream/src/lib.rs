//! The replicated log that several routers share, as streams of NATS JetStream.
//!
//! A cluster named `c` has a stream `TR_c_Pnn` for each partition and two buckets for entries, `TR_c_LEASE` and
//! `TR_c_CKPT`, in the layout of NATS key-value buckets (nats-architecture-and-design, ADR-8), so that the tools of NATS
//! show them. The crate appends, reads, trims and compares; who may write what, and what records hold, is decided by its
//! callers. JetStream has no part in deliveries: the only consumers are those that read a partition in order.
//!
//! Before anything is written the server's version, the streams that are there and what the cluster was made with are
//! looked at; what does not fit is refused by name.

mod answer;
mod connection;
mod entries;
mod layout;
mod log;
mod names;
mod node_report;
mod opening;
mod quorum;
mod settings;
mod tail;

pub use log::JetStreamLog;
pub use names::ClusterName;
pub use settings::{
    InvalidLogSettings, JetStreamSettings, LogAddress, LogCredentials, PartitionLimits,
};
