//! The operational API: health, metrics, status, the ledger, dead letters and replays.
//!
//! [`AdminServer`] answers on sockets of its own, so that a flood of events never keeps an operator out;
//! [`client`] asks it from the command line. It steers endpoints only where [`Settings`] let it, and never
//! changes definitions.

mod answer;
mod changes;
pub mod client;
mod dead_letters;
mod endpoints;
mod gauges;
mod guard;
mod history;
pub mod ledger;
mod log_control;
mod metrics;
mod place;
mod query;
mod refusal;
mod remind;
mod replays;
mod server;
mod settings;
mod status_report;
mod tap;
mod trouble;

pub use log_control::{LogControl, LogFilter};
pub use metrics::{InstallError, MetricsRecorder};
pub use server::AdminServer;
pub use settings::{ChangeListeners, Settings};
pub use status_report::{CertificateReporter, StatusReport};
