//! The one TLS configuration that all sinks share: ring, and the trust of the machine it runs on.
//!
//! The crypto provider is passed explicitly; nothing here installs or relies on a process default.

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine's trust store could not be used.
    #[error("trust store of this machine")]
    TrustStore(#[source] rustls::Error),
    /// The provider and the protocol versions do not fit.
    #[error("TLS protocol versions")]
    Versions(#[source] rustls::Error),
}

/// The crypto provider of every connection.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A configuration that trusts what the machine trusts.
///
/// # Errors
/// When the trust store cannot be read.
pub fn platform() -> Result<Arc<ClientConfig>, Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::Versions)?
        .with_platform_verifier()
        .map_err(Error::TrustStore)?
        .with_no_client_auth();
    Ok(Arc::new(config))
}
