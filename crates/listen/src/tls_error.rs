//! Why there is no TLS, and the limits that errors name.

use std::path::PathBuf;
use twinroute_files::text_file::TextFileError;

/// Bytes of a file of certificates, or of a key.
pub(crate) const PEM_BYTES_MAX: u64 = 1 << 20;

/// Certificates of a chain.
pub(crate) const CHAIN_MAX: usize = 16;

/// Authorities of one listener.
pub(crate) const AUTHORITIES_MAX: usize = 100;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or others may read the key.
    #[error(transparent)]
    File(#[from] TextFileError),
    /// The certificate file holds something else.
    #[error("certificate file {}: does not hold 1 to {CHAIN_MAX} certificates in PEM", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// The key file holds something else. What it holds is not reported.
    #[error("key file {}: does not hold a key in PEM (PKCS #8, PKCS #1 or SEC1, not encrypted)", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The file of authorities holds something else.
    #[error(
        "client_ca file {}: does not hold 1 to {AUTHORITIES_MAX} certificates of authorities in PEM",
        path.display()
    )]
    NoAuthority {
        /// Which.
        path: PathBuf,
    },
    /// The two cannot be used, or not together.
    #[error("certificate file {} with key file {}: cannot be used together", certificate.display(), key.display())]
    Unfit {
        /// The one.
        certificate: PathBuf,
        /// The other.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The crypto provider lacks the protocol versions.
    #[error("TLS protocol versions")]
    Versions(#[source] rustls::Error),
}
