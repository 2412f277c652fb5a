//! What a lane asks of a protocol client: send a batch, say what became of each delivery.
//!
//! A sink never decides when something is tried again; it tells what happened and the lane acts.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
pub use twinroute_journal::HeldEvent;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::event::Event;
use twinroute_model::settings::EndpointSettings;
use twinroute_model::trace_context::TraceContext;
use twinroute_model::twin::TwinKey;
pub use twinroute_retry::dead_letter::document::DeadLetterDocument;
pub use twinroute_retry::dead_letter::store::{DeadLetterStore, StoredLetter, StoredPage};
pub use twinroute_retry::failure::{EndpointFault, FailureReason, FaultKind};

/// The protocol client of one endpoint.
///
/// [`Sink::send`] is called for several batches at a time, up to [`BatchLimits::in_flight_max`].
pub trait Sink: Send + Sync + 'static {
    /// How large batches may be; asked before each one, since a connection may tell more.
    fn limits(&self) -> BatchLimits;

    /// Sends a batch and gives one outcome per delivery, in order.
    ///
    /// The sink bounds its own time by the endpoint's attempt timeout. Dropping the future leaves it
    /// unknown what arrived.
    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>>;

    /// Says whether the destination answers and takes the credential, without sending an event. It may
    /// leave a connection that later batches use.
    ///
    /// The sink bounds its time as that of a batch. Dropping the future is harmless. The default, for
    /// destinations that cannot be asked, says yes.
    ///
    /// # Errors
    /// What a batch would meet.
    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        ready(Ok(())).boxed()
    }

    /// The credentials it has, and which of them it uses; asked at each snapshot, so it must be quick.
    fn credentials(&self) -> Vec<CredentialState> {
        Vec::new()
    }
}

/// Several may hold one sink.
impl<S: Sink + ?Sized> Sink for Arc<S> {
    fn limits(&self) -> BatchLimits {
        (**self).limits()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        (**self).send(batch)
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        (**self).probe()
    }

    fn credentials(&self) -> Vec<CredentialState> {
        (**self).credentials()
    }
}

/// A credential of an endpoint as its sink knows it. Holds no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialState {
    /// Which one.
    pub slot: CredentialSlot,
    /// Whether it is the one in use; while all are refused, the one that is tried first.
    pub active: bool,
    /// When it ends, where that is known. That of an identity is the token's, which is renewed.
    pub expires_at: Option<Timestamp>,
}

/// The place of a credential in an endpoint's definition.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CredentialSlot {
    /// The first key or connection string.
    #[default]
    Primary,
    /// The second one.
    Secondary,
    /// An identity's token.
    Identity,
}

impl CredentialSlot {
    /// The word for metrics and `/status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Identity => "identity",
        }
    }
}

/// Makes the sink of an endpoint.
pub trait Connect: Send + Sync + 'static {
    /// Prepares a sink without any I/O; the first batch connects.
    ///
    /// It is asked only for endpoints that may be sent to: not while one waits for its secret
    /// ([`EndpointDestination::Waiting`](twinroute_model::endpoint::EndpointDestination::Waiting)), nor while its
    /// provisioning state says otherwise.
    ///
    /// # Errors
    /// When the definition cannot be turned into a sink at all; the table then keeps its old state.
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError>;

    /// Prepares the store of an endpoint's dead letters, without any I/O; none if they stay here. It is
    /// asked also for endpoints that may not be sent to.
    ///
    /// # Errors
    /// When the definition names one that cannot be used at all.
    fn dead_letters(
        &self,
        _endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        Ok(None)
    }
}

/// Several who make sinks may share one.
impl<C: Connect + ?Sized> Connect for Arc<C> {
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        (**self).connect(endpoint, settings)
    }

    fn dead_letters(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        (**self).dead_letters(endpoint)
    }
}

/// Why no sink could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {endpoint}: {reason}")]
pub struct ConnectError {
    /// The endpoint's name.
    pub endpoint: String,
    /// What is wrong and the way out.
    pub reason: String,
}

/// Refuses every endpoint: for routers that bring all their sinks along.
pub(crate) struct NoConnect;

impl Connect for NoConnect {
    fn connect(
        &self,
        endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        Err(ConnectError {
            endpoint: endpoint.name.to_string(),
            reason: format!(
                "this router has no protocol client for {}; give the builder one with `connect`",
                endpoint.endpoint_type()
            ),
        })
    }
}

/// One event for one endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The event's place in the order of acceptance.
    pub sequence: u64,
    /// The event.
    pub event: HeldEvent,
    /// Stable hash of its twin; see `TwinKey::stable_hash`.
    pub twin: u64,
    /// Attempts made before this one that counted.
    pub attempts: u32,
    /// The trace that it is part of, where that does not stand in the event; see [`Self::trace_context`].
    pub trace: Option<Arc<TraceContext>>,
}

impl Delivery {
    /// A first attempt, for whoever calls a sink without a router.
    #[must_use]
    pub fn new(sequence: u64, event: impl Into<HeldEvent>) -> Self {
        let event = event.into();
        Self {
            sequence,
            twin: TwinKey::of(&event).stable_hash(),
            event,
            attempts: 0,
            trace: None,
        }
    }

    /// What the destination is to continue, beside the event, which stays as it is: the span of this attempt where it
    /// is recorded, else what the producer said.
    ///
    /// The event's own extension counts for more than the request that it came with, unless both are of one trace:
    /// CloudEvents, "Distributed Tracing extension", has the extension say where a trace began, and headers how far it
    /// has come.
    #[must_use]
    pub fn trace_context(&self) -> Option<Cow<'_, TraceContext>> {
        continued(self.trace.as_deref(), &self.event)
    }
}

/// Which of two contexts counts: the one of an event's request, or of what was recorded since, and the event's own.
pub(crate) fn continued<'a>(
    trace: Option<&'a TraceContext>,
    event: &Event,
) -> Option<Cow<'a, TraceContext>> {
    let own = TraceContext::of_event(event);
    match (trace, own) {
        (Some(trace), Some(own)) if own.trace_id() != trace.trace_id() => Some(Cow::Owned(own)),
        (Some(trace), _) => Some(Cow::Borrowed(trace)),
        (None, own) => own.map(Cow::Owned),
    }
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events in a batch.
    pub events_max: usize,
    /// Sum of [`Event::size`](twinroute_model::event::Event::size) over a batch; one larger event still goes, alone.
    pub bytes_max: usize,
    /// Batches that may be unanswered at a time.
    pub in_flight_max: usize,
}

impl Default for BatchLimits {
    /// For a sink that says nothing of it: 500 events, 1 MiB, one batch at a time.
    fn default() -> Self {
        Self {
            events_max: 500,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }
}

/// What became of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryOutcome {
    /// The destination has it.
    Delivered,
    /// This event failed, others may not: try it again, no sooner than `after`.
    Retry {
        /// What the destination asked for.
        after: Option<Duration>,
        /// Why.
        reason: FailureReason,
    },
    /// This event will never be taken.
    Reject(FailureReason),
    /// The endpoint takes nothing just now; it is not the event's fault.
    Unavailable(EndpointFault),
}

impl DeliveryOutcome {
    /// This event failed, others may not: it is tried again when its turn comes.
    pub fn retry(reason: impl Into<FailureReason>) -> Self {
        Self::Retry {
            after: None,
            reason: reason.into(),
        }
    }

    /// This event will never be taken: it becomes a dead letter.
    pub fn reject(reason: impl Into<FailureReason>) -> Self {
        Self::Reject(reason.into())
    }

    /// The destination takes nothing just now: this event and all others wait.
    pub fn unavailable(reason: impl Into<FailureReason>) -> Self {
        Self::Unavailable(EndpointFault {
            kind: FaultKind::Unreachable,
            after: None,
            reason: reason.into(),
        })
    }
}
