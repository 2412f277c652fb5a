//! Live events by sequence.
//!
//! Sequences are nearly dense where events are young, and far apart where a few have stayed behind.
//! So a page stands for 64 sequences and holds those that are there, side by side: an event costs
//! little more than itself in a crowd, and one that is alone keeps next to nothing alive.

use super::frame::FramePlace;
use super::record::OpenDelivery;
use std::collections::{BTreeMap, HashSet, VecDeque};
use twinroute_model::clock::Timestamp;

/// Deliveries whose outcomes wait to be recorded, by lane and sequence.
pub(crate) type WaitingOutcomes = HashSet<(u32, u64)>;

/// An event with deliveries that are not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveEvent {
    pub(crate) place: FramePlace,
    pub(crate) accepted_at: Timestamp,
    /// The same in journal time, in milliseconds.
    pub(crate) accepted_in: u64,
    /// Stable hash of its twin.
    pub(crate) twin: u64,
    pub(crate) open: OpenDeliveries,
}

/// The deliveries of an event that are not settled: nearly always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenDeliveries {
    One(OpenDelivery),
    Many(Vec<OpenDelivery>),
}

impl LiveEvent {
    /// Bytes that it takes when it is carried forward, at most: a copy has what is known of each delivery with it.
    pub(crate) fn copied_bytes_max(&self) -> u64 {
        /// A record that says when it was accepted.
        const ACCEPTED_IN_BYTES: u64 = 24;
        /// A delivery, and a letter without its outcome.
        const OPEN_BYTES: u64 = 17;
        const LETTER_BYTES: u64 = 23;
        let open = self.open.as_slice().iter();
        let beside = open.map(|open| {
            let letter = open.dead.as_ref();
            OPEN_BYTES + letter.map_or(0, |letter| LETTER_BYTES + letter.outcome.len() as u64)
        });
        u64::from(self.place.bytes) + ACCEPTED_IN_BYTES + beside.sum::<u64>()
    }
}

impl LiveEvent {
    /// Whether all its deliveries are among those whose outcomes wait to be recorded.
    pub(crate) fn is_settled_by(&self, sequence: u64, settled: &WaitingOutcomes) -> bool {
        let mut open = self.open.as_slice().iter();
        !settled.is_empty() && open.all(|open| settled.contains(&(open.lane, sequence)))
    }
}

impl OpenDeliveries {
    pub(crate) fn as_slice(&self) -> &[OpenDelivery] {
        match self {
            Self::One(open) => std::slice::from_ref(open),
            Self::Many(open) => open,
        }
    }

    pub(crate) fn of_lane(&mut self, lane: u32) -> Option<&mut OpenDelivery> {
        match self {
            Self::One(open) => (open.lane == lane).then_some(open),
            Self::Many(open) => open.iter_mut().find(|open| open.lane == lane),
        }
    }
}

/// Live events by sequence.
#[derive(Debug, Default)]
pub(crate) struct LiveEvents {
    pages: BTreeMap<u64, LiveEventPage>,
    events: usize,
}

const PAGE: u64 = 64;

/// The events of 64 sequences that are there, in order.
#[derive(Debug, Default)]
struct LiveEventPage {
    /// A bit for each sequence whose event is there.
    present: u64,
    /// The oldest mostly go first, and those behind need not move for it.
    events: VecDeque<LiveEvent>,
}

impl LiveEventPage {
    /// Where the event stands, or would.
    fn rank(&self, bit: u64) -> usize {
        (self.present & (bit - 1)).count_ones() as usize
    }

    /// Gives back room for events that went.
    fn shrink(&mut self) {
        if self.events.len() * 4 <= self.events.capacity() {
            self.events.shrink_to(self.events.len() * 2);
        }
    }
}

/// The page of a sequence, and its bit there.
const fn locate(sequence: u64) -> (u64, u64) {
    (sequence / PAGE, 1 << (sequence % PAGE))
}

impl LiveEvents {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.events
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&LiveEvent> {
        let (number, bit) = locate(sequence);
        let page = self.pages.get(&number)?;
        (page.present & bit != 0).then(|| &page.events[page.rank(bit)])
    }

    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut LiveEvent> {
        let (number, bit) = locate(sequence);
        let page = self.pages.get_mut(&number)?;
        let rank = page.rank(bit);
        (page.present & bit != 0).then(|| &mut page.events[rank])
    }

    /// Puts an event in and gives the one whose place it took.
    pub(crate) fn insert(&mut self, sequence: u64, live: LiveEvent) -> Option<LiveEvent> {
        let (number, bit) = locate(sequence);
        let page = self.pages.entry(number).or_default();
        let rank = page.rank(bit);
        if page.present & bit != 0 {
            return Some(std::mem::replace(&mut page.events[rank], live));
        }
        page.present |= bit;
        page.events.insert(rank, live);
        self.events += 1;
        None
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<LiveEvent> {
        let (number, bit) = locate(sequence);
        let page = self.pages.get_mut(&number)?;
        if page.present & bit == 0 {
            return None;
        }
        let live = page.events.remove(page.rank(bit))?;
        page.present &= !bit;
        self.events -= 1;
        if page.present == 0 {
            self.pages.remove(&number);
        } else {
            page.shrink();
        }
        Some(live)
    }

    /// All from `sequence` on, in order.
    pub(crate) fn from(&self, sequence: u64) -> impl Iterator<Item = (u64, &LiveEvent)> {
        let pages = self.pages.range(sequence / PAGE..);
        let all = pages.flat_map(|(number, page)| page.with_sequences(*number));
        all.skip_while(move |(found, _)| *found < sequence)
    }
}

impl LiveEventPage {
    fn with_sequences(&self, number: u64) -> impl Iterator<Item = (u64, &LiveEvent)> {
        let mut left = self.present;
        self.events.iter().map(move |live| {
            let bit = u64::from(left.trailing_zeros());
            left &= left - 1;
            (number * PAGE + bit, live)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn live(offset: u64) -> LiveEvent {
        LiveEvent {
            place: FramePlace {
                segment: 1,
                offset,
                bytes: 1,
            },
            accepted_at: Timestamp::from_unix_millis(0),
            accepted_in: 0,
            twin: 0,
            open: OpenDeliveries::One(OpenDelivery::fresh(1)),
        }
    }

    #[test]
    fn a_live_event_of_one_lane_is_small() {
        assert!(size_of::<LiveEvent>() <= 80, "{}", size_of::<LiveEvent>());
        let mut pages = LiveEvents::default();
        for sequence in 0..10 * PAGE {
            pages.insert(sequence, live(0));
        }
        let room: usize = pages
            .pages
            .values()
            .map(|page| page.events.capacity())
            .sum();
        assert_eq!(room, 10 * PAGE as usize);
        // One is left in every page, and keeps no more than a few alive.
        for sequence in (0..10 * PAGE).filter(|sequence| sequence % PAGE != 17) {
            pages.remove(sequence);
        }
        assert_eq!(pages.len(), 10);
        assert!(pages.pages.values().all(|page| page.events.capacity() <= 4));
        for page in 0..10 {
            pages.remove(page * PAGE + 17);
        }
        assert!(pages.pages.is_empty());
    }

    proptest! {
        #[test]
        fn they_are_a_map(steps in prop::collection::vec((0_u64..300, 0_u64..4), 0..400)) {
            let mut model = BTreeMap::new();
            let mut pages = LiveEvents::default();
            for (sequence, what) in steps {
                if what == 0 {
                    prop_assert_eq!(pages.remove(sequence), model.remove(&sequence));
                } else {
                    let put = live(what);
                    prop_assert_eq!(pages.insert(sequence, put.clone()), model.insert(sequence, put));
                }
                prop_assert_eq!(pages.get(sequence), model.get(&sequence));
                prop_assert_eq!(pages.get_mut(sequence), model.get_mut(&sequence));
                prop_assert_eq!(pages.len(), model.len());
                let rest = model.range(sequence..).map(|(sequence, live)| (*sequence, live));
                prop_assert!(pages.from(sequence).eq(rest));
            }
        }
    }
}
