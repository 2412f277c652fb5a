//! Deliveries that leave a queue together, because another router is to make them.

use super::LaneQueue;
use crate::delivery::queued_delivery::QueuedDelivery;
use std::collections::VecDeque;

impl LaneQueue {
    /// Takes out what is not in flight and of which `is_it` says so by its sequence: all that there is of its twin.
    pub(crate) fn remove_where(&mut self, is_it: impl Fn(u64) -> bool) {
        let retrying = self
            .retrying
            .keys()
            .filter(|(_, sequence)| is_it(*sequence));
        let retrying: Vec<u64> = retrying.map(|(_, sequence)| *sequence).collect();
        // Lines first: nobody is to be released to the front.
        let held = self.held_fronts.iter().filter(|(front, _)| is_it(**front));
        let held: Vec<u64> = held.map(|(_, twin)| *twin).collect();
        for twin in held {
            for waiting in self.held.remove(&twin).unwrap_or_default() {
                self.held_fronts.remove(&waiting.sequence);
                self.count_out(&waiting);
            }
        }
        for sequence in retrying {
            if let Some(waiting) = self.evict_retrying(sequence) {
                self.count_out(&waiting);
            }
        }
        let ready: Vec<u64> = self
            .ready
            .keys()
            .copied()
            .filter(|one| is_it(*one))
            .collect();
        let ready = ready
            .iter()
            .filter_map(|sequence| self.ready.remove(sequence));
        let mut removed: Vec<QueuedDelivery> = ready.collect();
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.arrivals)
            .into_iter()
            .partition(|waiting| is_it(waiting.sequence));
        self.arrivals = kept;
        removed.extend(gone);
        for waiting in removed {
            self.sendable_bytes -= waiting.bytes();
            self.count_out(&waiting);
        }
    }

    /// Holds a twin as if a delivery of it were in flight, until that is resolved.
    pub(crate) fn hold_twin(&mut self, twin: u64) {
        self.mark_in_flight(twin);
    }
}
