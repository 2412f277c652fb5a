//! What the log says: the fold of its records. The writer keeps it while it writes and recovery
//! makes it anew, by the same code, so both always agree.

use super::record::{Open, Record};
use crate::ledger::{Fate, Ledger};
use std::collections::BTreeMap;
use twinroute_model::clock::Timestamp;
use twinroute_model::name::{EndpointName, InstanceName};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// An event with deliveries that are not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) place: Place,
    pub(crate) accepted_at: Timestamp,
    pub(crate) open: Vec<Open>,
}

/// What is known of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Unknown only when the disk lost every record of it.
    pub(crate) name: Option<(InstanceName, EndpointName)>,
    pub(crate) ledger: Ledger,
    /// Deliveries that are not settled.
    pub(crate) open: u64,
}

/// What is in use of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) lanes: BTreeMap<u32, Lane>,
    pub(crate) events: BTreeMap<u64, Live>,
    /// Only segments that hold live events.
    pub(crate) shares: BTreeMap<u64, Share>,
}

impl Index {
    /// Takes note of a record. Settlements of what is not open change nothing, so that a settlement
    /// counts once however often it is written.
    pub(crate) fn apply(&mut self, record: &Record<'_>, place: Place) {
        match record {
            Record::Segment(_)
            | Record::Group(_)
            | Record::Checkpoint { .. }
            | Record::Hole(_)
            | Record::Closed { .. } => {}
            Record::Binding {
                lane,
                instance,
                endpoint,
            } => {
                let names = (InstanceName::new(instance), EndpointName::new(endpoint));
                if let (Ok(instance), Ok(endpoint)) = names {
                    self.lane(*lane).name = Some((instance, endpoint));
                }
            }
            Record::Counts { lane, ledger } => self.lane(*lane).ledger = *ledger,
            Record::Event {
                sequence,
                accepted_at,
                lanes,
                ..
            } => {
                for lane in lanes {
                    self.lane(*lane).ledger.matched += 1;
                }
                let fresh = |lane: &u32| Open {
                    lane: *lane,
                    attempts: 0,
                    due: None,
                };
                let open = lanes.iter().map(fresh).collect();
                self.put(*sequence, *accepted_at, open, place);
            }
            Record::Copy {
                sequence,
                accepted_at,
                lanes,
                ..
            } => self.put(*sequence, *accepted_at, lanes.clone(), place),
            Record::Settle { lane, fates } => {
                for (sequence, fate) in fates {
                    self.settle(*lane, *sequence, *fate);
                }
            }
            Record::Attempt { sequence, open } => {
                let live = self.events.get_mut(sequence);
                let known = live
                    .and_then(|live| live.open.iter_mut().find(|known| known.lane == open.lane));
                if let Some(known) = known {
                    *known = *open;
                }
            }
        }
    }

    fn lane(&mut self, lane: u32) -> &mut Lane {
        self.lanes.entry(lane).or_default()
    }

    fn put(&mut self, sequence: u64, accepted_at: Timestamp, open: Vec<Open>, place: Place) {
        self.take(sequence);
        if open.is_empty() {
            return;
        }
        for delivery in &open {
            self.lane(delivery.lane).open += 1;
        }
        let share = self.shares.entry(place.segment).or_default();
        share.events += 1;
        share.bytes += u64::from(place.bytes);
        let live = Live {
            place,
            accepted_at,
            open,
        };
        self.events.insert(sequence, live);
    }

    fn take(&mut self, sequence: u64) {
        let Some(live) = self.events.remove(&sequence) else {
            return;
        };
        for delivery in &live.open {
            self.lane(delivery.lane).open -= 1;
        }
        self.release(live.place);
    }

    fn release(&mut self, place: Place) {
        if let Some(share) = self.shares.get_mut(&place.segment) {
            share.events -= 1;
            share.bytes -= u64::from(place.bytes);
            if share.events == 0 {
                self.shares.remove(&place.segment);
            }
        }
    }

    /// Settles a delivery; false when it was not open.
    pub(crate) fn settle(&mut self, lane: u32, sequence: u64, fate: Fate) -> bool {
        let Some(live) = self.events.get_mut(&sequence) else {
            return false;
        };
        let Some(at) = live.open.iter().position(|open| open.lane == lane) else {
            return false;
        };
        live.open.swap_remove(at);
        if live.open.is_empty() {
            let place = live.place;
            self.events.remove(&sequence);
            self.release(place);
        }
        let lane = self.lane(lane);
        lane.open -= 1;
        lane.ledger.settle(fate);
        true
    }

    /// The oldest segment that holds a live event.
    pub(crate) fn oldest_live(&self) -> Option<u64> {
        self.shares.keys().next().copied()
    }

    /// Bytes of live events in all segments.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.shares.values().map(|share| share.bytes).sum()
    }

    /// Records that say what every lane is and has counted.
    pub(crate) fn encode_checkpoint(&self, oldest: u64, next_sequence: u64, out: &mut Vec<u8>) {
        for (number, lane) in &self.lanes {
            if let Some((instance, endpoint)) = &lane.name {
                let binding = Record::Binding {
                    lane: *number,
                    instance: instance.as_str(),
                    endpoint: endpoint.as_str(),
                };
                binding.encode(out);
            }
            let ledger = lane.ledger;
            Record::Counts {
                lane: *number,
                ledger,
            }
            .encode(out);
        }
        Record::Checkpoint {
            oldest_segment: oldest,
            next_sequence,
        }
        .encode(out);
    }
}
