//! Certificates for trying things out: an authority that only this machine has, and what it signs.
//!
//! SDKs refuse to send tokens over plain HTTP, so a local server needs TLS that they trust. Whoever gives
//! them `ca.pem` trusts whoever can read `ca.key` beside it: for development alone.

use crate::tls::{ServerTls, TlsSettings};
use crate::tls_error::PEM_BYTES_MAX;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;
use twinroute_files::file_error::FileError;
use twinroute_files::replace::{OWNER_ONLY, READABLE_BY_ALL, replace_file};
use twinroute_files::text_file::{read_secret, read_text};
use twinroute_model::clock::{Clock as _, SystemClock, Timestamp};

/// Names that every certificate has. OpenSSL, Node and rustls do not let `*.localhost` stand for anything,
/// since only one label follows the asterisk; browsers do.
const ALWAYS: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

/// Names that may be asked for.
const NAMES_MAX: usize = 100;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long the authority lasts.
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);

/// How long a certificate lasts. Apple's platforms take at most 398 days, the beginning counted.
const LIFE: Duration = DAY.saturating_mul(396);

/// A certificate, or an authority, with less left is made again.
const LEFT_MIN: Duration = DAY.saturating_mul(30);

/// By how much a certificate begins before it was made: clocks differ, above all those of containers.
const BACKDATED: Duration = Duration::from_secs(3600);

/// What there is to listen with, and to be trusted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevelopmentTls {
    /// Certificate and key of the server.
    pub tls: TlsSettings,
    /// The PEM file of the authority, for `REQUESTS_CA_BUNDLE`, `NODE_EXTRA_CA_CERTS` or `curl --cacert`.
    pub ca: PathBuf,
}

/// Why there are no certificates for development.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file cannot be made.
    #[error("development certificates")]
    File(#[from] FileError),
    /// A name cannot stand in a certificate.
    #[error(
        "development certificates: {name:?}: must be a host name, such as adt.localhost or \
         *.adt.localhost, or an IP address; at most {NAMES_MAX} of them"
    )]
    Name {
        /// Which.
        name: String,
    },
    /// A certificate cannot be made.
    #[error("development certificates: cannot sign")]
    Sign(#[from] rcgen::Error),
}

/// What a file's first lines say about the certificate below them. They stand before the PEM, where RFC 7468
/// §2 allows text; so nothing here has to read X.509.
#[derive(Debug, PartialEq, Eq)]
struct CertificateLabel {
    made: Timestamp,
    names: Vec<String>,
}

/// Finds or makes an authority and a certificate for `localhost`, `127.0.0.1`, `::1` and `names`, which
/// may begin with `*.`, in `folder`.
///
/// The authority stays for ten years. The certificate is made again when names change or 30 of its days
/// are left; files that are damaged are replaced. Blocks on the file system.
///
/// # Errors
/// [`DevelopmentError`], naming the file or the name.
pub fn certificates(folder: &Path, names: &[String]) -> Result<DevelopmentTls, DevelopmentError> {
    certificates_at(folder, names, SystemClock.now())
}

fn certificates_at(
    folder: &Path,
    names: &[String],
    now: Timestamp,
) -> Result<DevelopmentTls, DevelopmentError> {
    let names = all_names(names)?;
    let development = DevelopmentTls {
        tls: TlsSettings {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        },
        ca: folder.join("ca.pem"),
    };
    let (made, authority) = authority(&development.ca, &folder.join("ca.key"), now)?;
    let DevelopmentTls { tls, .. } = &development;
    let found = CertificateLabel::read(&tls.certificate).filter(|label| {
        let fresh = label.made >= made && lasts(label.made, LIFE, now);
        label.names == names && fresh && ServerTls::load(tls).is_ok()
    });
    if found.is_none() {
        let key = KeyPair::generate()?;
        let certificate = server(&names, now)?.signed_by(&key, &authority)?;
        let label = CertificateLabel { made: now, names };
        write(&tls.key, &key.serialize_pem(), OWNER_ONLY)?;
        write(
            &tls.certificate,
            &label.above(&certificate.pem()),
            READABLE_BY_ALL,
        )?;
        tracing::info!(certificate = %tls.certificate.display(), "development certificate made");
    }
    Ok(development)
}

fn all_names(names: &[String]) -> Result<Vec<String>, DevelopmentError> {
    let mut all: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    for (position, name) in names.iter().enumerate() {
        let plain = name.strip_prefix("*.").unwrap_or(name);
        let good = rustls::pki_types::ServerName::try_from(plain).is_ok();
        if !good || position >= NAMES_MAX {
            let name = name.clone();
            return Err(DevelopmentError::Name { name });
        }
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    Ok(all)
}

/// Whether what was made at `made` is good for long enough.
fn lasts(made: Timestamp, life: Duration, now: Timestamp) -> bool {
    made <= now.after(BACKDATED) && now.after(LEFT_MIN) < made.after(life)
}

/// When the authority was made, and what signs in its name.
fn authority(
    certificate: &Path,
    key: &Path,
    now: Timestamp,
) -> Result<(Timestamp, Issuer<'static, KeyPair>), DevelopmentError> {
    let found =
        CertificateLabel::read(certificate).filter(|label| lasts(label.made, AUTHORITY_LIFE, now));
    let pair = TlsSettings {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    if let Some(label) = found
        && ServerTls::load(&pair).is_ok()
        && let Ok(text) = read_secret("key file", key, PEM_BYTES_MAX)
        && let Ok(key) = KeyPair::from_pem(text.expose())
    {
        return Ok((label.made, Issuer::new(authority_params(label.made), key)));
    }
    let new = KeyPair::generate()?;
    let params = authority_params(now);
    let made = params.self_signed(&new)?;
    let label = CertificateLabel {
        made: now,
        names: Vec::new(),
    };
    write(key, &new.serialize_pem(), OWNER_ONLY)?;
    write(certificate, &label.above(&made.pem()), READABLE_BY_ALL)?;
    tracing::info!(ca = %certificate.display(), "development authority made: clients must trust it");
    Ok((now, Issuer::new(params, new)))
}

/// RFC 5280 §4.2.1 says which extensions an authority has. The name tells one from another, since OpenSSL
/// looks issuers up by name.
fn authority_params(made: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("twinroute development CA {}", made.rfc3339()));
    params.not_before = moment(made, Duration::ZERO);
    params.not_after = moment(made, AUTHORITY_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server(names: &[String], now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("twinroute development");
    params.not_before = moment(now, Duration::ZERO);
    params.not_after = moment(now, LIFE);
    // Writes the extension that says so, and the one that identifies the key.
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The moment, `after` a certificate that is made at `made` begins.
fn moment(made: Timestamp, after: Duration) -> OffsetDateTime {
    let backdated = i64::try_from(BACKDATED.as_secs()).unwrap_or_default();
    let seconds = made.after(after).unix_seconds() - backdated;
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl CertificateLabel {
    fn above(&self, pem: &str) -> String {
        let Self { made, names } = self;
        let (made, names) = (made.rfc3339(), names.join(" "));
        format!("For development with twinroute alone.\nmade: {made}\nnames: {names}\n{pem}")
    }

    fn read(path: &Path) -> Option<Self> {
        let text = read_text("certificate file", path, PEM_BYTES_MAX).ok()?;
        let line = |key| {
            let mut lines = text.expose().lines().take(3);
            lines.find_map(|line| line.strip_prefix(key))
        };
        Some(Self {
            made: Timestamp::parse_rfc3339(line("made: ")?)?,
            names: line("names: ")?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        })
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevelopmentError> {
    Ok(replace_file(path, mode, &[text.as_bytes()])?)
}

#[cfg(test)]
#[path = "development_tests.rs"]
mod tests;
