//! The operational API: health, metrics, status.
//!
//! [`Admin`] answers on sockets of its own, so that a flood of events never keeps an operator out;
//! [`client`] asks it from the command line. It only reads: nothing here changes a router.

mod answer;
pub mod client;
mod metrics;
mod server;
mod settings;

pub use metrics::{InstallError, Metrics};
pub use server::Admin;
pub use settings::Settings;
