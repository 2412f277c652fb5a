//! Files that others write and twinroute follows: when they change, however they are replaced.
//!
//! It reads nothing of what is in them.

pub mod watch;
