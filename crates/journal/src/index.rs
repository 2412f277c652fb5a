//! What the log says: the fold of its records. The writer keeps it while it writes and recovery
//! makes it again, by the same code, so both always agree.

use super::frame::FramePlace;
use super::pages::{LiveEvent, LiveEvents, OpenDeliveries};
use super::record::{AcceptedEvent, JournalRecord, LaneList, LaneState, OpenDelivery};
use super::time::TimeRecord;
use super::totals::HeldSize;
use crate::ledger::{DeliverySettlement, DiscardReason, Ledger};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::name::{EndpointName, InstanceName};

/// What is known of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneSummary {
    /// Unknown only when the disk lost every record of it.
    pub(crate) name: Option<(InstanceName, EndpointName)>,
    pub(crate) ledger: Ledger,
    pub(crate) state: LaneState,
    /// When that was recorded, in journal time.
    state_recorded: u64,
    /// Deliveries that are not settled.
    pub(crate) open: u64,
    /// Bytes of their events, each whole however many lanes have it.
    pub(crate) bytes: u64,
    /// Of those, bytes of dead letters.
    pub(crate) dead_letter_bytes: u64,
}

impl LaneSummary {
    fn add(&mut self, bytes: u32, is_dead: bool) {
        self.open += 1;
        self.bytes += u64::from(bytes);
        self.dead_letter_bytes += if is_dead { u64::from(bytes) } else { 0 };
    }

    fn subtract(&mut self, bytes: u32, is_dead: bool) {
        self.open -= 1;
        self.bytes -= u64::from(bytes);
        self.dead_letter_bytes -= if is_dead { u64::from(bytes) } else { 0 };
    }
}

impl LaneSummary {
    /// Its state as of a moment of journal time: a time-to-live that stands still has done so since it was
    /// recorded.
    pub(crate) fn state_at(&self, now: u64) -> LaneState {
        let mut state = self.state;
        if state.still_since.is_some() {
            state.still += Duration::from_millis(now.saturating_sub(self.state_recorded));
        }
        state
    }
}

/// What is in use of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentShare {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// The fold.
#[derive(Debug, Default)]
pub(crate) struct LogIndex {
    pub(crate) lanes: BTreeMap<u32, LaneSummary>,
    pub(crate) events: LiveEvents,
    /// Only segments that hold live events.
    pub(crate) shares: BTreeMap<u64, SegmentShare>,
    /// Bytes of live events in all segments.
    pub(crate) live_bytes: u64,
    letters: SharedLetters,
    /// The segment and the offset up to which all this is on disk; of the log that is written.
    pub(crate) synced: (u64, u64),
    /// Journal time, as recorded last.
    pub(crate) time: TimeRecord,
    /// The journal time at which events that follow in the group were accepted.
    accepted_in: u64,
    /// Deliveries that were ever made, and those that are open, of all lanes.
    pub(crate) made: u64,
    pub(crate) open: u64,
    /// Deliveries that damage took, those that lanes have counted.
    pub(crate) lost_known: u64,
    /// Deliveries that damage took and whose endpoints are unknown.
    pub(crate) lost_unknown: u64,
    /// The first sequence of the newest segment.
    pub(crate) fresh_from: u64,
    /// Open deliveries of events from that sequence on.
    pub(crate) fresh_open: u64,
}

/// The index between the writer, which alone changes it, and those who read events back. It is
/// locked for moments, never while the disk is waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedIndex(Arc<Mutex<LogIndex>>);

impl SharedIndex {
    pub(crate) fn new(index: LogIndex) -> Self {
        Self(Arc::new(Mutex::new(index)))
    }

    /// Records are taken note of one by one, so a panic elsewhere leaves it sound.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogIndex> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes on dead letters; thousands have the same.
#[derive(Debug, Default)]
struct SharedLetters {
    known: HashSet<Arc<DeadLetter>>,
    /// With so many known, those that nobody has any more are let go.
    sweep_at: usize,
}

impl SharedLetters {
    const FEW: usize = 1_024;

    fn share(&mut self, letter: &Arc<DeadLetter>) -> Arc<DeadLetter> {
        if let Some(known) = self.known.get(letter) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at.max(Self::FEW) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = self.known.len() * 2;
        }
        self.known.insert(Arc::clone(letter));
        Arc::clone(letter)
    }
}

impl LogIndex {
    /// Takes note of a record. Settlements of what is not open change nothing, so that a settlement
    /// counts once however often it is written.
    pub(crate) fn apply(&mut self, record: &JournalRecord<'_>, place: FramePlace) {
        match record {
            JournalRecord::Segment(segment) => {
                self.fresh_from = segment.first_sequence;
                self.fresh_open = 0;
            }
            JournalRecord::Lost { deliveries } => self.lost_unknown = *deliveries,
            JournalRecord::Time(time) => {
                self.time = *time;
                self.accepted_in = time.now;
            }
            JournalRecord::AcceptedIn { time } => self.accepted_in = *time,
            // What an older group carried forward is none of this one's.
            JournalRecord::Group(_) => self.accepted_in = self.time.now,
            JournalRecord::Binding {
                lane,
                instance,
                endpoint,
            } => {
                let names = (InstanceName::new(instance), EndpointName::new(endpoint));
                if let (Ok(instance), Ok(endpoint)) = names {
                    self.lane(*lane).name = Some((instance, endpoint));
                }
            }
            JournalRecord::Counts { lane, ledger } => {
                let before = std::mem::replace(&mut self.lane(*lane).ledger, *ledger);
                self.made = self.made.saturating_sub(before.made()) + ledger.made();
            }
            JournalRecord::State { lane, state } => self.note_state(*lane, *state),
            JournalRecord::Event { event, lanes } => {
                self.put_new(event, lanes, place);
            }
            JournalRecord::Copy { event, lanes } => self.put_copy(event, lanes.clone(), place),
            JournalRecord::Replay {
                event,
                lane,
                replay_of,
            } => {
                self.lane(*lane).ledger.replayed += 1;
                self.made += 1;
                let open = OpenDeliveries::One(OpenDelivery::fresh(*lane));
                self.put(event, open, place);
                self.settle(*lane, *replay_of, DeliverySettlement::Replayed);
            }
            JournalRecord::Settle { lane, settlements } => {
                for (sequence, settlement) in settlements {
                    self.settle(*lane, *sequence, *settlement);
                }
            }
            JournalRecord::Attempt {
                sequence,
                lane,
                attempts,
                due,
            } => self.attempt(*sequence, *lane, *attempts, *due),
            JournalRecord::Dead {
                lane,
                letter,
                sequences,
            } => {
                let letter = self.letters.share(letter);
                for sequence in sequences {
                    self.dead_letter(*sequence, *lane, &letter);
                }
            }
            // About the log itself, or for the history alone.
            _ => {}
        }
    }

    fn lane(&mut self, lane: u32) -> &mut LaneSummary {
        self.lanes.entry(lane).or_default()
    }

    fn open(&mut self, sequence: u64, lane: u32) -> Option<&mut OpenDelivery> {
        self.events.get_mut(sequence)?.open.of_lane(lane)
    }

    /// Whether a delivery is not settled.
    pub(crate) fn is_open(&self, sequence: u64, lane: u32) -> bool {
        let live = self.events.get(sequence);
        live.is_some_and(|live| live.open.as_slice().iter().any(|open| open.lane == lane))
    }

    fn attempt(&mut self, sequence: u64, lane: u32, attempts: u32, due: Option<Timestamp>) {
        if let Some(open) = self.open(sequence, lane) {
            open.attempts = attempts;
            open.due = due;
        }
    }

    /// A delivery is a dead letter from here on.
    fn dead_letter(&mut self, sequence: u64, lane: u32, letter: &Arc<DeadLetter>) {
        let Some(live) = self.events.get_mut(sequence) else {
            return;
        };
        let bytes = live.place.bytes;
        let Some(open) = live.open.of_lane(lane) else {
            return;
        };
        if open.dead.replace(Arc::clone(letter)).is_none() {
            self.lane(lane).dead_letter_bytes += u64::from(bytes);
        }
    }

    fn note_state(&mut self, lane: u32, state: LaneState) {
        let now = self.time.now;
        let lane = self.lane(lane);
        (lane.state, lane.state_recorded) = (state, now);
    }

    fn put_new(&mut self, event: &AcceptedEvent<'_>, lanes: &LaneList<'_>, place: FramePlace) {
        for lane in lanes.iter() {
            self.lane(lane).ledger.matched += 1;
        }
        self.made += lanes.iter().len() as u64;
        let mut fresh = lanes.iter().map(OpenDelivery::fresh);
        let open = match fresh.len() {
            1 => fresh.next().map(OpenDeliveries::One),
            _ => Some(OpenDeliveries::Many(fresh.collect())),
        };
        self.put(
            event,
            open.unwrap_or(OpenDeliveries::Many(Vec::new())),
            place,
        );
    }

    fn put_copy(
        &mut self,
        event: &AcceptedEvent<'_>,
        mut lanes: Vec<OpenDelivery>,
        place: FramePlace,
    ) {
        for open in &mut lanes {
            open.dead = open.dead.as_ref().map(|letter| self.letters.share(letter));
        }
        let open = match lanes.len() {
            1 => lanes.pop().map(OpenDeliveries::One),
            _ => None,
        };
        self.put(event, open.unwrap_or(OpenDeliveries::Many(lanes)), place);
    }

    /// An event that is there already, under the same sequence, is at this place now.
    fn put(&mut self, event: &AcceptedEvent<'_>, open: OpenDeliveries, place: FramePlace) {
        if open.as_slice().is_empty() {
            self.take(event.sequence);
            return;
        }
        for delivery in open.as_slice() {
            let is_dead = delivery.dead.is_some();
            self.lane(delivery.lane).add(place.bytes, is_dead);
        }
        self.open += open.as_slice().len() as u64;
        if event.sequence >= self.fresh_from {
            self.fresh_open += open.as_slice().len() as u64;
        }
        let share = self.shares.entry(place.segment).or_default();
        share.events += 1;
        share.bytes += u64::from(place.bytes);
        self.live_bytes += u64::from(place.bytes);
        let live = LiveEvent {
            place,
            accepted_at: event.accepted_at,
            accepted_in: self.accepted_in,
            twin: event.twin(),
            open,
        };
        if let Some(before) = self.events.insert(event.sequence, live) {
            self.forget(event.sequence, &before);
        }
    }

    fn take(&mut self, sequence: u64) {
        if let Some(live) = self.events.remove(sequence) {
            self.forget(sequence, &live);
        }
    }

    /// Takes an event that is not at its place any more out of all sums.
    fn forget(&mut self, sequence: u64, live: &LiveEvent) {
        for delivery in live.open.as_slice() {
            let is_dead = delivery.dead.is_some();
            self.lane(delivery.lane).subtract(live.place.bytes, is_dead);
        }
        self.open -= live.open.as_slice().len() as u64;
        self.forget_fresh(sequence, live.open.as_slice().len() as u64);
        self.release(live.place);
    }

    /// Damage may have hidden where they were counted.
    fn forget_fresh(&mut self, sequence: u64, deliveries: u64) {
        if sequence >= self.fresh_from {
            self.fresh_open = self.fresh_open.saturating_sub(deliveries);
        }
    }

    fn release(&mut self, place: FramePlace) {
        self.live_bytes -= u64::from(place.bytes);
        if let Some(share) = self.shares.get_mut(&place.segment) {
            share.events -= 1;
            share.bytes -= u64::from(place.bytes);
            if share.events == 0 {
                self.shares.remove(&place.segment);
            }
        }
    }

    /// Settles a delivery; false when it was not open.
    pub(crate) fn settle(
        &mut self,
        lane: u32,
        sequence: u64,
        settlement: DeliverySettlement,
    ) -> bool {
        let is_closed = self.close(lane, sequence);
        if is_closed {
            self.lost_known +=
                u64::from(settlement == DeliverySettlement::Discarded(DiscardReason::Lost));
            self.lane(lane).ledger.settle(settlement);
        }
        is_closed
    }

    /// Has a delivery open no more, counted by whoever calls; false when it was not open.
    pub(super) fn close(&mut self, lane: u32, sequence: u64) -> bool {
        let Some(live) = self.events.get_mut(sequence) else {
            return false;
        };
        let place = live.place;
        let (is_dead, last) = match &mut live.open {
            OpenDeliveries::One(open) if open.lane == lane => (open.dead.is_some(), true),
            OpenDeliveries::One(_) => return false,
            OpenDeliveries::Many(open) => {
                let Some(at) = open.iter().position(|open| open.lane == lane) else {
                    return false;
                };
                let settled = open.swap_remove(at);
                (settled.dead.is_some(), open.is_empty())
            }
        };
        if last {
            self.events.remove(sequence);
            self.release(place);
        }
        self.forget_fresh(sequence, 1);
        self.open -= 1;
        self.lane(lane).subtract(place.bytes, is_dead);
        true
    }

    /// The oldest segment that holds a live event.
    pub(crate) fn oldest_live(&self) -> Option<u64> {
        self.shares.keys().next().copied()
    }

    /// What is live.
    pub(crate) fn held(&self) -> HeldSize {
        HeldSize {
            events: self.events.len() as u64,
            bytes: self.live_bytes,
        }
    }

    /// What all lanes have counted as lost.
    pub(super) fn lost_by_lanes(&self) -> u64 {
        let lanes = self.lanes.values();
        lanes
            .map(|lane| lane.ledger.discarded(DiscardReason::Lost))
            .sum()
    }

    /// Counts a delivery that stood in damage as made.
    pub(super) fn count_made(&mut self, lane: u32, replayed: bool) {
        let ledger = &mut self.lane(lane).ledger;
        match replayed {
            true => ledger.replayed += 1,
            false => ledger.matched += 1,
        }
        self.made += 1;
    }
}
