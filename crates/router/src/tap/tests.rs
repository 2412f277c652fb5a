//! What watchers see, and what they cost.

use crate::Router;
use crate::accept::AckLevel;
use crate::router::tests::{ScriptedSink, event};
use crate::sink::DeliveryOutcome;
use crate::tap::budget::TapBudget;
use crate::tap::{EventTap, TapOutcome, TapRequest};
use serde_json::Value;
use std::time::Duration;

fn router(sink: &ScriptedSink) -> Router {
    Router::builder()
        .sink("hub-1", sink.clone())
        .route("rooms", "hub-1", "subject = 'room-1'")
        .build()
        .unwrap()
}

fn open(router: &Router, request: &TapRequest) -> EventTap {
    router.tap(request.parse().unwrap()).unwrap()
}

async fn line(tap: &mut EventTap) -> Value {
    serde_json::from_str(&tap.next().await.unwrap()).unwrap()
}

async fn post(router: &Router, ids: std::ops::Range<usize>, twin: &str) {
    let events = ids.map(|id| event(id, twin)).collect();
    router.accept(None, events, AckLevel::Memory).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tap_shows_events_with_what_they_matched() {
    let router = router(&ScriptedSink::default());
    let mut tap = open(&router, &TapRequest::default());
    post(&router, 1..2, "room-1").await;
    post(&router, 2..3, "room-2").await;
    let first = line(&mut tap).await;
    assert_eq!(first["outcome"], "accepted", "{first}");
    assert_eq!(first["endpoints"], serde_json::json!(["hub-1"]));
    assert_eq!(first["routes"], serde_json::json!(["rooms"]));
    assert_eq!((&first["id"], &first["event"]), (&"1".into(), &Value::Null));
    let second = line(&mut tap).await;
    assert_eq!(second["outcome"], "unmatched", "{second}");
    // Nothing comes: an empty line says so.
    assert_eq!(tap.next().await.unwrap(), "\n");
}

#[tokio::test(start_paused = true)]
async fn tap_of_some_shows_no_others() {
    let router = router(&ScriptedSink::default());
    let text = |text: &str| text.to_owned();
    let of = |change: &dyn Fn(&mut TapRequest)| {
        let mut request = TapRequest::default();
        change(&mut request);
        open(&router, &request)
    };
    let mut taps = [
        of(&|request| request.outcome = text("unmatched")),
        of(&|request| request.twin = text("room-2")),
        of(&|request| request.filter = text("subject = 'room-2'")),
    ];
    let mut none = [
        of(&|request| request.event_type = text("other")),
        of(&|request| request.instance = text("other")),
    ];
    let mut matched = [
        of(&|request| request.route = text("rooms")),
        of(&|request| request.endpoint = text("HUB-1")),
    ];
    post(&router, 1..2, "room-1").await;
    post(&router, 2..3, "room-2").await;
    for tap in &mut taps {
        assert_eq!(line(tap).await["id"], "2");
    }
    for tap in &mut matched {
        assert_eq!(line(tap).await["id"], "1");
    }
    for tap in taps.iter_mut().chain(&mut matched).chain(&mut none) {
        assert_eq!(tap.next().await.unwrap(), "\n");
    }
}

#[tokio::test(start_paused = true)]
async fn tap_shows_what_became_of_deliveries() {
    let sink = ScriptedSink::default();
    let router = router(&sink);
    sink.answer([DeliveryOutcome::reject("http-400")]);
    let request = TapRequest {
        outcome: "delivered,dead-lettered".to_owned(),
        ..TapRequest::default()
    };
    let mut tap = open(&router, &request);
    post(&router, 1..2, "room-1").await;
    let dead = line(&mut tap).await;
    assert_eq!(dead["outcome"], "dead-lettered", "{dead}");
    assert!(
        dead["reason"].as_str().unwrap().contains("http-400"),
        "{dead}"
    );
    post(&router, 2..3, "room-1").await;
    let delivered = line(&mut tap).await;
    assert_eq!(
        (&delivered["outcome"], &delivered["id"]),
        (&"delivered".into(), &"2".into())
    );
    assert!(delivered["sequence"].is_u64(), "{delivered}");
}

#[tokio::test(start_paused = true)]
async fn slow_watcher_misses_events_and_is_told_how_many() {
    let router = router(&ScriptedSink::default());
    let request = TapRequest {
        rate: "1000".to_owned(),
        ..TapRequest::default()
    };
    let mut tap = open(&router, &request);
    let mut few = open(&router, &TapRequest::default());
    post(&router, 0..300, "room-1").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    // 128 wait, the others are gone.
    let missed = line(&mut tap).await;
    assert_eq!(missed, serde_json::json!({ "dropped": 172, "skipped": 0 }));
    let missed = line(&mut few).await;
    assert_eq!(missed, serde_json::json!({ "dropped": 0, "skipped": 200 }));
    assert_eq!(router.status().instances[0].endpoints[0].matched, 300);
}

#[tokio::test(start_paused = true)]
async fn taps_are_bounded_and_end_with_the_router() {
    let router = router(&ScriptedSink::default());
    let mut taps: Vec<_> = (0..16)
        .map(|_| open(&router, &TapRequest::default()))
        .collect();
    let selection = TapRequest::default().parse().unwrap();
    let refused = router.tap(selection.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "16 taps are open already; end one of them"
    );
    taps.pop();
    taps.push(router.tap(selection).unwrap());
    router.stop(Duration::ZERO).await;
    for tap in &mut taps {
        assert_eq!(tap.next().await, None);
    }
}

#[test]
fn tap_requests_that_cannot_be_read_are_named() {
    let error = |change: &dyn Fn(&mut TapRequest)| {
        let mut request = TapRequest::default();
        change(&mut request);
        request.parse().unwrap_err()
    };
    let rate = error(&|request| request.rate = "0".to_owned());
    assert_eq!(rate, "rate: \"0\" must be a number from 1 to 1000");
    let outcome = error(&|request| request.outcome = "gone".to_owned());
    assert!(
        outcome.starts_with("outcome: \"gone\" is no outcome; there are accepted"),
        "{outcome}"
    );
    let filter = error(&|request| request.filter = "type =".to_owned());
    assert!(filter.starts_with("filter: "), "{filter}");
    let route = error(&|request| {
        request.route = "rooms".to_owned();
        request.outcome = "all".to_owned();
    });
    assert!(route.starts_with("route: "), "{route}");
}

#[tokio::test(start_paused = true)]
async fn tap_with_bodies_shows_events_as_they_came() {
    let router = router(&ScriptedSink::default());
    let request = TapRequest {
        body: "true".to_owned(),
        sample: "2".to_owned(),
        ..TapRequest::default()
    };
    let mut tap = open(&router, &request);
    post(&router, 1..4, "room-1").await;
    let first = line(&mut tap).await;
    assert_eq!(first["event"]["id"], "1", "{first}");
    assert_eq!(line(&mut tap).await["id"], "3");
}

/// However many watch, they look at so many events a second together; what is beyond is counted for each of them.
#[tokio::test(start_paused = true)]
async fn ten_taps_look_at_no_more_events_than_one() {
    let router = router(&ScriptedSink::default());
    let request = TapRequest {
        rate: "1000".to_owned(),
        ..TapRequest::default()
    };
    let mut taps: Vec<_> = (0..10).map(|_| open(&router, &request)).collect();
    post(&router, 0..5_000, "room-1").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    for tap in &mut taps {
        let missed = line(tap).await;
        let expect = serde_json::json!({ "dropped": 1_000 - 128, "skipped": 4_000 });
        assert_eq!(missed, expect);
    }
    // Who comes later missed none of them.
    let mut late = open(&router, &TapRequest::default());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(late.next().await.unwrap(), "\n");
}

#[tokio::test(start_paused = true)]
async fn flood_of_accepted_events_hides_no_dead_letter_from_a_tap() {
    let sink = ScriptedSink::default();
    let router = router(&sink);
    let of = |outcome: &str| TapRequest {
        outcome: outcome.to_owned(),
        ..TapRequest::default()
    };
    let mut dead = open(&router, &of("dead-lettered"));
    let _flooded = open(&router, &of("accepted"));
    post(&router, 0..3_000, "room-2").await;
    sink.answer([DeliveryOutcome::reject("http-400")]);
    post(&router, 3_000..3_001, "room-1").await;
    assert_eq!(line(&mut dead).await["id"], "3000");
}

/// Of a filter that is expensive, only the sample is compared.
#[tokio::test(start_paused = true)]
async fn sample_of_a_tap_is_taken_before_the_selection() {
    let router = router(&ScriptedSink::default());
    let request = TapRequest {
        filter: "subject = 'room-2'".to_owned(),
        sample: "2".to_owned(),
        ..TapRequest::default()
    };
    let mut tap = open(&router, &request);
    for (id, twin) in ["room-1", "room-2", "room-2", "room-1"].iter().enumerate() {
        post(&router, id..id + 1, twin).await;
    }
    assert_eq!(line(&mut tap).await["id"], "2");
    assert_eq!(tap.next().await.unwrap(), "\n");
}

#[tokio::test(start_paused = true)]
async fn budget_of_taps_is_a_burst_and_then_even() {
    let budget = TapBudget::default();
    let admitted = |events: usize| {
        let now = tokio::time::Instant::now();
        (0..events)
            .filter(|_| budget.admits(TapOutcome::Accepted, now))
            .count()
    };
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(admitted(5_000), 1_000);
    tokio::time::advance(Duration::from_millis(10)).await;
    assert_eq!(admitted(5_000), 10);
    assert!(budget.admits(TapOutcome::DeadLettered, tokio::time::Instant::now()));
    tokio::time::advance(Duration::from_millis(700)).await;
    assert_eq!(admitted(5_000), 700);
}
