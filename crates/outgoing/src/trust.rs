//! Whose certificates are good.
//!
//! The crypto provider is passed explicitly; nothing here installs or relies on a process default.

use crate::error::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// Certificates of one file; the bundles of distributions have some 150.
const CERTIFICATES_MAX: usize = 1_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The crypto provider of every connection.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What is trusted beside `extra`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustBase {
    /// What the machine trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` in its place.
    Machine,
    Nothing,
}

/// A configuration that trusts `extra` and what stands `beside`.
pub(crate) fn config(
    extra: &[CertificateDer<'static>],
    beside: TrustBase,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match beside {
        TrustBase::Machine => {
            let extra = extra.iter().cloned();
            let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider));
            Arc::new(verifier.map_err(Error::Tls)?)
        }
        TrustBase::Nothing => {
            let mut roots = RootCertStore::empty();
            for certificate in extra {
                roots.add(certificate.clone()).map_err(Error::Tls)?;
            }
            let builder =
                WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
            let built = builder.build();
            built.map_err(|error| Error::Tls(rustls::Error::General(error.to_string())))?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates of a PEM file. Blocks on the file system.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let refuse = |reason: String| Error::Certificates {
        path: path.to_owned(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    let read = CertificateDer::pem_slice_iter(&text).take(CERTIFICATES_MAX + 1);
    let read: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    match read.len() {
        0 => return Err(refuse("holds no certificate in PEM".to_owned())),
        count if count > CERTIFICATES_MAX => {
            return Err(refuse(format!("has more than {CERTIFICATES_MAX}")));
        }
        _ => {}
    }
    // So that a certificate that is none is refused here, by the file's name.
    let mut roots = RootCertStore::empty();
    for (index, certificate) in read.iter().enumerate() {
        roots
            .add(certificate.clone())
            .map_err(|error| refuse(format!("certificate {}: {error}", index + 1)))?;
    }
    Ok(read)
}
