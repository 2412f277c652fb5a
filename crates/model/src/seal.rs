//! Sealing: how bytes that hold secrets are written to disk.
//!
//! ChaCha20-Poly1305 (RFC 8439) under one key of 256 bits, with a random nonce for each sealing. What is
//! sealed is bound to a context, such as the name it is stored under: it opens nowhere else.
//!
//! A sealed value is, byte by byte: version (1), nonce (12), ciphertext, tag (16).

use crate::pasted;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

const VERSION: u8 = 1;

/// A key that seals and opens. It cannot be printed.
#[derive(Clone)]
pub struct SealKey {
    key: LessSafeKey,
    random: SystemRandom,
}

/// Why nothing could be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text of a key is not 32 bytes in base64.
    #[error("is not a key: 32 bytes in base64, as `openssl rand -base64 32` prints")]
    Key,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// What is to be opened was written by a later version, or is no sealed value at all.
    #[error("is not a sealed value of this version")]
    Version,
    /// It was sealed with another key, for another place, or was changed.
    #[error("was sealed with another key, or is damaged")]
    Broken,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealKey(***)")
    }
}

impl SealKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let key =
            UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("the length is the algorithm's");
        Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        }
    }

    /// Reads a key from its text: base64, blanks around it ignored.
    ///
    /// # Errors
    /// [`SealError::Key`].
    pub fn parse(text: &Secret) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(pasted::clean(text.expose()));
        let mut bytes = bytes.map_err(|_| SealError::Key)?;
        let key = <&[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map(Self::new);
        zeroize::Zeroize::zeroize(&mut bytes);
        key.map_err(|_| SealError::Key)
    }

    /// The text of a new random key.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate() -> Result<Secret, SealError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| SealError::Random)?;
        let text = STANDARD.encode(bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        Ok(Secret::new(text))
    }

    /// Seals `plain` for `context`.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| SealError::Random)?;
        let mut sealed =
            Vec::with_capacity(1 + NONCE_LEN + plain.len() + CHACHA20_POLY1305.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let head = sealed.len();
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(context), &mut sealed[head..])
            .map_err(|_| SealError::Broken)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for the same `context`; what is given is zeroed when it is dropped.
    ///
    /// # Errors
    /// [`SealError::Version`] or [`SealError::Broken`].
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Version)?;
        if *version != VERSION || rest.len() < NONCE_LEN {
            return Err(SealError::Version);
        }
        let (nonce, rest) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Version)?;
        let mut plain = Zeroizing::new(rest.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(context), &mut plain)
            .map_err(|_| SealError::Broken)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> SealKey {
        SealKey::new(&[byte; KEY_BYTES])
    }

    #[test]
    fn keys_are_32_bytes_in_base64_and_not_printed() {
        let text = SealKey::generate().unwrap();
        let key = SealKey::parse(&Secret::new(format!(" {}\n", text.expose()))).unwrap();
        assert_eq!(format!("{key:?}"), "SealKey(***)");
        for bad in ["", "YWJj", "no base64 at all!"] {
            assert_eq!(SealKey::parse(&bad.into()).unwrap_err(), SealError::Key);
        }
        assert_ne!(SealKey::generate().unwrap(), text);
    }

    #[test]
    fn equal_values_do_not_look_equal() {
        let seal = || key(1).seal(b"a", b"secret").unwrap();
        assert_ne!(seal(), seal());
        assert!(!seal().windows(6).any(|part| part == b"secret"));
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_there_and_nowhere_else(plain: Vec<u8>, flip: prop::sample::Index) {
            let mut sealed = key(1).seal(b"here", &plain).unwrap();
            prop_assert_eq!(&*key(1).open(b"here", &sealed).unwrap(), &plain);
            prop_assert_eq!(key(1).open(b"there", &sealed), Err(SealError::Broken));
            prop_assert_eq!(key(2).open(b"here", &sealed), Err(SealError::Broken));
            let at = flip.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert!(key(1).open(b"here", &sealed).is_err());
            prop_assert!(key(1).open(b"here", &sealed[..at]).is_err());
        }
    }
}
