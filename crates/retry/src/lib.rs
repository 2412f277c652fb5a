//! What becomes of accepted events: journal, retry schedule, dead letters, ledger.
//!
//! The journal bounds what waits and numbers it: in memory, where everything is given up when the process
//! ends, or on disk, where what was acknowledged as durable outlives the machine's power. Its files are
//! laid out in `docs/journal-format.md`.

pub mod dead_letter;
pub mod journal;
pub mod ledger;
pub mod schedule;
