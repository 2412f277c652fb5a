//! Trust and proxies in one value, and the HTTP clients made of them.

use crate::error::Error;
use crate::proxy::ProxyTable;
use crate::settings::Settings;
use crate::trust::{self, TrustBase};
use reqwest::{Client, ClientBuilder, redirect};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest that TCP takes, and the longest that TLS takes.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom outgoing connections trust and which proxy they go through. Clones share it.
#[derive(Clone, Debug)]
pub struct OutgoingConnections {
    tls: Arc<ClientConfig>,
    extra: Arc<[CertificateDer<'static>]>,
    beside: TrustBase,
    proxies: Arc<ProxyTable>,
}

impl OutgoingConnections {
    /// As settings and the environment's proxies say. Paths are taken as they are. Blocks on the file
    /// system.
    ///
    /// # Errors
    /// [`Error`], naming the file, key or variable.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut extra = Vec::new();
        for path in &settings.ca_files {
            extra.extend(trust::certificates(path)?);
        }
        let beside = match settings.ca_only {
            true => TrustBase::Nothing,
            false => TrustBase::Machine,
        };
        let variable = |name: &str| std::env::var(name).ok();
        Ok(Self {
            tls: trust::config(&extra, beside)?,
            extra: extra.into(),
            beside,
            proxies: Arc::new(
                ProxyTable::new(settings.proxy.as_ref(), &settings.no_proxy, variable)
                    .map_err(Error::Proxy)?,
            ),
        })
    }

    /// What the machine trusts, and the environment's proxies.
    ///
    /// # Errors
    /// As [`OutgoingConnections::new`].
    pub fn of_environment() -> Result<Self, Error> {
        Self::new(&Settings::default())
    }

    /// Trust in what `tls` trusts, and no proxies.
    #[must_use]
    pub fn direct(tls: Arc<ClientConfig>) -> Self {
        Self {
            tls,
            extra: Arc::new([]),
            beside: TrustBase::Nothing,
            proxies: Arc::new(ProxyTable::none()),
        }
    }

    /// The same through `proxies`.
    #[must_use]
    pub fn with_proxies(self, proxies: ProxyTable) -> Self {
        Self {
            proxies: Arc::new(proxies),
            ..self
        }
    }

    /// The same with trust in the certificates of one more PEM file. Blocks on the file system.
    ///
    /// # Errors
    /// [`Error::Certificates`], [`Error::Tls`].
    pub fn with_ca_file(&self, path: &Path) -> Result<Self, Error> {
        let mut extra = self.extra.to_vec();
        extra.extend(trust::certificates(path)?);
        let mut tls = ClientConfig::clone(&*trust::config(&extra, self.beside)?);
        tls.client_auth_cert_resolver = Arc::clone(&self.tls.client_auth_cert_resolver);
        Ok(Self {
            tls: Arc::new(tls),
            extra: extra.into(),
            ..self.clone()
        })
    }

    /// The same that shows `certificate` to servers that ask clients for one.
    #[must_use]
    pub fn with_client_certificate(&self, certificate: CertifiedKey) -> Self {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certificate));
        Self {
            tls: Arc::new(tls),
            ..self.clone()
        }
    }

    /// The one TLS configuration.
    #[must_use]
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    pub(crate) fn proxies(&self) -> &ProxyTable {
        &self.proxies
    }

    /// An HTTP/1.1 client to be set further: it follows no redirects, so that no secret goes where it
    /// was not meant to, decodes no compressed answers, and goes through the proxies.
    pub fn http(&self) -> ClientBuilder {
        let proxies = Arc::clone(&self.proxies);
        Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls))
            .http1_only()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            // First, so that reqwest looks at no variables by itself.
            .no_proxy()
            .proxy(reqwest::Proxy::custom(move |url| proxies.of_url(url)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(path: &Path, ca_only: bool) -> Result<OutgoingConnections, Error> {
        OutgoingConnections::new(&Settings {
            ca_files: vec![path.to_owned()],
            ca_only,
            no_proxy: vec!["*".to_owned()],
            ..Settings::default()
        })
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corp.pem");
        let refusal = || with_file(&path, false).unwrap_err().to_string();
        assert!(
            refusal().contains("corp.pem: No such file"),
            "{}",
            refusal()
        );
        std::fs::write(&path, "no PEM").unwrap();
        assert!(refusal().ends_with("corp.pem: holds no certificate in PEM"));
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, none).unwrap();
        assert!(
            refusal().contains("corp.pem: certificate 1: "),
            "{}",
            refusal()
        );
        std::fs::write(&path, vec![b'a'; 5 << 20]).unwrap();
        assert!(refusal().ends_with("corp.pem: is larger than 4194304 bytes"));
    }

    #[test]
    fn files_come_beside_the_machine_or_alone_and_more_can_follow() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, made.cert.pem()).unwrap();
        for ca_only in [false, true] {
            let outgoing = with_file(&path, ca_only).unwrap();
            assert_eq!(outgoing.extra.len(), 1);
            assert_eq!(outgoing.with_ca_file(&path).unwrap().extra.len(), 2);
        }
    }
}
