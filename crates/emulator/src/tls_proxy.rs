//! TLS in front of servers that speak none: as `localhost`, with an authority made for development.

use crate::listener;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use twinroute_listen::development::{self, DevelopmentError};

/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsProxyError {
    /// The certificate cannot be made.
    #[error("TLS")]
    Development(#[from] DevelopmentError),
    /// What was made cannot be read again.
    #[error("certificate file {}: cannot be used", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What speaks TLS, and the authority that clients must trust.
#[derive(Clone)]
pub(crate) struct TlsProxy {
    acceptor: TlsAcceptor,
    pub(crate) ca: PathBuf,
}

impl std::fmt::Debug for TlsProxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TlsProxy({})", self.ca.display())
    }
}

impl TlsProxy {
    /// Finds or makes certificate and authority in `folder`. Blocks on the file system.
    pub(crate) fn open(folder: &Path) -> Result<Self, TlsProxyError> {
        let made = development::certificates(folder, &[])?;
        let path = made.tls.certificate.clone();
        let unfit = |source| TlsProxyError::Unfit { path, source };
        let config = configure(&made.tls.certificate, &made.tls.key).map_err(unfit)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca: made.ca,
        })
    }

    /// Serves until `stop` fires or its sender is gone, then drops every connection at once.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        target: SocketAddr,
        connections_max: usize,
        stop: oneshot::Receiver<()>,
    ) {
        listener::accept(listener, connections_max, stop, |stream| {
            Some(pass(self.acceptor.clone(), stream, target))
        })
        .await;
    }
}

/// Carries bytes both ways until either side ends.
async fn pass(acceptor: TlsAcceptor, stream: TcpStream, target: SocketAddr) {
    let accepted = timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await;
    let Ok(Ok(mut near)) = accepted else {
        return tracing::debug!("TLS handshake failed");
    };
    let passed = async {
        let mut far = TcpStream::connect(target).await?;
        far.set_nodelay(true)?;
        copy_bidirectional(&mut near, &mut far).await
    };
    if let Err(error) = passed.await {
        tracing::debug!(%error, "connection lost");
    }
}

fn configure(
    certificate: &Path,
    key: &Path,
) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(config)
}
