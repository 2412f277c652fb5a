//! Checkpoints: what every lane is and has counted, and which segments are needed.

use super::index::LogIndex;
use super::pages::LiveEvent;
use super::record::JournalRecord;
use crate::ledger::{DeliverySettlement, Ledger};
use std::collections::BTreeMap;

/// What one lane takes in a checkpoint beside its names, in bytes: binding, counts of all reasons and state.
const LANE_BYTES: u64 = 208;

/// Lane, sequence and outcome of a delivery.
pub(crate) type SettledDelivery = (u32, u64, DeliverySettlement);

impl LogIndex {
    /// The most bytes that the records of all lanes take.
    pub(crate) fn checkpoint_bytes_max(&self) -> u64 {
        let names = self.lanes.values().map(|lane| match &lane.name {
            Some((instance, endpoint)) => instance.as_str().len() + endpoint.as_str().len(),
            None => 0,
        });
        names.map(|bytes| LANE_BYTES + bytes as u64).sum()
    }

    /// Takes out what a lane has open in segments before this one, which its counts have as settled.
    pub(crate) fn drop_before(&mut self, number: u32, segment: u64) {
        if self.oldest_live().is_none_or(|oldest| oldest >= segment) {
            return;
        }
        let of_lane = |live: &LiveEvent| {
            let mut open = live.open.as_slice().iter();
            live.place.segment < segment && open.any(|open| open.lane == number)
        };
        let live = self.events.from(0);
        let gone = live.filter(|(_, live)| of_lane(live));
        for sequence in gone.map(|(sequence, _)| sequence).collect::<Vec<_>>() {
            self.close(number, sequence);
        }
    }

    /// The counts of lanes with what is `settled` in them; of those lanes only.
    fn ledgers_after(&self, settled: &[SettledDelivery]) -> BTreeMap<u32, Ledger> {
        let mut ledgers = BTreeMap::new();
        for (number, _, settlement) in settled {
            if let Some(lane) = self.lanes.get(number) {
                let ledger = ledgers.entry(*number).or_insert(lane.ledger);
                ledger.settle(*settlement);
            }
        }
        ledgers
    }

    /// Records that say what every lane is, has counted and has recorded.
    ///
    /// `now` is the journal time that the group notes. What is `settled` beside is counted: then the checkpoint comes
    /// first, and the counts of a lane settle at once what it had open in older segments, however far a crash lets
    /// the group come.
    pub(crate) fn encode_checkpoint(
        &self,
        oldest: u64,
        next_sequence: u64,
        now: u64,
        settled: &[SettledDelivery],
        out: &mut Vec<u8>,
    ) {
        let checkpoint = JournalRecord::Checkpoint {
            oldest_segment: oldest,
            next_sequence,
        };
        if !settled.is_empty() {
            checkpoint.encode(out);
        }
        let ledgers = self.ledgers_after(settled);
        for (number, lane) in &self.lanes {
            let number = *number;
            if let Some((instance, endpoint)) = &lane.name {
                let binding = JournalRecord::Binding {
                    lane: number,
                    instance: instance.as_str(),
                    endpoint: endpoint.as_str(),
                };
                binding.encode(out);
            }
            let ledger = ledgers.get(&number).copied().unwrap_or(lane.ledger);
            let state = lane.state_at(now);
            JournalRecord::Counts {
                lane: number,
                ledger,
            }
            .encode(out);
            JournalRecord::State {
                lane: number,
                state,
            }
            .encode(out);
        }
        if self.lost_unknown > 0 {
            let deliveries = self.lost_unknown;
            JournalRecord::Lost { deliveries }.encode(out);
        }
        if settled.is_empty() {
            checkpoint.encode(out);
        }
    }
}
