//! The router from outside: sinks by script, the journal in memory or on a disk that can be held up.
#![allow(clippy::unwrap_used, reason = "test code")]

mod delivered;
mod duplicates;
mod slow_disk;
mod status_text;

use futures_util::future::{BoxFuture, FutureExt as _};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use twinroute_model::event::{Event, EventLimits, EventParts};
use twinroute_router::accept::{AcceptError, AcceptedBatch, AckLevel};
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, FailureReason, Sink};
use twinroute_router::status::EndpointStatus;
use twinroute_router::{EndpointResult, Router};

/// Answers by script, then with `Delivered`; keeps the ids of what it was given.
#[derive(Clone)]
struct ScriptedSink {
    answers: Arc<Mutex<VecDeque<DeliveryOutcome>>>,
    ids: Arc<Mutex<Vec<String>>>,
    /// A batch takes a permit before it is answered.
    gate: Arc<Semaphore>,
}

impl Default for ScriptedSink {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(1000)),
            ..Self::closed()
        }
    }
}

impl ScriptedSink {
    /// Answers nothing until there are permits.
    fn closed() -> Self {
        Self {
            answers: Arc::default(),
            ids: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    fn rejecting(events: usize) -> Self {
        let script = Self::default();
        let reject = DeliveryOutcome::Reject(FailureReason::new("test", "as the script says"));
        script.answers.lock().unwrap().extend(vec![reject; events]);
        script
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }
}

impl Sink for ScriptedSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 10,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            self.gate.acquire().await.unwrap().forget();
            let mut answers = self.answers.lock().unwrap();
            let mut ids = self.ids.lock().unwrap();
            let answer = |delivery: &Delivery| {
                ids.push(delivery.event.id().to_owned());
                answers.pop_front().unwrap_or(DeliveryOutcome::Delivered)
            };
            batch.iter().map(answer).collect()
        }
        .boxed()
    }
}

fn event(id: usize) -> Event {
    let parts = EventParts::new(&id.to_string(), "host", "t");
    let parts = parts.set("subject", &format!("twin-{id}")).unwrap();
    parts.build(&EventLimits::default()).unwrap()
}

fn events(ids: impl IntoIterator<Item = usize>) -> Vec<Event> {
    ids.into_iter().map(event).collect()
}

fn endpoint(router: &Router, name: &str) -> EndpointStatus {
    let status = router.status();
    let endpoints = status.instances.into_iter().flat_map(|of| of.endpoints);
    let found = endpoints.into_iter().find(|of| of.name == name).unwrap();
    assert_eq!(found.unaccounted(), 0, "{found:?}");
    found
}

/// The outcomes by endpoint: delivered, dead-lettered, discarded, open.
fn outcomes(accepted: &AcceptedBatch) -> BTreeMap<&str, [u64; 4]> {
    let counts = |of: &EndpointResult| [of.delivered, of.dead_lettered, of.discarded, of.open];
    let outcomes = accepted.outcomes.iter();
    outcomes
        .map(|(name, of)| (name.as_str(), counts(of)))
        .collect()
}

/// Lets every task that can go on do so.
async fn others() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

type SinkAnswer = tokio::task::JoinHandle<Result<AcceptedBatch, AcceptError>>;

/// Accepts in a task of its own, which has come as far as it can.
async fn begin(
    router: &Router,
    ids: impl IntoIterator<Item = usize>,
    level: AckLevel,
) -> SinkAnswer {
    let (router, events) = (router.clone(), events(ids));
    let answer = tokio::spawn(async move { router.accept(None, events, level).await });
    others().await;
    answer
}
