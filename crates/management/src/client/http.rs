//! HTTP clients for management APIs and for logins.

use reqwest::{Client, redirect};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The longest that TCP and TLS take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections that are kept for a host; requests come one by one.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// Certificates of an extra file; the bundles of distributions have some 150.
const CERTIFICATES_MAX: usize = 1_000;

/// Whether the proxies that the environment names are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    Environment,
    /// Never: for plain HTTP, where a proxy would see the token, and for what is on this machine.
    None,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of certificates cannot be used.
    #[error("certificates of {}: {reason}", path.display())]
    Certificates {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The machine's trust store or TLS cannot be set up.
    #[error("TLS")]
    Tls(#[source] rustls::Error),
    /// The client cannot be made.
    #[error("HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A client that trusts what the machine trusts and, beside it, the certificates in `ca_file` (PEM).
///
/// It follows no redirects, so that no token goes where it was not meant to. Blocks on the file system.
///
/// # Errors
/// [`Error`].
pub fn client(ca_file: Option<&Path>, proxies: Proxies) -> Result<Client, Error> {
    let extra = ca_file.map(certificates).transpose()?.unwrap_or_default();
    // Passed explicitly: nothing here installs or relies on a process default.
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider));
    let verifier = Arc::new(verifier.map_err(Error::Tls)?);
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("twinroute/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
    let builder = match proxies {
        Proxies::Environment => builder,
        Proxies::None => builder.no_proxy(),
    };
    builder.build().map_err(Error::Client)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let refuse = |reason: String| Error::Certificates {
        path: path.to_owned(),
        reason,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
    let read = read.take(CERTIFICATES_MAX + 1);
    let read: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    match read.len() {
        0 => Err(refuse("holds no certificate in PEM".to_owned())),
        count if count > CERTIFICATES_MAX => {
            Err(refuse(format!("has more than {CERTIFICATES_MAX}")))
        }
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let error = client(Some(&path), Proxies::None).unwrap_err().to_string();
        assert!(error.starts_with("certificates of /"), "{error}");
        std::fs::write(&path, "no PEM").unwrap();
        let error = client(Some(&path), Proxies::None).unwrap_err().to_string();
        assert!(
            error.ends_with("ca.pem: holds no certificate in PEM"),
            "{error}"
        );
    }
}
