use super::*;
use crate::accept::AcceptedBatch;
use crate::sink::{
    BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink,
};
use futures_util::future::{BoxFuture, FutureExt};
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::Semaphore;
use twinroute_model::event::{EventLimits, EventParts};

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
