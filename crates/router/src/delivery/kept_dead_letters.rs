//! A lane's dead letters that are still here: those without a store, and those that wait for theirs.

use super::eviction::EvictedDelivery;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_journal::HeldEvent;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::trace_context::TraceContext;

/// A dead letter that is kept here.
#[derive(Clone, Debug)]
pub(crate) struct KeptDeadLetter {
    pub(crate) about: Arc<DeadLetter>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) twin: u64,
    pub(crate) bytes: u32,
    /// Its event, when the journal is in memory.
    pub(crate) event: Option<HeldEvent>,
    /// On its way to the store, or back into the queue.
    pub(crate) busy: bool,
    /// The store will never take it.
    pub(crate) unstorable: bool,
    /// Its span, where that was recorded.
    pub(crate) trace: Option<Arc<TraceContext>>,
}

/// Dead letters by sequence.
#[derive(Debug, Default)]
pub(crate) struct LaneDeadLetters {
    letters: BTreeMap<u64, KeptDeadLetter>,
    bytes: u64,
    busy: usize,
    unstorable: usize,
    /// No letter before this sequence waits for its store.
    cursor: u64,
}

impl LaneDeadLetters {
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Letters that could go to a store.
    pub(crate) fn storable(&self) -> usize {
        self.letters.len() - self.unstorable
    }

    /// Letters on their way.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    pub(crate) fn insert(&mut self, sequence: u64, dead: KeptDeadLetter) {
        self.bytes += u64::from(dead.bytes);
        self.cursor = self.cursor.min(sequence);
        self.letters.insert(sequence, dead);
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<KeptDeadLetter> {
        let dead = self.letters.remove(&sequence)?;
        self.bytes -= u64::from(dead.bytes);
        self.busy -= usize::from(dead.busy);
        self.unstorable -= usize::from(dead.unstorable);
        Some(dead)
    }

    /// Takes out those that are not on their way and of which `is_it` says so; gives how many are on theirs.
    pub(crate) fn remove_idle_where(&mut self, is_it: impl Fn(u64) -> bool) -> u64 {
        let of = self
            .letters
            .iter()
            .filter(|(sequence, _)| is_it(**sequence));
        let idle = of.filter(|(_, dead)| !dead.busy);
        let idle: Vec<u64> = idle.map(|(sequence, _)| *sequence).collect();
        for sequence in idle {
            self.remove(sequence);
        }
        self.count_where(is_it)
    }

    /// Takes out all of which `is_it` says so; gives how many there were.
    pub(crate) fn remove_where(&mut self, is_it: impl Fn(u64) -> bool) -> u64 {
        let of: Vec<u64> = self
            .letters
            .keys()
            .copied()
            .filter(|one| is_it(*one))
            .collect();
        for sequence in &of {
            self.remove(*sequence);
        }
        of.len() as u64
    }

    /// How many there are of which `is_it` says so.
    pub(crate) fn count_where(&self, is_it: impl Fn(u64) -> bool) -> u64 {
        self.letters.keys().filter(|one| is_it(**one)).count() as u64
    }

    /// Takes out the oldest that is not on its way.
    pub(crate) fn remove_oldest(&mut self) -> Option<EvictedDelivery> {
        self.remove_first(|dead| !dead.busy)
    }

    /// Takes out the oldest that is on its way.
    pub(crate) fn remove_oldest_busy(&mut self) -> Option<EvictedDelivery> {
        self.remove_first(|dead| dead.busy)
    }

    fn remove_first(&mut self, is_it: impl Fn(&KeptDeadLetter) -> bool) -> Option<EvictedDelivery> {
        let sequence = *self.letters.iter().find(|(_, dead)| is_it(dead))?.0;
        let removed = self.remove(sequence)?;
        Some(EvictedDelivery {
            sequence,
            bytes: u64::from(removed.bytes),
        })
    }

    /// Takes the oldest that waits for its store; it is busy from here on.
    pub(crate) fn take_storable(&mut self) -> Option<(u64, KeptDeadLetter)> {
        let waits = |dead: &KeptDeadLetter| !dead.busy && !dead.unstorable;
        let sequence = *self
            .letters
            .range(self.cursor..)
            .find(|(_, dead)| waits(dead))?
            .0;
        self.cursor = sequence + 1;
        Some((sequence, self.take(sequence)?))
    }

    /// Takes one for itself alone; nothing when it is not there or busy.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<KeptDeadLetter> {
        let dead = self.letters.get_mut(&sequence).filter(|dead| !dead.busy)?;
        dead.busy = true;
        self.busy += 1;
        Some(dead.clone())
    }

    /// Puts one back that was taken.
    pub(crate) fn put_back(&mut self, sequence: u64, unstorable: bool) {
        if let Some(dead) = self.letters.get_mut(&sequence) {
            self.busy -= usize::from(dead.busy);
            dead.busy = false;
            self.unstorable += usize::from(unstorable && !dead.unstorable);
            dead.unstorable |= unstorable;
            self.cursor = self.cursor.min(sequence);
        }
    }

    /// A new store may take what the old one did not.
    pub(crate) fn retry_all(&mut self) {
        self.letters
            .values_mut()
            .for_each(|dead| dead.unstorable = false);
        self.unstorable = 0;
        self.cursor = 0;
    }

    /// Those behind a sequence, oldest first.
    pub(crate) fn after(&self, after: u64) -> impl Iterator<Item = (u64, &KeptDeadLetter)> {
        let later = self.letters.range(after + 1..);
        later.map(|(sequence, dead)| (*sequence, dead))
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&KeptDeadLetter> {
        self.letters.get(&sequence)
    }
}
