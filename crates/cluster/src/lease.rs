//! Who owns a partition, and until when: arithmetic of a monotonic clock, and nothing that compares clocks of two machines.
//!
//! An owner counts its lease from the moment *before* it asked the log to renew it; whoever waits for its end counts
//! from the moment *after* it saw the renewal. So the first always ends earlier, and a margin on both sides covers
//! clocks that run at different rates: 2 s of 10 are far more than any clock is off.

use crate::entry_text::{EntryReader, EntryWriter};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::RouterName;

/// How long a lease is, and what is kept clear of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long after a renewal it ends. At least four margins.
    pub lease: Duration,
    /// So long before its end an owner sends nothing more, and so long after it nobody claims the partition.
    pub margin: Duration,
}

impl Default for LeaseTimes {
    /// 10 s, with 2 s kept clear.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            margin: Duration::from_secs(2),
        }
    }
}

impl LeaseTimes {
    /// Until when an owner may send that began to renew at `asked`.
    #[must_use]
    pub fn send_until(&self, asked: Instant) -> Instant {
        asked + self.lease - self.margin
    }

    /// From when on the partition may be claimed whose lease was first seen as it is at `seen`.
    #[must_use]
    pub fn claim_from(&self, seen: Instant) -> Instant {
        seen + self.lease + self.margin
    }

    /// When to renew that was asked for at `asked`: early enough for a second try behind a call that nobody answered. Two in
    /// a row that nobody answers end the lease.
    #[must_use]
    pub fn renew_at(&self, asked: Instant) -> Instant {
        asked + self.lease / 4
    }
}

/// What the lease of a partition says. Its epoch is the revision under which it was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Which life of which router has or had it.
    pub owner: RouterName,
    /// Which start of that router.
    pub incarnation: u64,
    /// The epoch; 0 in the claim itself, whose revision it is.
    pub epoch: u64,
    /// Whether it was given back: then it may be claimed at once.
    pub is_released: bool,
}

const KIND: &str = "lease";

impl LeaseRecord {
    /// As an entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        EntryWriter::new(KIND)
            .field("owner", &self.owner)
            .field("incarnation", self.incarnation)
            .field("epoch", self.epoch)
            .field("released", self.is_released)
            .finish()
    }

    /// Reads an entry; none where it is no lease of this version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = EntryReader::new(bytes, KIND)?;
        Some(Self {
            owner: RouterName::new(&reader.field::<String>("owner")?).ok()?,
            incarnation: reader.field("incarnation")?,
            epoch: reader.field("epoch")?,
            is_released: reader.field("released")?,
        })
    }
}

/// Since when an entry is as it is, by the clock of whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedRevision {
    /// Its revision; 0: it is not there.
    pub revision: u64,
    /// When that was first seen.
    pub since: Instant,
}

impl WatchedRevision {
    /// After a look at the entry that was answered at `now`.
    #[must_use]
    pub fn seen(before: Option<Self>, revision: u64, now: Instant) -> Self {
        match before {
            Some(before) if before.revision == revision => before,
            _ => Self {
                revision,
                since: now,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_is_read_as_it_is_written() {
        let lease = LeaseRecord {
            owner: RouterName::new("west").unwrap(),
            incarnation: 17,
            epoch: 9,
            is_released: true,
        };
        assert_eq!(LeaseRecord::decode(&lease.encode()), Some(lease));
        assert_eq!(LeaseRecord::decode(b"owner west"), None);
    }

    #[test]
    fn a_revision_is_watched_from_when_it_was_first_seen() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3);
        let first = WatchedRevision::seen(None, 4, start);
        assert_eq!(WatchedRevision::seen(Some(first), 4, later), first);
        assert_eq!(WatchedRevision::seen(Some(first), 5, later).since, later);
    }

    proptest! {
        /// However long requests and polls take, and with clocks that differ by a tenth.
        #[test]
        fn an_owner_stops_before_another_may_claim(
            request in 0_u64..60_000, poll in 0_u64..60_000, slow in 90_u32..=100,
        ) {
            let times = LeaseTimes::default();
            let asked = Instant::now();
            let seen = asked + Duration::from_millis(request + poll);
            // The owner's clock is the slower one: what it counts takes longer.
            let sends_until = asked + (times.send_until(asked) - asked) * 100 / slow;
            prop_assert!(sends_until < times.claim_from(seen));
        }
    }
}
