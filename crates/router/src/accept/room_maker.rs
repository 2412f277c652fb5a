//! Shares of the journal: who makes room when it is full.
//!
//! Each defined endpoint is guaranteed an equal share of the journal for what it has not settled: its queue, what is
//! in flight and the dead letters that are kept here. Beyond that it uses what is free. When the journal is full, the
//! endpoint that is furthest above its share makes room: its oldest dead letters are discarded, then the oldest of
//! its queue if the endpoint is why they wait. An event counts whole for each endpoint that has it, so what all have is
//! never less than what the journal holds: while somebody is within its share and the journal is full, somebody else
//! is above its own.

use crate::cluster_journal::ClusterJournal;
use crate::delivery::{EvictionKind, Lane, LaneRoom};
use crate::event_journal::EventJournal;
use crate::status::InstanceStatus;
use crate::table::LiveTable;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use twinroute_journal::{DiskJournal, JournalFull, JournalUsage, UsageGauge};

/// A full journal on disk gives back a bit more than was asked for, one in so many bytes of it and no more than so
/// many bytes: each time costs a sync.
const SPARE: u64 = 256;
const SPARE_BYTES_MAX: u64 = 1 << 20;

/// Makes room in the journal. Who does so does it alone, so that nothing is discarded twice for the same want.
pub(crate) struct RoomMaker {
    pub(super) live: Arc<LiveTable>,
    /// What the journal has.
    pub(crate) gauge: UsageGauge,
    /// The journal on disk, where it is.
    pub(crate) disk: Option<DiskJournal>,
    /// The journal over a shared log, where it is. Nobody makes room in that: it is others' too.
    pub(crate) cluster: Option<ClusterJournal>,
    turn: Mutex<Option<ExhaustedJournal>>,
    relieved_at: std::sync::Mutex<Option<Instant>>,
}

/// From so full on, in quarters, queues above their share are emptied into dead-letter containers that answer: what is
/// stored there is safe, and what would have to make room later is not.
const RELIEF_QUARTERS: u64 = 3;

/// How much of a queue goes to its container at a time.
const RELIEF_BYTES: u64 = 1 << 20;

/// How often queues are looked at for that, at most.
const RELIEF_INTERVAL: Duration = Duration::from_millis(20);

/// How long a journal on disk in which nobody had to make room is not asked again, while nothing of it was released:
/// each time costs a sync.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How things stood when nobody was above its share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExhaustedJournal {
    at: Instant,
    bytes_released: u64,
}

impl ExhaustedJournal {
    fn holds(&self, usage: JournalUsage) -> bool {
        self.bytes_released == usage.bytes_released && self.at.elapsed() < ASK_AGAIN
    }
}

/// The right to make room, until it is dropped.
pub(crate) type RoomTurn<'a> = MutexGuard<'a, Option<ExhaustedJournal>>;

impl RoomMaker {
    pub(crate) fn new(live: Arc<LiveTable>, journal: &EventJournal) -> Self {
        Self {
            live,
            gauge: journal.gauge(),
            disk: journal.disk().cloned(),
            cluster: journal.cluster().cloned(),
            turn: Mutex::default(),
            relieved_at: std::sync::Mutex::default(),
        }
    }

    /// What the journal holds.
    pub(crate) fn usage(&self) -> JournalUsage {
        match &self.cluster {
            Some(cluster) => cluster.gauge().usage(),
            None => self.gauge.usage(),
        }
    }

    /// Whether it is time to look at queues again.
    fn may_relieve(&self) -> bool {
        let mut at = self
            .relieved_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if at.is_some_and(|at| at.elapsed() < RELIEF_INTERVAL) {
            return false;
        }
        *at = Some(Instant::now());
        true
    }

    /// Waits for its turn. Dropping the future is harmless.
    pub(crate) async fn turn(&self) -> RoomTurn<'_> {
        self.turn.lock().await
    }

    /// Makes room for what the journal did not take; false when no endpoint is above its share. What was settled and
    /// not yet written comes first: nothing is discarded while that gives room.
    ///
    /// Dropping the future is harmless: what it has discarded was to make room that is still there.
    pub(crate) async fn make_room(&self, full: &JournalFull, turn: &mut RoomTurn<'_>) -> bool {
        let bytes_new = full.bytes_new;
        if bytes_new > full.bytes_max {
            return false;
        }
        let gauge = &self.gauge;
        let disk = self.disk.as_ref();
        if disk.is_some() && turn.is_some_and(|exhausted| exhausted.holds(gauge.usage())) {
            return lacking(gauge.usage(), bytes_new) == 0;
        }
        if !flushed(disk).await {
            return false;
        }
        let usage = gauge.usage();
        if lacking(usage, bytes_new) == 0 {
            return true;
        }
        let lanes = self.live.lanes();
        let made = match disk {
            None => {
                let rooms = lanes.iter().map(|lane| lane.room_taken()).collect();
                let excess = LanesAboveShare::of(&lanes, rooms, usage.bytes_max);
                excess.evict(|_, bytes| (bytes, lacking(gauge.usage(), bytes_new) == 0))
            }
            Some(disk) => {
                let spare = (usage.bytes_max / SPARE).min(SPARE_BYTES_MAX);
                let wanted = lacking(usage, bytes_new) + spare;
                let excess =
                    LanesAboveShare::of(&lanes, rooms_on_disk(disk, &lanes), usage.bytes_max);
                let mut freed = FreedRoom::default();
                excess.evict(|sequence, _| {
                    let bytes = freed.add(disk.held(sequence), sequence);
                    (bytes, freed.bytes >= wanted)
                })
            }
        };
        **turn = (!made).then(|| ExhaustedJournal {
            at: Instant::now(),
            bytes_released: usage.bytes_released,
        });
        made && flushed(disk).await
    }

    /// Once the journal is nearly full, has endpoints that take nothing, and have more queued than their share, send
    /// the oldest of that to their dead-letter containers.
    pub(crate) fn relieve(&self) {
        let usage = self.gauge.usage();
        if usage.bytes / RELIEF_QUARTERS < usage.bytes_max / 4 || !self.may_relieve() {
            return;
        }
        let lanes = self.live.lanes();
        let sharing = lanes.iter().filter(|lane| lane.room_taken().has_share);
        let share = share(usage.bytes_max, sharing.count());
        lanes
            .iter()
            .for_each(|lane| lane.relieve(share, RELIEF_BYTES));
    }

    /// Warns when the dead letters that are kept here take half of the journal or more.
    pub(crate) fn kept_warning(&self, instances: &[InstanceStatus]) -> Option<String> {
        let usage = self.gauge.usage();
        let disk = self.disk.as_ref();
        let kept = match disk {
            None => kept_bytes(instances),
            // Those of the journal on disk count what stands beside events too.
            Some(disk) => {
                let holdings = disk.holdings().into_iter();
                holdings.map(|held| held.dead_letter_bytes).sum()
            }
        };
        if kept == 0 || kept < usage.bytes_max / 2 {
            return None;
        }
        let endpoints = instances.iter().flat_map(|instance| {
            let endpoints = instance.endpoints.iter();
            endpoints.map(|endpoint| (endpoint.dead_letters.bytes, &instance.name, &endpoint.name))
        });
        let (_, instance, name) = endpoints.max()?;
        Some(format!(
            "dead letters that are kept here have {kept} bytes, each counted for every endpoint that has it, and the \
             journal holds {} bytes; endpoint {instance}/{name} has most of them: when the journal is full, the oldest \
             of the endpoint furthest above its share are discarded; fix the endpoint, give it a dead-letter container, or replay, export or purge them",
            usage.bytes_max
        ))
    }

    /// What each defined endpoint is guaranteed of the journal, in bytes.
    pub(crate) fn share(&self) -> u64 {
        let lanes = self.live.lanes();
        let sharing = lanes.iter().filter(|lane| lane.room_taken().has_share);
        share(self.gauge.usage().bytes_max, sharing.count())
    }
}

/// What each endpoint is guaranteed of a journal of `bytes_max`.
pub(crate) fn share(bytes_max: u64, endpoints: usize) -> u64 {
    bytes_max / u64::try_from(endpoints).unwrap_or(u64::MAX).max(1)
}

/// Has a journal on disk take note of what was settled.
async fn flushed(disk: Option<&DiskJournal>) -> bool {
    match disk {
        None => true,
        Some(disk) => disk.flush().await.is_ok(),
    }
}

fn kept_bytes(instances: &[InstanceStatus]) -> u64 {
    let endpoints = instances.iter().flat_map(|instance| &instance.endpoints);
    endpoints.map(|endpoint| endpoint.dead_letters.bytes).sum()
}

/// What does not fit.
fn lacking(usage: JournalUsage, bytes_new: u64) -> u64 {
    (usage.bytes + bytes_new).saturating_sub(usage.bytes_max)
}

/// As [`Lane::room_taken`], in bytes of the journal on disk, which are a bit more than those of events.
pub(super) fn rooms_on_disk(disk: &DiskJournal, lanes: &[Arc<Lane>]) -> Vec<LaneRoom> {
    let holdings = disk.holdings().into_iter();
    let by_number: HashMap<_, u64> = holdings.map(|held| (held.lane, held.bytes)).collect();
    let of = |lane: &Arc<Lane>| LaneRoom {
        bytes: lane
            .number
            .and_then(|number| by_number.get(&number).copied())
            .unwrap_or_default(),
        ..lane.room_taken()
    };
    lanes.iter().map(of).collect()
}

/// What evictions give back once the journal on disk knows of them: an event goes when its last lane has settled it.
#[derive(Default)]
struct FreedRoom {
    bytes: u64,
    evicted: HashMap<u64, usize>,
}

impl FreedRoom {
    /// Counts an eviction, of an event with so many bytes and lanes; gives its bytes.
    fn add(&mut self, held: Option<(u64, usize)>, sequence: u64) -> u64 {
        let Some((bytes, lanes)) = held else { return 0 };
        let evicted = self.evicted.entry(sequence).or_default();
        *evicted += 1;
        if *evicted == lanes {
            self.bytes += bytes;
        }
        bytes
    }
}

/// Lanes above their share.
struct LanesAboveShare<'a> {
    lanes: &'a [Arc<Lane>],
    /// By how many bytes, and which.
    above: Vec<(u64, Reverse<usize>)>,
}

impl<'a> LanesAboveShare<'a> {
    fn of(lanes: &'a [Arc<Lane>], rooms: Vec<LaneRoom>, bytes_max: u64) -> Self {
        let sharing = rooms.iter().filter(|room| room.has_share).count();
        let share = share(bytes_max, sharing);
        let excess = |(place, room): (usize, &LaneRoom)| {
            let own = if room.has_share { share } else { 0 };
            (room.bytes.saturating_sub(own), Reverse(place))
        };
        let above = rooms.iter().enumerate().filter(|(_, room)| !room.keeps_all);
        let above = above.map(excess).filter(|(bytes, _)| *bytes > 0);
        Self {
            lanes,
            above: above.collect(),
        }
    }

    /// Evicts from whoever is furthest above its share, until `enough` says so. That is given each delivery with the
    /// bytes of its event and says by how many its lane has less. False when nothing was evicted.
    fn evict(self, mut enough: impl FnMut(u64, u64) -> (u64, bool)) -> bool {
        let (mut above, mut made) = (self.above, false);
        for what in EvictionKind::ALL {
            let mut furthest: BinaryHeap<_> = above.drain(..).collect();
            while let Some((bytes, Reverse(place))) = furthest.pop() {
                let Some(evicted) = self.lanes[place].evict(what) else {
                    above.push((bytes, Reverse(place)));
                    continue;
                };
                made = true;
                let (less, is_enough) = enough(evicted.sequence, evicted.bytes);
                if is_enough {
                    return true;
                }
                if bytes > less {
                    furthest.push((bytes - less, Reverse(place)));
                }
            }
        }
        made
    }
}
