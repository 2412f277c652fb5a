//! The key that tokens are signed with: JSON Web Tokens (RFC 7519) by ES256 (RFC 7518 §3.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use twinroute_model::clock::Timestamp;

/// Signs, and knows again what it signed. Its key is made at its start and never leaves it.
pub(crate) struct TokenIssuer {
    key: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Issuer({})", self.id)
    }
}

/// A token that was made, with its times in seconds.
#[derive(Debug)]
pub(super) struct MintedToken {
    pub(super) text: String,
    pub(super) begins: i64,
    pub(super) ends: i64,
    pub(super) seconds: i64,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
}

impl TokenIssuer {
    pub(super) fn new() -> Option<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok()?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).ok()?;
        let digest = digest::digest(&digest::SHA256, key.public_key().as_ref());
        Some(Self {
            id: URL_SAFE_NO_PAD.encode(&digest.as_ref()[..20]),
            key,
            random,
        })
    }

    /// The key set (RFC 7517 §5, RFC 7518 §6.2.1).
    pub(super) fn keys(&self) -> Value {
        // SEC 1 §2.3.3: 4, then both coordinates.
        let point = self.key.public_key().as_ref();
        let (x, y) = (&point[1..33], &point[33..65]);
        json!({ "keys": [{
            "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "ES256", "kid": self.id });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.key.sign(&self.random, message.as_bytes());
        let signature = signature.expect("the system gave random bytes for the key");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token that was signed here, whatever they say.
    pub(super) fn open(&self, token: &str) -> Result<Map<String, Value>, String> {
        let malformed = || "the token is malformed".to_owned();
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = message.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('='));
        let header = decode(header).map_err(|_| malformed())?;
        let header: TokenHeader = serde_json::from_slice(&header).map_err(|_| malformed())?;
        if header.alg != "ES256" || header.kid.as_deref() != Some(&self.id) {
            return Err("the token is signed with a key that is not known here".to_owned());
        }
        let signature = decode(signature).map_err(|_| malformed())?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        key.verify(message.as_bytes(), &signature)
            .map_err(|_| "the token's signature is wrong".to_owned())?;
        let claims = decode(claims).map_err(|_| malformed())?;
        serde_json::from_slice(&claims).map_err(|_| malformed())
    }

    /// When a token for one of `audiences` ends; one that is not valid now is refused.
    pub(crate) fn check(
        &self,
        token: &str,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<Timestamp, String> {
        let claims = self.open(token)?;
        let audience = claims.get("aud").and_then(Value::as_str);
        let audience = audience.unwrap_or_default();
        if !audiences.contains(&audience.trim_end_matches('/')) {
            return Err(format!("the audience {audience} is not served here"));
        }
        let moment = |name: &str| {
            let seconds = claims.get(name).and_then(Value::as_i64);
            seconds.map(|seconds| Timestamp::from_unix_millis(seconds.saturating_mul(1_000)))
        };
        let expiry = moment("exp").ok_or("the token has no end")?;
        if expiry <= now {
            return Err("the token has expired".to_owned());
        }
        if moment("nbf").is_some_and(|begins| begins > now) {
            return Err("the token is not valid yet".to_owned());
        }
        Ok(expiry)
    }
}

/// When a token of Microsoft Entra for one of `audiences` ends. Without an issuer at hand its signature is
/// not checked.
pub(crate) fn check_bearer(
    issuer: Option<&TokenIssuer>,
    token: &str,
    audiences: &[&str],
    now: Timestamp,
) -> Result<Timestamp, String> {
    if let Some(issuer) = issuer {
        return issuer.check(token, audiences, now);
    }
    let expiry = jwt_expiry(token, audiences)?;
    if expiry <= now {
        return Err("the token has expired".to_owned());
    }
    Ok(expiry)
}

fn jwt_expiry(token: &str, audiences: &[&str]) -> Result<Timestamp, String> {
    #[derive(serde::Deserialize)]
    struct IssuedClaims {
        aud: String,
        exp: i64,
    }
    let malformed = || "the token is malformed".to_owned();
    let payload = token.split('.').nth(1).ok_or_else(malformed)?;
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map_err(|_| malformed())?;
    let claims: IssuedClaims = serde_json::from_slice(&payload).map_err(|_| malformed())?;
    if !audiences.contains(&claims.aud.trim_end_matches('/')) {
        return Err(format!("the audience {} is not served here", claims.aud));
    }
    Ok(Timestamp::from_unix_millis(
        claims.exp.saturating_mul(1_000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_774_000_000_000);

    #[test]
    fn it_knows_its_own_tokens_and_nobody_elses() {
        let issuer = TokenIssuer::new().unwrap();
        let claims = json!({ "aud": "https://x/", "exp": 1_774_000_060, "nbf": 1_774_000_000 });
        let token = issuer.sign(&claims);
        let ends = Timestamp::from_unix_millis(1_774_000_060_000);
        assert_eq!(issuer.check(&token, &["https://x"], NOW), Ok(ends));
        let refused = |token: &str, audience: &str, now: Timestamp| {
            issuer.check(token, &[audience], now).unwrap_err()
        };
        assert_eq!(
            refused(&token, "https://y", NOW),
            "the audience https://x/ is not served here"
        );
        assert_eq!(refused(&token, "https://x", ends), "the token has expired");
        let before = Timestamp::from_unix_millis(1_773_999_999_000);
        assert_eq!(
            refused(&token, "https://x", before),
            "the token is not valid yet"
        );
        let other = TokenIssuer::new().unwrap().sign(&claims);
        let unknown = "the token is signed with a key that is not known here";
        assert_eq!(refused(&other, "https://x", NOW), unknown);
        let (head, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        let forged = format!("{head}.{signature}");
        let wrong = "the token's signature is wrong";
        assert_eq!(refused(&forged, "https://x", NOW), wrong);
        let (_, claims) = head.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert_eq!(
            refused(&format!("{none}.{claims}."), "https://x", NOW),
            unknown
        );
        assert_eq!(
            refused("nonsense", "https://x", NOW),
            "the token is malformed"
        );
    }
}
