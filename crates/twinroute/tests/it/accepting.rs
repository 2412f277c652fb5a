//! Bringing events in, and what is said of those that are refused.

use crate::{CollectingSink, closed, event};
use futures_util::FutureExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use twinroute::prelude::*;
use twinroute::trace::{SpanQueue, SpanSettings, TraceContext};

#[tokio::test(start_paused = true)]
async fn an_event_is_matched_and_delivered_once_for_two_routes_to_one_endpoint() {
    let sink = CollectingSink::default();
    let builder = Router::builder().sink("archive", sink.clone());
    let builder = builder.route("all", "archive", "true");
    let builder = builder.route("rooms", "archive", "subject = 'room1'");
    let router = builder.start().await.unwrap();
    let accepted = router.accept(event(1)).await.unwrap();
    assert_eq!((accepted.events, accepted.deliveries), (1, 1));
    assert_eq!(router.dry_run(None, &event(1)).unwrap().len(), 2);
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn level_delivered_waits_until_its_deadline_and_says_what_is_open() {
    let builder = Router::builder().sink("closed", closed());
    let builder = builder.route("all", "closed", "true");
    let router = builder.start().await.unwrap();
    let began = tokio::time::Instant::now();
    let accepting = router.accept_batch([event(1), event(2)]);
    let accepting = accepting.ack(AckLevel::Delivered);
    let accepted = accepting.deadline(Duration::from_secs(2)).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(accepted.open(), 2);
}

#[tokio::test(start_paused = true)]
async fn errors_say_whether_and_when_to_come_back() {
    let router = Router::builder().memory_bytes_max(1).start().await.unwrap();
    let unknown = router.accept_batch([event(1)]).instance("elsewhere").await;
    let durable = router.accept(event(1)).ack(AckLevel::Durable).await;
    router.stop(Duration::ZERO).await;
    let stopping = router.accept(event(1)).await;
    for (refused, status, retry_after) in [
        (unknown, 404, None),
        (durable, 400, None),
        (stopping, 503, Some(Duration::from_secs(5))),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.http_status(), status, "{refused}");
        assert_eq!(refused.retry_after(), retry_after, "{refused}");
        assert_eq!(refused.is_retryable(), retry_after.is_some(), "{refused}");
        let any = twinroute::Error::from(refused);
        assert_eq!(
            (any.http_status(), any.retry_after()),
            (status, retry_after)
        );
    }
    let invalid = twinroute::Error::from(Event::from_json("{}").unwrap_err());
    assert_eq!(invalid.http_status(), 400);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20));
    let large = twinroute::Error::from(Event::from_json(large).unwrap_err());
    assert_eq!(large.http_status(), 413);
}

#[test]
fn starting_outside_a_runtime_is_an_error_in_words() {
    let starting = Router::builder().journal("never-made").start();
    let refused = starting.now_or_never().unwrap().unwrap_err();
    let expect = "the router cannot be built: a router needs a tokio runtime: build it within one, as in \
                  `#[tokio::main]`";
    assert_eq!(format!("{refused:?}"), expect);
    assert!(!std::path::Path::new("never-made").exists());
}

#[tokio::test]
async fn what_is_wrong_is_said_at_the_start() {
    let two = || Router::builder().sink("archive", closed());
    let settings = |change: fn(&mut twinroute::settings::EndpointSettings)| {
        Router::builder().sink("archive", SinkSetup::new(closed()).settings(change))
    };
    for (builder, expect) in [
        (two().sink("ARCHIVE", closed()), "it was given two sinks"),
        (two().route("warm", "archive", "$body.t >"), "Position=10"),
        (two().route("warm", "elsewhere", "true"), "elsewhere"),
        (two().sink("x", closed()), "must have 3 to 49 characters"),
        (
            settings(|own| own.attempts_max = 31),
            "attempts_max must be 1 to 30",
        ),
    ] {
        let refused = builder.start().await.unwrap_err();
        let text = format!("{refused:?}");
        assert!(text.contains(expect), "{text}");
        assert_eq!(refused.http_status(), 500);
    }
}

/// What `accept` and `accept_batch` are given of a trace is what sinks continue, also where no spans are recorded.
#[tokio::test(start_paused = true)]
async fn a_trace_that_comes_with_the_call_is_continued_and_an_events_own_counts_for_more() {
    const CALL: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let sink = sink_fn(move |batch: Vec<Delivery>| {
        let parents = batch.iter().map(|delivery| {
            let context = delivery.trace_context();
            context.map(|context| context.parent().as_str().to_owned())
        });
        kept.lock().unwrap().extend(parents);
        async { Ok(SendOutcome::all_delivered()) }
    });
    let builder = Router::builder().sink("archive", sink);
    let router = builder.route("all", "archive", "true");
    let router = router.start().await.unwrap();
    let trace = || TraceContext::parse(CALL);
    let own = event(2).with_extension("traceparent", OWN).unwrap();
    router.accept(event(0)).await.unwrap();
    router.accept(event(1)).trace(trace()).await.unwrap();
    let batch = router.accept_batch([own, event(3)]).trace(trace());
    batch.ack(AckLevel::Delivered).await.unwrap();
    let broken = TraceContext::parse("00-zero");
    router.accept(event(4)).trace(broken).await.unwrap();
    router.settled().await;
    let expect = [None, Some(CALL), Some(OWN), Some(CALL), None];
    assert_eq!(
        *seen.lock().unwrap(),
        expect.map(|one| one.map(str::to_owned))
    );
}

/// Where spans are recorded, the one of acceptance stands below the caller's.
#[tokio::test(start_paused = true)]
async fn spans_of_a_call_with_a_trace_are_below_the_callers() {
    let settings = SpanSettings {
        sample: 0.0,
        spans_max: 64,
    };
    let (queue, mut receiver) = SpanQueue::new(settings);
    let builder = Router::builder().spans(queue);
    let router = builder.sink("archive", CollectingSink::default());
    let router = router
        .route("all", "archive", "true")
        .start()
        .await
        .unwrap();
    let caller = TraceContext::root(7, 9).unwrap();
    router.accept(event(1)).trace(caller).await.unwrap();
    router.settled().await;
    drop(router);
    let mut spans = Vec::new();
    while receiver.take(&mut spans, 64).await > 0 {}
    let accept = spans.iter().find(|span| span.step.as_str() == "accept");
    let accept = accept.unwrap();
    assert_eq!((accept.context.trace_id(), accept.parent), (7, Some(9)));
    assert!(accept.parent_is_remote);
}
