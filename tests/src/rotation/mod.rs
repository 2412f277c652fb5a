//! Rotated keys under load: a real process posts to destinations whose keys are regenerated, and every event
//! must arrive.
//!
//! A rotation is *polite* (the key that is not used is regenerated and put into the definitions, then the
//! other) or *rude* (both are regenerated at once, and the definitions follow later). Either way the ledger
//! must add up, with nothing lost, dead-lettered or discarded, and each twin's events in order.

mod destinations;
mod judge;
mod load;
mod run;
mod watch;

pub use judge::Report;
pub use run::{Options, Until, run};

/// The endpoints, in the order of their names.
pub(crate) const ENDPOINTS: [&str; 3] = ["grid-1", "hub-1", "topic-1"];
