//! The crash oracle: a real process under load, killed over and over, judged by what arrived.
//!
//! Producers post to `twinroute run` with a journal on disk while a plan made of a seed kills it,
//! and its destinations fail, stall, throttle, go away and come back. What was posted, answered, reported
//! by `/status` and delivered becomes a [`history::History`]; the [`oracle`] judges that alone.
//!
//! A loss of power is not what a kill is: what was written survives in the system's cache. That part is
//! the simulated disk's (`twinroute-journal`, `sim`).

pub(crate) mod admin;
mod content;
pub(crate) mod daemon;
mod destinations;
pub mod history;
pub mod oracle;
mod plan;
mod produce;
mod report;
mod run;
mod scene;
pub(crate) mod wire;

pub use report::Report;
pub use run::{Options, PRIVATE_MOUNTS, run};
