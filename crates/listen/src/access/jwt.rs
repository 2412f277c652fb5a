//! Tokens that an identity provider signed: JSON Web Tokens (RFC 7519) in the compact form of RFC 7515.
//!
//! The signature is checked before a claim is looked at. Times are compared with a clock of ours, which
//! is why no crate that asks the machine's does this.

use super::caller::{AccessDenied, AuthenticatedCaller, CallerRole};
use super::gate_error::GateError;
use super::keys::SignatureAlgorithm;
use super::provider::{KeyProvider, NoKey};
use super::settings::JwtSettings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use twinroute_model::clock::Timestamp;
use twinroute_outgoing::OutgoingConnections;

/// Characters of a caller's name that are kept.
const NAME_CHARS_MAX: usize = 128;

/// Claims that name a caller, the one that says most to a reader first: a person, an application (version
/// 2 and 1 of Entra's tokens), its object, RFC 7519's own.
const NAMES: [&str; 5] = ["preferred_username", "azp", "appid", "oid", "sub"];

/// Checks signed tokens.
pub(super) struct TokenVerifier {
    provider: KeyProvider,
    settings: JwtSettings,
}

/// A token taken apart; nothing of it is checked yet.
struct TokenParts<'a> {
    header: JwtHeader,
    /// What is signed (RFC 7515 §5.1).
    message: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct JwtHeader {
    alg: SignatureAlgorithm,
    kid: String,
    /// Extensions that must be understood (RFC 7515 §4.1.11). None is.
    crit: Option<IgnoredAny>,
}

impl TokenVerifier {
    pub(super) fn new(
        settings: &JwtSettings,
        outgoing: &OutgoingConnections,
    ) -> Result<Self, GateError> {
        Ok(Self {
            provider: KeyProvider::new(settings, outgoing)?,
            settings: settings.clone(),
        })
    }

    /// Whom a token stands for. Dropping the future stops the waiting for keys, not getting them.
    pub(super) async fn admit(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<AuthenticatedCaller, AccessDenied> {
        let TokenParts {
            header,
            message,
            claims,
            signature,
        } = parts(token).ok_or(AccessDenied::Invalid)?;
        let key = self.provider.key(&header.kid, header.alg).await;
        let key = key.map_err(|error| match error {
            NoKey::Unknown => AccessDenied::Invalid,
            NoKey::Unavailable => AccessDenied::KeysUnavailable,
        })?;
        if !key.signed(header.alg, message.as_bytes(), &signature) {
            return Err(AccessDenied::Invalid);
        }
        let claims = decode(claims).ok_or(AccessDenied::Invalid)?;
        judge(&claims, &self.settings, now)
    }
}

fn parts(token: &str) -> Option<TokenParts<'_>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let header: JwtHeader = decode(header)?;
    (header.crit.is_none() && !claims.contains('.')).then_some(())?;
    Some(TokenParts {
        header,
        message,
        claims,
        signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
    })
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Judges claims whose signature is good (RFC 7519 §4.1).
fn judge(
    claims: &Map<String, Value>,
    settings: &JwtSettings,
    now: Timestamp,
) -> Result<AuthenticatedCaller, AccessDenied> {
    if claims.get("iss").and_then(Value::as_str) != Some(&settings.issuer) {
        return Err(AccessDenied::WrongIssuer);
    }
    let audience = texts(claims.get("aud"));
    if !audience.iter().any(|one| among(&settings.audience, one)) {
        return Err(AccessDenied::WrongAudience);
    }
    let skew = settings.clock_skew;
    let expires = moment(claims.get("exp")).ok_or(AccessDenied::Invalid)?;
    if now >= expires.after(skew) {
        return Err(AccessDenied::Expired);
    }
    if let Some(begins) = claims.get("nbf") {
        let begins = moment(Some(begins)).ok_or(AccessDenied::Invalid)?;
        if begins > now.after(skew) {
            return Err(AccessDenied::NotYetValid);
        }
    }
    let name = name(claims);
    let roles = texts(claims.get(&settings.roles_claim));
    let has = |wanted: &[String]| {
        let mut words = roles.iter().flat_map(|role| role.split(' '));
        words.any(|role| among(wanted, role)) || roles.iter().any(|role| among(wanted, role))
    };
    let role = if has(&settings.write) {
        CallerRole::Write
    } else if has(&settings.read) {
        CallerRole::Read
    } else {
        return Err(AccessDenied::NoRole { name });
    };
    Ok(AuthenticatedCaller { name, role })
}

fn among(values: &[String], one: &str) -> bool {
    values.iter().any(|value| value == one)
}

/// One text or a list of them.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Seconds since 1970, whole or not (RFC 7519 §2, NumericDate).
fn moment(value: Option<&Value>) -> Option<Timestamp> {
    let seconds = value?.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is out of range ends at it"
    )]
    let millis = (seconds * 1000.0) as i64;
    Some(Timestamp::from_unix_millis(millis))
}

fn name(claims: &Map<String, Value>) -> String {
    let named = NAMES
        .iter()
        .filter_map(|claim| claims.get(*claim)?.as_str())
        .find(|name| !name.is_empty());
    let plain = |char: char| if char.is_control() { '?' } else { char };
    let named = named.unwrap_or("nameless");
    named.chars().take(NAME_CHARS_MAX).map(plain).collect()
}
