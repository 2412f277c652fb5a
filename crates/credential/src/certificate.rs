//! The login of an application that has a certificate: a token about itself, signed with its key.
//!
//! Source: "Microsoft identity platform application authentication certificate credentials": algorithm
//! PS256, header `x5t#S256`, audience the token endpoint. azure_identity's own needs OpenSSL.

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{KeyPair as _, RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use twinroute_files::text_file::read_secret;
use twinroute_model::clock::{Clock, Timestamp};

/// A key with a chain of certificates has some 10 KB.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// How long an assertion is good; it is used at once.
const LIFE: Duration = Duration::from_secs(600);

/// Signs assertions. The file is read again for each, so a renewed certificate is taken.
pub(crate) struct AssertionSigner {
    pub(crate) file: PathBuf,
    pub(crate) client_id: String,
    /// The token endpoint.
    pub(crate) audience: String,
    pub(crate) clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AssertionSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Certificate({})", self.file.display())
    }
}

#[async_trait]
impl ClientAssertion for AssertionSigner {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let (file, client_id) = (self.file.clone(), self.client_id.clone());
        let (audience, now) = (self.audience.clone(), self.clock.now());
        let signing = tokio::task::spawn_blocking(move || {
            let signed =
                CertifiedKey::read(&file).and_then(|pair| pair.sign(&client_id, &audience, now));
            signed.map_err(|reason| format!("certificate file {}: {reason}", file.display()))
        });
        let signed = signing.await.unwrap_or_else(|error| Err(error.to_string()));
        signed.map_err(|text| Error::with_message(ErrorKind::Credential, text))
    }
}

/// A key with the certificate that is about it.
struct CertifiedKey {
    key: RsaKeyPair,
    thumbprint: String,
}

impl CertifiedKey {
    /// Nothing that the file holds is reported.
    fn read(path: &Path) -> Result<Self, String> {
        let text = read_secret("certificate file", path, FILE_BYTES_MAX);
        let text = text.map_err(|error| error.reason())?;
        let pem = text.expose().as_bytes();
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| "holds no key in PEM (PKCS #8 or PKCS #1, not encrypted)")?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => {
                return Err(
                    "its key is not an RSA key, the only kind that Entra accepts".to_owned(),
                );
            }
        };
        let key = key.map_err(|error| {
            format!(
                "its key is not an RSA key of 2048 to 8192 bits, as Entra accepts them: {error}"
            )
        })?;
        // A chain may stand in any order: the one with this public key is meant.
        let public = key.public_key().as_ref();
        let certificate = CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .find(|der| der.windows(public.len()).any(|part| part == public))
            .ok_or("holds no certificate in PEM that is about its key")?;
        Ok(Self {
            thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate)),
            key,
        })
    }

    fn sign(&self, client_id: &str, audience: &str, now: Timestamp) -> Result<String, String> {
        let random = SystemRandom::new();
        let no_random = "the system gives no random bytes";
        let mut id = [0; 16];
        random.fill(&mut id).map_err(|_| no_random)?;
        let header = serde_json::json!({
            "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint,
        });
        let claims = serde_json::json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now.unix_seconds(),
            "nbf": now.unix_seconds(),
            "exp": now.after(LIFE).unix_seconds(),
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature)
            .map_err(|_| no_random)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
