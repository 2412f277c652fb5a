//! Routers over a log that they share: alone, handed over to another, gone without a word.

use super::dead_letter_tests::reject;
use super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use crate::cluster_journal::{APPEND_WAIT_MAX, ClusterSettings};
use crate::replay::ReplayRequest;
use crate::sink::{DeliveryOutcome, FailureReason};
use std::collections::BTreeMap;
use tokio::time::sleep;
use twinroute_cluster::simulation::{LogLink, SimulatedLog};
use twinroute_journal::RouterName;
use twinroute_model::settings::EndpointSettings;

const PARTITIONS: u8 = 4;

async fn journal(log: &SimulatedLog, name: &str) -> ClusterJournal {
    let settings = ClusterSettings::new(RouterName::new(name).unwrap());
    let link = Arc::new(LogLink::new(log));
    ClusterJournal::open(link, settings).await.unwrap()
}

async fn router(log: &SimulatedLog, name: &str, sink: &ScriptedSink) -> Router {
    let settings = EndpointSettings::default().with(|own| own.attempts_max = 3);
    Router::builder()
        .journal_in_cluster(journal(log, name).await)
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap()
}

async fn accept(router: &Router, events: Vec<Event>) {
    let level = AckLevel::Replicated;
    router.accept(None, events, level).await.unwrap();
}

/// Events `from` on, of eight twins in turn.
fn events(from: usize, count: usize) -> Vec<Event> {
    let of = |id: usize| event(id, &format!("room{}", id % 8));
    (from..from + count).map(of).collect()
}

/// Each event arrived, and those of a twin in order, but for repeats.
fn assert_all_in_order(sinks: &[&ScriptedSink], count: usize) {
    let arrived: Vec<usize> = sinks
        .iter()
        .flat_map(|sink| sink.ids())
        .map(|id| id.parse().unwrap())
        .collect();
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for id in &arrived {
        let next = last.get(&(id % 8)).map_or(id % 8, |last| last + 8);
        assert!(*id <= next, "{id} came before {next}: {arrived:?}");
        let last = last.entry(id % 8).or_default();
        *last = (*last).max(*id);
    }
    let mut all = arrived.clone();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
}

fn retry() -> DeliveryOutcome {
    DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("test", "once more"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_alone_delivers_what_it_accepts_into_a_shared_log() {
    let (log, sink) = (SimulatedLog::new(PARTITIONS, 1), ScriptedSink::default());
    let router = router(&log, "west", &sink).await;
    assert_eq!(router.default_level(), AckLevel::Durable);
    for round in 0..10 {
        accept(&router, events(round * 16, 16)).await;
    }
    router.settled().await;
    assert_all_in_order(&[&sink], 160);
    assert_eq!(
        sink.ids().len(),
        160,
        "nothing failed, so nothing came twice"
    );
    let status = endpoint_status(&router, "only");
    assert_eq!((status.matched, status.delivered), (160, 160));
    assert_eq!(router.status().journal.kind.as_str(), "cluster");
    assert!(router.readiness().ready);
}

#[tokio::test(start_paused = true)]
async fn a_router_alone_goes_on_after_a_restart() {
    let (log, sink) = (SimulatedLog::new(PARTITIONS, 2), ScriptedSink::default());
    sink.set_down(true);
    let first = router(&log, "west", &sink).await;
    accept(&first, events(0, 40)).await;
    // Without a word.
    drop(first);
    let second = router(&log, "west", &sink).await;
    accept(&second, events(40, 40)).await;
    sink.set_down(false);
    second.settled().await;
    assert_all_in_order(&[&sink], 80);
    let status = endpoint_status(&second, "only");
    assert_eq!((status.matched, status.delivered), (80, 80));

    // In order.
    sink.set_down(true);
    accept(&second, events(80, 8)).await;
    second.stop(Duration::from_secs(20)).await;
    sink.set_down(false);
    let third = router(&log, "west", &sink).await;
    accept(&third, events(88, 8)).await;
    third.settled().await;
    assert_all_in_order(&[&sink], 96);
    assert_eq!(sink.ids().len(), 96, "what was handed over came once");
    assert_eq!(endpoint_status(&third, "only").delivered, 96);
}

#[tokio::test(start_paused = true)]
async fn attempts_and_dead_letters_outlive_a_router_without_a_word() {
    let (log, sink) = (SimulatedLog::new(PARTITIONS, 3), ScriptedSink::default());
    let first = router(&log, "west", &sink).await;
    sink.answer([retry(), reject()]);
    accept(&first, vec![event(0, "room0")]).await;
    accept(&first, vec![event(1, "room1")]).await;
    let done = async {
        loop {
            let status = endpoint_status(&first, "only");
            if status.retrying == 1 && status.dead_letters.all() == 1 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout_at(Instant::now() + Duration::from_secs(60), done)
        .await
        .unwrap();
    let before = sink.ids().len();
    drop(first);
    let second = router(&log, "west", &sink).await;
    second.settled().await;
    let status = endpoint_status(&second, "only");
    let found = (status.delivered, status.dead_letters.all());
    assert_eq!(found, (1, 1), "{:?}", second.status());
    assert_eq!(sink.attempts()[before..], [1], "the first attempt counts");

    // Replayed, it takes the place of the dead letter, and is read back from the log.
    let request = ReplayRequest::default();
    let begun = second.replay(request).await.unwrap();
    second.replay_over(begun.number).await;
    second.settled().await;
    let status = endpoint_status(&second, "only");
    let counts = (status.matched, status.replayed, status.delivered);
    assert_eq!(counts, (2, 1, 2));
    assert_eq!(status.dead_letters.all(), 1, "replayed: {status:?}");
    assert_eq!(status.dead_letters.replayed, 1);
}

#[tokio::test(start_paused = true)]
async fn partitions_move_to_a_router_that_joins_and_back_when_it_leaves() {
    let log = SimulatedLog::new(PARTITIONS, 4);
    let sink = ScriptedSink::default();
    let west = router(&log, "west", &sink).await;
    accept(&west, events(0, 40)).await;
    west.settled().await;
    let east = router(&log, "east", &sink).await;
    let shared = async {
        while west.parts.cluster().unwrap().owned().count() == usize::from(PARTITIONS) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout_at(Instant::now() + Duration::from_secs(60), shared)
        .await
        .unwrap();
    for round in 0..5 {
        accept(&west, events(40 + round * 16, 8)).await;
        accept(&east, events(48 + round * 16, 8)).await;
    }
    sleep(Duration::from_secs(30)).await;
    let of_both =
        endpoint_status(&west, "only").delivered + endpoint_status(&east, "only").delivered;
    assert_eq!(of_both, 120, "the ledgers of both are those of the cluster");
    east.stop(Duration::from_secs(20)).await;
    accept(&west, events(120, 8)).await;
    sleep(Duration::from_secs(30)).await;
    assert_all_in_order(&[&sink], 128);
    assert_eq!(sink.ids().len(), 128, "nothing came twice");
    assert_eq!(endpoint_status(&west, "only").delivered, 128);
}

#[tokio::test(start_paused = true)]
async fn a_router_gone_without_a_word_is_taken_over_with_nothing_lost() {
    let log = SimulatedLog::new(PARTITIONS, 5);
    let (west_sink, east_sink) = (ScriptedSink::default(), ScriptedSink::default());
    let west = router(&log, "west", &west_sink).await;
    let east = router(&log, "east", &east_sink).await;
    sleep(Duration::from_secs(30)).await;
    west_sink.set_down(true);
    for round in 0..10 {
        accept(&west, events(round * 16, 8)).await;
        accept(&east, events(8 + round * 16, 8)).await;
    }
    sleep(Duration::from_secs(1)).await;
    drop(west);
    accept(&east, events(160, 8)).await;
    sleep(Duration::from_secs(60)).await;
    assert_all_in_order(&[&west_sink, &east_sink], 168);
    let status = endpoint_status(&east, "only");
    assert_eq!((status.matched, status.delivered), (168, 168));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_answer_makes_the_router_unready_and_refuses() {
    let (log, sink) = (SimulatedLog::new(PARTITIONS, 6), ScriptedSink::default());
    let link = LogLink::new(&log);
    let settings = ClusterSettings::new(RouterName::new("west").unwrap());
    let journal = ClusterJournal::open(Arc::new(link.clone()), settings).await;
    let router = Router::builder()
        .journal_in_cluster(journal.unwrap())
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .build()
        .unwrap();
    accept(&router, events(0, 8)).await;
    link.cut(Duration::from_secs(60));
    let unanswered = router.accept(None, events(8, 8), AckLevel::Durable).await;
    assert_eq!(unanswered, Err(AcceptError::Unanswered(APPEND_WAIT_MAX)));
    let readiness = router.readiness();
    assert!(!readiness.ready, "{readiness:?}");
    let refused = router.accept(None, events(16, 8), AckLevel::Durable).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.http_status(), 503);
    let text = refused.to_string();
    assert!(text.contains("has not answered for 15 s"), "{text}");
    sleep(Duration::from_secs(60)).await;
    assert!(router.readiness().ready, "{:?}", router.readiness());
    router.settled().await;
    assert_all_in_order(&[&sink], 16);
}
