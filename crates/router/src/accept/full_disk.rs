//! A disk that is full before the journal is: dead letters that are kept here make room, and nothing else does.
//!
//! Only a segment that is removed gives room, and the oldest goes first. So what is discarded stands in that one: the
//! dead letters of the endpoints furthest above their shares, if that and carrying forward the rest frees it. No queue
//! is touched, and nothing is discarded that frees no segment.

use super::room_maker::{RoomMaker, rooms_on_disk, share};
use crate::delivery::{Lane, LaneRoom};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use twinroute_journal::{CrowdedSegment, DiskJournal, JournalHealth, LaneId};

/// How long a segment that was freed is waited for to give room, before another one is: space need not come back at
/// once.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Makes room whenever the journal finds none on its disk, for as long as there is a router. A task of its own: a
/// router that is not ready may get no events.
pub(crate) async fn make_room_on_disk(room: Weak<RoomMaker>) {
    let disk = room.upgrade().and_then(|room| room.disk.clone());
    let Some(disk_room) = disk.map(|disk| disk.room()) else {
        return;
    };
    // The latest segment that was freed: for which shortage, and until when that is waited to be over.
    let mut freed: Option<(u64, Instant)> = None;
    let mut check_at = None;
    loop {
        let found = disk_room.no_room_found();
        match check_at.take() {
            None => found.await,
            Some(at) => drop(timeout_at(at, found).await),
        }
        let Some(room) = room.upgrade() else { return };
        let same = freed.filter(|(shortage, _)| disk_room.shortage() == Some(*shortage));
        match same.filter(|(_, until)| Instant::now() < *until) {
            Some((_, until)) => check_at = Some(until),
            None => {
                let shortage = room.free_segment().await;
                freed = shortage.map(|shortage| (shortage, Instant::now() + ROOM_WAIT));
            }
        }
    }
}

impl Drop for RoomMaker {
    /// Ends the task that makes room on the disk.
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.room().wake();
        }
    }
}

/// Dead letters that are discarded, by lane.
type LaneDiscards = BTreeMap<LaneId, Vec<u64>>;

/// An endpoint above its share.
struct ShareHolder {
    lane: LaneId,
    /// By so many bytes.
    above: u64,
    /// Its dead letters in the segment that may be discarded.
    kept: HashSet<u64>,
}

/// What frees a segment: dead letters of as few of the `holders`, furthest above their shares first, as leave no more
/// than half of a segment to be carried forward; else of all of them. Nothing when that does not free it.
fn what_frees(segment: &CrowdedSegment, holders: &[ShareHolder]) -> Option<LaneDiscards> {
    let fits = |discards: &LaneDiscards, copied| {
        let settled = discards.values().map(Vec::len).sum();
        segment.fits(settled, copied)
    };
    let half = segment.segment_bytes / 2;
    // More holders leave less, so their number is found by halves.
    let counts: Vec<usize> = (0..=holders.len()).collect();
    let few = counts.partition_point(|count| discards_of(segment, &holders[..*count]).1 > half);
    if let Some(few) = holders.get(..few) {
        let (discards, copied) = discards_of(segment, few);
        if fits(&discards, copied) {
            return Some(discards);
        }
    }
    let (discards, copied) = discards_of(segment, holders);
    (!discards.is_empty() && fits(&discards, copied)).then_some(discards)
}

/// Dead letters of events that go when some endpoints discard theirs, down to their shares; and the bytes of the events
/// that stay.
fn discards_of(segment: &CrowdedSegment, holders: &[ShareHolder]) -> (LaneDiscards, u64) {
    let mut above: BTreeMap<LaneId, (u64, &HashSet<u64>)> = holders
        .iter()
        .map(|holder| (holder.lane, (holder.above, &holder.kept)))
        .collect();
    let (mut discards, mut copied) = (LaneDiscards::new(), 0);
    for event in &segment.events {
        let goes = event.lanes.iter().all(|(lane, is_dead)| {
            let holder = above.get(lane);
            *is_dead
                && holder.is_some_and(|(above, kept)| *above > 0 && kept.contains(&event.sequence))
        });
        if !goes {
            copied += event.copied_bytes;
            continue;
        }
        for (lane, _) in &event.lanes {
            if let Some((above, _)) = above.get_mut(lane) {
                *above = above.saturating_sub(event.bytes);
            }
            discards.entry(*lane).or_default().push(event.sequence);
        }
    }
    (discards, copied)
}

impl RoomMaker {
    /// Frees the oldest segment, if the disk has no room and dead letters can make some; gives the shortage for which
    /// it did.
    async fn free_segment(&self) -> Option<u64> {
        let disk = self.disk.as_ref()?;
        let _turn = self.turn().await;
        let disk_room = disk.room();
        let segment = disk_room.crowded_segment()?;
        let lanes = self.live.lanes();
        let holders = holders(disk, &lanes, &segment);
        let discards = what_frees(&segment, &holders)?;
        for (number, sequences) in &discards {
            let mut lanes = lanes.iter();
            if let Some(lane) = lanes.find(|lane| lane.number == Some(*number)) {
                lane.discard_kept(sequences);
            }
        }
        disk_room.empty(&segment);
        Some(segment.shortage)
    }

    /// Whether the disk has no room, or none but what the journal gives back.
    pub(crate) fn is_disk_full(&self) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| disk.room().is_tight())
    }

    /// What `/status` warns about while the disk has no room, or none but what the journal gives back.
    pub(crate) fn full_disk_warning(&self) -> Option<String> {
        let disk = self.disk.as_ref()?;
        let most = || self.most_of_journal(disk);
        if let JournalHealth::Full(reason) = disk.health() {
            return Some(format!(
                "the journal cannot be written, so events for all endpoints are refused: {reason}; make room on its \
                 disk{}",
                most()
            ));
        }
        disk.room().is_tight().then(|| {
            format!(
                "the journal's disk is full before the journal is: the oldest dead letters that are kept here are \
                 discarded, of the endpoint furthest above its share; make room on the disk{}",
                most()
            )
        })
    }

    /// Which endpoint has most of the journal, and what is to be done about it; empty when nothing has any.
    fn most_of_journal(&self, disk: &DiskJournal) -> String {
        let holdings = disk.holdings().into_iter();
        let most = holdings.max_by_key(|held| held.bytes);
        let lanes = self.live.lanes();
        let most = most.filter(|held| held.bytes > 0).and_then(|held| {
            let lane = lanes.iter().find(|lane| lane.number == Some(held.lane))?;
            Some((held, lane))
        });
        most.map_or_else(String::new, |(held, lane)| {
            format!(
                "; endpoint {}/{} has most of the journal, {} bytes, of which {} are dead letters that are kept here: \
                 fix the endpoint, give it a dead-letter container, or export and purge its dead letters",
                lane.instance, lane.name, held.bytes, held.dead_letter_bytes
            )
        })
    }
}

/// Endpoints above their shares of what the journal held when there was no room, furthest first, with what they keep
/// in a segment.
fn holders(disk: &DiskJournal, lanes: &[Arc<Lane>], segment: &CrowdedSegment) -> Vec<ShareHolder> {
    let rooms = rooms_on_disk(disk, lanes);
    let sharing = rooms.iter().filter(|room| room.has_share).count();
    let share = share(segment.held.min(disk.bytes_max()), sharing);
    let mut in_segment = LaneDiscards::new();
    for event in &segment.events {
        for (lane, _) in event.lanes.iter().filter(|(_, is_dead)| *is_dead) {
            in_segment.entry(*lane).or_default().push(event.sequence);
        }
    }
    let holder = |(lane, room): (&Arc<Lane>, &LaneRoom)| {
        let own = if room.has_share { share } else { 0 };
        let (number, above) = (lane.number?, room.bytes.saturating_sub(own));
        let sequences = in_segment.get(&number)?;
        (above > 0 && !room.keeps_all).then(|| ShareHolder {
            lane: number,
            above,
            kept: lane.kept_of(sequences),
        })
    };
    let mut holders: Vec<ShareHolder> = lanes.iter().zip(&rooms).filter_map(holder).collect();
    holders.sort_by_key(|holder| Reverse(holder.above));
    holders
}
