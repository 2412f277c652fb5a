//! Files that others write: whether they changed, however they are replaced, and whether those that hold a
//! secret are for this process alone.
//!
//! It reads nothing of what is in them.

pub mod file_permissions;
pub mod watch;
