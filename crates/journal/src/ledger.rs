//! The counts of one endpoint: what became of its deliveries.

use std::fmt;

/// Why a delivery was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DiscardReason {
    /// The lane was at its cap and this was the oldest waiting.
    Overflow,
    /// The destination will never take it.
    Rejected,
    /// All attempts failed.
    Exhausted,
    /// Its time to live passed.
    Expired,
    /// Its endpoint was removed and the grace time passed.
    Removed,
    /// The process ended with the delivery in its memory.
    Stopped,
    /// The disk damaged the journal where it stood.
    Lost,
    /// Somebody asked for it.
    Purged,
    /// A dead letter that was kept here, and the journal was full: its endpoint held most beyond its share.
    DeadLetterOverflow,
}

impl DiscardReason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Overflow,
        Self::Rejected,
        Self::Exhausted,
        Self::Expired,
        Self::Removed,
        Self::Stopped,
        Self::Lost,
        Self::Purged,
        Self::DeadLetterOverflow,
    ];

    /// The word for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
            Self::Purged => "purged",
            Self::DeadLetterOverflow => "dead-letter-overflow",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for DiscardReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a delivery came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliverySettlement {
    /// It arrived.
    Delivered,
    /// It stands in its endpoint's dead-letter container.
    DeadLettered,
    /// It was a dead letter kept here, and was replayed: a new delivery took its place.
    Replayed,
    /// It was discarded.
    Discarded(DiscardReason),
}

/// What has come to an end, and what has come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Deliveries made by matching.
    pub matched: u64,
    /// Deliveries made by replaying dead letters.
    pub replayed: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that stand in a dead-letter container.
    pub dead_lettered: u64,
    /// Dead letters kept here whose place a replay has taken.
    pub dead_replayed: u64,
    pub(crate) discarded: [u64; DiscardReason::ALL.len()],
}

impl Ledger {
    /// Counts one delivery that came to its end.
    pub fn settle(&mut self, settlement: DeliverySettlement) {
        match settlement {
            DeliverySettlement::Delivered => self.delivered += 1,
            DeliverySettlement::DeadLettered => self.dead_lettered += 1,
            DeliverySettlement::Replayed => self.dead_replayed += 1,
            DeliverySettlement::Discarded(reason) => self.discard(reason),
        }
    }

    /// Counts what another has counted too.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// Counts no longer what another has counted, which was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (own, other) in [
            (&mut self.matched, other.matched),
            (&mut self.replayed, other.replayed),
            (&mut self.delivered, other.delivered),
            (&mut self.dead_lettered, other.dead_lettered),
            (&mut self.dead_replayed, other.dead_replayed),
        ] {
            *own = with(*own, other);
        }
        for (own, other) in self.discarded.iter_mut().zip(other.discarded) {
            *own = with(*own, other);
        }
    }

    /// Deliveries that came to an end, whichever.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.delivered + self.dead_lettered + self.dead_replayed + self.discarded_all()
    }

    /// Deliveries that were made, by matching and by replaying.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.matched + self.replayed
    }

    /// Counts `count` deliveries as discarded.
    pub(crate) fn discard_many(&mut self, reason: DiscardReason, count: u64) {
        self.discarded[reason as usize] += count;
    }

    /// Counts one delivery as discarded.
    pub fn discard(&mut self, reason: DiscardReason) {
        self.discarded[reason as usize] += 1;
    }

    /// Deliveries discarded for one reason.
    #[must_use]
    pub fn discarded(&self, reason: DiscardReason) -> u64 {
        self.discarded[reason as usize]
    }

    /// Deliveries discarded for any reason.
    #[must_use]
    pub fn discarded_all(&self) -> u64 {
        self.discarded.iter().sum()
    }
}
