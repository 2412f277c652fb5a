//! What watchers see, and what they cost.

use crate::Router;
use crate::accept::AckLevel;
use crate::router::tests::{ScriptedSink, event};
use crate::sink::DeliveryOutcome;
use crate::tap::{EventTap, TapRequest};
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
