//! Why connections cannot be made.

use std::path::PathBuf;

/// Why connections cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of certificates cannot be used.
    #[error("certificates of {}: {reason}", path.display())]
    Certificates {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The machine's trust store or TLS cannot be set up.
    #[error("the certificates of this machine, or TLS")]
    Tls(#[source] rustls::Error),
    /// A proxy, or where none is to be used, by its key or variable.
    #[error("{0}")]
    Proxy(String),
    /// The HTTP client cannot be made.
    #[error("HTTP client")]
    Client(#[source] reqwest::Error),
}
