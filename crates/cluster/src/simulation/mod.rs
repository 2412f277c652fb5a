//! A cluster in one process: several routers over a log in memory, under faults that follow from a seed, with paused time.
//!
//! Everything that a run does follows from its seed: two runs of one give the same trace. What is tried is the code that
//! runs in a router, from [`crate::ClusterProducer`] and [`crate::ClusterMember`] on; lanes and destinations are simulated.

#[cfg(test)]
mod contract_tests;
mod faults;
mod lanes;
mod link;
mod log;
mod oracle;
mod producers;
mod reading;
mod recorded_times;
mod routers;
mod run;
mod world;

pub use link::LogLink;
pub use log::SimulatedLog;
pub use oracle::SimulationViolation;
pub use run::{SimulationOutcome, run};
