//! A disk that is smaller than the journal may be: one endpoint that is unavailable stops nobody.

use super::dead_letter_tests::{MemoryStore, ended};
use super::shares_tests::event_of;
use super::tests::{ScriptedSink, endpoint_status};
use super::*;
use crate::accept::AcceptedBatch;
use crate::replay::ReplayRequest;
use crate::sink::FaultKind;
use crate::status::EndpointStatus;
use std::collections::BTreeSet;
use std::ops::Range;
use tokio::time::timeout_at;
use twinroute_journal::ledger::DiscardReason;
use twinroute_journal::sim::{PowerLossRemains, SimulatedDisk};
use twinroute_journal::{JournalSettings, RecoveredJournal};
use twinroute_model::clock::SystemClock;
use twinroute_model::settings::{EndpointSettings, KeptDeadLetters};

#[path = "full_disk_model_tests.rs"]
mod model;
#[path = "full_disk_room_tests.rs"]
mod room;

const SEGMENT_BYTES: u64 = 64 << 10;

/// What other files of the journal take.
const BESIDE_BYTES: u64 = 16 << 10;

/// How long a test waits for what other tasks and the journal's writer do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests that may be refused: events come as fast as they are on disk, and segments are small, so that one may be
/// full before room was made.
const REFUSED_MAX: usize = 3;

/// Bytes of an event's data, as a rule.
const LARGE: usize = 1_000;

/// A disk with room for so many segments.
fn disk_of(segments: u64) -> SimulatedDisk {
    let sim = SimulatedDisk::default();
    sim.set_room(Some(segments * SEGMENT_BYTES + BESIDE_BYTES));
    sim
}

/// The history that journals here may keep: more than any of these disks has room for.
const KEEP_BYTES: u64 = 1 << 20;

fn open(sim: &SimulatedDisk, keep_bytes: u64) -> (DiskJournal, RecoveredJournal) {
    let settings = JournalSettings {
        segment_bytes: SEGMENT_BYTES,
        commit_window: Duration::ZERO,
        settle_delay: Duration::from_millis(1),
        retry_delay: Duration::from_millis(20),
        keep_bytes,
        ..JournalSettings::default()
    };
    DiskJournal::open(settings, Arc::new(sim.clone()), Arc::new(SystemClock)).unwrap()
}

fn after_crash(sim: &SimulatedDisk, leaves: PowerLossRemains) -> SimulatedDisk {
    let crashed = sim.fork();
    crashed.power_off();
    crashed.power_on(leaves);
    crashed
}

/// What an endpoint of a scene is.
#[derive(Clone, Copy, Debug)]
enum EndpointKind {
    Healthy,
    /// Unavailable, with a short queue, so that dead letters come soon.
    Down,
    /// Unavailable, with a long queue and no dead letter.
    Queues,
    /// Unavailable, and keeps all of its dead letters.
    KeepsAll,
    /// Unavailable, with a short queue and a dead-letter container.
    Stored,
}

/// Events of type `t` go to each endpoint, those of type `endN` to that one alone.
struct DiskScene {
    router: Router,
    sinks: Vec<ScriptedSink>,
    /// The container of those that have one.
    store: MemoryStore,
}

impl DiskScene {
    fn on(sim: &SimulatedDisk, kinds: &[EndpointKind]) -> Self {
        Self::keeping(KEEP_BYTES, sim, kinds)
    }

    /// With so many bytes of history.
    fn keeping(keep_bytes: u64, sim: &SimulatedDisk, kinds: &[EndpointKind]) -> Self {
        let (disk, recovered) = open(sim, keep_bytes);
        let mut builder = Router::builder().journal_on_disk(disk, recovered);
        let store = MemoryStore::default();
        let sinks: Vec<ScriptedSink> = kinds.iter().map(|_| ScriptedSink::default()).collect();
        for (number, (sink, kind)) in sinks.iter().zip(kinds).enumerate() {
            sink.set_down(!matches!(kind, EndpointKind::Healthy));
            let mut settings = EndpointSettings::default();
            if !matches!(kind, EndpointKind::Healthy | EndpointKind::Queues) {
                settings.queue_events_max = 10;
            }
            if matches!(kind, EndpointKind::KeepsAll) {
                settings.dead_letters_kept = KeptDeadLetters::KeepAll;
            }
            let name = format!("end{number}");
            let filter = format!("type = 't' OR type = '{name}'");
            builder = builder.sink_with(&name, sink.clone(), settings);
            if matches!(kind, EndpointKind::Stored) {
                builder = builder.dead_letters(store.clone());
            }
            builder = builder.route(&name, &name, &filter);
        }
        Self {
            router: builder.build().unwrap(),
            sinks,
            store,
        }
    }

    fn status(&self, number: usize) -> EndpointStatus {
        let status = endpoint_status(&self.router, &format!("end{number}"));
        assert_eq!(status.unaccounted(), 0, "{status:?}");
        status
    }

    /// Waits until an endpoint that is available has nothing left, and looks that it got all of these: some twice
    /// where a kill came before that was recorded.
    async fn delivered(&self, number: usize, ids: Range<usize>) {
        let lanes = self.router.parts.acceptor.live.lanes();
        let name = format!("end{number}");
        let lane = lanes.iter().find(|lane| lane.name.as_str() == name);
        let idle = timeout_at(Instant::now() + PATIENCE, lane.unwrap().idle()).await;
        assert!(idle.is_ok(), "{:?}", self.status(number));
        let found: BTreeSet<String> = self.sinks[number].ids().into_iter().collect();
        let missing: Vec<_> = ids.filter(|id| !found.contains(&id.to_string())).collect();
        assert!(missing.is_empty(), "{missing:?}: {:?}", self.status(number));
    }

    /// Every event that was accepted is in one state for each endpoint, and what was discarded was a dead letter.
    fn adds_up(&self, accepted: usize) {
        for number in 0..self.sinks.len() {
            let status = self.status(number);
            let open = status.queued + status.in_flight + status.retrying;
            let ended = status.delivered + status.dead_letters.all() + status.discarded;
            assert_eq!(status.matched, accepted as u64, "{status:?}");
            assert_eq!(status.matched, open + ended, "{status:?}");
            let overflow = status
                .discarded_by
                .get(&DiscardReason::DeadLetterOverflow)
                .copied();
            assert_eq!(overflow.unwrap_or_default(), status.discarded, "{status:?}");
        }
    }

    /// Posts events one after the other, each until it is accepted; gives how many were refused at first.
    async fn post_of(&self, bytes: usize, event_type: &str, ids: Range<usize>) -> usize {
        let mut refused = 0;
        for id in ids {
            let last = Instant::now() + PATIENCE;
            let mut was_refused = false;
            while let Err(error) = self.accept(bytes, id, event_type).await {
                was_refused = true;
                assert!(
                    Instant::now() < last,
                    "event {id} is refused for ever: {error}; {:?}",
                    self.router.status()
                );
                tokio::task::yield_now().await;
            }
            refused += usize::from(was_refused);
        }
        refused
    }

    async fn post(&self, ids: Range<usize>) -> usize {
        self.post_of(LARGE, "t", ids).await
    }

    async fn accept(
        &self,
        bytes: usize,
        id: usize,
        kind: &str,
    ) -> Result<AcceptedBatch, AcceptError> {
        let events = vec![event_of(id, kind, bytes)];
        self.router.accept(None, events, AckLevel::Durable).await
    }

    /// Posts until one is refused; gives how many were accepted.
    async fn post_until_refused(&self, ids: Range<usize>) -> usize {
        for id in ids.clone() {
            if self.accept(LARGE, id, "t").await.is_err() {
                return id - ids.start;
            }
        }
        panic!("none is refused: {:?}", self.router.status());
    }

    /// Waits until the router says that it is ready, or that it is not.
    async fn is_ready(&self, ready: bool) {
        let waiting = async {
            while self.router.readiness().ready != ready {
                tokio::task::yield_now().await;
            }
        };
        let ended = timeout_at(Instant::now() + PATIENCE, waiting).await;
        assert!(ended.is_ok(), "{:?}", self.router.status());
    }

    fn disk_warnings(&self) -> Vec<String> {
        let warnings = self.router.status().warnings.into_iter();
        warnings
            .filter(|warning| {
                warning.contains("make room on its disk")
                    || warning.contains("make room on the disk")
            })
            .collect()
    }
}

/// Much more than the disk holds, for one endpoint that is there and some that are not; then the same after a kill.
async fn isolated(segments: u64, kinds: &[EndpointKind], bytes: usize) {
    let sim = disk_of(segments);
    let events = 3 * (segments * SEGMENT_BYTES) as usize / (bytes + 280);
    let healthy = kinds.len() - 1;
    let about = format!(
        "{segments} segments, {} endpoints, {bytes} bytes",
        kinds.len()
    );
    let scene = DiskScene::on(&sim, kinds);
    let refused = scene.post_of(bytes, "t", 0..events).await;
    assert!(refused <= REFUSED_MAX, "{about}: {refused}");
    scene.delivered(healthy, 0..events).await;
    scene.adds_up(events);
    for number in 0..healthy {
        let status = scene.status(number);
        let has_both = status.discarded > 0 && status.dead_letters.local > 0;
        assert!(has_both, "{about}: {status:?}");
    }
    assert_eq!(scene.status(healthy).discarded, 0, "{about}");
    assert!(scene.router.readiness().ready, "{about}");
    assert_eq!(
        scene.router.status().journal.bytes_max,
        256 << 20,
        "{about}"
    );

    let sim = after_crash(&sim, PowerLossRemains::All);
    drop(scene);
    let scene = DiskScene::on(&sim, kinds);
    let all = events + events / 2;
    let refused = scene.post_of(bytes, "t", events..all).await;
    assert!(refused <= REFUSED_MAX, "{about}: {refused} after a restart");
    scene.delivered(healthy, events..all).await;
    scene.adds_up(all);
    assert_eq!(scene.status(healthy).discarded, 0, "{about}");
}

#[tokio::test]
async fn one_unavailable_endpoint_on_a_full_disk_stops_nobody() {
    isolated(4, &[EndpointKind::Down, EndpointKind::Healthy], LARGE).await;
    isolated(6, &[EndpointKind::Down, EndpointKind::Healthy], LARGE).await;
}

#[tokio::test]
async fn several_unavailable_endpoints_on_a_full_disk_stop_nobody() {
    isolated(
        6,
        &[
            EndpointKind::Down,
            EndpointKind::Down,
            EndpointKind::Healthy,
        ],
        LARGE,
    )
    .await;
    let many = [
        EndpointKind::Down,
        EndpointKind::Down,
        EndpointKind::Down,
        EndpointKind::Down,
        EndpointKind::Healthy,
    ];
    isolated(6, &many, LARGE).await;
}

/// Each outcome is small beside its event, and there are many.
#[tokio::test]
async fn small_events_on_a_full_disk_stop_nobody() {
    isolated(
        5,
        &[
            EndpointKind::Down,
            EndpointKind::Down,
            EndpointKind::Healthy,
        ],
        200,
    )
    .await;
}

/// Compaction mixes the events of segments: the oldest in a file are not the oldest of all.
#[tokio::test]
async fn dead_letters_that_were_carried_forward_make_room_too() {
    let sim = disk_of(6);
    let scene = DiskScene::on(&sim, &[EndpointKind::Down, EndpointKind::Healthy]);
    let mut refused = 0;
    for id in (0..1_600).step_by(4) {
        refused += scene.post_of(LARGE, "end0", id..id + 1).await;
        refused += scene.post_of(LARGE, "end1", id + 1..id + 4).await;
    }
    assert!(refused <= REFUSED_MAX, "{refused}");
    let status = scene.status(0);
    assert_eq!(status.matched, 400, "{status:?}");
    assert!(status.discarded > 0, "{status:?}");
    // Much of the disk is theirs: no more goes than has to.
    assert!(status.dead_letters.local > 60, "{status:?}");
    assert_eq!(scene.status(1).discarded, 0);
}

/// What endpoints within their share have in the oldest segment is carried forward.
#[tokio::test]
async fn who_is_within_its_share_keeps_its_dead_letters_and_its_queue_on_a_full_disk() {
    let sim = disk_of(6);
    let scene = DiskScene::on(
        &sim,
        &[
            EndpointKind::Down,
            EndpointKind::Down,
            EndpointKind::Queues,
            EndpointKind::Healthy,
        ],
    );
    let mut refused = 0;
    for round in 0..60 {
        let id = 18 * round;
        refused += scene.post_of(LARGE, "end0", id..id + 12).await;
        refused += scene.post_of(LARGE, "end3", id + 12..id + 16).await;
        if round < 36 {
            refused += scene.post_of(LARGE, "end1", id + 16..id + 17).await;
            refused += scene.post_of(LARGE, "end2", id + 17..id + 18).await;
        }
    }
    assert!(refused <= REFUSED_MAX, "{refused}");
    assert!(scene.status(0).discarded > 200, "{:?}", scene.status(0));
    scene.delivered(3, 0..0).await;
    for (number, queued) in [(1, 10), (2, 36), (3, 0)] {
        let status = scene.status(number);
        assert_eq!(status.discarded, 0, "{status:?}");
        assert_eq!(
            status.queued + status.retrying + status.in_flight,
            queued,
            "{status:?}"
        );
    }
}

/// No queue is cut for a disk: whoever fills it has requests refused, as before.
#[tokio::test]
async fn queues_are_left_alone_on_a_full_disk() {
    let sim = disk_of(4);
    let scene = DiskScene::on(&sim, &[EndpointKind::Queues, EndpointKind::Healthy]);
    let accepted = scene.post_until_refused(0..1_000).await;
    for id in 1_000..1_020 {
        assert!(scene.accept(LARGE, id, "t").await.is_err(), "{id}");
    }
    scene.delivered(1, 0..accepted).await;
    scene.adds_up(accepted);
    assert_eq!(
        (scene.status(0).queued, scene.status(0).discarded),
        (accepted as u64, 0)
    );
    assert_eq!(scene.status(0).dead_letters.all(), 0);
    scene.sinks[0].set_down(false);
    scene.router.endpoint(None, "end0").unwrap().retry_now();
    scene.delivered(0, 0..accepted).await;
    scene.post(1_100..1_110).await;
    scene.adds_up(accepted + 10);
}

#[tokio::test]
async fn keep_all_keeps_all_on_a_full_disk() {
    let sim = disk_of(4);
    let scene = DiskScene::on(&sim, &[EndpointKind::KeepsAll, EndpointKind::Healthy]);
    let accepted = scene.post_until_refused(0..1_000).await;
    scene.adds_up(accepted);
    assert_eq!(scene.status(0).discarded, 0);
}

/// What goes to a container is not kept here: a moment in which that takes nothing costs no dead letter.
#[tokio::test]
async fn dead_letters_on_their_way_to_a_container_are_left_alone_on_a_full_disk() {
    let sim = disk_of(4);
    let scene = DiskScene::on(&sim, &[EndpointKind::Stored, EndpointKind::Healthy]);
    // As many as are written at a time.
    scene.store.fail([FaultKind::Throttled; 8]);
    let accepted = scene.post_until_refused(0..1_000).await;
    scene.adds_up(accepted);
    let status = scene.status(0);
    assert_eq!(status.discarded, 0, "{status:?}");
    assert!(status.dead_letters.awaiting_upload > 100, "{status:?}");
}

/// The only endpoint has the whole disk as its share.
#[tokio::test]
async fn nobody_is_discarded_within_its_share_of_a_full_disk() {
    let sim = disk_of(4);
    let scene = DiskScene::on(&sim, &[EndpointKind::Down]);
    let accepted = scene.post_until_refused(0..1_000).await;
    scene.adds_up(accepted);
    assert_eq!(scene.status(0).discarded, 0);
}
