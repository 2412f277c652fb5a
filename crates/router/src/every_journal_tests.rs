//! What holds for a router whichever journal it has.

use super::dead_letter_tests::{MemoryStore, ended, of, quick, reject, status};
use super::journal_body::JournalBody;
use super::tests::{ScriptedSink, accept, endpoint_status, event, fault};
use super::*;
use crate::dead_letters::DeadLetterQuery;
use crate::replay::{ReplayRequest, ReplayState};
use crate::sink::{BatchLimits, Delivery, DeliveryOutcome, FailureReason, FaultKind, Sink};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::atomic::{AtomicU64, Ordering};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::EndpointSettings;

async fn router_with(
    body: JournalBody,
    sink: &ScriptedSink,
    settings: EndpointSettings,
    store: Option<&MemoryStore>,
) -> Router {
    of(body.builder().await, sink, settings, store)
}

/// Of few endpoints each is looked at, of many a table is kept.
#[tokio::test(start_paused = true)]
async fn events_of_a_batch_reach_those_endpoints_alone_that_they_match() {
    for body in JournalBody::PAUSED {
        events_of_a_batch_reach_those_endpoints_alone_that_they_match_with(body).await;
    }
}

async fn events_of_a_batch_reach_those_endpoints_alone_that_they_match_with(body: JournalBody) {
    const ENDPOINTS: usize = 20;
    let sinks: Vec<_> = (0..ENDPOINTS).map(|_| ScriptedSink::default()).collect();
    let mut builder = body.builder().await;
    for (number, sink) in sinks.iter().enumerate() {
        let name = format!("end{number}");
        let filter = format!("subject = 'room{number}' OR subject = 'room{}'", number / 2);
        builder = builder
            .sink(&name, sink.clone())
            .route(&name, &name, &filter);
    }
    let router = builder.build().unwrap();
    body.arrived(&router).await;
    let events = (0..3 * ENDPOINTS).map(|id| event(id, &format!("room{}", id * 7 % ENDPOINTS)));
    accept(&router, events.collect()).await;
    router.settled().await;
    for (number, sink) in sinks.iter().enumerate() {
        let is_for = |id: &usize| [number, number / 2].contains(&(id * 7 % ENDPOINTS));
        let expect: Vec<String> = (0..3 * ENDPOINTS)
            .filter(is_for)
            .map(|id| id.to_string())
            .collect();
        assert_eq!(sink.ids(), expect, "end{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_alone_waits_while_others_go_on() {
    for body in JournalBody::PAUSED {
        an_event_that_fails_alone_waits_while_others_go_on_with(body).await;
    }
}

async fn an_event_that_fails_alone_waits_while_others_go_on_with(body: JournalBody) {
    let sink = ScriptedSink::default();
    let retry = DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", ""),
    };
    let reject = DeliveryOutcome::Reject(FailureReason::new("bad", "no such field"));
    sink.answer([retry, DeliveryOutcome::Delivered, reject]);
    let router = body
        .builder()
        .await
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    let events = vec![event(1, "a"), event(2, "b"), event(3, "c")];
    accept(&router, events).await;
    while endpoint_status(&router, "only").retrying == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let retrying_at = Instant::now();
    accept(&router, vec![event(4, "a"), event(5, "b")]).await;
    router.settled().await;
    assert_eq!(
        sink.ids(),
        ["1", "2", "3", "5", "1", "4"],
        "twin a waits for its first event"
    );
    assert!(retrying_at.elapsed() >= Duration::from_secs(9));
    let status = endpoint_status(&router, "only");
    assert_eq!((status.delivered, status.dead_letters.local), (4, 1));
    assert_eq!(
        status.dead_letters.by_reason[&DeadLetterReason::Rejected],
        1
    );
    assert_eq!(status.last_error, "bad: no such field");
}

#[tokio::test(start_paused = true)]
async fn attempts_end() {
    for body in JournalBody::PAUSED {
        attempts_end_with(body).await;
    }
}

async fn attempts_end_with(body: JournalBody) {
    let sink = ScriptedSink::default();
    let retry = DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", ""),
    };
    sink.answer(vec![retry; 2]);
    let settings = EndpointSettings::default().with(|own| own.attempts_max = 2);
    let router = body
        .builder()
        .await
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    accept(&router, vec![event(1, "a")]).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "1"]);
    let dead = endpoint_status(&router, "only").dead_letters;
    assert_eq!(
        (dead.local, dead.by_reason[&DeadLetterReason::Exhausted]),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_or_miscounts_loses_nothing() {
    for body in JournalBody::PAUSED {
        a_sink_that_panics_or_miscounts_loses_nothing_with(body).await;
    }
}

async fn a_sink_that_panics_or_miscounts_loses_nothing_with(body: JournalBody) {
    struct BrokenSink(AtomicU64);
    impl Sink for BrokenSink {
        fn limits(&self) -> BatchLimits {
            BatchLimits {
                events_max: 10,
                bytes_max: 1 << 20,
                in_flight_max: 1,
            }
        }
        fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
            let call = self.0.fetch_add(1, Ordering::Relaxed);
            async move {
                match call {
                    0 => panic!("on purpose"),
                    1 => Vec::new(),
                    _ => vec![DeliveryOutcome::Delivered; batch.len()],
                }
            }
            .boxed()
        }
    }
    let router = body
        .builder()
        .await
        .sink("broken", BrokenSink(AtomicU64::new(0)))
        .route("all", "broken", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    accept(&router, vec![event(1, "a"), event(2, "b")]).await;
    router.settled().await;
    assert_eq!(endpoint_status(&router, "broken").delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn at_its_own_cap_a_lane_lets_its_oldest_go_and_counts_them() {
    for body in JournalBody::PAUSED {
        at_its_own_cap_a_lane_lets_its_oldest_go_and_counts_them_with(body).await;
    }
}

async fn at_its_own_cap_a_lane_lets_its_oldest_go_and_counts_them_with(body: JournalBody) {
    let sink = ScriptedSink::default();
    sink.set_down(true);
    let settings = EndpointSettings::default().with(|own| own.queue_events_max = 3);
    let router = body
        .builder()
        .await
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    for id in 1..=5 {
        accept(&router, vec![event(id, "a")]).await;
    }
    body.arrived(&router).await;
    body.recorded().await;
    let status = endpoint_status(&router, "only");
    assert_eq!((status.matched, status.queued), (5, 3));
    assert_eq!((status.dead_letters.local, status.discarded), (2, 0));
    sink.set_down(false);
    router.settled().await;
    assert_eq!(sink.ids(), ["3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_pushes_a_retrying_one_out_does_not_wait_for_the_rest() {
    for body in JournalBody::PAUSED {
        an_event_that_pushes_a_retrying_one_out_does_not_wait_for_the_rest_with(body).await;
    }
}

async fn an_event_that_pushes_a_retrying_one_out_does_not_wait_for_the_rest_with(
    body: JournalBody,
) {
    let sink = ScriptedSink::default();
    let settings = EndpointSettings::default().with(|own| own.queue_events_max = 2);
    let router = body
        .builder()
        .await
        .sink_with("sink", sink.clone(), settings)
        .route("all", "sink", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    let failed = || DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("test", "this one"),
    };
    sink.answer([failed(), failed()]);
    accept(&router, vec![event(1, "a"), event(2, "b")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint_status(&router, "sink").retrying, 2);
    accept(&router, vec![event(3, "c")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sink.ids(), ["1", "2", "3"]);
}

#[tokio::test]
async fn the_ledger_adds_up_at_every_moment() {
    for body in [JournalBody::Memory, JournalBody::Disk, JournalBody::Cluster] {
        the_ledger_adds_up_at_every_moment_with(body).await;
    }
}

async fn the_ledger_adds_up_at_every_moment_with(body: JournalBody) {
    let sink = ScriptedSink::default();
    let retry = DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", ""),
    };
    let unavailable = DeliveryOutcome::Unavailable(fault(FaultKind::Throttled));
    sink.answer((0..200).map(|n| match n % 5 {
        0 => retry.clone(),
        1 => unavailable.clone(),
        _ => DeliveryOutcome::Delivered,
    }));
    let router = body
        .builder()
        .await
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    for id in 0..500 {
        accept(&router, vec![event(id, ["a", "b", "c"][id % 3])]).await;
        endpoint_status(&router, "only");
        tokio::task::yield_now().await;
    }
    body.arrived(&router).await;
    let status = router.stop(Duration::ZERO).await;
    assert_eq!(status.instances[0].endpoints[0].unaccounted(), 0);
    assert_eq!(status.instances[0].endpoints[0].matched, 500);
}

#[tokio::test(start_paused = true)]
async fn what_dies_goes_to_its_store_however_often_that_fails() {
    for body in JournalBody::PAUSED {
        what_dies_goes_to_its_store_however_often_that_fails_with(body).await;
    }
}

async fn what_dies_goes_to_its_store_however_often_that_fails_with(body: JournalBody) {
    let (sink, shelf) = (ScriptedSink::default(), MemoryStore::default());
    sink.answer(vec![reject(); 20]);
    shelf.fail([FaultKind::Unauthorized; 12]);
    let router = router_with(body, &sink, quick(), Some(&shelf)).await;
    body.arrived(&router).await;
    accept(&router, (0..20).map(|id| event(id, "a")).collect()).await;
    while status(&router).dead_letters.store.as_str() != "unauthorized" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let dead = status(&router).dead_letters;
    assert!(dead.awaiting_upload > 0 && dead.local == 0, "{dead:?}");
    assert!(
        dead.backing_off_ms > 0 && dead.last_error.contains("script"),
        "{dead:?}"
    );
    while status(&router).dead_letters.uploaded < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    router.settled().await;
    let mut ids = shelf.ids();
    ids.sort_by_key(|id| id.parse::<u32>().unwrap());
    let expect: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    assert_eq!(ids, expect);
    assert_eq!(status(&router).dead_letters.store.as_str(), "ok");
    body.recorded().await;
    assert_eq!(router.status().journal.events, 0);
}

#[tokio::test(start_paused = true)]
async fn what_its_store_will_never_take_stays_and_does_not_block_others() {
    for body in JournalBody::PAUSED {
        what_its_store_will_never_take_stays_and_does_not_block_others_with(body).await;
    }
}

async fn what_its_store_will_never_take_stays_and_does_not_block_others_with(body: JournalBody) {
    let (sink, shelf) = (ScriptedSink::default(), MemoryStore::default());
    sink.answer(vec![reject(); 2]);
    shelf.fail([FaultKind::Unsupported]);
    let router = router_with(body, &sink, quick(), Some(&shelf)).await;
    body.arrived(&router).await;
    accept(&router, vec![event(1, "a"), event(2, "b")]).await;
    router.settled().await;
    let dead = status(&router).dead_letters;
    assert_eq!((dead.uploaded, dead.local, dead.awaiting_upload), (1, 1, 0));
    let page = router
        .dead_letters(&DeadLetterQuery::default(), None, 10)
        .await;
    assert!(page.dead_letters[0].unstorable && page.next.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replay_delivers_only_to_the_endpoint_that_failed() {
    for body in JournalBody::PAUSED {
        a_replay_delivers_only_to_the_endpoint_that_failed_with(body).await;
    }
}

async fn a_replay_delivers_only_to_the_endpoint_that_failed_with(body: JournalBody) {
    let (sink, other) = (ScriptedSink::default(), ScriptedSink::default());
    sink.answer(vec![reject(); 3]);
    let router = body
        .builder()
        .await
        .sink_with("only", sink.clone(), quick())
        .sink("other", other.clone())
        .route("all", "only", "true")
        .route("all-too", "other", "true")
        .build()
        .unwrap();
    body.arrived(&router).await;
    accept(&router, vec![event(1, "a"), event(2, "b"), event(3, "a")]).await;
    router.settled().await;
    let request = ReplayRequest {
        per_second: 1.0,
        ..ReplayRequest::default()
    };
    let begun = Instant::now();
    let number = router.replay(request).await.unwrap().number;
    let replay = ended(&router, number).await;
    assert_eq!(replay.state, ReplayState::Done, "{replay:?}");
    assert_eq!((replay.replayed, replay.delivered), (3, 3));
    assert!(begun.elapsed() >= Duration::from_secs(2), "the rate holds");
    assert_eq!(sink.ids(), ["1", "2", "3", "1", "2", "3"]);
    assert_eq!(other.ids(), ["1", "2", "3"]);
    let status = status(&router);
    assert_eq!(
        (status.matched, status.replayed, status.delivered),
        (3, 3, 3)
    );
    let dead = status.dead_letters;
    assert_eq!((dead.replayed, dead.local, dead.uploaded), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_stops_itself_when_the_failure_persists() {
    for body in JournalBody::PAUSED {
        a_replay_stops_itself_when_the_failure_persists_with(body).await;
    }
}

async fn a_replay_stops_itself_when_the_failure_persists_with(body: JournalBody) {
    let sink = ScriptedSink::default();
    sink.answer(vec![reject(); 200]);
    let router = router_with(body, &sink, quick(), None).await;
    body.arrived(&router).await;
    accept(&router, (0..100).map(|id| event(id, "a")).collect()).await;
    router.settled().await;
    let number = router
        .replay(ReplayRequest::default())
        .await
        .unwrap()
        .number;
    let replay = ended(&router, number).await;
    assert_eq!(replay.state, ReplayState::Stopped);
    let reason = &replay.reason;
    assert!(
        reason.contains("the failure persists") && reason.contains("bad"),
        "{reason}"
    );
    assert!(replay.replayed < 20, "{replay:?}");
    router.settled().await;
    assert_eq!(status(&router).dead_letters.local, 100);
    // Nor does it go on against an endpoint that takes nothing.
    sink.set_down(true);
    accept(&router, vec![event(100, "a")]).await;
    let number = router
        .replay(ReplayRequest::default())
        .await
        .unwrap()
        .number;
    let replay = ended(&router, number).await;
    assert!(replay.reason.contains("it is unreachable"), "{replay:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_moment_is_tried_when_asked() {
    for body in JournalBody::PAUSED {
        what_waits_for_a_moment_is_tried_when_asked_with(body).await;
    }
}

async fn what_waits_for_a_moment_is_tried_when_asked_with(body: JournalBody) {
    let sink = ScriptedSink::default();
    sink.answer([DeliveryOutcome::Retry {
        after: Some(Duration::from_secs(200)),
        reason: FailureReason::new("busy", ""),
    }]);
    let router = router_with(body, &sink, quick(), None).await;
    body.arrived(&router).await;
    accept(&router, vec![event(1, "a")]).await;
    while status(&router).retrying == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = Instant::now();
    router.endpoint(None, "only").unwrap().retry_now();
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "1"]);
    assert!(asked.elapsed() < Duration::from_secs(1));
}
