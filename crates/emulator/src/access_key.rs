//! Access keys: two places for them, as the services have it, and new ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One of the two keys of a rule or topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    /// The first one.
    Primary,
    /// The second one.
    Secondary,
}

impl KeySlot {
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Primary => 0,
            Self::Secondary => 1,
        }
    }
}

/// Makes keys as the services do; no two of one emulator are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyMaker(Arc<AtomicU64>);

impl KeyMaker {
    pub(crate) fn make(&self) -> String {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        BASE64.encode(format!("regenerated key number {number}"))
    }
}
