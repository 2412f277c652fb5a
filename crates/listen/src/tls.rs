//! TLS of a listener: its certificate, and how a renewed one takes the old one's place.

use crate::certificate_end::CertificateEnd;
use crate::client_certificate;
use crate::tls_error::{CHAIN_MAX, PEM_BYTES_MAX, TlsError};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use twinroute_files::file_stamp::FileStamp;
use twinroute_files::text_file::{read_secret, read_text};
use twinroute_files::watch::FileWatch;

/// How often the files are checked where no change of them is seen. A renewed certificate is there days before the old
/// one ends.
const POLL: Duration = Duration::from_secs(30);

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The PEM file of the server's certificate and those between it and the authority, in this order.
    pub certificate: PathBuf,
    /// The PEM file of its key, which only the owner and the group may read.
    pub key: PathBuf,
}

/// The TOML table `tls` of a server that may ask clients for certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutualTlsSettings {
    /// As [`TlsSettings::certificate`].
    pub certificate: PathBuf,
    /// As [`TlsSettings::key`].
    pub key: PathBuf,
    /// The PEM file of authorities: who shows no certificate of one of them gets no connection. Without it
    /// nobody is asked for one.
    pub client_ca: Option<PathBuf>,
}

impl From<TlsSettings> for MutualTlsSettings {
    fn from(files: TlsSettings) -> Self {
        Self {
            certificate: files.certificate,
            key: files.key,
            client_ca: None,
        }
    }
}

/// Whether there was something to reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsReload {
    /// The files are those of before.
    Unchanged,
    /// New connections get a new certificate. Open ones go on.
    Renewed,
}

/// TLS 1.2 and 1.3 with one certificate, and perhaps authorities of clients. Cheap to clone; clones share the certificate.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<TlsState>);

#[derive(Debug)]
struct TlsState {
    settings: MutualTlsSettings,
    current: Arc<CurrentCertificate>,
    /// The files that were tried last, so that a broken pair is tried, and logged, once.
    tried: Mutex<FileStamps>,
    config: ArcSwap<ServerConfig>,
    ends: ArcSwap<Vec<CertificateEnd>>,
}

type FileStamps = [Option<FileStamp>; 3];

#[derive(Debug)]
struct CurrentCertificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ServerTls {
    /// Reads certificate and key. Blocks on the file system.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        Self::load_mutual(&settings.clone().into())
    }

    /// Reads certificate, key and the authorities of clients. Blocks on the file system.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load_mutual(settings: &MutualTlsSettings) -> Result<Self, TlsError> {
        let tried = stamps(settings);
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(CurrentCertificate(ArcSwap::from_pointee(read(
            settings, &provider,
        )?)));
        let config = configure(settings, &current, &provider)?;
        Ok(Self(Arc::new(TlsState {
            settings: settings.clone(),
            current,
            tried: Mutex::new(tried),
            config: ArcSwap::from_pointee(config),
            ends: ArcSwap::from_pointee(ends(settings)),
        })))
    }

    /// When the certificates end that are in use: the listener's own, those between it and the authority, and
    /// the authorities of clients.
    #[must_use]
    pub fn ends(&self) -> Vec<CertificateEnd> {
        self.0.ends.load().to_vec()
    }

    /// Reads the files again if they changed. Blocks on the file system.
    ///
    /// # Errors
    /// [`TlsError`] if the new ones cannot be used: the certificate of before stays, and the next call says
    /// [`TlsReload::Unchanged`] unless the files changed once more.
    pub fn reload(&self) -> Result<TlsReload, TlsError> {
        let inner = &self.0;
        let found = stamps(&inner.settings);
        let mut tried = inner.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == found {
            return Ok(TlsReload::Unchanged);
        }
        *tried = found;
        let before = inner.config.load_full();
        let provider = before.crypto_provider();
        let renewed = read(&inner.settings, provider)?;
        if inner.settings.client_ca.is_some() {
            // A new one forgets sessions too: who is trusted no more cannot resume one.
            let config = configure(&inner.settings, &inner.current, provider)?;
            inner.config.store(Arc::new(config));
        }
        inner.current.0.store(Arc::new(renewed));
        inner.ends.store(Arc::new(ends(&inner.settings)));
        Ok(TlsReload::Renewed)
    }

    /// Reloads for ever, and logs what comes of it. Dropping the future ends that.
    pub(crate) async fn follow(&self) -> Infallible {
        let settings = &self.0.settings;
        let mut files = vec![settings.certificate.as_path(), settings.key.as_path()];
        files.extend(settings.client_ca.as_deref());
        let watch = FileWatch::new(&[], &files, POLL);
        loop {
            watch.changed().await;
            let tls = self.clone();
            let certificate = self.0.settings.certificate.display();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(TlsReload::Unchanged)) => {}
                Ok(Ok(TlsReload::Renewed)) => tracing::info!(%certificate, "certificate renewed"),
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "certificate not renewed: the previous one stays in use");
                }
                Err(error) => tracing::error!(%error, "certificate files not checked"),
            }
        }
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.config.load_full())
    }
}

fn ends(settings: &MutualTlsSettings) -> Vec<CertificateEnd> {
    let client_ca = settings.client_ca.as_deref();
    let own = CertificateEnd::of("certificate", &settings.certificate);
    let authorities = client_ca.and_then(|ca| CertificateEnd::of("client_ca", ca));
    own.into_iter().chain(authorities).collect()
}

fn stamps(settings: &MutualTlsSettings) -> FileStamps {
    let client_ca = settings.client_ca.as_deref();
    [
        FileStamp::of(&settings.certificate),
        FileStamp::of(&settings.key),
        client_ca.and_then(FileStamp::of),
    ]
}

fn configure(
    settings: &MutualTlsSettings,
    current: &Arc<CurrentCertificate>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?;
    let builder = match &settings.client_ca {
        Some(ca) => builder.with_client_cert_verifier(client_certificate::verifier(ca, provider)?),
        None => builder.with_no_client_auth(),
    };
    let resolver = Arc::clone(current);
    let mut config = builder.with_cert_resolver(resolver);
    // RFC 9113 §3.2 and RFC 7301 §6.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn read(settings: &MutualTlsSettings, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = read_text("certificate file", &settings.certificate, PEM_BYTES_MAX)?;
    let chain = CertificateDer::pem_slice_iter(chain.expose().as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if !(1..=CHAIN_MAX).contains(&chain.len()) {
        let path = settings.certificate.clone();
        return Err(TlsError::NoCertificate { path });
    }
    let key = read_secret("key file", &settings.key, PEM_BYTES_MAX)?;
    let path = settings.key.clone();
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()) else {
        return Err(TlsError::NoKey { path });
    };
    CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Unfit {
        certificate: settings.certificate.clone(),
        key: path,
        source,
    })
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
