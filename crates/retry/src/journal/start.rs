//! From what was read back to a log that is written to again.

use super::disk::{LaneState, PendingDelivery, Recovered, RecoveredLane, Settings};
use super::index::Lane;
use super::log::{Active, Copying, Failure, Log, Work};
use super::recover::Found;
use super::report::Report;
use super::storage::Storage;
use super::writer::{Inbox, LaneNumber};
use super::{OpenError, Totals};
use crate::ledger::{Discard, Fate};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use twinroute_model::clock::Clock;
use twinroute_model::event::Event;

/// What was read, without the parts that the log took over.
pub(super) struct Rest {
    events: BTreeMap<u64, Arc<Event>>,
    next_sequence: u64,
    report: Report,
}

/// Begins a new segment behind what was read, with all counts in it.
pub(super) fn start(
    found: Found,
    settings: Settings,
    storage: &Arc<dyn Storage>,
    clock: &Arc<dyn Clock>,
    inbox: &mut Inbox,
) -> Result<(Log, Rest), OpenError> {
    let (id, end) = found.end;
    let mut log = Log {
        storage: Arc::clone(storage),
        clock: Arc::clone(clock),
        segment_bytes: settings.segment_bytes,
        index: found.index,
        segments: found.segments,
        active: Active {
            id,
            end,
            length: end,
            sealed: true,
        },
        synced: found.end,
        groups: 0,
        buffer: Vec::new(),
        copying: Copying::default(),
        stuck: None,
    };
    let lost = Fate::Discarded(Discard::Lost);
    let settled = found.lost.iter().map(|(lane, seq)| (*lane, *seq, lost));
    let work = Work::<()> {
        settled: settled.collect(),
        holes: found.report.holes(),
        next_sequence: found.next_sequence,
        ..Work::default()
    };
    match log.commit(&work) {
        Ok(()) => {}
        Err(Failure::Sync { source, .. }) => {
            return Err(OpenError::io(&**storage, "sync of a new segment", source));
        }
        Err(failure @ Failure::Write { .. }) => {
            inbox.refused(&failure, Instant::now() + settings.retry_delay);
            inbox.work.settled = work.settled;
            inbox.work.holes = work.holes;
        }
    }
    if log.has_chores() {
        inbox.lazy_at = Some(Instant::now() + settings.settle_delay);
    }
    inbox.disk_bytes = log.disk_bytes();
    inbox.segments = log.segments.len();
    let rest = Rest {
        events: found.events,
        next_sequence: found.next_sequence,
        report: found.report,
    };
    Ok((log, rest))
}

impl Rest {
    pub(super) fn into_lanes(self, log: &Log, totals: &Arc<Totals>) -> Recovered {
        let lane = |(number, lane): (&u32, &Lane)| RecoveredLane {
            number: LaneNumber(*number),
            name: lane.name.clone(),
            ledger: lane.ledger,
            state: LaneState::default(),
            pending: Vec::new(),
        };
        let mut lanes: Vec<_> = log.index.lanes.iter().map(lane).collect();
        for (sequence, live) in &log.index.events {
            let Some(event) = self.events.get(sequence) else {
                continue;
            };
            totals.take(1, event.size() as u64);
            for open in &live.open {
                let number = LaneNumber(open.lane);
                if let Ok(at) = lanes.binary_search_by_key(&number, |lane| lane.number) {
                    lanes[at].pending.push(PendingDelivery {
                        sequence: *sequence,
                        twin: 0,
                        bytes: live.place.bytes,
                        accepted_at: live.accepted_at,
                        attempts: open.attempts,
                        due: open.due,
                        dead: None,
                    });
                }
            }
        }
        Recovered {
            lanes,
            next_sequence: self.next_sequence,
            report: self.report,
        }
    }
}
