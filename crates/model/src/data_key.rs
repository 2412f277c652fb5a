//! Data keys: what many small pieces are sealed with, fast.
//!
//! ChaCha20-Poly1305 (RFC 8439). A random nonce of 96 bits is good for about 2^32 sealings under one key only, so
//! nonces are counted here; and a counter that is found again after a crash cannot be trusted, so whoever seals
//! makes a new random key first. A key that was read from somewhere opens and never seals: that no pair of key and
//! nonce is used twice holds by the types.
//!
//! A sealed piece is its ciphertext and a tag of 16 bytes; whoever keeps it keeps its count beside it.

use crate::seal::{KEY_BYTES, SealError};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Bytes that a sealed piece is longer than what it holds.
pub const TAG_BYTES: usize = 16;

/// A key that opens. It cannot be printed, and its bytes are zeroed when it goes.
pub struct DataKey {
    key: LessSafeKey,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// A new key that seals, each piece under the next count. It cannot be printed.
pub struct PieceSealer {
    key: LessSafeKey,
    next: AtomicU64,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DataKey(***)")
    }
}

impl fmt::Debug for PieceSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer(***)")
    }
}

impl DataKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let key = cipher(&bytes);
        Self { key, bytes }
    }

    /// Its bytes, to be sealed and kept.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// Opens what was sealed as the `count`-th piece for the same `context`. `None`: with another key, for another
    /// place, or it was changed.
    #[must_use]
    pub fn open(&self, count: u64, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(sealed.to_vec());
        let opened = self
            .key
            .open_in_place(nonce(count), Aad::from(context), &mut plain);
        let length = opened.ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl PieceSealer {
    /// One with a new random key, and that key, to be kept before anything is sealed.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn fresh() -> Result<(Self, DataKey), SealError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let filled = SystemRandom::new().fill(&mut *bytes);
        filled.map_err(|_| SealError::Random)?;
        let sealer = Self {
            key: cipher(&bytes),
            next: AtomicU64::new(0),
        };
        Ok((sealer, DataKey::new(bytes)))
    }

    /// The count for the next piece. It is given to nobody else.
    pub fn count(&self) -> SealCount<'_> {
        // One a nanosecond would wrap it after 584 years.
        SealCount {
            sealer: self,
            count: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// A count that seals one piece.
#[derive(Debug)]
pub struct SealCount<'a> {
    sealer: &'a PieceSealer,
    count: u64,
}

impl SealCount<'_> {
    /// What is kept beside the piece.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.count
    }

    /// Seals what `out` holds from `from` on for `context`, in its place; the tag comes behind it.
    ///
    /// # Panics
    /// When `from` is behind the end of `out`, or there are 256 GiB.
    pub fn seal(self, context: &[u8], out: &mut Vec<u8>, from: usize) {
        let nonce = nonce(self.count);
        let tag =
            self.sealer
                .key
                .seal_in_place_separate_tag(nonce, Aad::from(context), &mut out[from..]);
        out.extend_from_slice(tag.expect("pieces are far below 256 GiB").as_ref());
    }
}

fn cipher(bytes: &[u8; KEY_BYTES]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("the length is the algorithm's");
    LessSafeKey::new(key)
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&count.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_opens_under_its_count_and_context_only_and_nothing_is_printed() {
        let (sealer, key) = PieceSealer::fresh().unwrap();
        let seal = || {
            let mut out = b"head".to_vec();
            let count = sealer.count();
            let number = count.number();
            count.seal(b"here", &mut out, 4);
            (number, out)
        };
        let ((first, one), (second, two)) = (seal(), seal());
        assert_eq!((first, second), (0, 1));
        assert_eq!(one.len(), 4 + TAG_BYTES);
        assert_ne!(one, two);
        let mut out = b"headsecret".to_vec();
        let count = sealer.count();
        let number = count.number();
        count.seal(b"here", &mut out, 4);
        assert_eq!(&**key.open(number, b"here", &out[4..]).unwrap(), b"secret");
        assert!(key.open(number + 1, b"here", &out[4..]).is_none());
        assert!(key.open(number, b"there", &out[4..]).is_none());
        let (_, other) = PieceSealer::fresh().unwrap();
        assert!(other.open(number, b"here", &out[4..]).is_none());
        for byte in 4..out.len() {
            let mut bad = out.clone();
            bad[byte] ^= 1;
            assert!(key.open(number, b"here", &bad[4..]).is_none(), "{byte}");
        }
        let again = DataKey::new(Zeroizing::new(*key.expose()));
        assert!(again.open(number, b"here", &out[4..]).is_some());
        assert_eq!(format!("{key:?} {sealer:?}"), "DataKey(***) Sealer(***)");
    }
}
