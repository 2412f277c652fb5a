//! The trait of sinks, and what they say of a batch.

use super::{BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Takes the deliveries of one endpoint.
///
/// A sink says what became of each delivery. It does not repeat, wait, count or log: the router does.
///
/// ```
/// use twinroute::prelude::*;
///
/// /// Pages somebody; a line that is engaged is tried again, a number that does not exist is not.
/// struct Pager;
///
/// impl Sink for Pager {
///     async fn send(&self, batch: &[Delivery]) -> SendResult {
///         let outcomes = batch.iter().map(|delivery| match delivery.event.subject() {
///             Some("room7") => DeliveryOutcome::retry("the line is engaged"),
///             Some(_) => DeliveryOutcome::Delivered,
///             None => DeliveryOutcome::reject("nobody is named"),
///         });
///         Ok(outcomes.collect())
///     }
/// }
/// # let event = Event::builder().id("1").source("desk").event_type("t").build().expect("it is legal");
/// # let sent = futures_util::FutureExt::now_or_never(Pager.send(&[Delivery::new(1, event)]));
/// # assert_eq!(sent.expect("it waits for nothing"), Ok(vec![DeliveryOutcome::reject("nobody is named")].into()));
/// ```
///
/// **It must not block the thread**: a call that does keeps a worker of the runtime from everybody else. Whatever else it
/// does costs its own endpoint alone. A panic, a future that does not end within four attempt timeouts and ten seconds,
/// and a wrong number of outcomes make the endpoint unavailable, and the events are sent again.
pub trait Sink: Send + Sync + 'static {
    /// Sends a batch, which is never empty.
    ///
    /// An error says that the endpoint takes nothing just now: all of the batch waits and is sent again, and no event
    /// uses up an attempt. `?` makes such an error of every I/O error.
    ///
    /// The future may be dropped at any await, when the router stops or the time is up: what it had sent by then is sent
    /// again.
    fn send(&self, batch: &[Delivery]) -> impl Future<Output = SendResult> + Send;

    /// How large batches may be, and how many may be unanswered at a time; asked before each batch. Those of
    /// [`BatchLimits::default`] unless said otherwise: one batch at a time.
    fn limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    /// Says whether the destination takes anything, without sending an event; asked when it was unavailable. Unless
    /// said otherwise it does, and the next batch finds out.
    fn probe(&self) -> impl Future<Output = Result<(), SendError>> + Send {
        async { Ok(()) }
    }
}

/// A program may keep a sink that it gives to a router.
impl<S: Sink> Sink for Arc<S> {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        (**self).send(batch).await
    }

    fn limits(&self) -> BatchLimits {
        (**self).limits()
    }

    async fn probe(&self) -> Result<(), SendError> {
        (**self).probe().await
    }
}

/// What became of a batch.
pub type SendResult = Result<SendOutcome, SendError>;

/// What became of a batch that the destination answered. Collect it from one [`DeliveryOutcome`] for each delivery, in
/// order.
///
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let outcomes = [DeliveryOutcome::Delivered, DeliveryOutcome::reject("it fits no page")];
/// let outcome: SendOutcome = outcomes.into_iter().collect();
/// assert_ne!(outcome, SendOutcome::all_delivered());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendOutcome(BatchAnswer);

#[derive(Clone, Debug, PartialEq, Eq)]
enum BatchAnswer {
    AllDelivered,
    Each(Vec<DeliveryOutcome>),
}

impl SendOutcome {
    /// The destination has all of it.
    #[must_use]
    pub const fn all_delivered() -> Self {
        Self(BatchAnswer::AllDelivered)
    }

    /// One outcome for each delivery.
    pub(crate) fn into_outcomes(self, deliveries: usize) -> Vec<DeliveryOutcome> {
        match self.0 {
            BatchAnswer::AllDelivered => vec![DeliveryOutcome::Delivered; deliveries],
            BatchAnswer::Each(outcomes) => outcomes,
        }
    }
}

impl FromIterator<DeliveryOutcome> for SendOutcome {
    fn from_iter<I: IntoIterator<Item = DeliveryOutcome>>(outcomes: I) -> Self {
        Self(BatchAnswer::Each(outcomes.into_iter().collect()))
    }
}

impl From<Vec<DeliveryOutcome>> for SendOutcome {
    fn from(outcomes: Vec<DeliveryOutcome>) -> Self {
        Self(BatchAnswer::Each(outcomes))
    }
}

/// Why a destination takes nothing just now. Its words are shown in logs and in the status, so they hold no secret.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let full = || SendError::throttled("the shelf is full").retry_after(Duration::from_secs(30));
/// let shelf = sink_fn(move |_| async move { Err(full()) });
/// let router = Router::builder().sink("shelf", shelf).route("all", "shelf", "true").start().await?;
/// let accepted = router.accept(event).ack(AckLevel::Delivered).deadline(Duration::from_millis(50)).await?;
/// assert_eq!(accepted.open(), 1);
/// assert!(router.status().instances[0].endpoints[0].last_error.contains("the shelf is full"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.reason)]
pub struct SendError(EndpointFault);

impl SendError {
    /// The destination cannot be reached, or does not answer.
    pub fn unavailable(reason: impl Into<FailureReason>) -> Self {
        Self::new(FaultKind::Unreachable, reason)
    }

    /// The destination asks to be sent less.
    pub fn throttled(reason: impl Into<FailureReason>) -> Self {
        Self::new(FaultKind::Throttled, reason)
    }

    /// The destination refuses the credential. The endpoint's events keep their time to live meanwhile.
    pub fn unauthorized(reason: impl Into<FailureReason>) -> Self {
        Self::new(FaultKind::Unauthorized, reason)
    }

    /// How long the destination asked to be left alone.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.after = Some(after);
        self
    }

    fn new(kind: FaultKind, reason: impl Into<FailureReason>) -> Self {
        Self(EndpointFault {
            kind,
            after: None,
            reason: reason.into(),
        })
    }

    pub(crate) fn into_fault(self) -> EndpointFault {
        self.0
    }
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        Self::unavailable(FailureReason::new("io", error.to_string()))
    }
}

impl From<EndpointFault> for SendError {
    fn from(fault: EndpointFault) -> Self {
        Self(fault)
    }
}

/// A sink made of a function, which is given the deliveries to keep.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// let print = sink_fn(|batch: Vec<Delivery>| async move {
///     for delivery in &batch {
///         println!("{} {}", delivery.event.event_type(), delivery.event.id());
///     }
///     Ok(SendOutcome::all_delivered())
/// });
/// let router = Router::builder().sink("printer", print).route("all", "printer", "true").start().await?;
/// let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// assert_eq!(router.accept(event).ack(AckLevel::Delivered).await?.open(), 0);
/// # Ok(())
/// # }
/// ```
pub fn sink_fn<F, R>(send: F) -> impl Sink
where
    F: Fn(Vec<Delivery>) -> R + Send + Sync + 'static,
    R: Future<Output = SendResult> + Send + 'static,
{
    FunctionSink(send)
}

struct FunctionSink<F>(F);

impl<F, R> Sink for FunctionSink<F>
where
    F: Fn(Vec<Delivery>) -> R + Send + Sync + 'static,
    R: Future<Output = SendResult> + Send + 'static,
{
    fn send(&self, batch: &[Delivery]) -> impl Future<Output = SendResult> + Send {
        (self.0)(batch.to_vec())
    }
}

/// A sink as the lanes of the router call it.
pub(super) struct LaneSink<S>(pub(super) S);

impl<S: Sink> twinroute_router::sink::Sink for LaneSink<S> {
    fn limits(&self) -> BatchLimits {
        self.0.limits()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            match self.0.send(batch).await {
                Ok(outcome) => outcome.into_outcomes(batch.len()),
                Err(error) => {
                    vec![DeliveryOutcome::Unavailable(error.into_fault()); batch.len()]
                }
            }
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        async move { self.0.probe().await.map_err(SendError::into_fault) }.boxed()
    }
}
