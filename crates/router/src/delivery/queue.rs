//! What waits in a lane, and which of it may go next: pure, so that order can be tested alone.
//!
//! A twin has at most one unresolved batch. Events of a twin that is in flight or retrying are held, in
//! order, until it is free; other twins pass them.

mod removal;

use super::queued_delivery::QueuedDelivery;
use super::twin_states::TwinStates;
use rapidhash::RapidHashMap;
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;
use twinroute_model::settings::TwinOrdering;

/// For each delivery of a twin that was answered so many of its line are released. A whole line would be held
/// again each time its twin is in flight, and with long lines a lane would do nothing else.
const RELEASED: usize = 2;

/// How much a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRoom {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueCaps {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// What became of a delivery that is not settled.
#[derive(Debug)]
pub(crate) enum DeliveryFate {
    /// Failed alone: it waits until the moment given.
    Retrying(QueuedDelivery, Instant),
    /// Not its fault: it goes back to where it was.
    Returned(QueuedDelivery),
}

#[derive(Debug)]
pub(crate) struct LaneQueue {
    ordering: TwinOrdering,
    /// Given back or released, by sequence; of each twin, older than what stands in `held` and `arrivals`.
    ready: BTreeMap<u64, QueuedDelivery>,
    arrivals: VecDeque<QueuedDelivery>,
    /// Per twin, what waits for it to be free, or for those in `ready` to go first.
    held: RapidHashMap<u64, VecDeque<QueuedDelivery>>,
    /// Sequence of the oldest held event of a twin, to the twin.
    held_fronts: BTreeMap<u64, u64>,
    retrying: BTreeMap<(Instant, u64), QueuedDelivery>,
    /// When each retrying delivery is due, by sequence.
    retrying_due: BTreeMap<u64, Instant>,
    twins: TwinStates,
    in_flight: usize,
    bytes: usize,
    /// Of those, what stands in `ready` and `arrivals`.
    sendable_bytes: usize,
    /// Of those, what is in memory.
    memory: usize,
    events: usize,
    batches: u64,
}

impl LaneQueue {
    pub(crate) fn new(ordering: TwinOrdering) -> Self {
        Self {
            ordering,
            ready: BTreeMap::new(),
            arrivals: VecDeque::new(),
            held: RapidHashMap::default(),
            held_fronts: BTreeMap::new(),
            retrying: BTreeMap::new(),
            retrying_due: BTreeMap::new(),
            twins: TwinStates::default(),
            in_flight: 0,
            bytes: 0,
            sendable_bytes: 0,
            memory: 0,
            events: 0,
            batches: 0,
        }
    }

    /// Takes effect for batches taken from now on.
    pub(crate) fn set_ordering(&mut self, ordering: TwinOrdering) {
        self.ordering = ordering;
        if ordering == TwinOrdering::None {
            self.held_fronts.clear();
            let held = std::mem::take(&mut self.held).into_values().flatten();
            held.for_each(|waiting| self.make_ready(waiting));
        }
    }

    /// Appends a delivery.
    pub(crate) fn push(&mut self, waiting: QueuedDelivery) {
        self.count_in(&waiting);
        self.sendable_bytes += waiting.bytes();
        self.arrivals.push_back(waiting);
    }

    /// Whether more waits than may.
    pub(crate) fn is_above(&self, caps: QueueCaps) -> bool {
        self.events > caps.events_max || self.bytes > caps.bytes_max
    }

    /// Takes in a delivery that was retrying before a restart.
    pub(crate) fn restore_retrying(&mut self, waiting: QueuedDelivery, due: Instant) {
        self.retry_later(waiting, due);
    }

    /// Deliveries that wait, retrying ones counted.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Deliveries that wait, retrying ones not counted.
    pub(crate) fn queued(&self) -> usize {
        self.events - self.retrying.len()
    }

    pub(crate) fn retrying(&self) -> usize {
        self.retrying.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes of all that waits, retrying ones counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of events in memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Lets go of the events; they are read back from the journal when it is their turn.
    pub(crate) fn shed(&mut self) {
        if self.memory == 0 {
            return;
        }
        let lines = self.ready.values_mut().chain(&mut self.arrivals);
        let held = self.held.values_mut().flatten();
        for waiting in lines.chain(held).chain(self.retrying.values_mut()) {
            waiting.event = None;
        }
        self.memory = 0;
    }

    /// Counts what waits by walking it, for the ledger to be held against.
    pub(crate) fn recount(&self) -> usize {
        self.ready.len()
            + self.arrivals.len()
            + self.held.values().map(VecDeque::len).sum::<usize>()
    }

    /// Whether a batch of this size could be full.
    pub(crate) fn fills(&self, room: BatchRoom) -> bool {
        self.sendable() >= room.events_max || self.sendable_bytes >= room.bytes_max
    }

    /// Deliveries that could go now.
    pub(crate) fn sendable(&self) -> usize {
        self.ready.len() + self.arrivals.len()
    }

    /// Bytes of those.
    pub(crate) fn sendable_bytes(&self) -> usize {
        self.sendable_bytes
    }

    /// When the oldest delivery that could go now was accepted.
    pub(crate) fn oldest_sendable(&self) -> Option<Instant> {
        let fronts = [self.first_ready(), self.arrivals.front()];
        let came = fronts.into_iter().flatten().map(|waiting| waiting.came);
        came.min()
    }

    /// The oldest delivery that waits at all.
    pub(crate) fn oldest(&self) -> Option<&QueuedDelivery> {
        let held = self.held_fronts.values().next();
        let held = held.and_then(|twin| self.held.get(twin)?.front());
        let retrying = self.retrying_due.iter().next();
        let retrying = retrying.and_then(|(sequence, due)| self.retrying.get(&(*due, *sequence)));
        let fronts = [self.first_ready(), self.arrivals.front(), held, retrying];
        fronts
            .into_iter()
            .flatten()
            .min_by_key(|waiting| waiting.sequence)
    }

    /// Makes every retrying delivery due.
    pub(crate) fn retry_now(&mut self, now: Instant) {
        for ((_, sequence), waiting) in std::mem::take(&mut self.retrying) {
            self.retrying_due.insert(sequence, now);
            self.retrying.insert((now, sequence), waiting);
        }
    }

    /// When the first retrying delivery is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.retrying.keys().next().map(|(due, _)| *due)
    }

    /// Takes the next batch: due retrying deliveries first, then the oldest whose twins are free.
    ///
    /// A delivery larger than the room goes alone. Empty when nothing may go.
    pub(crate) fn take(&mut self, room: BatchRoom, now: Instant) -> Vec<QueuedDelivery> {
        self.batches += 1;
        let mut batch = Vec::new();
        let mut bytes = 0;
        self.take_due(room, now, &mut batch, &mut bytes);
        while let Some(next) = self.first_ready().or_else(|| self.arrivals.front()) {
            let size = next.bytes();
            let full = batch.len() >= room.events_max || bytes + size > room.bytes_max;
            if full && !batch.is_empty() {
                break;
            }
            let next = self.pop_sendable().expect("the front was just looked at");
            if self.begins(&next) {
                bytes += size;
                self.count_out(&next);
                batch.push(next);
            } else {
                self.hold_back(next);
            }
        }
        batch
    }

    fn first_ready(&self) -> Option<&QueuedDelivery> {
        self.ready.first_key_value().map(|(_, waiting)| waiting)
    }

    fn make_ready(&mut self, waiting: QueuedDelivery) {
        self.sendable_bytes += waiting.bytes();
        self.ready.insert(waiting.sequence, waiting);
    }

    fn pop_sendable(&mut self) -> Option<QueuedDelivery> {
        let ready = self.ready.pop_first().map(|(_, waiting)| waiting);
        let next = ready.or_else(|| self.arrivals.pop_front())?;
        self.sendable_bytes -= next.bytes();
        Some(next)
    }

    fn take_due(
        &mut self,
        room: BatchRoom,
        now: Instant,
        batch: &mut Vec<QueuedDelivery>,
        bytes: &mut usize,
    ) {
        let due: Vec<(Instant, u64)> = self
            .retrying
            .range(..=(now, u64::MAX))
            .filter(|(_, waiting)| self.has_none_in_flight(waiting.twin))
            .map(|(key, _)| *key)
            .take(room.events_max)
            .collect();
        for key in due {
            let size = self.retrying[&key].bytes();
            if !batch.is_empty() && *bytes + size > room.bytes_max {
                return;
            }
            let waiting = self.retrying.remove(&key).expect("the key was just read");
            self.retrying_due.remove(&key.1);
            *bytes += size;
            self.count_out(&waiting);
            self.twins.end_retry(waiting.twin);
            self.mark_in_flight(waiting.twin);
            batch.push(waiting);
        }
    }

    fn has_none_in_flight(&self, twin: u64) -> bool {
        self.ordering == TwinOrdering::None || self.twins.has_none_in_flight(twin)
    }

    /// Marks a delivery as in flight if its twin is free; its state is looked up once.
    fn begins(&mut self, waiting: &QueuedDelivery) -> bool {
        if self.ordering == TwinOrdering::None {
            self.mark_in_flight(waiting.twin);
            return true;
        }
        // Older events of the twin that are held go first, even into the batch being made.
        let line = (!self.held.is_empty()).then(|| self.held.get(&waiting.twin));
        let front = line.flatten().and_then(VecDeque::front);
        if front.is_some_and(|front| waiting.sequence > front.sequence) {
            return false;
        }
        let is_free = self.twins.begin_if_free(waiting.twin, self.batches);
        self.in_flight += usize::from(is_free);
        is_free
    }

    fn mark_in_flight(&mut self, twin: u64) {
        self.in_flight += 1;
        self.twins.begin(twin, self.batches);
    }

    /// Puts a delivery in its twin's line, by sequence.
    fn hold_back(&mut self, waiting: QueuedDelivery) {
        let line = self.held.entry(waiting.twin).or_default();
        let at = match line.back() {
            Some(last) if last.sequence < waiting.sequence => line.len(),
            _ => line.partition_point(|other| other.sequence < waiting.sequence),
        };
        if at == 0 {
            if let Some(front) = line.front() {
                self.held_fronts.remove(&front.sequence);
            }
            self.held_fronts.insert(waiting.sequence, waiting.twin);
        }
        line.insert(at, waiting);
    }

    fn count_in(&mut self, waiting: &QueuedDelivery) {
        self.events += 1;
        self.bytes += waiting.bytes();
        self.memory += waiting.event.as_ref().map_or(0, |_| waiting.bytes());
    }

    fn count_out(&mut self, waiting: &QueuedDelivery) {
        self.events -= 1;
        self.bytes -= waiting.bytes();
        self.memory -= waiting.event.as_ref().map_or(0, |_| waiting.bytes());
    }

    /// Takes note of what became of a batch: `twins` are those of all its deliveries, one each, `fates` what became of
    /// those that are not settled.
    pub(crate) fn resolve(&mut self, twins: &[u64], fates: Vec<DeliveryFate>, now: Instant) {
        self.in_flight -= twins.len();
        if fates.is_empty() && self.held.is_empty() {
            return twins
                .iter()
                .for_each(|twin| self.twins.end_and_forget(*twin));
        }
        twins.iter().for_each(|twin| self.twins.end(*twin));
        let mut returned = Vec::new();
        for fate in fates {
            match fate {
                DeliveryFate::Retrying(waiting, due) => self.retry_later(waiting, due),
                // It had failed alone before: it stays the twin's first, due at once.
                DeliveryFate::Returned(waiting) if waiting.attempts > 0 => {
                    self.retry_later(waiting, now)
                }
                DeliveryFate::Returned(waiting) => {
                    self.count_in(&waiting);
                    returned.push(waiting);
                }
            }
        }
        self.release(twins, returned);
    }

    /// Of a twin only the oldest is retrying; others wait behind it, so that they go in order.
    fn retry_later(&mut self, waiting: QueuedDelivery, due: Instant) {
        self.count_in(&waiting);
        if self.ordering == TwinOrdering::Twin && self.twins.is_retrying(waiting.twin) {
            return self.hold_back(waiting);
        }
        self.twins.retry(waiting.twin);
        self.retrying_due.insert(waiting.sequence, due);
        self.retrying.insert((due, waiting.sequence), waiting);
    }

    /// Lets go what was returned, and the first of what was held for twins that are free now.
    fn release(&mut self, twins: &[u64], returned: Vec<QueuedDelivery>) {
        for waiting in returned.into_iter().rev() {
            // A retrying delivery of the same twin is older; this one waits behind it.
            if self.ordering == TwinOrdering::Twin && self.twins.is_retrying(waiting.twin) {
                self.hold_back(waiting);
            } else {
                self.make_ready(waiting);
            }
        }
        for twin in twins {
            if self.twins.forget_if_free(*twin) {
                self.release_line(*twin);
            }
        }
    }

    fn release_line(&mut self, twin: u64) {
        let Some(line) = self.held.get_mut(&twin) else {
            return;
        };
        let released: Vec<QueuedDelivery> = line.drain(..line.len().min(RELEASED)).collect();
        let next = line.front().map(|next| next.sequence);
        let before = released.first().map(|front| front.sequence);
        self.new_front(twin, before, next);
        released
            .into_iter()
            .for_each(|waiting| self.make_ready(waiting));
    }

    /// The front of a twin's line went; the line too if nothing is behind it.
    fn new_front(&mut self, twin: u64, before: Option<u64>, next: Option<u64>) {
        if let Some(before) = before {
            self.held_fronts.remove(&before);
        }
        match next {
            Some(next) => drop(self.held_fronts.insert(next, twin)),
            None => drop(self.held.remove(&twin)),
        }
    }

    /// Removes the delivery that waits longest and is not in flight.
    pub(crate) fn evict_oldest(&mut self) -> Option<QueuedDelivery> {
        let ready = self.first_ready().map(|waiting| waiting.sequence);
        let arrival = self.arrivals.front().map(|waiting| waiting.sequence);
        let held = self.held_fronts.keys().next().copied();
        let retrying = self.retrying_due.keys().next().copied();
        let oldest = [ready, arrival, held, retrying]
            .into_iter()
            .flatten()
            .min()?;
        let waiting = if ready == Some(oldest) {
            let waiting = self.pop_sendable();
            if let Some(waiting) = &waiting {
                // It may have been the only one of its twin that was let go.
                self.release(&[waiting.twin], Vec::new());
            }
            waiting
        } else if arrival == Some(oldest) {
            let waiting = self.arrivals.pop_front();
            self.sendable_bytes -= waiting.as_ref().map_or(0, QueuedDelivery::bytes);
            waiting
        } else if held == Some(oldest) {
            self.evict_held(oldest)
        } else {
            self.evict_retrying(oldest)
        }?;
        self.count_out(&waiting);
        Some(waiting)
    }

    fn evict_held(&mut self, sequence: u64) -> Option<QueuedDelivery> {
        let twin = self.held_fronts.remove(&sequence)?;
        let line = self.held.get_mut(&twin)?;
        let waiting = line.pop_front();
        let next = line.front().map(|next| next.sequence);
        self.new_front(twin, None, next);
        waiting
    }

    fn evict_retrying(&mut self, sequence: u64) -> Option<QueuedDelivery> {
        let due = self.retrying_due.remove(&sequence)?;
        let waiting = self.retrying.remove(&(due, sequence))?;
        self.twins.end_retry(waiting.twin);
        self.release(&[waiting.twin], Vec::new());
        Some(waiting)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
