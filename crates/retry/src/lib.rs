//! When deliveries are tried again, and what becomes of those that cannot be made: the schedule of attempts,
//! dead letters with their names, documents and containers.

pub mod dead_letter;
pub mod failure;
pub mod schedule;
