//! Events that the program changes, drops, or keeps in order by a key of its own.

use super::*;
use crate::Router;
use crate::RouterBuilder;
use crate::accept::{AcceptError, AckLevel};
use crate::router::tests::{ScriptedSink, accept, event, fault};
use crate::sink::{DeliveryOutcome, FailureReason, FaultKind};
use twinroute_model::event::{EventProblem, ExtensionValue};

fn with(sink: &ScriptedSink) -> RouterBuilder {
    let builder = Router::builder().sink("hub", sink.clone());
    builder.route("all", "hub", "true")
}

/// Waits until the first event failed alone.
async fn until_retrying(router: &Router) {
    while router.status().instances[0].endpoints[0].retrying == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_event_is_matched_and_delivered_as_changed() {
    let sink = ScriptedSink::default();
    let router = Router::builder()
        .sink("hub", sink.clone())
        .route("berlin", "hub", "site = 'berlin'")
        .map_event(|event| match event.id() {
            "1" => event.with_extension("site", "berlin"),
            _ => Ok(event),
        })
        .build()
        .unwrap();
    let accepted = accept(&router, vec![event(1, "a"), event(2, "a")]).await;
    assert_eq!((accepted.changed, accepted.deliveries), (1, 1));
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
    let journal = router.status().journal;
    assert_eq!((journal.accepted, journal.changed), (2, 1));
    let sent = router.dry_run(None, &event(1, "a")).unwrap();
    assert_eq!(sent.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_event_is_accepted_and_counted_as_dropped() {
    let sink = ScriptedSink::default();
    let builder = with(&sink).map_event(|event| (event.id() != "2").then_some(event));
    let router = builder.build().unwrap();
    let accepted = accept(&router, (1..=3).map(|id| event(id, "a")).collect()).await;
    assert_eq!((accepted.events, accepted.dropped), (3, 1));
    assert_eq!((accepted.deliveries, accepted.unmatched), (2, 0));
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "3"]);
    let journal = router.status().journal;
    assert_eq!((journal.accepted, journal.dropped), (3, 1));
    assert!(router.dry_run(None, &event(2, "a")).unwrap().is_empty());
    assert!(router.explain(None, &event(2, "a")).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_program_that_fails_to_map_refuses_the_batch_and_nothing_of_it_is_kept() {
    let sink = ScriptedSink::default();
    let builder = with(&sink).map_event(|event: Event| match event.id() {
        "2" => event.with_extension("Not a name", 1).map(Some),
        "3" => panic!("the map is not at home"),
        _ => Ok::<_, EventProblem>(Some(event)),
    });
    let router = builder.build().unwrap();
    for (second, text) in [
        (
            2,
            "event 1: the program cannot accept it: attribute `Not a name`: ",
        ),
        (
            3,
            "event 1: the program cannot accept it: the program's map_event panicked",
        ),
    ] {
        let events = vec![event(1, "a"), event(second, "a")];
        let refused = router.accept(None, events, AckLevel::Memory).await;
        let refused = refused.unwrap_err();
        assert!(refused.to_string().starts_with(text), "{refused}");
        assert!(!refused.is_retryable() && refused.retry_after().is_none());
        assert!(matches!(refused, AcceptError::Mapping { index: 1, .. }));
    }
    router.settled().await;
    assert_eq!(sink.ids(), [""; 0]);
    assert_eq!(router.status().journal.accepted, 0);
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_by_the_programs_key() {
    let sink = ScriptedSink::default();
    let one_key = |_: &Event| "all of them";
    let router = with(&sink).partition_by(one_key).build().unwrap();
    let busy = FailureReason::new("busy", "");
    sink.answer([DeliveryOutcome::Retry {
        after: None,
        reason: busy,
    }]);
    // Of different twins, yet the second waits until the first was tried again.
    accept(&router, vec![event(1, "a")]).await;
    until_retrying(&router).await;
    accept(&router, vec![event(2, "b")]).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_key_or_with_one_that_panics_order_is_kept_by_twin() {
    for hooked in [false, true] {
        let sink = ScriptedSink::default();
        let mut builder = with(&sink);
        if hooked {
            builder = builder
                .partition_by(|event: &Event| -> String { panic!("no key for {}", event.id()) });
        }
        let router = builder.build().unwrap();
        let busy = FailureReason::new("busy", "");
        sink.answer([DeliveryOutcome::Retry {
            after: None,
            reason: busy,
        }]);
        accept(&router, vec![event(1, "a")]).await;
        until_retrying(&router).await;
        accept(&router, vec![event(2, "b"), event(3, "a")]).await;
        router.settled().await;
        assert_eq!(sink.ids(), ["1", "2", "1", "3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_changed_event_became_is_what_a_sink_gets_after_it_was_unavailable() {
    let sink = ScriptedSink::default();
    let builder = with(&sink).map_event(|event| event.with_extension("site", "berlin"));
    let router = builder.build().unwrap();
    sink.answer([DeliveryOutcome::Unavailable(fault(FaultKind::Unreachable))]);
    accept(&router, vec![event(1, "a")]).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "1"]);
}

#[test]
fn a_router_without_a_runtime_is_refused() {
    let built = Router::builder().build().map(drop).unwrap_err();
    let expect = "a router needs a tokio runtime: build it within one, as in `#[tokio::main]`";
    assert_eq!(built.to_string(), expect);
}

#[test]
fn all_that_a_function_may_give_is_an_event_or_none() {
    let event = || event(1, "a").with_extension("n", 1).unwrap();
    assert!(event().into_mapped().unwrap().is_some());
    assert!(None::<Event>.into_mapped().unwrap().is_none());
    let kept = Ok::<_, String>(Some(event())).into_mapped().unwrap();
    let number = ExtensionValue::Integer(1);
    assert_eq!(kept.unwrap().extension("n"), Some(number));
    let refused = Err::<Event, _>("no").into_mapped().unwrap_err();
    assert_eq!(refused, "no");
}
