//! Why there is no [`AccessGate`](super::AccessGate).

use std::path::PathBuf;

/// Why there is no [`AccessGate`](super::AccessGate).
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A value of the settings cannot be used.
    #[error("access: {0}")]
    Settings(String),
    /// A file holds no token.
    #[error("access: token file {} of {name:?}: {reason}", path.display())]
    File {
        /// Whose.
        name: String,
        /// Which.
        path: PathBuf,
        /// Why; nothing of what it holds.
        reason: String,
    },
    /// A variable holds no token.
    #[error(
        "access: environment variable {variable} of {name:?}: must have 16 to 16384 visible ASCII \
         characters"
    )]
    Variable {
        /// Whose.
        name: String,
        /// Which.
        variable: String,
    },
    /// Two names for one token.
    #[error("access: {name:?} and {other:?} have the same token; give each one of its own")]
    Same {
        /// The one.
        name: String,
        /// The other.
        other: String,
    },
    /// The HTTP client that gets keys.
    #[error("access: HTTP client")]
    Client(#[source] reqwest::Error),
    /// The system gives no random bytes.
    #[error("access: the system gives no random bytes")]
    Random,
}
