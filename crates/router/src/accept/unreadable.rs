//! What a sender that does not repeat delivered and nobody can read: kept until it can be.
//!
//! It is an event of our own around the bytes, delivered to an endpoint of our own, [`ENDPOINT`], of the instance it
//! came for. That endpoint's sink reads the bytes with the reader of today. What it can read it accepts, as if it had
//! just come in; the rest it rejects, and so it is a dead letter of that endpoint: durable, counted in the ledger,
//! listed, exported, bounded, and read again by a replay like every other.
//!
//! | what the bytes are | outcome |
//! |---|---|
//! | events, or some events | delivered; what is none among them is kept again |
//! | no event | reject, `unreadable` |
//! | events, and the instance is gone | reject, `unknown-instance` |
//! | events that the journal does not take just now | unavailable, throttled |
//!
//! A repeat, after a crash between the acceptance and its settlement, accepts the events once more.

use super::acceptor::Acceptor;
use super::answer::{AcceptError, AckLevel};
use super::appender::durable;
use super::matched_batch::MatchedBatch;
use super::receipt::BatchReceipt;
use crate::delivery::{self, LaneArrival};
use crate::sink::{
    BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink,
};
use crate::status::{EndpointStatus, InstanceStatus};
use crate::trace::EventTraces;
use crate::unreadable_endpoint::{ENDPOINT, ENDPOINT_TYPE};
use crate::user_code::UserSink;
use bytes::Bytes;
use bytesize::ByteSize;
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::event::{Event, EventLimits, EventParts, EventProblem};
use twinroute_model::name::InstanceName;
use twinroute_model::received;
use twinroute_model::settings::EndpointSettings;
use twinroute_model::twin::TwinKey;
use twinroute_model::visible::cut;

/// The `type` of the event around the bytes.
const EVENT_TYPE: &str = "twinroute.delivery.unreadable";

/// The extension that says why the bytes could not be read when they came.
const REASON: &str = "unreadablereason";

/// Bytes of that reason.
const REASON_BYTES_MAX: usize = 256;

/// Code of what is no event.
const UNREADABLE: &str = "unreadable";

/// When to try again what the journal did not take.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Something that a sender which does not repeat delivered, and that is no event.
#[derive(Clone, Debug)]
pub struct UnreadableDelivery {
    /// It, byte for byte.
    pub bytes: Bytes,
    /// The path it was posted to; stands in where its events name no source.
    pub path: String,
    /// Why it is no event.
    pub reason: String,
}

/// How what cannot be read is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnreadableSettings {
    /// Bytes of it that each instance keeps; beyond, the oldest is discarded.
    pub bytes_max: ByteSize,
    /// What its events may measure when they are read again.
    pub limits: EventLimits,
}

impl Default for UnreadableSettings {
    /// 16 MiB, and what Event Grid takes.
    fn default() -> Self {
        Self {
            bytes_max: ByteSize::mib(16),
            limits: EventLimits::default(),
        }
    }
}

/// Makes the lanes of [`ENDPOINT`]. Cheap to clone.
#[derive(Clone)]
pub(crate) struct UnreadableLanes {
    settings: Arc<EndpointSettings>,
    limits: EventLimits,
    /// Where events go that can be read after all; set once the router runs.
    acceptor: Arc<OnceLock<Weak<Acceptor>>>,
}

impl UnreadableLanes {
    pub(crate) fn new(settings: &UnreadableSettings) -> Self {
        let endpoint =
            EndpointSettings::default().with(|own| own.dead_letter_bytes_max = settings.bytes_max);
        Self {
            settings: Arc::new(endpoint),
            limits: settings.limits,
            acceptor: Arc::default(),
        }
    }

    /// From here on they have somewhere to put events.
    pub(crate) fn connect(&self, acceptor: &Arc<Acceptor>) {
        drop(self.acceptor.set(Arc::downgrade(acceptor)));
    }

    /// What one is made of.
    pub(crate) fn setup(&self, instance: &InstanceName) -> delivery::LaneSetup {
        delivery::LaneSetup {
            endpoint_type: ENDPOINT_TYPE.into(),
            address: String::new(),
            sink: UserSink::of(SecondReader {
                instance: instance.clone(),
                limits: self.limits,
                acceptor: Arc::clone(&self.acceptor),
            }),
            store: None,
            settings: Arc::clone(&self.settings),
            hold: None,
        }
    }
}

/// Says of which instances something is kept. Not how much: a warning is logged once a day while it stays the same.
pub(crate) fn warnings(instances: &[InstanceStatus]) -> impl Iterator<Item = String> + '_ {
    let keeps = |endpoint: &EndpointStatus| {
        endpoint.endpoint_type == ENDPOINT_TYPE && endpoint.dead_letters.local > 0
    };
    let instances = instances.iter();
    let keeping = instances.filter(move |instance| instance.endpoints.iter().any(keeps));
    keeping.map(|instance| {
        format!(
            "instance {}: webhook deliveries that are no event are kept: `twinroute deadletter list --instance {} \
             --endpoint {ENDPOINT}` shows them; replay, export or purge them",
            instance.name, instance.name
        )
    })
}

/// Keeps what nobody can read, as dead letters of [`ENDPOINT`].
pub(crate) struct UnreadableKeeper(pub(crate) Arc<Acceptor>);

impl UnreadableKeeper {
    /// As [`Router::keep_unreadable`](crate::Router::keep_unreadable).
    pub(crate) async fn keep(
        &self,
        instance: Option<&str>,
        deliveries: Vec<UnreadableDelivery>,
    ) -> Result<(), AcceptError> {
        let Self(acceptor) = self;
        // An instance that is not there keeps nothing.
        acceptor.instance(instance)?;
        let name = match instance {
            None => acceptor.live.default_instance().clone(),
            Some(name) => InstanceName::new(name).map_err(|_| acceptor.unknown_instance(name))?,
        };
        let events: Vec<Event> = deliveries.iter().map(wrap).collect();
        if acceptor.appender.is_stopping() {
            return Err(AcceptError::Stopping);
        }
        let lane = acceptor.live.unreadable_lane(&name);
        let lanes = [lane.ok_or(AcceptError::Stopping)?];
        let arrival = LaneArrival::Matched {
            traces: EventTraces::default(),
            came: Instant::now(),
            tracker: None,
        };
        let mut matched = MatchedBatch::with_capacity(events.len());
        for event in events {
            let twin = TwinKey::of(&event).stable_hash();
            matched.add(event, twin, &[0], &lanes);
        }
        let (level, mut receipt) = (AckLevel::Durable, BatchReceipt::default());
        let appender = &acceptor.appender;
        let appended = appender.append(&lanes, matched, level, arrival, &mut receipt);
        match appended.await? {
            Some(on_disk) => durable(on_disk, appender.is_replicated()).await,
            None => Ok(()),
        }
    }
}

/// The event around the bytes. What is JSON or text stays legible in it.
fn wrap(delivery: &UnreadableDelivery) -> Event {
    /// The bytes are bounded by what a body may have.
    const WIDEST: EventLimits = EventLimits {
        event_bytes_max: usize::MAX,
        batch_events_max: 1,
    };
    let build = |reason: &str| -> Result<Event, EventProblem> {
        let id = received::content_id(&delivery.bytes);
        let parts = EventParts::new(&id, &delivery.path, EVENT_TYPE).set(REASON, reason)?;
        let text = std::str::from_utf8(&delivery.bytes);
        let parts = match text {
            Ok(text) if received::is_json(text) => parts.json(text),
            Ok(text) if !text.starts_with('\u{feff}') => {
                let parts = parts.set("datacontenttype", "text/plain; charset=utf-8")?;
                parts.data(delivery.bytes.clone())
            }
            Ok(_) | Err(_) => parts.data(delivery.bytes.clone()),
        };
        parts.build_lenient(&WIDEST)
    };
    build(&attribute_text(&delivery.reason))
        .or_else(|_| build("its reason cannot be shown"))
        .expect("an id, a path and a type that break no rule")
}

/// A reason as it may stand in an attribute.
fn attribute_text(reason: &str) -> String {
    let plain = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = plain.collect();
    cut(&text, REASON_BYTES_MAX).to_owned()
}

/// Reads again what could not be read.
struct SecondReader {
    instance: InstanceName,
    limits: EventLimits,
    acceptor: Arc<OnceLock<Weak<Acceptor>>>,
}

impl SecondReader {
    async fn read(&self, event: &Event) -> DeliveryOutcome {
        let payload = event.payload();
        let bytes = Bytes::copy_from_slice(&payload.bytes);
        let received = received::read(&bytes, event.source(), &self.limits);
        if received.events.is_empty() {
            let first = received.unreadable.first();
            let reason =
                first.map_or_else(|| "it is empty".to_owned(), |part| part.reason.to_string());
            return DeliveryOutcome::Reject(FailureReason::new(UNREADABLE, reason));
        }
        let Some(acceptor) = self.acceptor.get().and_then(Weak::upgrade) else {
            return unavailable("the router does not run yet, or no more");
        };
        let name = Some(self.instance.as_str());
        let rest = received
            .unreadable
            .into_iter()
            .map(|part| UnreadableDelivery {
                bytes: part.bytes,
                path: event.source().to_owned(),
                reason: part.reason.to_string(),
            });
        let rest: Vec<UnreadableDelivery> = rest.collect();
        let level = acceptor.default_level();
        let nobody_waits = std::future::ready(());
        let accepted = acceptor.accept_until(name, received.events, level, nobody_waits);
        let accepted = accepted.await;
        // Behind the events: what an endpoint refuses again and again must not be kept as often.
        let accepted = match accepted {
            Ok(_) if !rest.is_empty() => UnreadableKeeper(acceptor).keep(name, rest).await,
            accepted => accepted.map(drop),
        };
        match accepted {
            Ok(()) => DeliveryOutcome::Delivered,
            Err(error @ AcceptError::UnknownInstance { .. }) => {
                DeliveryOutcome::Reject(FailureReason::new("unknown-instance", error.to_string()))
            }
            Err(error @ AcceptError::TooLarge { .. }) => {
                DeliveryOutcome::Reject(FailureReason::new(UNREADABLE, error.to_string()))
            }
            Err(error) => unavailable(&error.to_string()),
        }
    }
}

fn unavailable(why: &str) -> DeliveryOutcome {
    DeliveryOutcome::Unavailable(EndpointFault {
        kind: FaultKind::Throttled,
        after: Some(RETRY_AFTER),
        reason: FailureReason::new("not-accepted", why),
    })
}

impl Sink for SecondReader {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 100,
            bytes_max: 4 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            let mut outcomes = Vec::with_capacity(batch.len());
            for delivery in batch {
                outcomes.push(self.read(&delivery.event).await);
            }
            outcomes
        }
        .boxed()
    }
}

#[cfg(test)]
#[path = "unreadable_tests.rs"]
mod tests;
