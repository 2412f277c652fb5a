//! When the certificates of a listener end, so that somebody can be told in time.

use crate::tls_error::PEM_BYTES_MAX;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use twinroute_files::text_file::read_text;
use twinroute_model::clock::Timestamp;

/// A file of certificates, and when the first of them ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// `certificate` or `client_ca`, as the settings call it.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// After that it is not taken any more (RFC 5280 §4.1.2.5).
    pub ends_at: Timestamp,
}

impl CertificateEnd {
    /// Nothing where the file cannot be read, which others tell. Blocks on the file system.
    pub(crate) fn of(what: &'static str, path: &Path) -> Option<Self> {
        let text = read_text("certificate file", path, PEM_BYTES_MAX).ok()?;
        let certificates = CertificateDer::pem_slice_iter(text.expose().as_bytes()).flatten();
        Some(Self {
            what,
            path: path.to_owned(),
            ends_at: certificates.filter_map(|one| end(&one)).min()?,
        })
    }
}

fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    Some(Timestamp::from_unix_millis(seconds.saturating_mul(1_000)))
}
