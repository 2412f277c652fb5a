//! Where tokens and secrets come from: keys on disk, environment, mounted files, managed identities.

mod app_service;
pub mod identity;
pub mod key_file;
mod login;
pub mod overlay;
mod reason;
pub mod settings;
pub mod token;
