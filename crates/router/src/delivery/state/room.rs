//! What a lane gives back of the journal for others when that is full.

use super::LaneCore;
use super::uploads::UPLOADS_MAX;
use crate::delivery::eviction::{EvictedDelivery, EvictionKind, LaneRoom};
use tokio::time::Instant;
use twinroute_journal::ledger::DiscardReason;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::{KeptDeadLetters, WhenFull};

/// After more faults in a row than one moment can bring, a dead-letter container does not count where the journal's
/// disk is full.
const STORE_FAULTS_MAX: u32 = UPLOADS_MAX as u32;

impl LaneCore {
    /// What it has of a journal in memory.
    pub(in crate::delivery) fn room_taken(&self) -> LaneRoom {
        let bytes = self.queue.bytes() as u64 + self.in_flight.bytes() + self.dead.bytes();
        let kept = self.setup.settings.dead_letters_kept;
        LaneRoom {
            bytes,
            has_share: self.is_running(),
            keeps_all: kept == KeptDeadLetters::KeepAll,
        }
    }

    /// Discards one delivery, so that others have room; nothing when there is none of that kind.
    pub(in crate::delivery) fn evict(
        &mut self,
        what: EvictionKind,
        now: Instant,
    ) -> Option<EvictedDelivery> {
        let evicted = match what {
            EvictionKind::DeadLetter => self.dead.remove_oldest(),
            EvictionKind::Uploading => self.dead.remove_oldest_busy(),
            EvictionKind::Queued => self.evict_queued(now),
        }?;
        self.discard(evicted.sequence, None, DiscardReason::DeadLetterOverflow);
        self.hand_over();
        self.log_eviction(now);
        Some(evicted)
    }

    /// Those of some dead letters that may be discarded.
    pub(in crate::delivery) fn kept_of(&self, sequences: &[u64]) -> Vec<u64> {
        let sequences = sequences.iter().copied();
        sequences
            .filter(|sequence| self.is_kept(*sequence))
            .collect()
    }

    /// Whether a dead letter is here to stay. One that a container is likely to take is only on its way.
    fn is_kept(&self, sequence: u64) -> bool {
        let fault = self.store_health.fault.as_ref();
        let has_store =
            self.setup.store.is_some() && fault.is_none_or(|fault| fault.count <= STORE_FAULTS_MAX);
        let dead = self.dead.get(sequence);
        dead.is_some_and(|dead| !dead.busy && (dead.unstorable || !has_store))
    }

    /// Discards those of some dead letters that may be.
    pub(in crate::delivery) fn discard_kept(&mut self, sequences: &[u64], now: Instant) {
        for sequence in sequences.iter().copied() {
            if !self.is_kept(sequence) || self.dead.remove(sequence).is_none() {
                continue;
            }
            self.discard(sequence, None, DiscardReason::DeadLetterOverflow);
            self.log_eviction(now);
        }
        self.hand_over();
    }

    /// Makes dead letters of the oldest of its queue, up to `bytes` above `share`, if a container takes them and has
    /// taken those before; true when there are some.
    pub(in crate::delivery) fn relieve(&mut self, share: u64, bytes: u64, now: Instant) -> bool {
        let takes = self.setup.store.is_some() && self.store_health.fault.is_none();
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
        let when_full = self.setup.settings.when_full;
        let reason = if self.is_past_grace(now) {
            DeadLetterReason::Removed
        } else if self.waits_for_endpoint() && when_full != WhenFull::Refuse {
            DeadLetterReason::Overflow
        } else {
            return None;
        };
        let oldest = self.queue.evict_oldest()?;
        let evicted = EvictedDelivery {
            sequence: oldest.sequence,
            bytes: u64::from(oldest.bytes),
        };
        self.make_dead_letter(oldest, reason, None, now);
        self.dead.remove(evicted.sequence)?;
        Some(evicted)
    }

    /// Whether it sends nothing more just now because of its endpoint, and not for want of a processor.
    fn waits_for_endpoint(&self) -> bool {
        self.health.fault.is_some()
            || self.paused
            || self.setup.hold.is_some()
            || self.in_flight.len() >= self.in_flight_max()
    }

    fn log_eviction(&mut self, now: Instant) {
        if let Some(count) = self.evictions.add(1, now) {
            tracing::error!(
                endpoint = self.label,
                count,
                kept = self.dead.len(),
                kept_bytes = self.dead.bytes(),
                "the journal, or its disk, is full, and this endpoint is above its share, furthest of all: its oldest \
                 dead letters are discarded; fix the endpoint, give it a dead-letter container, or give the journal \
                 more room"
            );
        }
    }
}
