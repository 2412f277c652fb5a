//! Public keys of an identity provider, and what is checked with them.
//!
//! The signatures are ring's. RFC 7518 §3.1 knows more algorithms; these three are what providers sign
//! with, and each fits one kind of key, so that no token can pass off a public key as a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// Keys of one set that are looked at.
const KEYS_MAX: usize = 100;

/// How a token is signed (RFC 7518 §3.3, §3.5, §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) enum SignatureAlgorithm {
    RS256,
    PS256,
    ES256,
}

/// One key that signatures can be checked with.
#[derive(Debug)]
pub(super) struct VerificationKey {
    id: String,
    /// The one algorithm that it is for, if it says so (RFC 7517 §4.4).
    only: Option<SignatureAlgorithm>,
    kind: KeyKind,
}

#[derive(Debug)]
enum KeyKind {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
}

/// A key set: RFC 7517 §5.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// RFC 7517 §4, RFC 7518 §6.2.1 and §6.3.1.
#[derive(Deserialize)]
struct JsonWebKey {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a key set. Keys of another kind or use, or without a name, are skipped (RFC 7517 §5).
pub(super) fn parse(json: &[u8]) -> Result<Vec<VerificationKey>, serde_json::Error> {
    let set: KeySet = serde_json::from_slice(json)?;
    let keys = set.keys.into_iter().take(KEYS_MAX);
    Ok(keys
        .filter_map(|key| VerificationKey::of(serde_json::from_value(key).ok()?))
        .collect())
}

impl VerificationKey {
    fn of(jwk: JsonWebKey) -> Option<Self> {
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let only = match jwk.alg.as_deref() {
            None => None,
            Some("RS256") => Some(SignatureAlgorithm::RS256),
            Some("PS256") => Some(SignatureAlgorithm::PS256),
            Some("ES256") => Some(SignatureAlgorithm::ES256),
            Some(_) => return None,
        };
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let kind = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", None) => KeyKind::Rsa {
                modulus: positive(bytes(jwk.n)?),
                exponent: positive(bytes(jwk.e)?),
            },
            ("EC", Some("P-256")) => {
                // SEC 1 §2.3.3: an uncompressed point.
                let point = [vec![4], bytes(jwk.x)?, bytes(jwk.y)?].concat();
                KeyKind::P256 { point }
            }
            _ => return None,
        };
        Some(Self {
            id: jwk.kid,
            only,
            kind,
        })
    }

    /// Whether it is the one that a token names, and for its algorithm.
    pub(super) fn is(&self, id: &str, algorithm: SignatureAlgorithm) -> bool {
        let fits = match self.kind {
            KeyKind::Rsa { .. } => matches!(
                algorithm,
                SignatureAlgorithm::RS256 | SignatureAlgorithm::PS256
            ),
            KeyKind::P256 { .. } => algorithm == SignatureAlgorithm::ES256,
        };
        self.id == id && fits && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether it signed `message`.
    pub(super) fn signed(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let checked = match (&self.kind, algorithm) {
            (
                KeyKind::Rsa { modulus, exponent },
                SignatureAlgorithm::RS256 | SignatureAlgorithm::PS256,
            ) => {
                let parameters = match algorithm {
                    SignatureAlgorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(parameters, message, signature)
            }
            (KeyKind::P256 { point }, SignatureAlgorithm::ES256) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            _ => return false,
        };
        checked.is_ok()
    }
}

/// Without the leading zeros that some providers write and ring refuses.
fn positive(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.split_off(zeros)
}
