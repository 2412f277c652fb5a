//! Shared access signatures: made for Event Hubs, Service Bus and blob containers, checked for those and
//! for Event Grid.
//!
//! Event Hubs and Service Bus sign with the key's UTF-8 text; Event Grid signs with the base64-decoded
//! key. Both are HMAC-SHA256 over what stands before the signature. Blob Storage signs its fields in an order
//! of their own: [`blob`].

pub mod blob;

mod expiry;
pub mod storage;

use crate::clock::Timestamp;
use crate::uri::RESERVED;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use sha2::Sha256;

/// A time that every service reads: in an Event Grid token.
const EXAMPLE_TIME: &str = "2030-01-01T00:00:00Z, or in `se` as seconds since 1970";

/// Why a signature was not accepted. The texts are safe to send to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SasRefusal {
    /// The token does not have the published form.
    #[error("the shared access signature is malformed")]
    Malformed,
    /// Its time is none that is read.
    #[error(
        "the end of the shared access signature cannot be read as a time; write it as {EXAMPLE_TIME}"
    )]
    TimeUnreadable,
    /// Its expiry lies in the past.
    #[error("the shared access signature has expired")]
    Expired,
    /// It was signed with another key.
    #[error("the shared access signature does not match")]
    Mismatch,
}

/// A `SharedAccessSignature` for everything below `resource` until `expiry`.
///
/// `resource` is a URI such as `sb://ns.servicebus.windows.net/hub`.
/// Source: Azure Event Hubs, "Authenticate access with shared access signatures".
#[must_use]
pub fn service_bus_token(resource: &str, key_name: &str, key: &str, expiry: Timestamp) -> String {
    let sr = utf8_percent_encode(resource, RESERVED).to_string();
    let se = expiry.unix_seconds();
    let sig = BASE64.encode(sign(key.as_bytes(), &format!("{sr}\n{se}")));
    let sig = utf8_percent_encode(&sig, RESERVED);
    let skn = utf8_percent_encode(key_name, RESERVED);
    format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}&skn={skn}")
}

/// The parts of a `SharedAccessSignature` token; not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceBusToken {
    signed_resource: String,
    signature: Vec<u8>,
    expiry_seconds: i64,
    key_name: String,
}

impl ServiceBusToken {
    /// Reads the token.
    ///
    /// # Errors
    /// [`SasRefusal::Malformed`] when a part is missing or not in its published form,
    /// [`SasRefusal::TimeUnreadable`] when `se` is no number.
    pub fn parse(token: &str) -> Result<Self, SasRefusal> {
        let parts = token
            .strip_prefix("SharedAccessSignature ")
            .ok_or(SasRefusal::Malformed)?;
        let part = |name: &str| {
            parts
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, value)| value)
                .ok_or(SasRefusal::Malformed)
        };
        Ok(Self {
            signed_resource: part("sr")?.to_owned(),
            signature: BASE64
                .decode(decode(part("sig")?)?)
                .map_err(|_| SasRefusal::Malformed)?,
            expiry_seconds: part("se")?
                .trim()
                .parse()
                .map_err(|_| SasRefusal::TimeUnreadable)?,
            key_name: decode(part("skn")?)?,
        })
    }

    /// The rule whose key signed it.
    #[must_use]
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The URI it is valid for, decoded.
    #[must_use]
    pub fn resource(&self) -> String {
        decode(&self.signed_resource).unwrap_or_else(|_| self.signed_resource.clone())
    }

    /// When it ends.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.expiry_seconds.saturating_mul(1000))
    }

    /// Checks expiry and signature.
    ///
    /// # Errors
    /// [`SasRefusal::Expired`] or [`SasRefusal::Mismatch`].
    pub fn verify(&self, key: &str, now: Timestamp) -> Result<(), SasRefusal> {
        if self.expiry() <= now {
            return Err(SasRefusal::Expired);
        }
        let signed = format!("{}\n{}", self.signed_resource, self.expiry_seconds);
        check(key.as_bytes(), &signed, &self.signature)
    }
}

/// When a ready-made `SharedAccessSignature` ends (its `se`), where that can be read; the rest of it is not
/// looked at.
#[must_use]
pub fn service_bus_expiry(token: &str) -> Option<Timestamp> {
    let (_, parts) = token.trim().split_once(' ')?;
    let mut pairs = parts.split('&').filter_map(|pair| pair.split_once('='));
    let (_, seconds) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("se"))?;
    let seconds: i64 = seconds.trim().parse().ok()?;
    Some(Timestamp::from_unix_millis(seconds.saturating_mul(1000)))
}

/// Checks an Event Grid `aeg-sas-token`: `r=<resource>&e=<expiry>&s=<signature>`.
///
/// The resource is returned so that the caller can compare it with the address it serves. Clients write
/// the expiry as they like: the forms of Python, JavaScript and .NET are read; no zone means UTC.
///
/// # Errors
/// A [`SasRefusal`] that says what went wrong.
pub fn verify_event_grid_token(
    token: &str,
    key: &str,
    now: Timestamp,
) -> Result<String, SasRefusal> {
    let (signed, signature) = token.rsplit_once("&s=").ok_or(SasRefusal::Malformed)?;
    let (resource, expiry) = signed
        .strip_prefix("r=")
        .and_then(|rest| rest.split_once("&e="))
        .ok_or(SasRefusal::Malformed)?;
    let signature = BASE64
        .decode(decode(signature)?)
        .map_err(|_| SasRefusal::Malformed)?;
    let key = BASE64.decode(key).map_err(|_| SasRefusal::Mismatch)?;
    check(&key, signed, &signature)?;
    let expiry = decode(&expiry.replace('+', " "))?;
    let expiry = expiry::parse_expiry(&expiry, now).ok_or(SasRefusal::TimeUnreadable)?;
    if expiry <= now {
        return Err(SasRefusal::Expired);
    }
    decode(resource)
}

fn decode(text: &str) -> Result<String, SasRefusal> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| SasRefusal::Malformed)
}

fn mac(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    mac(key, text).finalize().into_bytes().to_vec()
}

fn check(key: &[u8], text: &str, signature: &[u8]) -> Result<(), SasRefusal> {
    mac(key, text)
        .verify_slice(signature)
        .map_err(|_| SasRefusal::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
    const LATER: Timestamp = Timestamp::from_unix_millis(1_700_003_600_000);

    #[test]
    fn a_token_verifies_with_its_key_until_it_expires() {
        let token = service_bus_token("sb://localhost:5672/hub one", "Root", "secret", LATER);
        assert!(
            token.starts_with(
                "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%3A5672%2Fhub%20one&sig="
            )
        );
        let parsed = ServiceBusToken::parse(&token).unwrap();
        assert_eq!(parsed.key_name(), "Root");
        assert_eq!(parsed.resource(), "sb://localhost:5672/hub one");
        assert_eq!(parsed.verify("secret", NOW), Ok(()));
        assert_eq!(parsed.verify("other", NOW), Err(SasRefusal::Mismatch));
        assert_eq!(parsed.verify("secret", LATER), Err(SasRefusal::Expired));
        assert_eq!(
            ServiceBusToken::parse("Bearer x"),
            Err(SasRefusal::Malformed)
        );
    }

    #[test]
    fn the_end_of_a_ready_made_signature_is_read_and_nothing_else_of_it() {
        let token = service_bus_token("sb://ns/hub", "Root", "secret", LATER);
        assert_eq!(service_bus_expiry(&token), Some(LATER));
        for (text, seconds) in [
            ("SharedAccessSignature sr=x&sig=y&se=12&skn=z", Some(12)),
            ("sharedaccesssignature SE=7", Some(7)),
            ("SharedAccessSignature sr=x&sig=y&skn=z", None),
            ("SharedAccessSignature se=soon", None),
            ("se=12", None),
            ("", None),
        ] {
            let end = service_bus_expiry(text).map(Timestamp::unix_seconds);
            assert_eq!(end, seconds, "{text:?}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_is_named_and_nothing_else() {
        let key = BASE64.encode("a key of any length");
        let signed = "r=http%3A%2F%2Fh&e=tomorrow";
        let signature = BASE64.encode(sign(b"a key of any length", signed));
        let token = format!("{signed}&s={}", utf8_percent_encode(&signature, RESERVED));
        let refused = verify_event_grid_token(&token, &key, NOW);
        assert_eq!(refused, Err(SasRefusal::TimeUnreadable));
        let text = SasRefusal::TimeUnreadable.to_string();
        assert!(text.contains("cannot be read as a time"), "{text}");
        let refused = ServiceBusToken::parse("SharedAccessSignature sr=a&sig=YQ==&se=soon&skn=b");
        assert_eq!(refused, Err(SasRefusal::TimeUnreadable));
        // Another key's signature says nothing of the time.
        let refused = verify_event_grid_token(&token, &BASE64.encode("another"), NOW);
        assert_eq!(refused, Err(SasRefusal::Mismatch));
    }

    #[test]
    fn event_grid_tokens_of_both_clients_verify() {
        let key = BASE64.encode("a key of any length");
        for expiry in [
            "2030-01-01 00:00:00+00:00",
            "2030-01-01 00:00:00",
            "1/1/2030 12:00:00 AM",
            "1/1/2030, 12:00:00\u{202f}AM",
        ] {
            let signed = format!(
                "r={}&e={}",
                utf8_percent_encode("http://h/api/events?apiVersion=2018-01-01", RESERVED),
                utf8_percent_encode(expiry, RESERVED)
            );
            let signature = BASE64.encode(sign(b"a key of any length", &signed));
            let token = format!("{signed}&s={}", utf8_percent_encode(&signature, RESERVED));
            let resource = verify_event_grid_token(&token, &key, NOW);
            assert_eq!(
                resource.as_deref(),
                Ok("http://h/api/events?apiVersion=2018-01-01")
            );
            let late = Timestamp::from_unix_millis(4_000_000_000_000);
            assert_eq!(
                verify_event_grid_token(&token, &key, late),
                Err(SasRefusal::Expired)
            );
            let other = BASE64.encode("another");
            assert_eq!(
                verify_event_grid_token(&token, &other, NOW),
                Err(SasRefusal::Mismatch)
            );
        }
    }
}
