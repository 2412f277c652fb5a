//! Fingerprints of endpoints and routes: tables of the same definitions have the same one.

use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use twinroute_model::name::InstanceName;

/// SHA-256 of one endpoint or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DefinitionFingerprint([u8; 32]);

impl DefinitionFingerprint {
    pub(crate) fn of(text: fmt::Arguments<'_>) -> Self {
        let mut hashing = TextHasher(Sha256::new());
        hashing.write_fmt(text).expect("a hash takes everything");
        Self(hashing.0.finalize().into())
    }

    /// Of an instance, whatever is in it.
    pub(crate) fn of_instance(name: &InstanceName) -> Self {
        Self::of(format_args!("{name}/instance"))
    }

    /// Of all of them, hexadecimal, in whatever order they come.
    pub(crate) fn of_all(fingerprints: impl IntoIterator<Item = Self>) -> String {
        let mut fingerprints: Vec<Self> = fingerprints.into_iter().collect();
        fingerprints.sort_unstable();
        let mut hash = Sha256::new();
        fingerprints
            .iter()
            .for_each(|fingerprint| hash.update(fingerprint.0));
        let mut text = String::new();
        for byte in hash.finalize() {
            write!(text, "{byte:02x}").expect("a String takes everything");
        }
        text
    }
}

struct TextHasher(Sha256);

impl fmt::Write for TextHasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
