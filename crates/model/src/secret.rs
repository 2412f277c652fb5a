//! A string that must not be seen.

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
        String::deserialize(deserializer).map(Self::new)
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
}
