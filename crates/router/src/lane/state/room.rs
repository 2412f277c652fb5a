//! What a lane has of the journal, and what it gives up of that for others when the journal is full.

use super::outcomes::DEATHS_TOLD_EVERY;
use super::{DeathReason, State};
use tokio::time::Instant;
use twinroute_model::settings::{KeptDeadLetters, WhenFull};
use twinroute_retry::ledger::Discard;

/// What a lane has of a journal in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneRoom {
    /// Bytes of what it has not settled.
    pub(crate) bytes: u64,
    /// Whether its endpoint is defined: then it has a share.
    pub(crate) has_share: bool,
    /// Whether its endpoint's settings keep everything, whoever else needs the room.
    pub(crate) keeps_all: bool,
}

/// What may be taken from a lane, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evictable {
    /// Its oldest dead letter that is kept here.
    DeadLetter,
    /// The oldest in its queue, if its endpoint is why that waits.
    Queued,
    /// Its oldest dead letter that is on its way to its store.
    Uploading,
}

impl Evictable {
    pub(crate) const ALL: [Self; 3] = [Self::DeadLetter, Self::Queued, Self::Uploading];
}

/// What was taken from a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EvictedDelivery {
    pub(crate) sequence: u64,
    /// Bytes of its event.
    pub(crate) bytes: u64,
}

/// How many of a lane's dead letters were discarded for want of room, since that was last logged.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    logged_at: Option<Instant>,
    since: u64,
}

impl State {
    /// What it has of a journal in memory.
    pub(in crate::lane) fn room_taken(&self) -> LaneRoom {
        let bytes = self.queue.bytes() as u64 + self.flight_bytes + self.dead.bytes();
        let kept = self.setup.settings.dead_letters_kept;
        LaneRoom {
            bytes,
            has_share: self.is_running(),
            keeps_all: kept == KeptDeadLetters::KeepAll,
        }
    }

    /// Discards one delivery, so that others have room; nothing when there is none of that kind.
    pub(in crate::lane) fn evict(
        &mut self,
        what: Evictable,
        now: Instant,
    ) -> Option<EvictedDelivery> {
        let evicted = match what {
            Evictable::DeadLetter => self.dead.remove_oldest(),
            Evictable::Uploading => self.dead.remove_oldest_busy(),
            Evictable::Queued => self.evict_queued(now),
        }?;
        self.discard(evicted.sequence, Discard::DeadLetterOverflow);
        self.hand_over();
        self.log_eviction(now);
        Some(evicted)
    }

    /// Makes dead letters of the oldest of its queue, up to `bytes` above `share`, if a container takes them and has
    /// taken those before; true when there are some.
    pub(in crate::lane) fn relieve(&mut self, share: u64, bytes: u64, now: Instant) -> bool {
        let takes = self.setup.store.is_some() && self.store_fault.is_none();
        let settings = &self.setup.settings;
        let may_go = settings.when_full == WhenFull::DeadLetterOldest && self.waits_for_endpoint();
        if !takes || !may_go || self.dead.bytes() >= bytes {
            return false;
        }
        let least = share.max((self.queue.bytes() as u64).saturating_sub(bytes));
        let mut is_some = false;
        while self.queue.bytes() as u64 > least
            && let Some(oldest) = self.queue.evict_oldest()
        {
            self.overflow(oldest, now);
            is_some = true;
        }
        self.hand_over();
        is_some
    }

    /// The oldest of its queue becomes a dead letter, for which there is no room.
    fn evict_queued(&mut self, now: Instant) -> Option<EvictedDelivery> {
        if !self.waits_for_endpoint() || self.setup.settings.when_full == WhenFull::Refuse {
            return None;
        }
        let oldest = self.queue.evict_oldest()?;
        let evicted = EvictedDelivery {
            sequence: oldest.sequence,
            bytes: u64::from(oldest.bytes),
        };
        self.die(oldest, DeathReason::Overflow, None, now);
        self.dead.remove(evicted.sequence)?;
        Some(evicted)
    }

    /// Whether it sends nothing more just now because of its endpoint, and not for want of a processor.
    fn waits_for_endpoint(&self) -> bool {
        self.fault.is_some()
            || self.paused
            || self.setup.hold.is_some()
            || self.flights.len() >= self.in_flight_max()
    }

    fn log_eviction(&mut self, now: Instant) {
        let evictions = &mut self.evictions;
        evictions.since += 1;
        let quiet = |at: Instant| now.saturating_duration_since(at) >= DEATHS_TOLD_EVERY;
        if evictions.logged_at.is_none_or(quiet) {
            tracing::error!(
                endpoint = self.label,
                count = evictions.since,
                kept = self.dead.len(),
                kept_bytes = self.dead.bytes(),
                "the journal is full, and this endpoint is furthest above its share: its oldest dead letters are \
                 discarded; fix the endpoint, give it a dead-letter container, or raise the journal's bytes_max"
            );
            *evictions = Evictions {
                logged_at: Some(now),
                since: 0,
            };
        }
    }
}
