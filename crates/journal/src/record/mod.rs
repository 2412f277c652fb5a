//! Records: what the journal notes. The layout stands in `docs/journal-format.md`.
//!
//! What records are; `encode` writes them as bytes and `decode` reads those.

mod decode;
pub(crate) mod encode;
mod history;

use crate::ledger::{DeliverySettlement, Ledger};
use crate::time::TimeRecord;
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::twin::TwinKey;

/// LaneList of one event, and settlements in one record, are at most this many.
pub(crate) const ITEMS_MAX: usize = 65_536;

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JournalRecord<'a> {
    /// Opens a segment file.
    Segment(SegmentHead),
    /// Opens a group: what one write and one sync brought to disk.
    Group(GroupHead),
    /// A lane's number stands for this endpoint.
    Binding {
        lane: u32,
        instance: &'a str,
        endpoint: &'a str,
    },
    /// A lane's counts as of here, everything before included.
    Counts { lane: u32, ledger: Ledger },
    /// What a lane recorded of itself.
    State { lane: u32, state: LaneState },
    /// Bindings, counts and states of all lanes stand before this in the same group.
    Checkpoint {
        /// Older segments hold nothing that is needed.
        oldest_segment: u64,
        next_sequence: u64,
    },
    /// An accepted event and the lanes it is for.
    Event {
        event: AcceptedEvent<'a>,
        lanes: LaneList<'a>,
    },
    /// An event of an older segment, carried forward with what is left to do.
    Copy {
        event: AcceptedEvent<'a>,
        lanes: Vec<OpenDelivery>,
    },
    /// A dead letter that goes through its lane again, and takes the place of one kept here.
    Replay {
        event: AcceptedEvent<'a>,
        lane: u32,
        /// Settled as replayed if it is open; 0: none.
        replay_of: u64,
    },
    /// Deliveries of one lane that came to their end.
    Settle {
        lane: u32,
        settlements: Vec<(u64, DeliverySettlement)>,
    },
    /// A delivery failed alone and is retrying.
    Attempt {
        sequence: u64,
        lane: u32,
        attempts: u32,
        due: Option<Timestamp>,
    },
    /// Deliveries of one lane that became dead letters in the same way. They stay open.
    Dead {
        lane: u32,
        letter: Arc<DeadLetter>,
        sequences: Vec<u64>,
    },
    /// How long the segment's file was made. Stands in the segment's first group.
    Extent {
        /// Bytes of the file.
        length: u64,
        /// Whether there was a manifest by then.
        listed: bool,
    },
    /// Journal time as of here; events that follow in the group were accepted at this time.
    Time(TimeRecord),
    /// The journal time, in milliseconds, at which events that follow in the group were accepted.
    AcceptedIn { time: u64 },
    /// Deliveries that damage took and whose endpoints are unknown, all of them as of here.
    Lost { deliveries: u64 },
    /// The wall's time as of here: that of all that the group says.
    Clock { at: Timestamp },
    /// Where the events that follow in the group came from, up to the next of these.
    Origin {
        /// The routing table that they were matched against; 0: not known.
        generation: u64,
        /// The instance that they were sent to; empty: not known.
        instance: &'a str,
        /// Who sent them, if a name is known.
        caller: &'a str,
        /// From where, if that is known.
        address: Option<IpAddr>,
    },
    /// The routing table in use from here on.
    Table {
        generation: u64,
        /// What it says, as the router wrote it.
        content: &'a [u8],
    },
    /// Deliveries of one lane that were tried and neither delivered nor settled by that.
    Failed {
        lane: u32,
        fault: FailedSendFault,
        text: &'a str,
        sequences: Vec<u64>,
    },
    /// An event that no route matched. It has no sequence and no delivery.
    Unmatched { event: AcceptedEvent<'a> },
    /// A cut that was reported when the journal was opened; it is not reported again.
    ReportedCut(CutRange),
    /// The journal was closed in order; no sequence beyond was given out.
    Closed { next_sequence: u64 },
}

/// Whose fault it was that an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedSendFault {
    /// The event failed alone: it used up an attempt.
    Event,
    /// The endpoint was not available; no attempt was used up.
    Endpoint,
}

/// What a lane is called in the journal. It stays with its endpoint over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// What a lane wants to find again after a restart, beside its deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// Somebody paused it.
    pub paused: bool,
    /// How long time-to-live has stood still, in all.
    pub still: Duration,
    /// Since when it stands still, if it does.
    pub still_since: Option<Timestamp>,
}

/// An event as its record holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedEvent<'a> {
    pub(crate) sequence: u64,
    pub(crate) accepted_at: Timestamp,
    /// Stable hash of its twin; not there in the first records of version 1.
    pub(crate) twin: Option<u64>,
    /// CloudEvents JSON, sealed where there is a stamp.
    pub(crate) content: &'a [u8],
    pub(crate) stamp: Option<SealStamp>,
}

/// What an event is sealed with. No other event has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SealStamp {
    /// The key's number.
    pub(crate) key: u32,
    /// How many were sealed with it before.
    pub(crate) count: u64,
}

/// Lane numbers as they stand in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneList<'a>(&'a [[u8; 4]]);

/// The head of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) id: u64,
    pub(crate) first_sequence: u64,
    pub(crate) created: Timestamp,
    /// The last segment before this one that holds anything, and where that ends. What stands
    /// beyond, and in segments between, was never acknowledged.
    pub(crate) previous_segment: u64,
    pub(crate) previous_end: u64,
}

/// The head of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHead {
    /// Counts groups since the journal was opened.
    pub(crate) number: u64,
    /// The log was on disk up to here when the group was written.
    pub(crate) synced_segment: u64,
    pub(crate) synced_offset: u64,
    /// Bytes of the group, this record included.
    pub(crate) bytes: u64,
    pub(crate) first_sequence: u64,
    /// Events in it that are new.
    pub(crate) events: u32,
}

/// Bytes of a group that was never whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CutRange {
    pub(crate) segment: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A delivery that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenDelivery {
    pub(crate) lane: u32,
    pub(crate) attempts: u32,
    pub(crate) due: Option<Timestamp>,
    pub(crate) dead: Option<Arc<DeadLetter>>,
}

impl OpenDelivery {
    /// A delivery that was never tried.
    pub(crate) const fn fresh(lane: u32) -> Self {
        Self {
            lane,
            attempts: 0,
            due: None,
            dead: None,
        }
    }
}

impl<'a> LaneList<'a> {
    /// Of numbers in the bytes that a record holds.
    pub(crate) const fn of(numbers: &'a [[u8; 4]]) -> Self {
        Self(numbers)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = u32> {
        self.0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

impl AcceptedEvent<'_> {
    /// Reads an event that is not sealed.
    pub(crate) fn parse_plain(&self) -> Option<Event> {
        self.stamp.is_none().then(|| parse_content(self.content))?
    }

    /// Stable hash of its twin, from the event itself where the record does not hold it. An event
    /// that cannot be read has none.
    pub(crate) fn twin(&self) -> u64 {
        let hash = |event: Event| TwinKey::of(&event).stable_hash();
        self.twin
            .unwrap_or_else(|| self.parse_plain().map(hash).unwrap_or_default())
    }
}

/// Reads an event with the widest limits; it owns its bytes.
pub(super) fn parse_content(json: &[u8]) -> Option<Event> {
    const WIDEST: EventLimits = EventLimits {
        event_bytes_max: EventLimits::EVENT_BYTES_CEILING,
        batch_events_max: 1,
    };
    // It was accepted, whatever a producer would be told today.
    json::parse_lenient(Bytes::copy_from_slice(json), &WIDEST).ok()
}

/// The kinds on disk: a number is never used for another layout.
mod kind {
    pub(crate) const SEGMENT: u8 = 1;
    pub(crate) const GROUP: u8 = 2;
    pub(crate) const BINDING: u8 = 3;
    /// Counts without replays. Read, no longer written.
    pub(crate) const COUNTS_1: u8 = 4;
    pub(crate) const CHECKPOINT: u8 = 5;
    /// An event without its twin. Read, no longer written.
    pub(crate) const EVENT_1: u8 = 6;
    /// A copy without its twin. Read, no longer written.
    pub(crate) const COPY_1: u8 = 7;
    pub(crate) const SETTLE: u8 = 8;
    pub(crate) const ATTEMPT: u8 = 9;
    pub(crate) const CLOSED: u8 = 10;
    /// Called `hole` in the documented format and by `dump`.
    pub(crate) const REPORTED_CUT: u8 = 11;
    pub(crate) const COUNTS: u8 = 12;
    pub(crate) const EVENT: u8 = 13;
    pub(crate) const COPY: u8 = 14;
    pub(crate) const REPLAY: u8 = 15;
    pub(crate) const DEAD: u8 = 16;
    pub(crate) const STATE: u8 = 17;
    pub(crate) const EVENT_SEALED: u8 = 18;
    pub(crate) const COPY_SEALED: u8 = 19;
    pub(crate) const REPLAY_SEALED: u8 = 20;
    pub(crate) const EXTENT: u8 = 21;
    pub(crate) const LOST: u8 = 22;
    pub(crate) const TIME: u8 = 23;
    pub(crate) const ACCEPTED_IN: u8 = 24;
    pub(crate) const CLOCK: u8 = 25;
    pub(crate) const ORIGIN: u8 = 26;
    pub(crate) const TABLE: u8 = 27;
    pub(crate) const FAILED: u8 = 28;
    pub(crate) const UNMATCHED: u8 = 29;
    pub(crate) const UNMATCHED_SEALED: u8 = 30;
}

impl<'a> JournalRecord<'a> {
    /// The event that it holds.
    pub(crate) fn event(&self) -> Option<&AcceptedEvent<'a>> {
        match self {
            Self::Event { event, .. }
            | Self::Copy { event, .. }
            | Self::Replay { event, .. }
            | Self::Unmatched { event } => Some(event),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
