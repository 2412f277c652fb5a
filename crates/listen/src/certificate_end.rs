//! When the certificates of a listener end, so that it can be reported in time.

use crate::tls_error::PEM_BYTES_MAX;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use twinroute_files::text_file::read_text;
use twinroute_model::clock::{Timestamp, end_word};

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

    /// How it stands at `now`; `server` is `ingress`, `admin` or `management`.
    #[must_use]
    pub fn status(&self, server: &'static str, now: Timestamp) -> CertificateStatus {
        CertificateStatus {
            server,
            what: self.what,
            path: self.path.display().to_string(),
            expires_at: self.ends_at.rfc3339(),
            expires_in_s: self.ends_at.seconds_from(now),
        }
    }
}

/// What a status shows of a file of certificates of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// `ingress`, `admin` or `management`.
    pub server: &'static str,
    /// `certificate`, or `client_ca`: the authorities of clients.
    pub what: &'static str,
    /// The file.
    pub path: String,
    /// When the first of its certificates ends (RFC 3339).
    pub expires_at: String,
    /// Seconds until then; below 0 after it.
    pub expires_in_s: i64,
}

impl CertificateStatus {
    /// A warning from `before` its end on. The words stay the same while time passes.
    #[must_use]
    pub fn warning(&self, before: Duration) -> Option<String> {
        let word = end_word(self.expires_in_s, before)?;
        let (server, what, path) = (self.server, self.what, &self.path);
        let end = &self.expires_at;
        Some(format!(
            "[{server}.tls]: the {what} in {path} {word} at {end}; put a renewed one there"
        ))
    }
}

fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    Some(Timestamp::from_unix_millis(seconds.saturating_mul(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_warned_about_in_time() {
        let day = Duration::from_secs(24 * 60 * 60);
        let end = Timestamp::from_unix_millis(1_700_000_000_000);
        let known = CertificateEnd {
            what: "certificate",
            path: "c.pem".into(),
            ends_at: end,
        };
        let at = |days_before: i64| {
            let now = end.unix_millis() - days_before * 24 * 60 * 60 * 1_000;
            let status = known.status("admin", Timestamp::from_unix_millis(now));
            assert_eq!(status.expires_in_s, days_before * 24 * 60 * 60);
            status.warning(3 * day)
        };
        assert_eq!(at(4), None);
        assert_eq!(at(3), None);
        for (days_before, word) in [(2, "ends"), (0, "ended"), (-1, "ended")] {
            let expect = format!(
                "[admin.tls]: the certificate in c.pem {word} at 2023-11-14T22:13:20Z; put a renewed one there"
            );
            assert_eq!(at(days_before), Some(expect));
        }
    }
}
