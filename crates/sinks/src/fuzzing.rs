//! What fuzz targets reach of what is private.

use crate::amqp::guard::{FRAME_BYTES_MAX, Guard};
use bytes::Bytes;

/// What of a peer's bytes, read in these pieces, would reach fe2o3-amqp. Ends where something is refused.
///
/// # Panics
/// More is held than the limit of a frame, or something passes behind a refusal.
pub fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let (mut guard, mut passed) = (Guard::new(), Vec::new());
    for piece in pieces {
        if guard.put(piece).is_err() {
            assert!(guard.take(usize::MAX).is_empty());
            assert!(guard.put(b"AMQP").is_err(), "it stays refused");
            break;
        }
        passed.push(guard.take(usize::MAX));
        assert!(guard.held() < FRAME_BYTES_MAX as usize);
    }
    passed
}
