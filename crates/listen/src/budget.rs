//! Bytes that all bodies of a server may hold together.
//!
//! Limits per body and per connection multiply to far more than a machine has; this one adds up.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the bytes of bodies that were read and not yet let go.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    bytes_max: usize,
}

/// All bodies together hold as much as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bodies being read hold {bytes_max} bytes together, which is the limit")]
pub struct Crowded {
    /// The limit.
    pub bytes_max: usize,
}

/// What one request holds of a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Hold<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
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
    pub const fn hold(&self) -> Hold<'_> {
        Hold {
            budget: self,
            bytes: 0,
        }
    }
}

impl Hold<'_> {
    /// Takes `bytes` more, or nothing.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Crowded> {
        let before = self.budget.held.fetch_add(bytes, Relaxed);
        let bytes_max = self.budget.bytes_max;
        if before.saturating_add(bytes) > bytes_max {
            self.budget.held.fetch_sub(bytes, Relaxed);
            return Err(Crowded { bytes_max });
        }
        self.bytes += bytes;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = Budget::new(10);
        let mut first = budget.hold();
        assert_eq!(first.grow(4), Ok(()));
        let mut second = budget.hold();
        assert_eq!(second.grow(7), Err(Crowded { bytes_max: 10 }));
        assert_eq!(second.grow(6), Ok(()));
        drop(first);
        assert_eq!(second.grow(4), Ok(()));
        drop(second);
        assert_eq!(budget.hold().grow(10), Ok(()));
    }
}
