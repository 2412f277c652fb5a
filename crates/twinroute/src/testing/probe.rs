//! Calls a sink that is checked, and looks at what arrived.

use super::samples::deliveries;
use crate::event::Event;
use crate::sink::{Delivery, DeliveryOutcome, FailureReason};
use crate::{Router, Sink, SinkSetup};
use futures_util::FutureExt as _;
use std::any::Any;
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

/// How a sink's refusal of a whole batch begins.
pub(super) const NOT_TAKEN: &str = "it did not take a batch";

/// What a sink does to events.
const AS_IT_IS: &str = "send it as it is, and change events with `RouterBuilder::map_event`";

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
        made.map_err(|panic| {
            format!(
                "the sink cannot be made: it panicked: {}",
                panic_text(&*panic)
            )
        })
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
                    "{} did not end within {seconds} s: give up in time and say why, as with \
                     `SinkLayers::time_limit`, or set `SinkCheck::time_limit` where it needs longer",
                    batch_of(events)
                ));
            }
            Ok(Err(panic)) => return Err(panicked(events, &*panic)),
            Ok(Ok(Err(error))) => {
                return Err(format!(
                    "{NOT_TAKEN}: {error}: while it is checked its destination has to take events"
                ));
            }
            Ok(Ok(Ok(outcome))) => outcome.into_outcomes(events),
        };
        match outcomes.len() {
            given if given == events => Ok(outcomes),
            given => Err(format!(
                "it gave {given} outcomes for {}: give one for each delivery, in their order, or \
                 `SendOutcome::all_delivered()`",
                batch_of(events)
            )),
        }
    }

    /// Sends events and wants all of them to be there as soon as the sink says so.
    pub(super) async fn deliver(&self, sink: &S, events: &[Event]) -> CheckResult {
        let outcomes = self.send(sink, &deliveries(events)).await?;
        for (event, outcome) in events.iter().zip(&outcomes) {
            let reason = match outcome {
                DeliveryOutcome::Delivered => continue,
                DeliveryOutcome::Retry { reason, .. } | DeliveryOutcome::Reject(reason) => reason,
                DeliveryOutcome::Unavailable(fault) => &fault.reason,
                _ => &FailureReason::from("another outcome"),
            };
            return Err(format!(
                "event {} was not delivered: {reason}: its destination has to take it, or the sink refuses too much",
                event.id()
            ));
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
                    "event {id} is not at the destination, though it was delivered: say `Delivered` only of what \
                     the destination has"
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
        let here = self.observed().await;
        let here: std::collections::HashSet<&str> = here.iter().map(|one| &*one.id).collect();
        let missing = events.iter().find(|event| !here.contains(event.id()));
        let Some(missing) = missing else {
            return self.are_there(events.iter()).await;
        };
        let status = router.status();
        let error = status.instances.iter().flat_map(|one| &one.endpoints);
        let error: String = error.map(|endpoint| &*endpoint.last_error).collect();
        let why = match error.is_empty() {
            true => String::new(),
            false => format!("; the endpoint's last error: {error}"),
        };
        let (id, seconds) = (missing.id(), self.time_limit.as_secs_f64());
        Err(format!(
            "event {id} did not arrive within {seconds} s of being accepted{why}"
        ))
    }
}

fn batch_of(events: usize) -> String {
    let plural = if events == 1 { "" } else { "s" };
    format!("a batch of {events} event{plural}")
}

/// What is said of a sink that panicked.
pub(super) fn panicked(events: usize, panic: &(dyn Any + Send)) -> String {
    let (batch, why) = (batch_of(events), panic_text(panic));
    format!("it panicked over {batch}: {why}: give an error, such as `SendError::unavailable`")
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a reason")
}

/// Whether an event arrived as it was sent.
fn same(sent: &Event, there: &Event) -> CheckResult {
    let mut names = vec![
        "source",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
    ];
    let id = sent.id();
    let extensions = sent.extensions().chain(there.extensions());
    names.extend(extensions.map(|(name, _)| name));
    let changed = |what: &str| Err(format!("event {id} arrived with {what}: {AS_IT_IS}"));
    for name in names {
        match (sent.attribute(name), there.attribute(name)) {
            (sent, there) if sent == there => {}
            (Some(_), None) => return changed(&format!("no `{name}`")),
            (None, _) => return changed(&format!("`{name}`, which it did not have")),
            (Some(_), Some(_)) => return changed(&format!("another `{name}`")),
        }
    }
    match sent.payload().bytes == there.payload().bytes {
        true => Ok(()),
        false => changed("another payload"),
    }
}
