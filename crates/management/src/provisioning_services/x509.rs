//! Certificates as they are sent: base64 or PEM, of which DER is kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt::Write as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Bytes of a certificate in DER.
const DER_BYTES_MAX: usize = 16 << 10;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

const NO_CERTIFICATE: &str = "must be one X.509 certificate: PEM text, or DER or PEM in base64";

/// What is shown of a certificate.
pub(super) struct CertificateFacts {
    pub(super) subject: String,
    /// Seconds since the Unix epoch.
    pub(super) expiry: i64,
    /// SHA-1 of the DER, as Azure identifies certificates.
    pub(super) thumbprint: String,
}

/// Reads what was sent into DER.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn read(text: &str) -> Result<Vec<u8>, &'static str> {
    let der = match decode(text) {
        _ if text.contains("-----BEGIN") => pem(text)?,
        Some(bytes) if bytes.starts_with(b"-----BEGIN") => {
            pem(std::str::from_utf8(&bytes).map_err(|_| NO_CERTIFICATE)?)?
        }
        Some(bytes) => bytes,
        None => return Err(NO_CERTIFICATE),
    };
    if der.len() > DER_BYTES_MAX {
        return Err("has at most 16 KiB in DER");
    }
    parse(&der).ok_or(NO_CERTIFICATE)?;
    Ok(der)
}

/// Base64, in lines or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

fn pem(text: &str) -> Result<Vec<u8>, &'static str> {
    // Whoever sends a key along with it gave it away by mistake.
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key; send the certificate alone");
    }
    let (_, rest) = text.split_once(BEGIN).ok_or(NO_CERTIFICATE)?;
    let (base64, rest) = rest.split_once(END).ok_or(NO_CERTIFICATE)?;
    if rest.contains(BEGIN) {
        return Err("holds several certificates; send one");
    }
    decode(base64).ok_or(NO_CERTIFICATE)
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// What stands in a certificate; nothing if it is none.
pub(super) fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let certificate = parse(der)?;
    let mut thumbprint = String::new();
    for byte in digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref() {
        write!(thumbprint, "{byte:02X}").expect("a String takes everything");
    }
    Some(CertificateFacts {
        subject: certificate.subject().to_string(),
        expiry: certificate.validity().not_after.timestamp(),
        thumbprint,
    })
}

/// Whether a leaf proves that its sender has the key of `authority`: the leaf is made out to `code` and signed
/// with that key.
///
/// # Errors
/// Why it proves nothing.
pub(super) fn proves(leaf: &[u8], authority: &[u8], code: &str) -> Result<(), &'static str> {
    let (Some(leaf), Some(authority)) = (parse(leaf), parse(authority)) else {
        return Err(NO_CERTIFICATE);
    };
    let mut names = leaf.subject().iter_common_name();
    if !names.any(|name| name.as_str() == Ok(code)) {
        return Err("the common name of its subject must be the verification code");
    }
    if leaf.issuer().as_raw() != authority.subject().as_raw() {
        return Err("its issuer must be the subject of the certificate that is verified");
    }
    let signed = leaf.verify_signature(Some(authority.public_key()));
    signed.map_err(|_| "must be signed with the key of the certificate that is verified")
}
