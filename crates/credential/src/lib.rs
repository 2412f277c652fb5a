//! Where tokens and secrets come from: keys on disk, environment, mounted files, managed identities.

mod app_service;
mod certificate;
pub mod identity;
pub mod key_file;
pub mod key_vault;
pub mod login;
pub mod overlay;
mod reason;
pub mod secret_field;
pub mod settings;
pub mod token;
mod token_file;
