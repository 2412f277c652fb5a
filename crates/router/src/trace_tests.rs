//! Spans of a router: which there are, below which, and what they say.

use super::*;
use crate::accept::{AcceptError, AcceptedBatch, AckLevel};
use crate::router::dead_letter_tests::MemoryStore;
use crate::sink::{BatchLimits, Delivery, DeliveryOutcome, FailureReason, FaultKind, Sink};
use crate::{Router, RouterBuilder};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use twinroute_journal::sim::{PowerLossRemains, SimulatedDisk};
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_model::clock::SystemClock;
use twinroute_model::event::{Event, EventLimits, EventParts};
use twinroute_model::settings::EndpointSettings;

const ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Answers by script, then with `Delivered`, and keeps what each delivery continues.
#[derive(Clone, Default)]
struct TraceSink {
    answers: Arc<Mutex<VecDeque<DeliveryOutcome>>>,
    seen: Arc<Mutex<Vec<Option<TraceContext>>>>,
}

impl TraceSink {
    fn of(answers: impl IntoIterator<Item = DeliveryOutcome>) -> Self {
        let sink = Self::default();
        sink.answers.lock().unwrap().extend(answers);
        sink
    }

    fn seen(&self) -> Vec<Option<TraceContext>> {
        self.seen.lock().unwrap().clone()
    }
}

impl Sink for TraceSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let traces = batch.iter().map(Delivery::trace_context);
        let traces = traces.map(|trace| trace.map(std::borrow::Cow::into_owned));
        self.seen.lock().unwrap().extend(traces);
        let mut answers = self.answers.lock().unwrap();
        let outcomes = batch.iter().map(|_| answers.pop_front());
        let outcomes = outcomes.map(|answer| answer.unwrap_or(DeliveryOutcome::Delivered));
        let outcomes = outcomes.collect();
        async move { outcomes }.boxed()
    }
}

/// A router that records, with its sink.
struct TraceScene {
    router: Router,
    sink: TraceSink,
    spans: SpanReceiver,
}

fn recording(sample: f64) -> (SpanQueue, SpanReceiver) {
    SpanQueue::new(SpanSettings {
        sample,
        spans_max: 100,
    })
}

fn scene(sample: f64, answers: impl IntoIterator<Item = DeliveryOutcome>) -> TraceScene {
    scene_with(sample, answers, |builder| builder)
}

fn scene_with(
    sample: f64,
    answers: impl IntoIterator<Item = DeliveryOutcome>,
    more: impl FnOnce(RouterBuilder) -> RouterBuilder,
) -> TraceScene {
    let sink = TraceSink::of(answers);
    let (queue, spans) = recording(sample);
    let settings = EndpointSettings::default().with(|own| own.attempts_max = 2);
    let builder = Router::builder()
        .spans(queue)
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "type = 't'");
    let router = more(builder).build().unwrap();
    TraceScene {
        router,
        sink,
        spans,
    }
}

impl TraceScene {
    async fn accept(
        &self,
        request: Option<&str>,
        events: Vec<Event>,
    ) -> Result<AcceptedBatch, AcceptError> {
        accept(&self.router, request, events).await
    }

    /// What was recorded so far, in the order in which it ended.
    fn recorded(&mut self) -> Vec<TraceSpan> {
        let mut spans = Vec::new();
        let _some = self.spans.take(&mut spans, 100).now_or_never();
        spans
    }
}

async fn accept(
    router: &Router,
    request: Option<&str>,
    events: Vec<Event>,
) -> Result<AcceptedBatch, AcceptError> {
    let turn = router.admit(0, Duration::from_secs(1)).await?;
    let turn = turn.within(request.and_then(TraceContext::parse));
    let never = std::future::pending();
    let level = router.default_level();
    let accepted = router.accept_admitted(turn, None, events, level, never);
    let accepted = accepted.await;
    router.settled().await;
    accepted
}

fn event(id: &str, parent: Option<&str>) -> Event {
    event_of("t", id, parent)
}

fn event_of(event_type: &str, id: &str, parent: Option<&str>) -> Event {
    let mut parts = EventParts::new(id, "host", event_type);
    if let Some(parent) = parent {
        parts = parts.set("traceparent", parent).unwrap();
    }
    parts.build(&EventLimits::default()).unwrap()
}

fn retry() -> DeliveryOutcome {
    DeliveryOutcome::retry(FailureReason::new("amqp-x", "not\nnow"))
}

fn context(parent: &str) -> TraceContext {
    TraceContext::parse(parent).unwrap()
}

/// The one span of a step.
fn only(spans: &[TraceSpan], step: SpanStep) -> &TraceSpan {
    let mut found = spans.iter().filter(|span| span.step == step);
    let only = found.next().unwrap_or_else(|| panic!("{step:?}"));
    assert!(found.next().is_none(), "{step:?}");
    only
}

fn steps(spans: &[TraceSpan]) -> Vec<&'static str> {
    spans.iter().map(|span| span.step.as_str()).collect()
}

fn said(span: &TraceSpan, name: &str) -> String {
    let mut found = span.attributes.iter().filter(|(known, _)| *known == name);
    match found.next() {
        None => String::new(),
        Some((_, SpanValue::Text(text))) => text.to_string(),
        Some((_, SpanValue::Count(count))) => count.to_string(),
    }
}

/// A span is in the trace of another one, and below it.
fn is_below(span: &TraceSpan, parent: &TraceContext) -> bool {
    span.context.trace_id() == parent.trace_id()
        && span.parent == Some(parent.span_id())
        && span.context.span_id() != parent.span_id()
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_from_the_producer_through_the_journal_to_the_destination() {
    let mut scene = scene(0.0, []);
    scene
        .accept(Some(ONE), vec![event("1", None)])
        .await
        .unwrap();
    let spans = scene.recorded();
    assert_eq!(steps(&spans), ["journal", "accept", "attempt"]);
    let accept = only(&spans, SpanStep::Accept);
    assert!(is_below(accept, &context(ONE)) && accept.parent_is_remote);
    assert_eq!(said(accept, "cloudevents.event_id"), "1");
    assert_eq!(said(accept, "twinroute.events"), "1");
    for step in [SpanStep::Journal, SpanStep::Attempt] {
        let span = only(&spans, step);
        assert!(is_below(span, &accept.context) && !span.parent_is_remote);
        assert_eq!(span.error, None);
    }
    let attempt = only(&spans, SpanStep::Attempt);
    for (name, expect) in [
        ("twinroute.endpoint", "only"),
        ("twinroute.instance", "default"),
        ("twinroute.outcome", "delivered"),
        ("twinroute.attempt", "1"),
        ("cloudevents.event_type", "t"),
    ] {
        assert_eq!(said(attempt, name), expect, "{name}");
    }
    // The destination is below the attempt.
    assert_eq!(scene.sink.seen(), [Some(attempt.context.clone())]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_span_with_its_outcome() {
    let mut scene = scene(0.0, [retry(), DeliveryOutcome::Delivered]);
    scene
        .accept(Some(ONE), vec![event("1", None)])
        .await
        .unwrap();
    let spans = scene.recorded();
    assert_eq!(steps(&spans), ["journal", "accept", "attempt", "attempt"]);
    let outcome = |span: &TraceSpan| {
        let about = [
            said(span, "twinroute.outcome"),
            said(span, "twinroute.attempt"),
        ];
        (about.join(" "), span.error.as_deref().map(str::to_owned))
    };
    // Texts of others are visible and on one line.
    let reason = Some("amqp-x: not\\nnow".to_owned());
    assert_eq!(outcome(&spans[2]), ("retry 1".to_owned(), reason));
    assert_eq!(outcome(&spans[3]), ("delivered 2".to_owned(), None));
    let seen: Vec<_> = scene.sink.seen().into_iter().flatten().collect();
    assert_eq!(seen, [spans[2].context.clone(), spans[3].context.clone()]);
    assert_ne!(seen[0].span_id(), seen[1].span_id());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_takes_nothing_is_an_attempt_that_failed() {
    let down = DeliveryOutcome::unavailable(FailureReason::new("connect", "refused"));
    let mut scene = scene(0.0, [down]);
    scene
        .accept(Some(ONE), vec![event("1", None)])
        .await
        .unwrap();
    let spans = scene.recorded();
    assert_eq!(said(&spans[2], "twinroute.outcome"), "unreachable");
    assert_eq!(spans[2].error.as_deref(), Some("connect: refused"));
    assert_eq!(said(&spans[3], "twinroute.outcome"), "delivered");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_has_a_span_and_below_it_how_it_was_stored() {
    let store = MemoryStore::default();
    store.fail([FaultKind::Unreachable]);
    let reject = DeliveryOutcome::reject(FailureReason::new("http-400", "no"));
    let letters = store.clone();
    let mut scene = scene_with(0.0, [reject], |builder| builder.dead_letters(letters));
    scene
        .accept(Some(ONE), vec![event("1", None)])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(store.ids(), ["1"]);
    let spans = scene.recorded();
    let expect = [
        "journal",
        "accept",
        "attempt",
        "dead letter",
        "store dead letter",
        "store dead letter",
    ];
    assert_eq!(steps(&spans), expect);
    let accept = only(&spans, SpanStep::Accept);
    let attempt = only(&spans, SpanStep::Attempt);
    assert_eq!(said(attempt, "twinroute.outcome"), "rejected");
    let letter = only(&spans, SpanStep::DeadLetter);
    assert!(is_below(letter, &accept.context));
    assert_eq!(said(letter, "twinroute.dead_letter.reason"), "rejected");
    assert_eq!(said(letter, "twinroute.attempts"), "1");
    assert_eq!(letter.error.as_deref(), Some("http-400: no"));
    let stored = &spans[4..];
    assert!(stored.iter().all(|span| is_below(span, &letter.context)));
    assert!(stored[0].error.is_some() && stored[1].error.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_producer_does_not_record_is_not_recorded_here_and_goes_on_as_it_came() {
    for (request, own) in [
        (Some(ONE), None),
        (None, Some(ONE)),
        (Some(OTHER), Some(ONE)),
    ] {
        let unsampled = |parent: &str| format!("{}00", &parent[..53]);
        let (request, own) = (request.map(unsampled), own.map(unsampled));
        // Whatever is decided for traces that begin here.
        let mut scene = scene(1.0, []);
        let events = vec![event("1", own.as_deref())];
        scene.accept(request.as_deref(), events).await.unwrap();
        assert_eq!(steps(&scene.recorded()), [""; 0]);
        assert_eq!(scene.sink.seen(), [Some(context(&unsampled(ONE)))]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_begins_here_where_a_producer_says_nothing_and_the_sample_wants_it() {
    let mut recorded = scene(1.0, []);
    recorded.accept(None, vec![event("1", None)]).await.unwrap();
    let spans = recorded.recorded();
    assert_eq!(steps(&spans), ["journal", "accept", "attempt"]);
    let accept = only(&spans, SpanStep::Accept);
    assert!(accept.parent.is_none() && !accept.parent_is_remote);
    let attempt = only(&spans, SpanStep::Attempt);
    assert!(is_below(attempt, &accept.context) && attempt.context.is_sampled());
    assert_eq!(recorded.sink.seen(), [Some(attempt.context.clone())]);

    let mut skipped = scene(0.0, []);
    skipped.accept(None, vec![event("1", None)]).await.unwrap();
    assert_eq!(steps(&skipped.recorded()), [""; 0]);
    assert_eq!(skipped.sink.seen(), [None]);
}

#[tokio::test(start_paused = true)]
async fn events_of_one_request_have_their_own_traces_or_share_its() {
    let mut scene = scene(0.0, []);
    let events = vec![
        event("1", None),
        event_of("unmatched", "2", None),
        event("3", Some(OTHER)),
        event("4", None),
    ];
    scene.accept(Some(ONE), events).await.unwrap();
    let spans = scene.recorded();
    let of = |step, trace: &str| {
        let trace = context(trace).trace_id();
        let here = |span: &&TraceSpan| span.step == step && span.context.trace_id() == trace;
        let mut found = spans.iter().filter(here);
        let only = found.next().unwrap();
        assert!(found.next().is_none(), "{step:?}");
        only
    };
    assert_eq!(spans.len(), 6);
    let shared = of(SpanStep::Accept, ONE);
    assert!(is_below(shared, &context(ONE)) && shared.link.is_none());
    assert_eq!(said(shared, "twinroute.events"), "3");
    assert_eq!(said(shared, "cloudevents.event_id"), "");
    let own = of(SpanStep::Accept, OTHER);
    assert!(is_below(own, &context(OTHER)));
    // The request that brought it is not lost.
    assert_eq!(own.link, Some(context(ONE)));
    assert_eq!(said(own, "cloudevents.event_id"), "3");
    let (both, alone) = (of(SpanStep::Attempt, ONE), of(SpanStep::Attempt, OTHER));
    assert!(is_below(both, &shared.context) && is_below(alone, &own.context));
    assert_eq!(said(both, "twinroute.deliveries"), "2");
    let contexts = [both, alone, both].map(|span| Some(span.context.clone()));
    assert_eq!(scene.sink.seen(), contexts);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_several_outcomes_says_how_many_failed() {
    let mut scene = scene(0.0, [DeliveryOutcome::Delivered, retry()]);
    let events = vec![event("1", None), event("2", None)];
    let events = events.into_iter().enumerate();
    let events = events.map(|(number, event)| {
        let twin = ["a", "b"][number];
        EventParts::new(event.id(), twin, "t")
            .build(&EventLimits::default())
            .unwrap()
    });
    let events = events.collect();
    scene.accept(Some(ONE), events).await.unwrap();
    let spans = scene.recorded();
    let first = &spans[2];
    let counts = [
        "twinroute.deliveries",
        "twinroute.failed",
        "twinroute.outcome",
    ];
    assert_eq!(counts.map(|name| said(first, name)), ["2", "1", "retry"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_has_a_span_that_failed() {
    let mut scene = scene_with(0.0, [], |builder| builder.journal_bytes_max(1));
    let refused = scene.accept(Some(ONE), vec![event("1", None)]).await;
    assert!(matches!(refused, Err(AcceptError::TooLarge { .. })));
    let spans = scene.recorded();
    assert_eq!(steps(&spans), ["journal", "accept"]);
    assert!(spans.iter().all(|span| span.error.is_some()));
}

#[tokio::test(start_paused = true)]
async fn spans_that_find_no_room_are_dropped_and_delay_nobody() {
    let sink = TraceSink::default();
    let (queue, mut receiver) = SpanQueue::new(SpanSettings {
        sample: 1.0,
        spans_max: 2,
    });
    let builder = Router::builder().spans(queue).sink("only", sink.clone());
    let router = builder.route("all", "only", "true").build().unwrap();
    for id in ["1", "2", "3"] {
        accept(&router, None, vec![event(id, None)]).await.unwrap();
    }
    assert_eq!(sink.seen().len(), 3);
    let mut spans = Vec::new();
    receiver.take(&mut spans, 100).await;
    assert_eq!(steps(&spans), ["journal", "accept"]);
    // Whoever exports hears of the end.
    drop(router.stop(Duration::ZERO).await);
    drop(router);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.take(&mut spans, 100).await, 0);
}

#[tokio::test]
async fn without_a_queue_a_trace_goes_on_and_nothing_is_recorded() {
    let sink = TraceSink::default();
    let router = Router::builder().sink("only", sink.clone());
    let router = router.route("all", "only", "true").build().unwrap();
    for (request, own) in [(Some(ONE), None), (Some(OTHER), Some(ONE)), (None, None)] {
        accept(&router, request, vec![event("1", own)])
            .await
            .unwrap();
    }
    let expect = [Some(context(ONE)), Some(context(ONE)), None];
    assert_eq!(sink.seen(), expect);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_an_events_own_trace_goes_on_and_that_of_its_request_is_lost() {
    let disk = SimulatedDisk::default();
    let open = |disk: &SimulatedDisk, sink: &TraceSink, spans: SpanQueue| {
        let settings = JournalSettings {
            segment_bytes: 64 << 10,
            commit_window: Duration::ZERO,
            ..JournalSettings::default()
        };
        let storage = Arc::new(disk.clone());
        let (journal, recovered) =
            DiskJournal::open(settings, storage, Arc::new(SystemClock)).unwrap();
        let builder = Router::builder().journal_on_disk(journal, recovered);
        let builder = builder.spans(spans).sink("only", sink.clone());
        builder.route("all", "only", "true").build().unwrap()
    };
    let down = DeliveryOutcome::unavailable(FailureReason::new("connect", ""));
    let before = open(&disk, &TraceSink::of(vec![down; 100]), SpanQueue::default());
    let events = vec![event("1", Some(ONE)), event("2", None)];
    let turn = before.admit(0, Duration::from_secs(1)).await.unwrap();
    let turn = turn.within(TraceContext::parse(OTHER));
    let never = std::future::pending();
    let accepted = before.accept_admitted(turn, None, events, AckLevel::Durable, never);
    accepted.await.unwrap();
    let after = disk.fork();
    after.power_off();
    after.power_on(PowerLossRemains::Nothing);

    let sink = TraceSink::default();
    let (queue, spans) = recording(0.0);
    let router = open(&after, &sink, queue);
    router.settled().await;
    let mut scene = TraceScene {
        router,
        sink,
        spans,
    };
    let spans = scene.recorded();
    let attempt = only(&spans, SpanStep::Attempt);
    assert!(is_below(attempt, &context(ONE)) && attempt.parent_is_remote);
    assert_eq!(scene.sink.seen(), [Some(attempt.context.clone()), None]);
}
