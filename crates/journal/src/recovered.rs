//! What a journal gives back when it is opened.

use super::index::LogIndex;
use super::record::{LaneId, LaneState};
use super::report::JournalReport;
use crate::ledger::{DiscardReason, Ledger};
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::name::{EndpointName, InstanceName};

/// What a journal gives back when it is opened.
#[derive(Debug)]
pub struct RecoveredJournal {
    /// Every lane that was ever bound.
    pub lanes: Vec<RecoveredLane>,
    /// The sequence that the next event gets.
    pub next_sequence: u64,
    /// Deliveries that damage took, ever, and of which nobody can tell for which endpoints they were. Those
    /// of lanes whose names are lost are among them, with what waits for such a lane.
    pub lost_unknown: u64,
    /// What was found.
    pub report: JournalReport,
}

/// A lane as the journal knows it.
#[derive(Debug)]
pub struct RecoveredLane {
    /// Its number.
    pub number: LaneId,
    /// What it is for; unknown only when the disk lost every record of it.
    pub name: Option<(InstanceName, EndpointName)>,
    /// What it has counted: matched + replayed = settled + pending.
    pub ledger: Ledger,
    /// What it recorded of itself, as of now.
    pub state: LaneState,
    /// What is not settled, by sequence.
    pub pending: Vec<PendingDelivery>,
}

/// A delivery that is not settled.
#[derive(Clone, Debug)]
pub struct PendingDelivery {
    /// The event's place in the order of acceptance; [`super::DiskJournal::read`] gives the event.
    pub sequence: u64,
    /// Stable hash of its twin.
    pub twin: u64,
    /// What the event takes on disk, in bytes.
    pub bytes: u32,
    /// When the event was accepted, as the clock was then.
    pub accepted_at: Timestamp,
    /// How old it is for certain, whatever was done to the clock: over a boot, the time in which the journal
    /// was closed does not count.
    pub age: Duration,
    /// Attempts in which it failed alone.
    pub attempts: u32,
    /// When it is to be tried again, if it is retrying.
    pub due: Option<Timestamp>,
    /// What is known of it, if it is a dead letter.
    pub dead: Option<Arc<DeadLetter>>,
}

/// Deliveries that no endpoint's counts have.
pub(crate) fn lost_unknown(index: &LogIndex) -> u64 {
    let nameless = index.lanes.values().filter(|lane| lane.name.is_none());
    let lost = nameless.map(|lane| lane.ledger.discarded(DiscardReason::Lost) + lane.open);
    index.lost_unknown + lost.sum::<u64>()
}

/// The lanes of an index, by number.
///
/// `now` is journal time.
pub(crate) fn lanes(index: &LogIndex, now: Duration) -> Vec<RecoveredLane> {
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let numbered = index.lanes.iter();
    let mut lanes: Vec<_> = numbered
        .map(|(number, lane)| RecoveredLane {
            number: LaneId(*number),
            name: lane.name.clone(),
            ledger: lane.ledger,
            state: lane.state_at(millis),
            pending: Vec::with_capacity(usize::try_from(lane.open).unwrap_or_default()),
        })
        .collect();
    for (sequence, live) in index.events.from(0) {
        for open in live.open.as_slice() {
            let number = LaneId(open.lane);
            if let Ok(at) = lanes.binary_search_by_key(&number, |lane| lane.number) {
                lanes[at].pending.push(PendingDelivery {
                    sequence,
                    twin: live.twin,
                    bytes: live.place.bytes,
                    accepted_at: live.accepted_at,
                    age: Duration::from_millis(millis.saturating_sub(live.accepted_in)),
                    attempts: open.attempts,
                    due: open.due,
                    dead: open.dead.clone(),
                });
            }
        }
    }
    lanes
}
