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

/// Of a small budget, the buffer of a connection counts as one in so many bytes at most.
const BUFFER_SHARE: usize = 64;

/// What one request holds of a [`BodyBudget`]; given back on drop.
#[derive(Debug)]
pub struct BodyPermit<'a> {
    budget: &'a BodyBudget,
    bytes: usize,
    /// Counted for the buffer of its connection.
    buffer: usize,
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
            buffer: 0,
        }
    }

    fn take(&self, bytes: usize) -> Result<(), BudgetExhausted> {
        let before = self.held.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.bytes_max {
            self.held.fetch_sub(bytes, Relaxed);
            let bytes_max = self.bytes_max;
            return Err(BudgetExhausted { bytes_max });
        }
        Ok(())
    }
}

impl BodyPermit<'_> {
    /// Takes `bytes` more, or nothing.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), BudgetExhausted> {
        self.budget.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Counts the buffer of `bytes` that the connection fills when a body does not come at once; until the end of the
    /// request, and once however often it is called.
    pub(crate) fn hold_buffer(&mut self, bytes: usize) -> Result<(), BudgetExhausted> {
        if self.buffer == 0 {
            let bytes = bytes.min(self.budget.bytes_max / BUFFER_SHARE);
            self.budget.take(bytes)?;
            self.buffer = bytes;
        }
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
        let held = self.bytes + self.buffer;
        self.budget.held.fetch_sub(held, Relaxed);
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
    #[test]
    fn the_buffer_of_a_connection_counts_once_and_until_the_end() {
        let budget = BodyBudget::new(640);
        let mut hold = budget.hold();
        hold.hold_buffer(100).unwrap();
        hold.hold_buffer(100).unwrap();
        hold.grow(300).unwrap();
        hold.shrink_to(0);
        // A sixty-fourth of so little.
        assert_eq!(hold.bytes(), 0);
        assert_eq!(budget.hold().grow(631).unwrap_err().bytes_max, 640);
        assert_eq!(budget.hold().grow(630), Ok(()));
        drop(hold);
        assert_eq!(budget.hold().grow(640), Ok(()));
        let large = BodyBudget::new(64 << 10);
        let mut hold = large.hold();
        hold.hold_buffer(100).unwrap();
        assert_eq!(large.hold().grow((64 << 10) - 100), Ok(()));
        // What finds no room is not counted.
        let mut other = large.hold();
        other.grow((64 << 10) - 150).unwrap();
        large.hold().hold_buffer(100).unwrap_err();
        drop((hold, other));
        assert_eq!(large.hold().grow(64 << 10), Ok(()));
    }
}
