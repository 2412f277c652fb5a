//! The journal: numbers accepted events and bounds what waits.

mod body;
mod disk;
mod frame;
mod index;
mod inspect;
mod log;
mod memory;
mod record;
mod recover;
mod report;
pub mod sim;
mod start;
pub mod storage;
mod window;
mod writer;

pub use disk::{
    Appended, Disk, DiskUsage, LaneState, NewEvent, PendingDelivery, Recovered, RecoveredLane,
    Settings, Unreadable,
};
pub use inspect::{InspectError, dump, verify};
pub use memory::Memory;
pub use recover::OpenError;
pub use report::{Correction, Damage, DamageKind, Report};
pub use writer::{AppendError, DurableTicket, Health, LaneNumber, NotDurable};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twinroute_model::event::Event;

/// Where accepted events wait until every lane has settled them.
///
/// A closed set; a clustered journal would be a further variant.
#[derive(Debug)]
pub enum Journal {
    /// Nothing outlives the process.
    Memory(Memory),
    /// What is acknowledged as durable outlives the machine's power.
    Disk(Disk),
}

/// An accepted event.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// The event, in buffers of its own.
    pub event: Arc<Event>,
    /// Gives the bytes back when the last lane lets go.
    _share: Arc<Share>,
}

/// The journal would pass its limit; nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal is full: {bytes} of {bytes_max} bytes are in use, {bytes_new} more do not fit"
)]
pub struct Full {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that were to be added.
    pub bytes_new: u64,
    /// Bytes it may hold.
    pub bytes_max: u64,
}

/// What a journal holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Events not yet settled by all of their lanes.
    pub events: u64,
    /// Their bytes; an event counts once, however many lanes wait for it.
    pub bytes: u64,
    /// Bytes it may hold.
    pub bytes_max: u64,
    /// Bytes settled by all lanes since the start.
    pub bytes_released: u64,
}

impl Journal {
    /// A journal in memory of at most `bytes_max` bytes.
    #[must_use]
    pub fn memory(bytes_max: u64) -> Self {
        Self::Memory(Memory::new(bytes_max))
    }

    /// The word for status and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Disk(_) => "disk",
        }
    }

    /// The sequence that the next event gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.next_sequence(),
            Self::Disk(disk) => disk.next_sequence(),
        }
    }

    /// The journal on disk, if it is one.
    #[must_use]
    pub fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(disk) => Some(disk),
        }
    }

    /// A handle that reads usage without the journal.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        match self {
            Self::Memory(memory) => Gauge(Arc::clone(memory.totals())),
            Self::Disk(disk) => Gauge(Arc::clone(disk.totals())),
        }
    }
}

/// Reads how much a journal holds.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Totals>);

impl Gauge {
    /// The present usage.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            events: self.0.events.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
            bytes_max: self.0.bytes_max,
            bytes_released: self.0.bytes_released.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_max: u64,
    bytes: AtomicU64,
    events: AtomicU64,
    bytes_released: AtomicU64,
}

/// One event's share of the totals.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u64,
    totals: Arc<Totals>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.totals.events.fetch_sub(1, Ordering::Relaxed);
        self.totals
            .bytes_released
            .fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Totals {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    /// Makes room for `bytes_new` more, in `events` events. One caller at a time.
    pub(crate) fn reserve(&self, events: usize, bytes_new: u64) -> Result<(), Full> {
        let full = self.full(bytes_new);
        if full.bytes + bytes_new > full.bytes_max {
            return Err(full);
        }
        self.take(events, bytes_new);
        Ok(())
    }

    fn full(&self, bytes_new: u64) -> Full {
        Full {
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_new,
            bytes_max: self.bytes_max,
        }
    }

    /// Takes room whether it is there or not.
    pub(crate) fn take(&self, events: usize, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

impl Entry {
    /// An event that was read back: it takes nobody's room.
    #[must_use]
    pub fn unshared(sequence: u64, event: Event) -> Self {
        let totals = Arc::new(Totals::new(0));
        totals.take(1, event.size() as u64);
        Self::new(sequence, Arc::new(event), &totals)
    }

    /// An entry whose room was taken already.
    pub(crate) fn new(sequence: u64, event: Arc<Event>, totals: &Arc<Totals>) -> Self {
        let share = Share {
            bytes: event.size() as u64,
            totals: Arc::clone(totals),
        };
        Self {
            sequence,
            event,
            _share: Arc::new(share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::event::{Limits, Parts};

    fn event() -> Event {
        Parts::new("1", "s", "t")
            .json(&"1".repeat(1_000))
            .build(&Limits::default())
            .unwrap()
    }

    #[test]
    fn a_batch_is_appended_whole_or_not_at_all() {
        let bytes = event().size() as u64;
        let mut journal = Memory::new(3 * bytes);
        let entries = journal.append(vec![event(), event()]).unwrap();
        let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, [1, 2]);
        let full = journal.append(vec![event(), event()]).unwrap_err();
        assert_eq!(
            full,
            Full {
                bytes: 2 * bytes,
                bytes_new: 2 * bytes,
                bytes_max: 3 * bytes
            }
        );
        assert_eq!(journal.append(vec![event()]).unwrap()[0].sequence, 3);
    }

    #[test]
    fn bytes_come_back_when_the_last_lane_lets_go() {
        let mut journal = Memory::new(1 << 20);
        let entry = journal.append(vec![event()]).unwrap().remove(0);
        let gauge = Journal::Memory(journal).gauge();
        let second_lane = entry.clone();
        drop(entry);
        assert_eq!(gauge.usage().events, 1);
        drop(second_lane);
        let usage = gauge.usage();
        assert_eq!((usage.events, usage.bytes), (0, 0));
        assert_eq!(usage.bytes_released, event().size() as u64);
    }
}
