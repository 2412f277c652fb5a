//! What the fold of a partition gives: new events, and deliveries that are not settled.

use super::group::OwnerStatement;
use crate::pages::LiveEvent;
use crate::record::{LaneId, OpenDelivery};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;

/// What a record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldedRecord {
    /// New events, in order.
    Events(Vec<FoldedEvent>),
    /// Settlements of the owner.
    Settlements(OwnerStatement),
    /// A group that is there already; it counts for nothing.
    Repeated,
    /// Settlements of a router that was no owner any more; they count for nothing.
    Void(OwnerStatement),
}

/// An event with lanes that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedEvent {
    /// [`EventPlace::sequence`](super::EventPlace::sequence) of it.
    pub sequence: u64,
    /// Stable hash of its twin.
    pub twin: u64,
    /// The lanes it is for.
    pub lanes: Vec<LaneId>,
    /// What it takes in its record, in bytes.
    pub bytes: u32,
    /// When it was accepted, by the clock of the router that did.
    pub accepted_at: Timestamp,
    /// Of a replay: the dead letter whose place it takes; 0: of none that is kept.
    pub replay_of: Option<u64>,
}

/// A delivery of a partition that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenClusterDelivery {
    /// [`EventPlace::sequence`](super::EventPlace::sequence) of its event.
    pub sequence: u64,
    /// Its lane.
    pub lane: LaneId,
    /// Stable hash of its event's twin.
    pub twin: u64,
    /// What its event takes in its record, in bytes.
    pub bytes: u32,
    /// When its event was accepted, by the clock of the router that did.
    pub accepted_at: Timestamp,
    /// Attempts in which it failed alone.
    pub attempts: u32,
    /// When it is to be tried again, if it is retrying.
    pub due: Option<Timestamp>,
    /// What is known of it, if it is a dead letter.
    pub dead: Option<Arc<DeadLetter>>,
}

impl OpenClusterDelivery {
    pub(super) fn of(sequence: u64, live: &LiveEvent, open: &OpenDelivery) -> Self {
        Self {
            sequence,
            lane: LaneId(open.lane),
            twin: live.twin,
            bytes: live.place.bytes,
            accepted_at: live.accepted_at,
            attempts: open.attempts,
            due: open.due,
            dead: open.dead.clone(),
        }
    }
}
