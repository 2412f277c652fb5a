//! The duplicate window: repeats of accepted events are answered and go nowhere.

use super::slow_disk::SlowDisk;
use super::{ScriptedSink, begin, endpoint, events, outcomes};
use std::time::Duration;
use tokio::time::advance;
use twinroute_journal::sim::DiskFault;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_router::accept::AckLevel::{Delivered, Durable, Memory};
use twinroute_router::accept::{AcceptError, AcceptedBatch};
use twinroute_router::{DuplicateWindow, Router};

const MINUTE: Duration = Duration::from_secs(60);

const WINDOW: DuplicateWindow = DuplicateWindow::new(MINUTE, 4);

fn in_memory(sink: &ScriptedSink) -> Router {
    Router::builder()
        .duplicate_window(WINDOW)
        .sink("only", sink.clone())
        .route("all", "only", "id != '9'")
        .build()
        .unwrap()
}

/// Events, duplicates, deliveries, unmatched.
fn numbers(accepted: &AcceptedBatch) -> [usize; 4] {
    let AcceptedBatch {
        events,
        duplicates,
        deliveries,
        unmatched,
        ..
    } = *accepted;
    [events, duplicates, deliveries, unmatched]
}

/// Events accepted, and duplicates.
fn counted(router: &Router) -> (u64, u64) {
    let journal = router.status().journal;
    (journal.accepted, journal.duplicates)
}

#[tokio::test(start_paused = true)]
async fn repeats_within_the_window_go_nowhere() {
    let sink = ScriptedSink::default();
    let router = in_memory(&sink);
    let accept = |ids: &[usize]| {
        let (router, events) = (router.clone(), events(ids.iter().copied()));
        async move { router.accept(None, events, Memory).await.unwrap() }
    };
    // Within one batch too, and whether or not it matches.
    assert_eq!(numbers(&accept(&[1, 2, 1, 9]).await), [4, 1, 2, 1]);
    advance(MINUTE / 2).await;
    assert_eq!(numbers(&accept(&[2, 3, 9]).await), [3, 2, 1, 0]);
    // The window counts from when an event was accepted, not from its last repeat.
    advance(MINUTE / 2).await;
    assert_eq!(numbers(&accept(&[1, 2, 3]).await), [3, 1, 2, 0]);
    // Room for four: the oldest is forgotten first.
    assert_eq!(numbers(&accept(&[4, 5]).await), [2, 0, 2, 0]);
    assert_eq!(numbers(&accept(&[5, 4, 2, 1]).await), [4, 4, 0, 0]);
    assert_eq!(numbers(&accept(&[3]).await), [1, 0, 1, 0]);
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "2", "3", "1", "2", "4", "5", "3"]);
    assert_eq!(counted(&router), (9, 8));
    assert_eq!(endpoint(&router, "only").matched, 8);
}

#[tokio::test(start_paused = true)]
async fn without_a_window_nothing_is_a_repeat() {
    let sink = ScriptedSink::default();
    let router = Router::builder().sink("only", sink.clone());
    let router = router.route("all", "only", "true").build().unwrap();
    let accepted = router.accept(None, events([1, 1]), Memory).await.unwrap();
    assert_eq!(numbers(&accepted), [2, 0, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_no_repeat_when_it_comes_again() {
    let router = Router::builder()
        .duplicate_window(WINDOW)
        .journal_bytes_max(1 << 10)
        .sink("only", ScriptedSink::closed())
        .route("all", "only", "true")
        .build()
        .unwrap();
    let large = EventParts::new("1", "host", "t").set("subject", &"x".repeat(2000));
    let large = large.unwrap().build(&EventLimits::default()).unwrap();
    let mut batch = events([2]);
    batch.push(large);
    for _ in 0..2 {
        let refused = router.accept(None, batch.clone(), Memory).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, AcceptError::TooLarge { .. }), "{refused}");
    }
    let accepted = router.accept(None, events([2]), Memory).await.unwrap();
    assert_eq!(numbers(&accepted), [1, 0, 1, 0]);
    let elsewhere = router.accept(Some("other"), events([2]), Memory).await;
    let elsewhere = elsewhere.unwrap_err().to_string();
    assert!(elsewhere.starts_with("instance other:"), "{elsewhere}");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_at_level_delivered_does_not_say_that_all_has_ended() {
    let router = in_memory(&ScriptedSink::default());
    let first = router
        .accept(None, events([1, 1]), Delivered)
        .await
        .unwrap();
    assert!(first.is_ended(), "both are in this answer");
    assert_eq!(outcomes(&first), [("only", [1, 0, 0, 0])].into());
    let again = router
        .accept(None, events([1, 2]), Delivered)
        .await
        .unwrap();
    assert_eq!(outcomes(&again), [("only", [1, 0, 0, 0])].into());
    assert!(!again.is_ended() && !again.is_open());
}

#[tokio::test]
async fn a_repeat_waits_for_the_disk_with_the_first() {
    let (disk, sink) = (SlowDisk::default(), ScriptedSink::default());
    let router = disk.router(&sink).duplicate_window(WINDOW).build().unwrap();
    disk.hold(true);
    let first = begin(&router, [1], Durable).await;
    let repeats = [
        begin(&router, [1], Durable).await,
        begin(&router, [1, 2], Delivered).await,
        begin(&router, [1], Memory).await,
    ];
    assert!(!first.is_finished());
    for repeat in &repeats {
        assert!(
            !repeat.is_finished(),
            "it is as safe as the first, not safer"
        );
    }
    disk.hold(false);
    assert_eq!(numbers(&first.await.unwrap().unwrap()), [1, 0, 1, 0]);
    let [durable, delivered, memory] = repeats;
    assert_eq!(numbers(&durable.await.unwrap().unwrap()), [1, 1, 0, 0]);
    assert_eq!(numbers(&delivered.await.unwrap().unwrap()), [2, 1, 1, 0]);
    assert_eq!(numbers(&memory.await.unwrap().unwrap()), [1, 1, 0, 0]);
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "2"]);
    assert_eq!(counted(&router), (2, 3));
}

#[tokio::test]
async fn a_repeat_fails_with_the_first_and_both_may_come_again() {
    let (disk, sink) = (SlowDisk::default(), ScriptedSink::default());
    let router = disk.router(&sink).duplicate_window(WINDOW).build().unwrap();
    disk.hold(true);
    let first = begin(&router, [1], Durable).await;
    let repeat = begin(&router, [2, 1], Durable).await;
    disk.sim.fail_after(0, DiskFault::NoRoom);
    disk.hold(false);
    let failed = first.await.unwrap().unwrap_err();
    assert!(matches!(failed, AcceptError::Journal { .. }), "{failed}");
    assert_eq!(repeat.await.unwrap().unwrap_err(), AcceptError::FirstFailed);
    disk.sim.heal();
    let again = router.accept(None, events([1, 2]), Durable).await.unwrap();
    assert_eq!(numbers(&again), [2, 0, 2, 0]);
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "2"]);
    assert_eq!(counted(&router), (2, 0));
}

#[tokio::test]
async fn a_producer_that_leaves_before_the_sync_is_counted_and_remembered() {
    let (disk, sink) = (SlowDisk::default(), ScriptedSink::default());
    let router = disk.router(&sink).duplicate_window(WINDOW).build().unwrap();
    disk.hold(true);
    let first = begin(&router, [1], Durable).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let repeat = begin(&router, [1], Durable).await;
    disk.hold(false);
    assert_eq!(numbers(&repeat.await.unwrap().unwrap()), [1, 1, 0, 0]);
    router.settled().await;
    assert_eq!(counted(&router), (1, 1));
    let routes = router.status().instances.remove(0).routes;
    assert_eq!(routes[0].matched, 1);
    router.stop(Duration::ZERO).await;
}
