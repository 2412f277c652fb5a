//! Where tokens and secrets come from: keys on disk, environment, mounted files, managed identities.

pub mod key_file;
mod login;
pub mod overlay;
pub mod token;
