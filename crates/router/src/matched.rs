//! A batch between its match and its lanes.

use crate::awaited::Awaited;
use crate::commit::ByLane;
use crate::lane::{Arrival, BatchBacklog, Lane};
use crate::table::LaneNumber as LaneIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use twinroute_model::event::Event;
use twinroute_model::twin::TwinKey;
use twinroute_retry::journal::{Entry, NewEvent};

/// Events of a batch that matched, with their lanes and twins.
pub(crate) struct Matched {
    events: Vec<Event>,
    /// Of each event, how many of `lanes` are its own, and its twin.
    lanes_of: Vec<(usize, u64)>,
    lanes: Vec<LaneIndex>,
}

impl Matched {
    pub(crate) fn with_capacity(events: usize) -> Self {
        Self {
            events: Vec::with_capacity(events),
            lanes_of: Vec::with_capacity(events),
            lanes: Vec::with_capacity(events),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes_of.is_empty()
    }

    pub(crate) fn add(&mut self, event: Event, lanes: &[LaneIndex]) {
        let twin = TwinKey::of(&event).stable_hash();
        self.lanes_of.push((lanes.len(), twin));
        self.lanes.extend_from_slice(lanes);
        self.events.push(event.detached());
    }

    /// The events, to be taken by the journal in memory.
    pub(crate) fn events_mut(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Takes the events, each with the numbers of its lanes in the journal on disk.
    pub(crate) fn take_numbered(&mut self, all: &[Arc<Lane>]) -> Vec<NewEvent> {
        let mut rest = &*self.lanes;
        let events = std::mem::take(&mut self.events);
        let numbered = events
            .into_iter()
            .zip(&self.lanes_of)
            .map(|(event, (count, twin))| {
                let (own, others) = rest.split_at(*count);
                rest = others;
                let number = |lane: &LaneIndex| all[*lane as usize].number;
                NewEvent {
                    event,
                    twin: *twin,
                    lanes: own.iter().filter_map(number).collect(),
                }
            });
        numbered.collect()
    }

    /// A lane that wants no more events for now, among those that these are for.
    pub(crate) fn refusing<'a>(&self, all: &'a [Arc<Lane>]) -> Option<&'a Arc<Lane>> {
        let mut lanes = self.lanes.iter().map(|lane| &all[*lane as usize]);
        lanes.find(|lane| lane.is_refusing())
    }

    /// Deliveries that these will be, and the bytes of their events together.
    pub(crate) fn deliveries(&self) -> (usize, u64) {
        let sizes = self.events.iter().map(|event| event.size() as u64);
        let bytes = sizes
            .zip(&self.lanes_of)
            .map(|(size, (lanes, _))| size * *lanes as u64);
        (self.lanes.len(), bytes.sum())
    }

    /// Whether these have to wait, for what waits in the lanes that they are for.
    pub(crate) fn has_to_wait(&self, all: &[Arc<Lane>]) -> bool {
        let mut batch = BatchBacklog::default();
        for lane in &self.lanes {
            batch.add(all[*lane as usize].backlog());
        }
        batch.makes_wait()
    }

    /// The lanes that these are for.
    pub(crate) fn distinct_lanes<'a>(
        &self,
        all: &'a [Arc<Lane>],
    ) -> impl Iterator<Item = &'a Arc<Lane>> {
        let distinct: BTreeSet<LaneIndex> = self.lanes.iter().copied().collect();
        distinct.into_iter().map(|lane| &all[lane as usize])
    }

    /// Tells what is to be waited for.
    pub(crate) fn expect(&self, all: &[Arc<Lane>], awaited: &Awaited) {
        for lane in &self.lanes {
            awaited.expect(&all[*lane as usize].name, 1);
        }
    }

    /// Gives every lane its events.
    pub(crate) fn push(&self, all: &[Arc<Lane>], entries: Vec<Entry>, arrival: &Arrival) {
        if let ([(_, twin)], [entry]) = (&*self.lanes_of, &*entries) {
            let delivery = [(entry.clone(), *twin)];
            for lane in &self.lanes {
                all[*lane as usize].push(&delivery, arrival);
            }
            return;
        }
        for (lane, deliveries) in self.by_lane(all, entries) {
            lane.push(&deliveries, arrival);
        }
    }

    /// Sorts the deliveries by lane.
    pub(crate) fn by_lane(&self, all: &[Arc<Lane>], entries: Vec<Entry>) -> ByLane {
        let mut sorted: BTreeMap<LaneIndex, Vec<(Entry, u64)>> = BTreeMap::new();
        let mut rest = &*self.lanes;
        for (entry, (count, twin)) in entries.into_iter().zip(&self.lanes_of) {
            let (own, others) = rest.split_at(*count);
            rest = others;
            for lane in own {
                let line = sorted.entry(*lane).or_default();
                line.push((entry.clone(), *twin));
            }
        }
        let shared = |(lane, deliveries)| (Arc::clone(&all[lane as usize]), deliveries);
        sorted.into_iter().map(shared).collect()
    }
}
