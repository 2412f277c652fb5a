//! The client certificate that a command shows to the server it asks.

use anyhow::bail;
use clap::Args;
use reqwest::Url;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, StreamOwned};
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use twinroute_files::text_file::{read_secret, read_text};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Certificates of a chain.
const CHAIN_MAX: usize = 16;

/// How long each step of a handshake may take that is repeated for its alert.
const ALERT_TIMEOUT: Duration = Duration::from_secs(3);

const CERTIFICATE_VARIABLE: &str = "TWINROUTE_CLIENT_CERT";
const KEY_VARIABLE: &str = "TWINROUTE_CLIENT_KEY";

/// Which certificate is shown.
#[derive(Args, Debug)]
pub(crate) struct ClientCertificateOptions {
    /// Shows this certificate (PEM, followed by those between it and the authority); needs https and --client-key.
    /// Without both options, TWINROUTE_CLIENT_CERT and TWINROUTE_CLIENT_KEY name the files, wherever https is used.
    #[arg(long, value_name = "FILE")]
    pub(super) client_cert: Option<PathBuf>,
    /// The key of --client-cert (PEM, not encrypted), in a file that is for its owner alone.
    #[arg(long, value_name = "FILE")]
    pub(super) client_key: Option<PathBuf>,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerScheme {
    Tls,
    /// Plain HTTP, or a unix socket.
    Plain,
}

impl ClientCertificateOptions {
    /// Reads what is to be shown to `address`, if anything is. Blocks on the file system.
    ///
    /// # Errors
    /// When a file cannot be used, one of the two is missing, or `address` takes no certificates; the text names
    /// the file and the way out.
    pub(super) fn read(
        &self,
        address: &str,
        wire: ServerScheme,
    ) -> anyhow::Result<Option<CertifiedKey>> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match self.files(address, wire, variable)? {
            Some((certificate, key)) => read(&certificate, &key).map(Some),
            None => Ok(None),
        }
    }

    fn files(
        &self,
        address: &str,
        wire: ServerScheme,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
        match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(_)) if wire == ServerScheme::Plain => bail!(
                "client certificate {}: it can be shown over https:// only, and the address is {address}; \
                 use an https:// address, or leave out --client-cert and --client-key",
                certificate.display()
            ),
            (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
            (Some(certificate), None) => bail!(
                "client certificate {}: it needs its key; name the file with --client-key",
                certificate.display()
            ),
            (None, Some(key)) => bail!(
                "client key {}: it needs its certificate; name the file with --client-cert",
                key.display()
            ),
            // The variables stand for all commands, those too that ask another address.
            (None, None) if wire == ServerScheme::Plain => Ok(None),
            (None, None) => match (variable(CERTIFICATE_VARIABLE), variable(KEY_VARIABLE)) {
                (None, None) => Ok(None),
                (Some(certificate), Some(key)) => Ok(Some((certificate.into(), key.into()))),
                (Some(_), None) => bail!(
                    "{CERTIFICATE_VARIABLE} is set without {KEY_VARIABLE}: set both, or neither"
                ),
                (None, Some(_)) => bail!(
                    "{KEY_VARIABLE} is set without {CERTIFICATE_VARIABLE}: set both, or neither"
                ),
            },
        }
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let of_certificate = || format!("client certificate {}", certificate.display());
    let of_key = || format!("client key {}", key.display());
    let chain = read_text("client certificate", certificate, FILE_BYTES_MAX)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.expose().as_bytes())
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if !(1..=CHAIN_MAX).contains(&chain.len()) {
        bail!(
            "{}: does not hold 1 to {CHAIN_MAX} certificates in PEM; of another format, convert it with `openssl`",
            of_certificate()
        );
    }
    let secret = read_secret("client key", key, FILE_BYTES_MAX)?;
    // What it holds instead is not reported.
    let Ok(der) = PrivateKeyDer::from_pem_slice(secret.expose().as_bytes()) else {
        bail!(
            "{}: does not hold a key in PEM (PKCS #8, PKCS #1 or SEC1, not encrypted); convert it with `openssl pkey`",
            of_key()
        );
    };
    match CertifiedKey::from_der(chain, der, &twinroute_outgoing::provider()) {
        Ok(certificate) => Ok(certificate),
        Err(Error::InconsistentKeys(_)) => bail!(
            "{}: it is not the key of {}; name the two that were made together",
            of_key(),
            certificate.display()
        ),
        Err(error) => bail!(
            "{} with {}: cannot be used: {error}",
            of_certificate(),
            key.display()
        ),
    }
}

/// What to do when a server ended the handshake because of the client's certificate, or of none; `said` is the
/// error with its causes.
pub(super) fn advice(said: &str) -> Option<&'static str> {
    // Names of RFC 8446 §6.2, as rustls writes them.
    let (_, alert) = said.split_once("received fatal alert: ")?;
    let alert = alert.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    match alert {
        "CertificateRequired" => {
            Some("it asks for a client certificate: give one with --client-cert and --client-key")
        }
        "CertificateExpired" => {
            Some("the client certificate has expired: give a renewed one with --client-cert")
        }
        "UnknownCA"
        | "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateRevoked"
        | "CertificateUnknown"
        | "DecryptError" => Some(
            "it does not take this client certificate: give one that an authority in its client_ca signed",
        ),
        _ => None,
    }
}

/// What the TLS library says of a first answer that is no TLS, and what stands in place of that.
const NO_TLS: &str = "received corrupt message of type InvalidContentType";
const NO_TLS_IN_WORDS: &str = "does not speak TLS on this port";

/// What to do about an exchange with an `https` server that failed, if it speaks no TLS or a certificate was the
/// reason; `said` is
/// the error with its causes.
///
/// In TLS 1.3 a server judges the client's certificate when the client is done already, so its alert may come
/// while the request is being written, and is lost then. Another handshake, behind which nothing is sent, gets it
/// for certain. Blocks on the network for a few seconds at most.
pub(super) fn advice_of_handshake(
    said: &str,
    url: &Url,
    tls: &Arc<ClientConfig>,
) -> Option<&'static str> {
    if said.contains(NO_TLS) || said.contains(NO_TLS_IN_WORDS) {
        return Some(
            "what answers there does not speak TLS: write http:// if that is meant, or name its https port",
        );
    }
    advice(said).or_else(|| {
        let alert = (url.scheme() == "https").then(|| alert(url, tls))??;
        advice(&alert.to_string())
    })
}

/// What ends a connection on which nothing is sent.
fn alert(url: &Url, tls: &Arc<ClientConfig>) -> Option<io::Error> {
    let host = url.host_str()?.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let address = (host, url.port_or_known_default()?).to_socket_addrs();
    let address = address.ok()?.next()?;
    let tcp = TcpStream::connect_timeout(&address, ALERT_TIMEOUT).ok()?;
    tcp.set_read_timeout(Some(ALERT_TIMEOUT)).ok()?;
    tcp.set_write_timeout(Some(ALERT_TIMEOUT)).ok()?;
    let session = ClientConnection::new(Arc::clone(tls), name).ok()?;
    StreamOwned::new(session, tcp).read(&mut [0]).err()
}

#[cfg(test)]
#[path = "client_certificate_tests.rs"]
mod tests;
