//! What every outgoing connection shares: whom it trusts, and which proxy it goes through.
//!
//! One [`OutgoingConnections`] is made at the start and handed to all that connects: sinks, logins, Azure's
//! management API, the keys of identity providers, containers. It knows no protocol of theirs.

pub mod answer;
#[cfg(feature = "azure")]
pub mod azure;
pub mod proxy;
pub mod settings;
pub mod tunnel;

mod error;
mod failure;
mod outgoing;
mod tls_words;
mod trust;

pub use error::Error;
pub use failure::failure_text;
pub use outgoing::OutgoingConnections;
pub use settings::Settings;
pub use tls_words::tls_words;
pub use trust::provider;
