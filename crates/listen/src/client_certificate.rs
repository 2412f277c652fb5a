//! Certificates that clients show: whose are taken, and what they say of who shows them.

use crate::file;
use crate::tls::TlsError;
use http::{Extensions, Request};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::path::Path;
use std::sync::Arc;

/// Authorities of one listener.
pub(crate) const AUTHORITIES_MAX: usize = 100;

/// Bytes of a name that is shown.
const NAME_BYTES_MAX: usize = 512;

/// That a client showed a certificate of the authority that the listener trusts. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    name: Option<Arc<str>>,
}

impl ClientCertificate {
    /// What was shown on the connection of a request that [`serve`](crate::serve) gave to its service; nothing
    /// where the listener has no `client_ca`.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        Self::noted(request.extensions())
    }

    /// As [`ClientCertificate::of`], of a request whose extensions were taken out.
    #[must_use]
    pub fn noted(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The common name of its subject (RFC 5280 §4.1.2.6, X.520 §6.2.2): no control characters, at most 512
    /// bytes. Nothing where it has none of that kind.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Reads a certificate that was verified.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Self {
        let name = x509_parser::parse_x509_certificate(certificate)
            .ok()
            .and_then(|(_, certificate)| {
                let name = certificate.subject().iter_common_name().next()?;
                name.as_str().ok().map(Arc::from)
            })
            .filter(|name: &Arc<str>| {
                (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
            });
        Self { name }
    }
}

/// Takes certificates that an authority in the file `ca` signed, and no connection without one. Blocks on the
/// file system.
pub(crate) fn verifier(
    ca: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (text, _) = file::read(ca).map_err(|source| TlsError::Io {
        what: "client_ca",
        path: ca.to_owned(),
        source,
    })?;
    let unfit = || TlsError::NoAuthority {
        path: ca.to_owned(),
    };
    let found = CertificateDer::pem_slice_iter(text.expose().as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if !(1..=AUTHORITIES_MAX).contains(&found.len()) {
        return Err(unfit());
    }
    let mut roots = RootCertStore::empty();
    for authority in found {
        roots.add(authority).map_err(|_| unfit())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| unfit())
}
