//! A batch between its match and its lanes.

use crate::delivery::{BatchBacklog, DeliveryTracker, Lane, LaneArrival};
use crate::table::LaneIndex;
use rapidhash::RapidHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;
use twinroute_journal::{BatchOrigin, JournalEntry, NewEvent};
use twinroute_model::event::Event;

/// Events of a batch that matched, with their lanes.
pub(super) struct MatchedBatch {
    /// Until the journal takes them.
    events: Vec<NewEvent>,
    /// Of each event, how many of `lanes` are its own.
    lane_counts: SmallVec<[usize; 1]>,
    lanes: SmallVec<[LaneIndex; 4]>,
    /// Where it comes from.
    pub(super) origin: BatchOrigin,
    /// Events that matched nothing, with their order keys, where the history keeps them.
    pub(super) unmatched: Vec<(Event, u64)>,
}

/// What one lane is given of a batch.
#[derive(Debug)]
pub(super) struct LaneDeliveries {
    pub(super) lane: Arc<Lane>,
    /// In the order of their sequences.
    pub(super) entries: Vec<JournalEntry>,
}

impl MatchedBatch {
    pub(super) fn with_capacity(events: usize) -> Self {
        Self {
            events: Vec::with_capacity(events),
            lane_counts: SmallVec::with_capacity(events),
            lanes: SmallVec::with_capacity(events),
            origin: BatchOrigin::default(),
            unmatched: Vec::new(),
        }
    }

    /// Events so far.
    pub(super) fn len(&self) -> usize {
        self.lane_counts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lane_counts.is_empty()
    }

    /// Adds an event for some of the lanes there are; `order_key` is what their order is kept for.
    pub(super) fn add(
        &mut self,
        mut event: Event,
        order_key: u64,
        own: &[LaneIndex],
        all: &[Arc<Lane>],
    ) {
        // Where the journal is in memory no lane has a number, and nothing is allocated here.
        let number = |lane: &LaneIndex| all[*lane as usize].number;
        self.lane_counts.push(own.len());
        self.lanes.extend_from_slice(own);
        event.detach();
        self.events.push(NewEvent {
            twin: order_key,
            event,
            lanes: own.iter().filter_map(number).collect(),
        });
    }

    /// The events, to be taken by the journal.
    pub(super) fn events_mut(&mut self) -> &mut Vec<NewEvent> {
        &mut self.events
    }

    /// Bytes of the events, until the journal takes them.
    pub(super) fn bytes(&self) -> u64 {
        self.events.iter().map(|new| new.event.size() as u64).sum()
    }

    /// A lane that wants no more events for now, among those that these are for.
    pub(super) fn refusing<'a>(&self, all: &'a [Arc<Lane>]) -> Option<&'a Arc<Lane>> {
        let mut lanes = self.lanes.iter().map(|lane| &all[*lane as usize]);
        lanes.find(|lane| lane.is_refusing())
    }

    /// Deliveries that these will be, and the bytes of their events together.
    pub(super) fn deliveries(&self) -> (usize, u64) {
        let sizes = self.events.iter().map(|new| new.event.size() as u64);
        let bytes = sizes
            .zip(&self.lane_counts)
            .map(|(size, lanes)| size * *lanes as u64);
        (self.lanes.len(), bytes.sum())
    }

    /// Whether these have to wait, for what waits in the lanes that they are for.
    pub(super) fn has_to_wait(&self, all: &[Arc<Lane>]) -> bool {
        let mut batch = BatchBacklog::default();
        for lane in &self.lanes {
            batch.add(all[*lane as usize].backlog());
        }
        batch.makes_wait()
    }

    /// The lanes that these are for.
    pub(super) fn distinct_lanes<'a>(
        &self,
        all: &'a [Arc<Lane>],
    ) -> impl Iterator<Item = &'a Arc<Lane>> {
        let distinct: BTreeSet<LaneIndex> = self.lanes.iter().copied().collect();
        distinct.into_iter().map(|lane| &all[lane as usize])
    }

    /// Tells what is to be waited for.
    pub(super) fn expect(&self, all: &[Arc<Lane>], tracker: &DeliveryTracker) {
        for lane in &self.lanes {
            tracker.expect(&all[*lane as usize].name, 1);
        }
    }

    /// Gives every lane its events.
    pub(super) fn push(
        &self,
        all: &[Arc<Lane>],
        entries: Vec<JournalEntry>,
        arrival: &LaneArrival,
    ) {
        for LaneDeliveries { lane, entries } in self.by_lane(all, entries) {
            lane.push(entries, arrival);
        }
    }

    /// Sorts the deliveries by lane.
    pub(super) fn by_lane(
        &self,
        all: &[Arc<Lane>],
        entries: Vec<JournalEntry>,
    ) -> Vec<LaneDeliveries> {
        let mut sorted: Vec<LaneDeliveries> = Vec::new();
        let mut places = RapidHashMap::default();
        let mut rest = &*self.lanes;
        // The lanes of the first event mostly get all; what others get is not known.
        let mut likely = entries.len();
        for (entry, count) in entries.into_iter().zip(&self.lane_counts) {
            let (own, others) = rest.split_at(*count);
            rest = others;
            let Some((last, first)) = own.split_last() else {
                continue;
            };
            let mut give = |index: usize, lane: &LaneIndex, entry| {
                let lane = &all[*lane as usize];
                let place = place_of(&sorted, &places, lane, index)
                    .unwrap_or_else(|| add_lane(&mut sorted, &mut places, lane, likely));
                sorted[place].entries.push(entry);
            };
            for (index, lane) in first.iter().enumerate() {
                give(index, lane, entry.clone());
            }
            give(first.len(), last, entry);
            likely = 0;
        }
        sorted
    }
}

/// So few lanes are found by a look at each.
const FEW_LANES: usize = 8;

/// Where a lane stands among those that are given something; `likely` is where it probably does. `places` says so once
/// there are many.
fn place_of(
    sorted: &[LaneDeliveries],
    places: &RapidHashMap<*const Lane, usize>,
    lane: &Arc<Lane>,
    likely: usize,
) -> Option<usize> {
    let is_lane = |here: &LaneDeliveries| Arc::ptr_eq(&here.lane, lane);
    // Events of a batch mostly go to the same lanes, which then stand at the same places.
    match sorted.get(likely).is_some_and(is_lane) {
        true => Some(likely),
        false if sorted.len() <= FEW_LANES => sorted.iter().position(is_lane),
        false => places.get(&Arc::as_ptr(lane)).copied(),
    }
}

/// Gives a lane its place behind the others.
fn add_lane(
    sorted: &mut Vec<LaneDeliveries>,
    places: &mut RapidHashMap<*const Lane, usize>,
    lane: &Arc<Lane>,
    capacity: usize,
) -> usize {
    let place = sorted.len();
    sorted.push(LaneDeliveries {
        lane: Arc::clone(lane),
        entries: Vec::with_capacity(capacity),
    });
    if place == FEW_LANES {
        // From the next on they are looked up.
        let here = sorted.iter().enumerate();
        *places = here
            .map(|(place, here)| (Arc::as_ptr(&here.lane), place))
            .collect();
    } else if place > FEW_LANES {
        places.insert(Arc::as_ptr(lane), place);
    }
    place
}
