//! A string that must not be seen.

use crate::pasted;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use std::sync::Arc;

/// A key, a connection string or a SAS URI.
///
/// `Debug` prints `***`, there is no `Display` and no `Serialize`. Clones share the one text in memory, which
/// is zeroed when the last of them is dropped.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(SecretString::from(text.into())))
    }

    /// Takes a text that somebody pasted: what stands around it (line ends, blanks, quotes, byte order marks) is no
    /// part of the secret. For files, variables and settings.
    #[must_use]
    pub fn pasted(text: &str) -> Self {
        Self::new(pasted::clean(text))
    }

    /// The text itself. Every call is a place to review: it must end on a wire, never in a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether this is what a read API shows in place of a secret.
    ///
    /// Azure shows `***`, `(PLACEHOLDER)` or asterisks alone, for a whole value or for each part of a
    /// connection string, so a value counts as masked when any such part is in it.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        let text = self.expose();
        let all_asterisks = |part: &str| part.len() >= 3 && part.bytes().all(|byte| byte == b'*');
        text.contains("(PLACEHOLDER)")
            || all_asterisks(text)
            || text.split([';', '/', '=', '?', '&']).any(all_asterisks)
    }
}

impl Secret {
    /// Whether this is a mask of that secret: what it shows is right, part by part, and the rest is masked. A mask
    /// that shows another host, entity or key's name is one of another secret.
    #[must_use]
    pub fn is_mask_of(&self, stored: &Self) -> bool {
        const PARTS: [char; 3] = [';', '?', '&'];
        if !self.is_masked() {
            return false;
        }
        let pairs = |text| {
            str::split(text, PARTS)
                .map(str::trim)
                .filter(|part| !part.is_empty())
        };
        let mut view = pairs(self.expose());
        view.all(|part| {
            let (name, value) = part.split_once('=').unwrap_or(("", part));
            let is_mask = Self::new(value).is_masked();
            if is_mask && name.is_empty() {
                return true;
            }
            pairs(stored.expose()).any(|other| {
                let (other_name, other_value) = other.split_once('=').unwrap_or(("", other));
                let is_host = ["", "endpoint", "hostname"]
                    .iter()
                    .any(|host| host.eq_ignore_ascii_case(name));
                let same = match is_host {
                    true => other_value.eq_ignore_ascii_case(value),
                    false => other_value == value,
                };
                name.eq_ignore_ascii_case(other_name) && (is_mask || same)
            })
        })
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        Ok(Self::pasted(&text))
    }
}

/// The longest word that [`repeated`] repeats, in bytes.
const WORD_BYTES_MAX: usize = 24;

/// A word that was not understood, as an error may show it. A secret that slipped into the wrong place is not shown.
#[must_use]
pub fn repeated(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphabetic() || b"-_. ".contains(&byte);
    match word.len() <= WORD_BYTES_MAX && word.bytes().all(plain) {
        true => format!("{word:?}"),
        false => "what stands there".to_owned(),
    }
}

/// What serde says of a value that does not belong where it stands, without the value: it may be a secret that
/// slipped in. The type is still reported, and the place.
#[must_use]
pub fn without_value(message: &str) -> String {
    let about = ["invalid type: ", "invalid value: "];
    let value = message.find(['"', '`']);
    let end = message.rfind(", expected");
    match (value, end) {
        (Some(value), Some(end))
            if value < end && about.iter().any(|about| message.starts_with(about)) =>
        {
            format!("{}{}", message[..value].trim_end(), &message[end..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("key=abc")), "***");
    }

    #[test]
    fn known_masks_are_recognised() {
        for masked in [
            "***",
            "************",
            "(PLACEHOLDER)",
            "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***",
            "Endpoint=sb://(PLACEHOLDER)/;SharedAccessKeyName=(PLACEHOLDER)",
            "HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=****",
        ] {
            assert!(Secret::new(masked).is_masked(), "{masked}");
        }
        assert!(!Secret::new("Endpoint=sb://ns/;SharedAccessKey=a*b**=").is_masked());
    }

    #[test]
    fn masked_hub_is_a_mask_of_what_it_names() {
        let hub = "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=a2V5";
        let bus = "Endpoint=sb://ns/;SharedAccessKeyName=send;SharedAccessKey=k=;EntityPath=hub";
        let sas = "https://a.blob.core.windows.net/dead?sv=1&sr=c&sig=c2ln";
        for (mask, stored, expect) in [
            ("***", hub, true),
            ("(PLACEHOLDER)", sas, true),
            (
                "HostName=H.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=****",
                hub,
                true,
            ),
            (
                "SharedAccessKey=***;SharedAccessKeyName=owner;HostName=h.azure-devices.net;",
                hub,
                true,
            ),
            (
                "HostName=h.azure-devices.net;SharedAccessKeyName=other;SharedAccessKey=****",
                hub,
                false,
            ),
            (
                "HostName=x.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=****",
                hub,
                false,
            ),
            (hub, hub, false),
            (
                "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***",
                bus,
                true,
            ),
            (
                "Endpoint=sb://ns/;SharedAccessKeyName=send;SharedAccessKey=***;EntityPath=hub",
                bus,
                true,
            ),
            (
                "Endpoint=sb://ns/;SharedAccessKeyName=send;SharedAccessKey=***;EntityPath=other",
                bus,
                false,
            ),
            (
                "Endpoint=sb://***/;SharedAccessSignature=***;EntityPath=***",
                bus,
                false,
            ),
            (
                "https://a.blob.core.windows.net/dead?sv=1&sr=c&sig=***",
                sas,
                true,
            ),
            (
                "https://a.blob.core.windows.net/other?sv=1&sr=c&sig=***",
                sas,
                false,
            ),
        ] {
            assert_eq!(
                Secret::new(mask).is_mask_of(&Secret::new(stored)),
                expect,
                "{mask}"
            );
        }
    }

    #[test]
    fn errors_repeat_words_and_no_values() {
        assert_eq!(repeated("Event Hub"), "\"Event Hub\"");
        for secret in [
            "c2VjcmV0LWtleQ==",
            "a-password-of-many-words-and-letters",
            "p4ss",
        ] {
            assert_eq!(repeated(secret), "what stands there");
        }
        let refusal = |json: &str| {
            without_value(&serde_json::from_str::<bool>(json).unwrap_err().to_string())
        };
        assert_eq!(
            refusal(r#""secret, expected!""#),
            "invalid type: string, expected a boolean at line 1 column 19"
        );
        assert_eq!(
            refusal("123"),
            "invalid type: integer, expected a boolean at line 1 column 3"
        );
        assert_eq!(
            refusal("[]"),
            "invalid type: sequence, expected a boolean at line 1 column 0"
        );
        assert_eq!(
            refusal("{"),
            "invalid type: map, expected a boolean at line 1 column 0"
        );
    }
}
