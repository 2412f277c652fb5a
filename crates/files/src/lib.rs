//! Files beside the journal's: how one is replaced as a whole, how a text that may be secret is read, who else
//! may use a file, one that is sealed, and when files that others write changed.
//!
//! What stands in them is their owners' subject.

pub mod file_error;
pub mod file_permissions;
pub mod file_stamp;
pub mod folder;
pub mod private_file;
pub mod replace;
pub mod sealed_file;
pub mod text_file;
#[cfg(feature = "watch")]
pub mod watch;
