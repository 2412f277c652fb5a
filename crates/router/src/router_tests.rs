use super::*;
use crate::accept::AcceptedBatch;
use crate::sink::{
    BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink,
};
use futures_util::future::{BoxFuture, FutureExt};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use tokio::sync::Semaphore;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::settings::EndpointSettings;

/// A sink that answers by script, then with `Delivered`, and keeps what it was given.
#[derive(Clone, Default)]
pub(crate) struct ScriptedSink(Arc<ScriptState>);

#[derive(Default)]
struct ScriptState {
    answers: Mutex<VecDeque<DeliveryOutcome>>,
    /// The ids of each batch, in the order of arrival.
    batches: Mutex<Vec<Vec<String>>>,
    /// Of each delivery, the attempts before it.
    attempts: Mutex<Vec<u32>>,
    /// While set, a batch waits here before it is answered.
    gate: Option<Semaphore>,
    down: Mutex<Option<FaultKind>>,
}

impl ScriptedSink {
    pub(super) fn gated() -> Self {
        Self(Arc::new(ScriptState {
            gate: Some(Semaphore::new(0)),
            ..ScriptState::default()
        }))
    }

    pub(crate) fn answer(&self, outcomes: impl IntoIterator<Item = DeliveryOutcome>) {
        self.0.answers.lock().unwrap().extend(outcomes);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.set_down_as(down.then_some(FaultKind::Unreachable));
    }

    pub(super) fn is_gated(&self) -> bool {
        self.0.gate.is_some()
    }

    pub(super) fn is_down(&self) -> bool {
        self.0.down.lock().unwrap().is_some()
    }

    pub(crate) fn set_down_as(&self, down: Option<FaultKind>) {
        *self.0.down.lock().unwrap() = down;
    }

    fn let_pass(&self, batches: usize) {
        self.0.gate.as_ref().unwrap().add_permits(batches);
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.0.batches.lock().unwrap().clone()
    }

    pub(crate) fn attempts(&self) -> Vec<u32> {
        self.0.attempts.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.batches().concat()
    }
}

impl Sink for ScriptedSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 10,
            bytes_max: 1 << 20,
            in_flight_max: 4,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            let down = *self.0.down.lock().unwrap();
            if let Some(kind) = down {
                return vec![DeliveryOutcome::Unavailable(fault(kind)); batch.len()];
            }
            let ids = batch
                .iter()
                .map(|delivery| delivery.event.id().to_owned())
                .collect();
            self.0.batches.lock().unwrap().push(ids);
            let attempts = batch.iter().map(|delivery| delivery.attempts);
            self.0.attempts.lock().unwrap().extend(attempts);
            if let Some(gate) = &self.0.gate {
                gate.acquire().await.unwrap().forget();
            }
            let mut answers = self.0.answers.lock().unwrap();
            batch
                .iter()
                .map(|_| answers.pop_front().unwrap_or(DeliveryOutcome::Delivered))
                .collect()
        }
        .boxed()
    }
}

pub(crate) fn fault(kind: FaultKind) -> EndpointFault {
    EndpointFault {
        kind,
        after: None,
        reason: FailureReason::new("test", "as the script says"),
    }
}

pub(crate) fn event(id: usize, twin: &str) -> Event {
    EventParts::new(
        &id.to_string(),
        "host",
        "Microsoft.DigitalTwins.Twin.Update",
    )
    .set("subject", twin)
    .unwrap()
    .build(&EventLimits::default())
    .unwrap()
}

pub(crate) async fn accept(router: &Router, events: Vec<Event>) -> AcceptedBatch {
    router.accept(None, events, AckLevel::Memory).await.unwrap()
}

pub(crate) fn endpoint_status(router: &Router, name: &str) -> crate::status::EndpointStatus {
    let status = router.status();
    let found = status.instances[0]
        .endpoints
        .iter()
        .find(|endpoint| endpoint.name == name);
    let found = found.unwrap().clone();
    assert_eq!(found.unaccounted(), 0, "{found:?}");
    found
}

fn two_sinks(first: &ScriptedSink, second: &ScriptedSink) -> Router {
    Router::builder()
        .sink("first", first.clone())
        .sink("second", second.clone())
        .route("to-first", "first", "true")
        .route("to-first-too", "first", "STARTS_WITH(subject, 'room')")
        .route("to-second", "second", "subject = 'room1'")
        .build()
        .unwrap()
}

/// Of few endpoints each is looked at, of many a table is kept.
#[tokio::test(start_paused = true)]
async fn events_of_a_batch_reach_those_endpoints_alone_that_they_match() {
    const ENDPOINTS: usize = 20;
    let sinks: Vec<_> = (0..ENDPOINTS).map(|_| ScriptedSink::default()).collect();
    let mut builder = Router::builder();
    for (number, sink) in sinks.iter().enumerate() {
        let name = format!("end{number}");
        let filter = format!("subject = 'room{number}' OR subject = 'room{}'", number / 2);
        builder = builder
            .sink(&name, sink.clone())
            .route(&name, &name, &filter);
    }
    let router = builder.build().unwrap();
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
async fn matching_routes_make_one_delivery_an_endpoint() {
    let (first, second) = (ScriptedSink::default(), ScriptedSink::default());
    let router = two_sinks(&first, &second);
    let accepted = accept(&router, vec![event(1, "room1"), event(2, "hall")]).await;
    assert_eq!(
        accepted,
        AcceptedBatch {
            events: 2,
            deliveries: 3,
            unmatched: 0,
            generation: 1,
            duplicates: 0,
            changed: 0,
            dropped: 0,
            repeats_earlier: false,
            outcomes: std::collections::BTreeMap::new(),
        }
    );
    router.settled().await;
    assert_eq!(
        (first.ids(), second.ids()),
        (vec!["1".into(), "2".into()], vec!["1".to_owned()])
    );
    let routes = router.dry_run(None, &event(3, "room2")).unwrap();
    assert_eq!(
        routes.iter().map(RouteId::as_str).collect::<Vec<_>>(),
        ["to-first", "to-first-too"]
    );
    let unknown = router
        .accept(Some("other"), vec![], AckLevel::Memory)
        .await
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "instance other: not in the table; known are: default"
    );
    let durable = router
        .accept(None, vec![event(4, "x")], AckLevel::Durable)
        .await
        .unwrap_err();
    let text = "acknowledgement level \"durable\" is not available: \
                the journal is in memory; use \"memory\" or \"delivered\"";
    assert_eq!(durable.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_does_not_delay_a_healthy_one() {
    let (healthy, dead) = (ScriptedSink::default(), ScriptedSink::default());
    dead.set_down(true);
    let router = two_sinks(&healthy, &dead);
    let started = Instant::now();
    for id in 0..1_000 {
        accept(&router, vec![event(id, "room1")]).await;
    }
    while endpoint_status(&router, "first").delivered < 1_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    let status = endpoint_status(&router, "second");
    assert_eq!(
        (status.state.as_str(), status.delivered),
        ("unreachable", 0)
    );
    assert!(status.last_error.contains("as the script says"));
    dead.set_down(false);
    let back = Instant::now();
    router.settled().await;
    assert!(
        back.elapsed() <= Duration::from_secs(61),
        "probed at most 60 s apart"
    );
    assert_eq!(endpoint_status(&router, "second").delivered, 1_000);
    assert_eq!(endpoint_status(&router, "second").state, "healthy");
    let ids: Vec<usize> = dead.ids().iter().map(|id| id.parse().unwrap()).collect();
    assert!(ids.is_sorted(), "one twin's events arrive in order");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_alone_waits_while_others_go_on() {
    let sink = ScriptedSink::default();
    let retry = DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", ""),
    };
    let reject = DeliveryOutcome::Reject(FailureReason::new("bad", "no such field"));
    sink.answer([retry, DeliveryOutcome::Delivered, reject]);
    let router = Router::builder()
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .build()
        .unwrap();
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
    let sink = ScriptedSink::default();
    let retry = DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", ""),
    };
    sink.answer(vec![retry; 2]);
    let settings = EndpointSettings::default().with(|own| own.attempts_max = 2);
    let router = Router::builder()
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap();
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
    let router = Router::builder()
        .sink("broken", BrokenSink(AtomicU64::new(0)))
        .route("all", "broken", "true")
        .build()
        .unwrap();
    accept(&router, vec![event(1, "a"), event(2, "b")]).await;
    router.settled().await;
    assert_eq!(endpoint_status(&router, "broken").delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_refuses_whole_batches_and_says_when_to_come_back() {
    let sink = ScriptedSink::gated();
    let router = Router::builder()
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .journal_bytes_max(2 * event(1, "a").size() as u64)
        .build()
        .unwrap();
    let warnings = router.status().table.warnings;
    assert!(
        warnings[0].contains("their queues are cut to their shares"),
        "{warnings:?}"
    );
    accept(&router, vec![event(1, "a")]).await;
    let two = vec![event(2, "a"), event(3, "a")];
    let refused = router
        .accept(None, two, AckLevel::Memory)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, AcceptError::Full { retry_after, .. } if retry_after >= Duration::from_secs(1))
    );
    let large = vec![event(2, "a"), event(3, "a"), event(4, "a")];
    let refused = router
        .accept(None, large, AckLevel::Memory)
        .await
        .unwrap_err();
    assert!(matches!(refused, AcceptError::TooLarge { .. }));
    let routes = &router.status().instances[0].routes;
    assert_eq!(routes[0].matched, 1, "what was refused is not counted");
    sink.let_pass(9);
    router.settled().await;
    accept(&router, vec![event(2, "a"), event(3, "a")]).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "2", "3"]);
    assert_eq!(router.status().journal.bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn at_its_own_cap_a_lane_lets_its_oldest_go_and_counts_them() {
    let sink = ScriptedSink::default();
    sink.set_down(true);
    let settings = EndpointSettings::default().with(|own| own.queue_events_max = 3);
    let router = Router::builder()
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap();
    for id in 1..=5 {
        accept(&router, vec![event(id, "a")]).await;
    }
    let status = endpoint_status(&router, "only");
    assert_eq!((status.matched, status.queued), (5, 3));
    assert_eq!((status.dead_letters.local, status.discarded), (2, 0));
    sink.set_down(false);
    router.settled().await;
    assert_eq!(sink.ids(), ["3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_pushes_a_retrying_one_out_does_not_wait_for_the_rest() {
    let sink = ScriptedSink::default();
    let settings = EndpointSettings::default().with(|own| own.queue_events_max = 2);
    let router = Router::builder()
        .sink_with("sink", sink.clone(), settings)
        .route("all", "sink", "true")
        .build()
        .unwrap();
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

#[tokio::test(start_paused = true)]
async fn stopping_waits_then_counts_what_it_discards() {
    let (first, second) = (ScriptedSink::default(), ScriptedSink::default());
    second.set_down(true);
    let router = two_sinks(&first, &second);
    accept(&router, vec![event(1, "room1")]).await;
    let status = router.stop(Duration::from_secs(10)).await;
    let counts: Vec<_> = status.instances[0]
        .endpoints
        .iter()
        .map(|endpoint| {
            (
                endpoint.delivered,
                endpoint.discarded,
                endpoint.unaccounted(),
            )
        })
        .collect();
    assert_eq!(counts, [(1, 0, 0), (0, 1, 0)]);
    assert!(!status.readiness.ready);
    let refused = router
        .accept(None, vec![event(2, "x")], AckLevel::Memory)
        .await;
    assert_eq!(refused, Err(AcceptError::Stopping));
}

#[tokio::test]
async fn the_ledger_adds_up_at_every_moment() {
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
    let router = Router::builder()
        .sink("only", sink.clone())
        .route("all", "only", "true")
        .build()
        .unwrap();
    for id in 0..500 {
        accept(&router, vec![event(id, ["a", "b", "c"][id % 3])]).await;
        endpoint_status(&router, "only");
        tokio::task::yield_now().await;
    }
    let status = router.stop(Duration::ZERO).await;
    assert_eq!(status.instances[0].endpoints[0].unaccounted(), 0);
    assert_eq!(status.instances[0].endpoints[0].matched, 500);
}
