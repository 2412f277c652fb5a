//! The router on a journal that loses power, room and syncs.

use super::dead_letter_tests::{MemoryStore, ended, reject};
use super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use crate::accept::AcceptedBatch;
use crate::dead_letters::DeadLetterQuery;
use crate::replay::{ReplayRequest, ReplayState};
use crate::sink::{DeliveryOutcome, FailureReason, FaultKind};
use twinroute_journal::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use twinroute_journal::{JournalSettings, RecoveredJournal};
use twinroute_model::clock::SystemClock;
use twinroute_model::dead_letter::DeadLetterReason;

fn open(sim: &SimulatedDisk) -> (DiskJournal, RecoveredJournal) {
    let settings = JournalSettings {
        segment_bytes: 64 << 10,
        commit_window: Duration::ZERO,
        retry_delay: Duration::from_secs(3_600),
        ..JournalSettings::default()
    };
    DiskJournal::open(settings, Arc::new(sim.clone()), Arc::new(SystemClock)).unwrap()
}

fn router(sim: &SimulatedDisk, sink: &ScriptedSink) -> Router {
    let (disk, recovered) = open(sim);
    Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("only", sink.clone())
        .route("all", "only", "type = 'Microsoft.DigitalTwins.Twin.Update'")
        .build()
        .unwrap()
}

async fn accept(router: &Router, id: usize, level: AckLevel) -> Result<AcceptedBatch, AcceptError> {
    router.accept(None, vec![event(id, "a")], level).await
}

#[tokio::test]
async fn what_was_acknowledged_is_delivered_after_a_loss_of_power() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    sink.set_down(true);
    let router_before = router(&sim, &sink);
    assert_eq!(router_before.default_level(), AckLevel::Durable);
    for id in 0..5 {
        accept(&router_before, id, AckLevel::Durable).await.unwrap();
    }
    let after_crash = sim.fork();
    after_crash.power_off();
    after_crash.power_on(PowerLossRemains::Nothing);

    let sink = ScriptedSink::default();
    let router = router(&after_crash, &sink);
    router.settled().await;
    assert_eq!(sink.ids(), ["0", "1", "2", "3", "4"]);
    let status = endpoint_status(&router, "only");
    assert_eq!((status.matched, status.delivered), (5, 5));

    // What was settled stays settled, and a stop keeps what waits.
    sink.set_down(true);
    accept(&router, 5, AckLevel::Durable).await.unwrap();
    let last = router.stop(Duration::ZERO).await;
    let endpoint = &last.instances[0].endpoints[0];
    assert_eq!((endpoint.discarded, endpoint.unaccounted()), (0, 0));
    let sink = ScriptedSink::default();
    let router = self::router(&after_crash.fork(), &sink);
    router.settled().await;
    assert_eq!(sink.ids(), ["5"]);
    assert_eq!(endpoint_status(&router, "only").delivered, 6);
}

#[tokio::test]
async fn a_failed_sync_refuses_until_a_restart() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    let router = router(&sim, &sink);
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    // The write of the group goes well, its sync does not.
    sim.fail_after(1, DiskFault::Error);
    let refused = accept(&router, 1, AckLevel::Durable).await.unwrap_err();
    assert!(
        refused.to_string().contains("poisoned until a restart"),
        "{refused}"
    );
    let refused = accept(&router, 2, AckLevel::Durable).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Journal { .. }), "{refused}");
    let readiness = router.readiness();
    assert!(
        !readiness.ready && readiness.reason.contains("poisoned"),
        "{readiness:?}"
    );
    router.settled().await;
    assert_eq!(sink.ids(), ["0"], "lanes send only what is synced");
}

#[tokio::test]
async fn events_acknowledged_in_memory_that_miss_the_disk_are_counted() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    let router = router(&sim, &sink);
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    sim.fail_after(0, DiskFault::Error);
    accept(&router, 1, AckLevel::Memory).await.unwrap();
    let counted = async {
        while router.status().journal.lost == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout_at(Instant::now() + Duration::from_secs(30), counted)
        .await
        .unwrap();
    assert_eq!(router.status().journal.lost, 1);
    assert!(!router.readiness().ready);
    assert_eq!(endpoint_status(&router, "only").matched, 1);
}

#[tokio::test]
async fn events_of_an_endpoint_that_is_gone_wait_in_sight_and_then_die() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    sink.set_down(true);
    let router = router(&sim, &sink);
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    router.stop(Duration::ZERO).await;

    // Not defined at the next start: seen, not sent. Defined again within the grace time: delivered.
    let again = sim.fork();
    let (disk, recovered) = open(&again);
    let without = Router::builder()
        .journal_on_disk(disk, recovered)
        .removed_grace(Duration::from_secs(3_600))
        .build()
        .unwrap();
    let orphan = endpoint_status(&without, "only");
    let seen = (orphan.state.as_str(), orphan.queued, orphan.matched);
    assert_eq!(seen, ("undefined", 1, 1));
    assert!(orphan.retry.standing_still);
    without.stop(Duration::ZERO).await;
    let back = ScriptedSink::default();
    let with = self::router(&again, &back);
    with.settled().await;
    assert_eq!(back.ids(), ["0"]);

    // Not defined for longer: dead letters, over restarts too.
    let later = sim.fork();
    for _ in 0..2 {
        let (disk, recovered) = open(&later);
        let without = Router::builder()
            .journal_on_disk(disk, recovered)
            .removed_grace(Duration::ZERO)
            .build()
            .unwrap();
        without.settled().await;
        let dead = endpoint_status(&without, "only").dead_letters;
        assert_eq!(
            (dead.local, dead.by_reason[&DeadLetterReason::Removed]),
            (1, 1)
        );
        without.stop(Duration::ZERO).await;
    }
    let with = self::router(&later, &back);
    assert_eq!(endpoint_status(&with, "only").dead_letters.local, 1);
    let number = with.replay(ReplayRequest::default()).await.unwrap().number;
    assert_eq!(ended(&with, number).await.delivered, 1);
    assert_eq!(back.ids(), ["0", "0"]);
}

#[tokio::test]
async fn dead_letters_replays_and_pauses_outlive_a_loss_of_power() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    sink.answer(vec![reject(); 4]);
    let before = router(&sim, &sink);
    for id in 0..4 {
        accept(&before, id, AckLevel::Durable).await.unwrap();
    }
    before.settled().await;
    // One of them is replayed, and dies once more.
    sink.answer([reject()]);
    let request = ReplayRequest {
        most: Some(1),
        ..ReplayRequest::default()
    };
    let number = before.replay(request).await.unwrap().number;
    assert_eq!(ended(&before, number).await.dead_lettered, 1);
    before.endpoint(None, "only").unwrap().pause();
    accept(&before, 9, AckLevel::Durable).await.unwrap();
    assert_eq!(endpoint_status(&before, "only").state, "paused");

    let after_crash = sim.fork();
    after_crash.power_off();
    after_crash.power_on(PowerLossRemains::Nothing);
    let sink = ScriptedSink::default();
    let router = self::router(&after_crash, &sink);
    let status = endpoint_status(&router, "only");
    assert_eq!((status.state.as_str(), status.queued), ("paused", 1));
    assert_eq!((status.matched, status.replayed), (5, 1));
    let dead = &status.dead_letters;
    assert_eq!((dead.local, dead.replayed), (4, 1), "{status:?}");
    let page = router
        .dead_letters(&DeadLetterQuery::default(), None, 10)
        .await;
    let ids = page.dead_letters.iter().map(|letter| letter.id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["1", "2", "3", "0"]);
    assert_eq!(page.dead_letters[0].outcome, "bad: no such field");

    router.endpoint(None, "only").unwrap().resume();
    let number = router
        .replay(ReplayRequest::default())
        .await
        .unwrap()
        .number;
    assert_eq!(ended(&router, number).await.delivered, 4);
    router.settled().await;
    let status = endpoint_status(&router, "only");
    assert_eq!((status.delivered, status.dead_letters.all()), (5, 5));
    // The journal hears of it with its next group.
    router.parts.disk().unwrap().flush().await.unwrap();
    assert_eq!(router.status().journal.events, 0);
}

#[tokio::test]
async fn uploads_that_a_loss_of_power_cut_off_are_made_again() {
    let (sim, sink, shelf) = (
        SimulatedDisk::default(),
        ScriptedSink::default(),
        MemoryStore::default(),
    );
    let with_store = |sim: &SimulatedDisk, sink: &ScriptedSink, shelf: &MemoryStore| {
        let (disk, recovered) = open(sim);
        Router::builder()
            .journal_on_disk(disk, recovered)
            .sink("only", sink.clone())
            .dead_letters(shelf.clone())
            .route("all", "only", "true")
            .build()
            .unwrap()
    };
    shelf.fail([FaultKind::Unreachable; 3]);
    sink.answer(vec![reject(); 3]);
    let before = with_store(&sim, &sink, &shelf);
    for id in 0..3 {
        accept(&before, id, AckLevel::Durable).await.unwrap();
    }
    while endpoint_status(&before, "only").dead_letters.store.as_str() == "ok" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What is recorded rides along with the next group.
    accept(&before, 3, AckLevel::Durable).await.unwrap();
    let after_crash = sim.fork();
    after_crash.power_off();
    after_crash.power_on(PowerLossRemains::Nothing);
    let shelf = MemoryStore::default();
    let router = with_store(&after_crash, &ScriptedSink::default(), &shelf);
    router.settled().await;
    let status = endpoint_status(&router, "only");
    assert_eq!(status.dead_letters.awaiting_upload, 0);
    assert_eq!(shelf.ids().len() as u64, status.dead_letters.uploaded);
    assert_eq!(status.delivered + status.dead_letters.uploaded, 4);
}

#[tokio::test]
async fn what_is_only_on_disk_is_read_back_in_order() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    sink.set_down(true);
    let (disk, recovered) = open(&sim);
    let router = Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .build()
        .unwrap();
    let events = (0..500).map(|id| event(id, ["a", "b"][id % 2])).collect();
    router
        .accept(None, events, AckLevel::Durable)
        .await
        .unwrap();
    while endpoint_status(&router, "only").state == "healthy" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        endpoint_status(&router, "only").memory_bytes,
        0,
        "a lane that waits holds none"
    );
    sink.set_down(false);
    router.endpoint(None, "only").unwrap().retry_now();
    router.settled().await;
    let expect: Vec<String> = (0..500).map(|id| id.to_string()).collect();
    assert_eq!(sink.ids(), expect);
}

#[tokio::test]
async fn a_replay_goes_on_after_a_restart() {
    let (sim, sink, folder) = (
        SimulatedDisk::default(),
        ScriptedSink::default(),
        tempfile::tempdir().unwrap(),
    );
    let build = |sim: &SimulatedDisk, sink: &ScriptedSink| {
        let (disk, recovered) = open(sim);
        Router::builder()
            .journal_on_disk(disk, recovered)
            .replay_notes(folder.path().to_owned())
            .sink("only", sink.clone())
            .route("all", "only", "true")
            .build()
            .unwrap()
    };
    sink.answer(vec![reject(); 300]);
    let before = build(&sim, &sink);
    let events = (0..300).map(|id| event(id, "a")).collect();
    before
        .accept(None, events, AckLevel::Durable)
        .await
        .unwrap();
    before.settled().await;
    let request = ReplayRequest {
        per_second: 10_000.0,
        ..ReplayRequest::default()
    };
    let number = before.replay(request).await.unwrap().number;
    while endpoint_status(&before, "only").replayed < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    before.stop(Duration::ZERO).await;
    let sink = ScriptedSink::default();
    let router = build(&sim.fork(), &sink);
    assert_eq!(ended(&router, number).await.state, ReplayState::Done);
    router.settled().await;
    let status = endpoint_status(&router, "only");
    assert_eq!(
        (status.delivered, status.replayed, status.dead_letters.local),
        (300, 300, 0)
    );
    // Its status says so first, and its note goes a moment later.
    while std::fs::read_dir(folder.path()).unwrap().next().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn attempts_and_retrying_times_survive_a_restart() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    let busy = |seconds| DeliveryOutcome::Retry {
        after: Some(Duration::from_secs(seconds)),
        reason: FailureReason::new("busy", ""),
    };
    sink.answer([busy(250)]);
    let before = router(&sim, &sink);
    accept(&before, 0, AckLevel::Durable).await.unwrap();
    while endpoint_status(&before, "only").retrying == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    before.stop(Duration::ZERO).await;
    let sink = ScriptedSink::default();
    sink.answer([busy(250), DeliveryOutcome::Delivered]);
    let router = router(&sim.fork(), &sink);
    // A later event of its twin waits behind it, another one passes.
    accept(&router, 1, AckLevel::Durable).await.unwrap();
    router
        .accept(None, vec![event(2, "b")], AckLevel::Durable)
        .await
        .unwrap();
    while endpoint_status(&router, "only").delivered + endpoint_status(&router, "only").retrying < 2
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(sink.ids(), ["2"], "its time has not come");
    assert_eq!(sink.attempts(), [0]);
    router.endpoint(None, "only").unwrap().retry_now();
    router.settled().await;
    assert_eq!(sink.ids(), ["2", "0", "2", "1"].map(str::to_owned));
    assert_eq!(
        sink.attempts(),
        [0, 1, 1, 0],
        "one attempt was made before the restart"
    );
}

/// Waits, on the runtime's own clock, for what other tasks do.
async fn soon(what: impl Fn() -> bool) {
    let done = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    let ended = timeout_at(Instant::now() + Duration::from_secs(30), done).await;
    ended.expect("it has not happened within 30 s");
}

/// Counts the sinks there are.
struct CountedConnect(
    ScriptedSink,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl crate::sink::Sink for CountedConnect {
    fn limits(&self) -> crate::sink::BatchLimits {
        self.0.limits()
    }

    fn send<'a>(
        &'a self,
        batch: &'a [crate::sink::Delivery],
    ) -> futures_util::future::BoxFuture<'a, Vec<DeliveryOutcome>> {
        self.0.send(batch)
    }
}

#[tokio::test]
async fn a_router_that_is_dropped_ends_its_tasks_and_gives_its_journal_free() {
    let (sim, sink, alive) = (
        SimulatedDisk::default(),
        ScriptedSink::default(),
        Arc::new(()),
    );
    sink.set_down(true);
    let (disk, recovered) = open(&sim);
    let first = Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("only", CountedConnect(sink, Arc::clone(&alive)))
        .route("all", "only", "true")
        .build()
        .unwrap();
    let clone = first.clone();
    accept(&first, 0, AckLevel::Durable).await.unwrap();
    drop(first);
    accept(&clone, 1, AckLevel::Memory).await.unwrap();
    drop(clone);
    // The journal first, at once; then nothing is left of its tasks.
    let sink = ScriptedSink::default();
    let again = router(&sim, &sink);
    soon(|| Arc::strong_count(&alive) == 1).await;
    again.settled().await;
    assert_eq!(sink.ids(), ["0", "1"], "nothing acknowledged is lost");
}

#[tokio::test]
async fn a_router_that_is_dropped_ends_its_replays() {
    let (sim, sink, alive) = (
        SimulatedDisk::default(),
        ScriptedSink::default(),
        Arc::new(()),
    );
    sink.answer([reject()]);
    let (disk, recovered) = open(&sim);
    let router = Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("only", CountedConnect(sink.clone(), Arc::clone(&alive)))
        .route("all", "only", "true")
        .build()
        .unwrap();
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    router.settled().await;
    // It waits for the endpoint for a minute.
    sink.set_down(true);
    accept(&router, 1, AckLevel::Durable).await.unwrap();
    soon(|| endpoint_status(&router, "only").state == "unreachable").await;
    router.replay(ReplayRequest::default()).await.unwrap();
    soon(|| router.replays()[0].state == ReplayState::Waiting).await;
    drop(router);
    soon(|| Arc::strong_count(&alive) == 1).await;
    let (_, recovered) = open(&sim);
    assert_eq!(recovered.lanes[0].pending.len(), 2);
}
