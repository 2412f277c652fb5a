//! Bytes that all bodies of a server may hold together.
//!
//! Limits per body and per connection multiply to far more than a machine has; this one adds up.

use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the bytes of bodies that were read and not yet let go.
#[derive(Debug)]
pub struct BodyBudget {
    held: AtomicUsize,
    bytes_max: usize,
}

/// All bodies together hold as much as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bodies being read hold {bytes_max} bytes together, which is the limit")]
pub struct BudgetExhausted {
    /// The limit.
    pub bytes_max: usize,
}

/// What one request holds of a [`BodyBudget`]; given back on drop.
#[derive(Debug)]
pub struct BodyPermit<'a> {
    budget: &'a BodyBudget,
    bytes: usize,
}

impl BodyBudget {
    /// A budget of `bytes_max`.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// Begins to hold, with nothing yet.
    #[must_use]
    pub const fn hold(&self) -> BodyPermit<'_> {
        BodyPermit {
            budget: self,
            bytes: 0,
        }
    }
}

impl BodyPermit<'_> {
    /// Takes `bytes` more, or nothing.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), BudgetExhausted> {
        let before = self.budget.held.fetch_add(bytes, Relaxed);
        let bytes_max = self.budget.bytes_max;
        if before.saturating_add(bytes) > bytes_max {
            self.budget.held.fetch_sub(bytes, Relaxed);
            return Err(BudgetExhausted { bytes_max });
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back `bytes`, at most what is held.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.budget.held.fetch_sub(bytes, Relaxed);
        self.bytes -= bytes;
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.shrink(self.bytes.saturating_sub(bytes));
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A buffer that grows up to a limit. What counts is the memory that it takes, while it moves both the old and the
/// new one.
#[derive(Debug, Default)]
pub(crate) struct HeldBuffer {
    bytes: Vec<u8>,
}

impl HeldBuffer {
    /// Bytes that were put.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for `more` bytes, and for up to `bytes_max` in all where that saves moving again.
    ///
    /// # Errors
    /// [`BudgetExhausted`]; what was put is still there.
    pub(crate) fn reserve(
        &mut self,
        more: usize,
        bytes_max: usize,
        hold: &mut BodyPermit<'_>,
    ) -> Result<(), BudgetExhausted> {
        let before = self.bytes.capacity();
        let needed = self.bytes.len() + more;
        if needed <= before {
            return Ok(());
        }
        let capacity = needed.max((2 * before).min(bytes_max));
        hold.grow(capacity)?;
        let mut moved = Vec::with_capacity(capacity);
        moved.extend_from_slice(&self.bytes);
        self.bytes = moved;
        hold.shrink(before);
        Ok(())
    }

    /// Puts `bytes` where there is room for them.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes, and the memory that they take, which stays counted.
    pub(crate) fn into_bytes(self) -> (Bytes, usize) {
        let capacity = self.bytes.capacity();
        (self.bytes.into(), capacity)
    }
}

impl Drop for BodyPermit<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = BodyBudget::new(10);
        let mut first = budget.hold();
        assert_eq!(first.grow(4), Ok(()));
        let mut second = budget.hold();
        assert_eq!(second.grow(7), Err(BudgetExhausted { bytes_max: 10 }));
        assert_eq!(second.grow(6), Ok(()));
        drop(first);
        assert_eq!(second.grow(4), Ok(()));
        drop(second);
        assert_eq!(budget.hold().grow(10), Ok(()));
    }
}
