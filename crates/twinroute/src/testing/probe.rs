//! Calls a sink that is checked, and looks at what arrived.

use super::samples::deliveries;
use crate::event::Event;
use crate::sink::{Delivery, DeliveryOutcome};
use crate::{Router, Sink, SinkSetup};
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What a check found.
pub(super) type CheckResult = Result<(), String>;

/// An event at its destination: all of it, or its id.
#[derive(Clone, Debug)]
pub struct ObservedEvent {
    id: String,
    event: Option<Event>,
}

impl From<Event> for ObservedEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.id().to_owned(),
            event: Some(event),
        }
    }
}

impl From<String> for ObservedEvent {
    fn from(id: String) -> Self {
        Self { id, event: None }
    }
}

impl From<&str> for ObservedEvent {
    fn from(id: &str) -> Self {
        Self::from(id.to_owned())
    }
}

/// A sink that is checked, and its destination.
pub(super) struct SinkProbe<M, W> {
    pub(super) make: M,
    pub(super) observe: W,
    pub(super) time_limit: Duration,
}

/// Asked again this often while something is expected to arrive.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl<S, M, W, O> SinkProbe<M, W>
where
    S: Sink,
    M: Fn() -> S,
    W: AsyncFn() -> Vec<O>,
    O: Into<ObservedEvent>,
{
    /// A new sink.
    pub(super) fn sink(&self) -> Result<S, String> {
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)()));
        made.map_err(|_| "the sink cannot be made: it panicked".to_owned())
    }

    /// Sends a batch. Gives one outcome for each delivery.
    pub(super) async fn send(
        &self,
        sink: &S,
        batch: &[Delivery],
    ) -> Result<Vec<DeliveryOutcome>, String> {
        let sending = AssertUnwindSafe(async { sink.send(batch).await }).catch_unwind();
        let events = batch.len();
        let seconds = self.time_limit.as_secs_f64();
        let outcomes = match timeout(self.time_limit, sending).await {
            Err(_) => {
                return Err(format!(
                    "a batch of {events} events did not end within {seconds} s"
                ));
            }
            Ok(Err(_)) => return Err(format!("it panicked over a batch of {events} events")),
            Ok(Ok(Err(error))) => return Err(format!("it did not take a batch: {error}")),
            Ok(Ok(Ok(outcome))) => outcome.into_outcomes(events),
        };
        match outcomes.len() {
            given if given == events => Ok(outcomes),
            given => Err(format!("it gave {given} outcomes for {events} deliveries")),
        }
    }

    /// Sends events and wants all of them to be there as soon as the sink says so.
    pub(super) async fn deliver(&self, sink: &S, events: &[Event]) -> CheckResult {
        let outcomes = self.send(sink, &deliveries(events)).await?;
        for (event, outcome) in events.iter().zip(&outcomes) {
            if *outcome != DeliveryOutcome::Delivered {
                return Err(format!("event {} was not delivered", event.id()));
            }
        }
        self.are_there(events.iter()).await
    }

    /// Whether all of these are at the destination, as they are.
    pub(super) async fn are_there(&self, events: impl Iterator<Item = &Event>) -> CheckResult {
        let observed = self.observed().await;
        let by_id: HashMap<&str, &ObservedEvent> =
            observed.iter().map(|one| (&*one.id, one)).collect();
        for event in events {
            let Some(there) = by_id.get(event.id()) else {
                let id = event.id();
                return Err(format!(
                    "event {id} is not at the destination, though it was delivered"
                ));
            };
            if let Some(there) = &there.event {
                same(event, there)?;
            }
        }
        Ok(())
    }

    /// All that the destination has.
    pub(super) async fn observed(&self) -> Vec<ObservedEvent> {
        let observed = (self.observe)().await;
        observed.into_iter().map(Into::into).collect()
    }

    /// Ids of a check at the destination, in the order of their first arrival.
    pub(super) async fn arrivals(&self, check: &str) -> Vec<String> {
        let prefix = format!("{check}-");
        let mut arrivals: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for one in self.observed().await {
            if one.id.starts_with(&prefix) && seen.insert(one.id.clone()) {
                arrivals.push(one.id);
            }
        }
        arrivals
    }

    /// A router whose one endpoint is a new sink, with one attempt for an event that fails alone.
    pub(super) async fn router(&self) -> Result<Router, String> {
        let setup = SinkSetup::new(self.sink()?).settings(|settings| settings.attempts_max = 1);
        let builder = Router::builder().sink("checked", setup);
        let started = builder.route("all", "checked", "true").start().await;
        started.map_err(|error| format!("no router could be started: {error:?}"))
    }

    /// Waits until these are at the destination.
    pub(super) async fn until_there(&self, router: &Router, events: &[Event]) -> CheckResult {
        let arriving = async {
            while self.are_there(events.iter()).await.is_err() {
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(self.time_limit, arriving).await.is_ok() {
            return Ok(());
        }
        let missing = self.are_there(events.iter()).await.err();
        let status = router.status();
        let error = status.instances.iter().flat_map(|one| &one.endpoints);
        let error: String = error.map(|endpoint| &*endpoint.last_error).collect();
        let why = match error.is_empty() {
            true => String::new(),
            false => format!("; the endpoint's last error: {error}"),
        };
        Err(format!("{}{why}", missing.unwrap_or_default()))
    }
}

/// Whether an event arrived as it was sent.
fn same(sent: &Event, there: &Event) -> CheckResult {
    let names = [
        "source",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
    ];
    let id = sent.id();
    for name in names
        .into_iter()
        .chain(sent.extensions().map(|(name, _)| name))
    {
        if sent.attribute(name) != there.attribute(name) {
            return Err(format!("event {id} arrived with another `{name}`"));
        }
    }
    match sent.payload().bytes == there.payload().bytes {
        true => Ok(()),
        false => Err(format!("event {id} arrived with another payload")),
    }
}
