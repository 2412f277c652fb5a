//! Certificates that clients show: whose are taken, and what they say of who shows them.

use crate::tls_error::{AUTHORITIES_MAX, PEM_BYTES_MAX, TlsError};
use http::{Extensions, Request};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::path::Path;
use std::sync::Arc;
use twinroute_files::text_file::read_text;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Alternative names of one certificate that are looked at.
const NAMES_MAX: usize = 100;

/// Bytes of a name that is shown.
const NAME_BYTES_MAX: usize = 512;

/// That a client showed a certificate of the authority that the listener trusts. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    name: Option<Arc<str>>,
    /// The alternative names of its subject.
    others: Arc<[Box<str>]>,
}

impl ClientCertificate {
    /// What was shown on the connection of a request that [`serve`](crate::serve) gave to its service; nothing
    /// where the listener has no `client_ca`.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        Self::of_extensions(request.extensions())
    }

    /// As [`ClientCertificate::of`], of a request whose extensions were taken out.
    #[must_use]
    pub fn of_extensions(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The common name of its subject (RFC 5280 §4.1.2.6, X.520 §6.2.2): no control characters, at most 512
    /// bytes. Nothing where it has none of that kind.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The names of its subject: the common name and the alternative names that are DNS names, URIs or mail
    /// addresses (RFC 5280 §4.2.1.6), at most 100. No control characters, each at most 512 bytes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.name()
            .into_iter()
            .chain(self.others.iter().map(|name| &**name))
    }

    /// Reads a certificate that was verified.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Self {
        match x509_parser::parse_x509_certificate(certificate) {
            Ok((_, certificate)) => Self {
                name: common_name(&certificate),
                others: alternative_names(&certificate),
            },
            Err(_) => Self {
                name: None,
                others: Arc::default(),
            },
        }
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<Arc<str>> {
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str()
        .ok()
        .filter(|name| is_plain(name))
        .map(Arc::from)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Arc<[Box<str>]> {
    let found = certificate.subject_alternative_name().ok().flatten();
    let names = found.iter().flat_map(|found| &found.value.general_names);
    let texts = names.filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some(*text)
        }
        _ => None,
    });
    let plain = texts.filter(|text| is_plain(text)).take(NAMES_MAX);
    plain.map(Box::from).collect()
}

fn is_plain(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Takes certificates that an authority in the file `ca` signed, and no connection without one. Blocks on the
/// file system.
pub(crate) fn verifier(
    ca: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let text = read_text("client_ca file", ca, PEM_BYTES_MAX)?;
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
