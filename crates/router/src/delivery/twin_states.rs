//! How the twins of a lane stand: what of each is in flight, and what is retrying.

use rapidhash::RapidHashMap;
use std::collections::hash_map::Entry;

/// How a twin stands. Kept whatever the ordering, since a reload may change that at any moment.
#[derive(Debug, Default)]
struct TwinState {
    in_flight: usize,
    retrying: usize,
    /// The batch that holds what is in flight.
    batch: u64,
}

impl TwinState {
    fn begin(&mut self, batch: u64) {
        self.in_flight += 1;
        self.batch = batch;
    }

    fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn is_free(&self) -> bool {
        self.in_flight == 0 && self.retrying == 0
    }
}

/// The twins that have something in flight or retrying, by their hash. Each step looks a twin up once.
#[derive(Debug, Default)]
pub(super) struct TwinStates(RapidHashMap<u64, TwinState>);

impl TwinStates {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A delivery of the twin goes into `batch`.
    pub(super) fn begin(&mut self, twin: u64, batch: u64) {
        self.0.entry(twin).or_default().begin(batch);
    }

    /// As [`Self::begin`], if the twin is free or has nothing open but in the same batch; says whether it was.
    pub(super) fn begin_if_free(&mut self, twin: u64, batch: u64) -> bool {
        let state = self.0.entry(twin).or_default();
        let may_begin = state.retrying == 0 && (state.in_flight == 0 || state.batch == batch);
        if may_begin {
            state.begin(batch);
        }
        may_begin
    }

    /// A delivery of the twin was answered.
    pub(super) fn end(&mut self, twin: u64) {
        if let Some(state) = self.0.get_mut(&twin) {
            state.end();
        }
    }

    /// As [`Self::end`]; a twin that is free then is forgotten.
    pub(super) fn end_and_forget(&mut self, twin: u64) {
        if let Entry::Occupied(mut entry) = self.0.entry(twin) {
            entry.get_mut().end();
            if entry.get().is_free() {
                entry.remove();
            }
        }
    }

    /// Forgets a twin that is free; says whether it is.
    pub(super) fn forget_if_free(&mut self, twin: u64) -> bool {
        let is_busy = self.0.get(&twin).is_some_and(|state| !state.is_free());
        if !is_busy {
            self.0.remove(&twin);
        }
        !is_busy
    }

    pub(super) fn has_none_in_flight(&self, twin: u64) -> bool {
        self.0.get(&twin).is_none_or(|state| state.in_flight == 0)
    }

    pub(super) fn is_retrying(&self, twin: u64) -> bool {
        self.0.get(&twin).is_some_and(|state| state.retrying > 0)
    }

    /// A delivery of the twin waits for its next attempt.
    pub(super) fn retry(&mut self, twin: u64) {
        self.0.entry(twin).or_default().retrying += 1;
    }

    /// A delivery of the twin waits for its next attempt no more.
    pub(super) fn end_retry(&mut self, twin: u64) {
        if let Some(state) = self.0.get_mut(&twin) {
            state.retrying = state.retrying.saturating_sub(1);
        }
    }
}
