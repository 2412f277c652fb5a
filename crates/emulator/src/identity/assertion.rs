//! What an application shows in place of a secret: a token that its certificate or somebody it trusts signed.
//!
//! Sources: "Microsoft identity platform application authentication certificate credentials" (header
//! `x5t#S256`, algorithm PS256; `x5t` and RS256 of older clients), "Workload identity federation" (issuer,
//! subject and audience must match; audience `api://AzureADTokenExchange`).

use super::issuer::TokenIssuer;
use super::settings::ApplicationSettings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use ring::signature::{self, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use twinroute_model::clock::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Who signs for service accounts: the cluster that is emulated too.
pub(super) const CLUSTER: &str = "https://kubernetes.emulator.invalid";

/// Whom tokens of service accounts are for.
pub(super) const EXCHANGE: &str = "api://AzureADTokenExchange";

/// By how much a client's clock may be ahead.
const SKEW_SECONDS: f64 = 300.0;

/// Why an assertion is refused: Entra's number, and words.
pub(super) type AssertionRefusal = (u32, String);

#[derive(Deserialize)]
struct AssertionHeader {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

/// Checks the assertion of `application`; `audience` is the path of the token endpoint.
pub(super) fn check(
    issuer: &TokenIssuer,
    application: &ApplicationSettings,
    assertion: &str,
    audience: &str,
    now: Timestamp,
) -> Result<(), AssertionRefusal> {
    // Clients send the file of a service account with the line break at its end.
    let assertion = assertion.trim();
    let malformed = || {
        let text = "the client assertion is malformed: it is no JSON Web Token";
        (50_027, text.to_owned())
    };
    let mut parts = assertion.split('.');
    let header = parts.next().and_then(decode).ok_or_else(malformed)?;
    let header: AssertionHeader = serde_json::from_slice(&header).map_err(|_| malformed())?;
    let claims = parts.next().and_then(decode).ok_or_else(malformed)?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).map_err(|_| malformed())?;
    let signed_by = claims.get("iss").and_then(Value::as_str);
    if signed_by == Some(&application.client_id) {
        signed_by_certificate(application, &header, assertion)?;
        let meant = claims
            .get("aud")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !meant.ends_with(audience) {
            let text =
                format!("the assertion's audience {meant} is not the token endpoint {audience}");
            return Err((700_023, text));
        }
        if claims.get("sub") != claims.get("iss") {
            let text = "the assertion's subject is not the application";
            return Err((700_021, text.to_owned()));
        }
    } else {
        federated(issuer, application, assertion, &claims)?;
    }
    in_time(&claims, now)
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()
}

fn federated(
    issuer: &TokenIssuer,
    application: &ApplicationSettings,
    assertion: &str,
    claims: &Map<String, Value>,
) -> Result<(), AssertionRefusal> {
    let claim = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let no_record = "no matching federated identity record found for the presented assertion";
    if claim("iss") != CLUSTER {
        let text = format!("{no_record} issuer {:?}", claim("iss"));
        return Err((700_211, text));
    }
    issuer.open(assertion).map_err(|reason| {
        let text = format!("the assertion failed signature validation: {reason}");
        (700_027, text)
    })?;
    let audiences = match claims.get("aud") {
        Some(Value::Array(many)) => many.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    if !audiences.iter().any(|audience| audience == EXCHANGE) {
        return Err((700_212, format!("{no_record} audience")));
    }
    let subjects = &application.service_accounts;
    if !subjects.iter().any(|subject| subject == claim("sub")) {
        return Err((700_213, format!("{no_record} subject {:?}", claim("sub"))));
    }
    Ok(())
}

fn in_time(claims: &Map<String, Value>, now: Timestamp) -> Result<(), AssertionRefusal> {
    // RFC 7519 §2: a NumericDate need not be whole.
    let moment = |name: &str| claims.get(name).and_then(Value::as_f64);
    let away = |seconds: f64| seconds - now.unix_seconds() as f64;
    let late = moment("exp").is_none_or(|ends| away(ends) <= 0.0);
    let early = moment("nbf").is_some_and(|begins| away(begins) > SKEW_SECONDS);
    if late || early {
        let text = "the assertion is not within its valid time range";
        return Err((700_024, text.to_owned()));
    }
    Ok(())
}

fn signed_by_certificate(
    application: &ApplicationSettings,
    header: &AssertionHeader,
    assertion: &str,
) -> Result<(), AssertionRefusal> {
    let wrong = |text: &str| (700_027, text.to_owned());
    let algorithm: &dyn signature::VerificationAlgorithm = match header.alg.as_str() {
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        _ => {
            return Err(wrong(
                "the assertion's algorithm is neither PS256 nor RS256",
            ));
        }
    };
    // Some clients pad it, against RFC 7515 §2.
    let plain = |text: &Option<String>| Some(text.as_deref()?.trim_end_matches('=').to_owned());
    let view = (plain(&header.x5t_s256), plain(&header.x5t));
    let matches = |der: &Vec<u8>| {
        let print = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, der));
        match &view {
            (Some(thumbprint), _) => *thumbprint == print(&SHA256),
            (None, Some(thumbprint)) => *thumbprint == print(&SHA1_FOR_LEGACY_USE_ONLY),
            (None, None) => false,
        }
    };
    let mut known = application.certificates.iter();
    let certificate = known.find(|der| matches(der)).ok_or_else(|| {
        wrong("the assertion's thumbprint is of no certificate that the application has")
    })?;
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|_| wrong("the application's certificate cannot be read"))?;
    let key = &certificate.public_key().subject_public_key.data;
    let (message, signed) = assertion.rsplit_once('.').unwrap_or_default();
    let signed = decode(signed).unwrap_or_default();
    UnparsedPublicKey::new(algorithm, key)
        .verify(message.as_bytes(), &signed)
        .map_err(|_| wrong("the assertion failed signature validation"))
}
