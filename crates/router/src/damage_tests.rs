//! What the log of a start calls lost is a number in the status, and a disk that hangs is not ready.

use super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use twinroute_journal::JournalSettings;
use twinroute_journal::ledger::DiscardReason;
use twinroute_journal::sim::{PowerLossRemains, SimulatedDisk};
use twinroute_model::clock::SystemClock;

const SEGMENT: &str = "0000000000000001.seg";

fn router(sim: &SimulatedDisk, sink: &ScriptedSink, settings: JournalSettings) -> (Router, u64) {
    let storage = Arc::new(sim.clone());
    let (disk, recovered) = DiskJournal::open(settings, storage, Arc::new(SystemClock)).unwrap();
    let lost = recovered.report.lost_all();
    let router = Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("only", sink.clone())
        .route("all", "only", "type = 'Microsoft.DigitalTwins.Twin.Update'")
        .build()
        .unwrap();
    (router, lost)
}

fn settings() -> JournalSettings {
    JournalSettings {
        segment_bytes: 64 << 10,
        commit_window: Duration::ZERO,
        ..JournalSettings::default()
    }
}

/// A killed journal of so many events that wait for an endpoint that is unavailable.
async fn waiting(events: usize) -> SimulatedDisk {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    sink.set_down(true);
    let (router, _) = router(&sim, &sink, settings());
    for id in 0..events {
        let accepted = router.accept(None, vec![event(id, "a")], AckLevel::Durable);
        accepted.await.unwrap();
    }
    let killed = sim.fork();
    killed.power_off();
    killed.power_on(PowerLossRemains::All);
    killed
}

/// Holds all books against each other; gives what is lost, and of that what nobody can place.
async fn books(sim: &SimulatedDisk, events: u64) -> (u64, u64) {
    let sink = ScriptedSink::default();
    let (router, logged) = router(sim, &sink, settings());
    router.settled().await;
    let status = router.status();
    let endpoint = endpoint_status(&router, "only");
    let placed = endpoint
        .discarded_by
        .get(&DiscardReason::Lost)
        .copied()
        .unwrap_or(0);
    let journal = &status.journal;
    assert_eq!(journal.lost_deliveries, logged, "{status:?}");
    assert_eq!(placed + journal.lost_unknown, logged, "{status:?}");
    assert_eq!(endpoint.unaccounted(), 0, "{endpoint:?}");
    assert_eq!(sink.ids().len() as u64 + logged, events);
    assert_eq!(endpoint.matched + journal.lost_unknown, events);
    let warned = |warning: &String| warning.contains("the journal is damaged");
    let is_warned = status.warnings.iter().any(warned);
    assert_eq!(is_warned, logged > 0, "{:?}", status.warnings);
    (logged, journal.lost_unknown)
}

#[tokio::test]
async fn loss_has_two_books_no_more() {
    let sim = waiting(40).await;
    assert_eq!(books(&sim.fork(), 40).await, (0, 0));
    let file = sim.contents(SEGMENT).unwrap();
    let used = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // 4 KiB in the middle, behind the last counts: some records keep their heads, others do not.
    let zeroed = sim.fork();
    zeroed.overwrite(SEGMENT, used / 2, &[0; 4 << 10]);
    let (lost, _) = books(&zeroed, 40).await;
    assert!(lost > 3, "{lost}");
    // One length that is wrong.
    let heads = file.windows(6).enumerate();
    let mut heads = heads.filter(|(_, bytes)| *bytes == [0xf1, b'T', b'W', b'J', 1, 13]);
    let wrong = sim.fork();
    let length = heads.find(|(at, _)| *at > used / 2).unwrap().0 + 8;
    wrong.overwrite(SEGMENT, length, &[0xff, 0xff]);
    assert_eq!(books(&wrong, 40).await.0, 1);
    // Nothing of the segment is left, so nobody can tell for which endpoint they were.
    let gone = sim.fork();
    gone.delete(SEGMENT);
    assert_eq!(books(&gone, 40).await, (40, 40));
}

/// The next start has the same number, and no other.
#[tokio::test]
async fn loss_has_two_books_no_more_after_further_starts() {
    let sim = waiting(12).await;
    sim.delete(SEGMENT);
    for start in 0..3 {
        let sink = ScriptedSink::default();
        let (router, logged) = router(&sim, &sink, settings());
        let journal = router.status().journal;
        let books = (logged, journal.lost_deliveries, journal.lost_unknown);
        assert_eq!(books, (12, 12, 12), "start {start}");
        router.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn hanging_sync_makes_the_router_unready_until_it_returns() {
    let (sim, sink) = (SimulatedDisk::default(), ScriptedSink::default());
    let (router, _) = router(
        &sim,
        &sink,
        JournalSettings {
            disk_overdue_after: Duration::ZERO,
            ..settings()
        },
    );
    let accept = |id| {
        let router = router.clone();
        async move {
            router
                .accept(None, vec![event(id, "a")], AckLevel::Durable)
                .await
        }
    };
    accept(0).await.unwrap();
    assert!(router.readiness().ready);
    let hanging = sim.hang_syncs();
    let second = tokio::spawn(accept(1));
    let hanging = tokio::task::spawn_blocking(move || {
        hanging.wait_for_one();
        hanging
    });
    let hanging = hanging.await.unwrap();
    let readiness = router.readiness();
    assert!(!readiness.ready);
    assert!(
        readiness.reason.contains("the disk does not answer"),
        "{readiness:?}"
    );
    assert!(router.status().journal.syncs.unwrap().running_s > 0.0);
    drop(hanging);
    second.await.unwrap().unwrap();
    accept(2).await.unwrap();
    assert!(router.readiness().ready);
    router.settled().await;
    assert_eq!(sink.ids(), ["0", "1", "2"]);
}
