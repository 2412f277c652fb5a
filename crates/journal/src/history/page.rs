//! What is asked of the history, and what it answers.

use crate::ledger::DeliverySettlement;
use crate::record::{FailedSendFault, LaneId};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// Which events are looked for. What it cannot say is asked of each event that it lets through.
#[derive(Clone, Debug, Default)]
pub struct HistorySelection {
    /// Accepted no earlier.
    pub since: Option<Timestamp>,
    /// Accepted earlier.
    pub until: Option<Timestamp>,
    /// The event of this sequence alone.
    pub sequence: Option<u64>,
    /// Texts that the event holds somewhere, each as a whole: what does not hold them is not even parsed.
    pub texts: Vec<String>,
    /// A page ends before an event with a delivery that was not tried yet and that was accepted after this.
    pub untried_after: Option<Timestamp>,
}

/// A place in the history: everything before it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryCursor {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl HistoryCursor {
    /// A place in a history of which the parts are numbered, as one in memory is.
    #[must_use]
    pub const fn numbered(number: u64) -> Self {
        Self {
            segment: 0,
            offset: number,
        }
    }

    /// The number of such a place.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.offset
    }
}

impl fmt::Display for HistoryCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.segment, self.offset)
    }
}

impl FromStr for HistoryCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "no place in the history, segment-offset";
        let (segment, offset) = text.split_once('-').ok_or(RULE)?;
        Ok(Self {
            segment: segment.parse().map_err(|_| RULE)?,
            offset: offset.parse().map_err(|_| RULE)?,
        })
    }
}

/// An event that was accepted.
#[derive(Clone, Debug)]
pub struct HistoryEvent {
    /// Its place in the order of acceptance; an event without a route has none.
    pub sequence: Option<u64>,
    /// When it was accepted, as the clock was then.
    pub accepted_at: Timestamp,
    /// As it was accepted.
    pub event: Event,
    /// Stable hash of its twin.
    pub twin: u64,
    /// The generation of the routing table that it was matched against; 0: not known.
    pub generation: u64,
    /// What that table says, as the router wrote it, if that is kept.
    pub table: Option<Arc<[u8]>>,
    /// The instance that it was sent to, if it is known.
    pub instance: Option<String>,
    /// Who sent it, if a name is known.
    pub caller: Option<String>,
    /// From where, if that is known.
    pub address: Option<IpAddr>,
    /// Whether it is a replay of an earlier event.
    pub is_replay: bool,
    /// One for each endpoint; none where no route matched. Of an event whose first segment is gone, only those that
    /// were open then.
    pub deliveries: Vec<HistoryDelivery>,
}

/// A delivery and what became of it.
#[derive(Clone, Debug)]
pub struct HistoryDelivery {
    /// Its lane.
    pub lane: LaneId,
    /// The instance and the endpoint, if the journal knows them.
    pub name: Option<(InstanceName, EndpointName)>,
    /// How it stands.
    pub state: HistoryState,
    /// When that was recorded, if it is settled: with the next group, a moment after it happened.
    pub at: Option<Timestamp>,
    /// Attempts in which it failed alone.
    pub failed_alone: u32,
    /// What is recorded of attempts that failed, the first ones and the latest of many.
    pub attempts: Vec<HistoryAttempt>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryAttempt {
    /// When that was recorded.
    pub at: Option<Timestamp>,
    /// Whose fault it was.
    pub fault: FailedSendFault,
    /// What the sink said.
    pub outcome: String,
}

/// How a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryState {
    /// Not settled; it did not fail alone yet.
    Queued,
    /// It failed alone and is tried again at this time, or soon.
    Retrying(Option<Timestamp>),
    /// A dead letter that is kept here.
    Dead(Arc<DeadLetter>),
    /// It came to its end, with what is known of it as a dead letter.
    Settled(DeliverySettlement, Option<Arc<DeadLetter>>),
    /// It is not open, and how it ended is not to be found: damage took that.
    Unknown,
}

/// A part of what was found.
#[derive(Clone, Debug, Default)]
pub struct HistoryPage {
    /// In the order of acceptance, events that were carried forward from segments that are gone aside.
    pub events: Vec<HistoryEvent>,
    /// Where to go on.
    pub next: HistoryCursor,
    /// Whether all was looked at that was there.
    pub at_end: bool,
}
