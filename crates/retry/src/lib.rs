//! What becomes of accepted events: journal, retry schedule, ledger.
//!
//! The journal here is the one in memory, behind the seam that a journal on disk takes: it bounds what
//! waits and numbers it, and gives up everything when the process ends.

pub mod journal;
pub mod ledger;
pub mod schedule;
