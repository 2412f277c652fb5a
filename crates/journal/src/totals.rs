//! How much a journal holds, and who gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The journal would pass its limit; nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal is full: {bytes} of {bytes_max} bytes are in use, {bytes_new} more do not fit"
)]
pub struct JournalFull {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that were to be added.
    pub bytes_new: u64,
    /// Bytes it may hold.
    pub bytes_max: u64,
}

/// What a journal holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalUsage {
    /// Events not yet settled by all of their lanes, dead letters that are kept included.
    pub events: u64,
    /// Their bytes, on disk for the journal on disk and in memory for the one there; an event counts
    /// once, however many lanes wait for it.
    pub bytes: u64,
    /// Bytes it may hold.
    pub bytes_max: u64,
    /// Bytes settled by all lanes since the start.
    pub bytes_released: u64,
}

/// Reads how much a journal holds.
#[derive(Clone, Debug)]
pub struct UsageGauge(pub(super) Arc<UsageTotals>);

impl UsageGauge {
    /// The present usage.
    #[must_use]
    pub fn usage(&self) -> JournalUsage {
        JournalUsage {
            events: self.0.events.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
            bytes_max: self.0.bytes_max,
            bytes_released: self.0.bytes_released.load(Ordering::Relaxed),
        }
    }

    /// That of a journal whose events stand in a log elsewhere, which holds at most `bytes_max` bytes.
    #[must_use]
    pub fn of_log(bytes_max: u64) -> Self {
        Self(Arc::new(UsageTotals::on_disk(bytes_max)))
    }

    /// Events of such a log that are not settled, and their bytes, from now on.
    pub fn set_held(&self, events: u64, bytes: u64) {
        let before = self.0.held();
        let none = HeldSize::default();
        self.0.logged(before, none, HeldSize { events, bytes });
    }

    /// Bytes of accepted events that are in memory, each counted once.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes.load(Ordering::Relaxed)
    }
}

/// Where what is not settled stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventMedium {
    InMemory,
    OnDisk,
}

/// Events, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldSize {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct UsageTotals {
    pub(crate) bytes_max: u64,
    kept: EventMedium,
    bytes: AtomicU64,
    events: AtomicU64,
    bytes_released: AtomicU64,
    memory_bytes: AtomicU64,
}

/// One event's share of the memory.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    bytes: u64,
    totals: Arc<UsageTotals>,
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        let Self { bytes, totals } = self;
        totals.memory_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        if totals.kept == EventMedium::InMemory {
            totals.bytes.fetch_sub(*bytes, Ordering::Relaxed);
            totals.events.fetch_sub(1, Ordering::Relaxed);
            totals.bytes_released.fetch_add(*bytes, Ordering::Relaxed);
        }
    }
}

impl MemoryShare {
    /// The share of an event of `bytes` in memory.
    pub(crate) fn new(bytes: u64, totals: &Arc<UsageTotals>) -> Self {
        totals.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            totals: Arc::clone(totals),
        }
    }
}

impl UsageTotals {
    /// Events are given back when the last share of them goes.
    pub(crate) fn in_memory(bytes_max: u64) -> Self {
        Self::new(bytes_max, EventMedium::InMemory)
    }

    /// Events are given back when the log says so.
    pub(crate) fn on_disk(bytes_max: u64) -> Self {
        Self::new(bytes_max, EventMedium::OnDisk)
    }

    fn new(bytes_max: u64, kept: EventMedium) -> Self {
        Self {
            bytes_max,
            kept,
            bytes: AtomicU64::new(0),
            events: AtomicU64::new(0),
            bytes_released: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
        }
    }

    /// Makes room for what is new. One caller at a time.
    pub(crate) fn reserve(&self, new: HeldSize) -> Result<(), JournalFull> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if bytes + new.bytes > self.bytes_max {
            return Err(JournalFull {
                bytes,
                bytes_new: new.bytes,
                bytes_max: self.bytes_max,
            });
        }
        self.take(new);
        Ok(())
    }

    /// What it holds.
    pub(crate) fn held(&self) -> HeldSize {
        HeldSize {
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Takes room whether it is there or not.
    pub(crate) fn take(&self, new: HeldSize) {
        self.bytes.fetch_add(new.bytes, Ordering::Relaxed);
        self.events.fetch_add(new.events, Ordering::Relaxed);
    }

    /// Gives back the room of what was never taken in.
    pub(crate) fn give_back(&self, held: HeldSize) {
        self.bytes.fetch_sub(held.bytes, Ordering::Relaxed);
        self.events.fetch_sub(held.events, Ordering::Relaxed);
    }

    /// The log held `before` and holds `after`, with what had been `reserved` now in it.
    pub(crate) fn logged(&self, before: HeldSize, reserved: HeldSize, after: HeldSize) {
        let grown = |before: u64, reserved: u64, after: u64| {
            after.wrapping_sub(before).wrapping_sub(reserved)
        };
        let bytes = grown(before.bytes, reserved.bytes, after.bytes);
        let events = grown(before.events, reserved.events, after.events);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
        let released = (before.bytes + reserved.bytes).saturating_sub(after.bytes);
        self.bytes_released.fetch_add(released, Ordering::Relaxed);
    }
}
