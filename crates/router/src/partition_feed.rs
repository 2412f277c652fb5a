//! From the partitions of a shared log to the lanes: what this router owns, and what it owns no longer.

use crate::cluster_journal::{ClusterJournal, OwnedPartition};
use crate::delivery::{DeliveryTracker, Lane, LaneArrival};
use crate::table::LiveTable;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::mpsc;
use tokio::time::Instant;
use twinroute_cluster::{OpenedPartition, OutcomeReport, PartitionNews};
use twinroute_journal::ledger::Ledger;
use twinroute_journal::partition::{FoldedEvent, OpenClusterDelivery, events_of};
use twinroute_journal::{ClusterRecord, JournalEntry, LaneId, PartitionNumber, PendingDelivery};
use twinroute_model::clock::{Clock, Timestamp};

/// Whoever waits for replays that are on their way through the log. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AwaitedReplays(Arc<Mutex<ReplayTrackers>>);

/// By lane and the dead letter whose place is taken, 0 for none that is kept here.
type ReplayTrackers = HashMap<(LaneId, u64), VecDeque<Arc<DeliveryTracker>>>;

impl AwaitedReplays {
    pub(crate) fn add(&self, lane: LaneId, of: Option<u64>, tracker: &Arc<DeliveryTracker>) {
        let mut trackers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = of.unwrap_or_default();
        let line = trackers.entry((lane, of)).or_default();
        line.push_back(Arc::clone(tracker));
    }

    fn take(&self, lane: LaneId, of: u64) -> Option<Arc<DeliveryTracker>> {
        let mut trackers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = trackers.get_mut(&(lane, of))?;
        let first = line.pop_front();
        if line.is_empty() {
            trackers.remove(&(lane, of));
        }
        first
    }
}

/// Tells lanes of partitions.
pub(crate) struct PartitionFeed {
    pub(crate) journal: ClusterJournal,
    pub(crate) live: Weak<LiveTable>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) replays: AwaitedReplays,
    /// Partitions that are handed over: what arrives is for their next owner.
    pub(crate) draining: BTreeSet<PartitionNumber>,
}

impl PartitionFeed {
    /// Goes on for as long as there is a router, and anything to hear.
    pub(crate) async fn run(mut self, mut news: mpsc::UnboundedReceiver<PartitionNews>) {
        while let Some(news) = news.recv().await {
            let Some(live) = self.live.upgrade() else {
                return;
            };
            self.hear(&live, news);
        }
    }

    fn hear(&mut self, live: &LiveTable, news: PartitionNews) {
        match news {
            PartitionNews::Opened(opened) => self.opened(live, opened),
            PartitionNews::Arrived {
                partition,
                events,
                record,
            } => self.arrived(live, partition, &events, &record),
            PartitionNews::Draining(partition) => {
                self.draining.insert(partition);
                self.drain(live, partition);
            }
            PartitionNews::Closed(partition) => {
                self.draining.remove(&partition);
                self.journal.owned().close(partition);
                for lane in live.lanes() {
                    lane.close_partition(partition);
                }
            }
            PartitionNews::Quarantined(damage) => {
                self.journal.quarantine(damage.partition, damage);
            }
        }
    }

    fn opened(&mut self, live: &LiveTable, opened: OpenedPartition) {
        let OpenedPartition {
            partition, epoch, ..
        } = opened;
        self.draining.remove(&partition);
        let owned = OwnedPartition {
            epoch,
            permit: opened.permit,
            outcomes: opened.outcomes,
            heard_of: opened.folded_to,
            held: opened.held,
        };
        self.journal.owned().open(partition, owned);
        let mut lanes: BTreeMap<LaneId, (Ledger, Vec<PendingDelivery>)> = BTreeMap::new();
        for (lane, ledger) in opened.ledgers {
            lanes.entry(lane).or_default().0 = ledger;
        }
        let now = self.clock.now();
        for open in opened.pending {
            let pending = &mut lanes.entry(open.lane).or_default().1;
            pending.push(pending_delivery(open, now));
        }
        for (number, (ledger, pending)) in lanes {
            if let Some(lane) = self.lane(live, number, !pending.is_empty()) {
                lane.open_partition(partition, epoch, &ledger, pending);
            }
        }
        self.journal.owned().opened();
    }

    /// The lane with a number; it is started, where `is_needed`, though nothing defines its endpoint.
    fn lane(&self, live: &LiveTable, number: LaneId, is_needed: bool) -> Option<Arc<Lane>> {
        let key = self.journal.lane_name(number)?;
        live.lane_of_log(&key, is_needed)
    }

    fn arrived(
        &self,
        live: &LiveTable,
        partition: PartitionNumber,
        events: &[FoldedEvent],
        record: &ClusterRecord,
    ) {
        if self.draining.contains(&partition) {
            return;
        }
        let came = Instant::now();
        let now = self.clock.now();
        let first = events.first().map_or(now, |first| first.accepted_at);
        let arrival = LaneArrival::Folded {
            came,
            age: now.since(first),
        };
        let mut by_lane: BTreeMap<LaneId, Vec<JournalEntry>> = BTreeMap::new();
        for (event, (sequence, content)) in events.iter().zip(events_of(record, partition)) {
            debug_assert!(
                event.sequence == sequence,
                "both are in the order of the record"
            );
            let entry = self.journal.hold(sequence, content, event.twin);
            let Some(of) = event.replay_of else {
                for lane in &event.lanes {
                    by_lane.entry(*lane).or_default().push(entry.clone());
                }
                continue;
            };
            // What came before it goes before it.
            self.push_all(live, &mut by_lane, &arrival);
            for lane in &event.lanes {
                let tracker = self.replays.take(*lane, of);
                let replayed = LaneArrival::Replayed {
                    of: (of != 0).then_some(of),
                    came,
                    tracker: tracker.unwrap_or_default(),
                };
                if let Some(lane) = self.lane(live, *lane, true) {
                    lane.push(vec![entry.clone()], &replayed);
                }
            }
        }
        self.push_all(live, &mut by_lane, &arrival);
        self.journal.owned().hear_of(partition, record.sequence);
    }

    fn push_all(
        &self,
        live: &LiveTable,
        by_lane: &mut BTreeMap<LaneId, Vec<JournalEntry>>,
        arrival: &LaneArrival,
    ) {
        for (lane, entries) in std::mem::take(by_lane) {
            if let Some(lane) = self.lane(live, lane, true) {
                lane.push(entries, arrival);
            }
        }
    }

    /// Has lanes send nothing more of a partition, and tells its owner when nothing is in flight.
    fn drain(&self, live: &LiveTable, partition: PartitionNumber) {
        let lanes = live.lanes();
        let outcomes = self.journal.owned().outcomes(partition);
        self.journal.spawn(async move {
            let drained = lanes.iter().map(|lane| lane.drain_partition(partition));
            join_all(drained).await;
            if let Some(outcomes) = outcomes {
                // The owner may have ended meanwhile.
                drop(outcomes.send(OutcomeReport::Drained));
            }
        });
    }
}

/// Its age is the difference of two routers' clocks: another than its owner now may have accepted it.
fn pending_delivery(open: OpenClusterDelivery, now: Timestamp) -> PendingDelivery {
    PendingDelivery {
        sequence: open.sequence,
        twin: open.twin,
        bytes: open.bytes,
        accepted_at: open.accepted_at,
        age: now.since(open.accepted_at),
        attempts: open.attempts,
        due: open.due,
        dead: open.dead,
    }
}
