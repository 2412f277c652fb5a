//! Bringing events into a router.

use crate::event::Event;
use crate::trace::TraceContext;
use crate::{AcceptError, AcceptedBatch, AckLevel};
use std::pin::Pin;
use std::time::Duration;
use twinroute_router::accept::DELIVERED_DEADLINE;

/// Events that are to be accepted, whole or not at all; `.await` brings them in.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// # let event = || Event::builder().id("1").source("press-7").event_type("t").build();
/// let accepted = router
///     .accept_batch([event()?, event()?])
///     .ack(AckLevel::Delivered)
///     .deadline(Duration::from_secs(5))
///     .await?;
/// assert_eq!(accepted.deliveries, 2);
/// assert_eq!(accepted.open(), 0);
/// # Ok(())
/// # }
/// ```
///
/// Once this was polled, dropping it does not undo it: the batch may be accepted all the same.
#[must_use = "nothing is accepted before `.await`"]
pub struct AcceptRequest<'a> {
    router: &'a twinroute_router::Router,
    events: Vec<Event>,
    instance: Option<String>,
    ack: AckLevel,
    deadline: Duration,
    trace: Option<TraceContext>,
}

impl<'a> AcceptRequest<'a> {
    pub(crate) fn new(router: &'a twinroute_router::Router, events: Vec<Event>) -> Self {
        Self {
            router,
            events,
            instance: None,
            ack: router.default_level(),
            deadline: DELIVERED_DEADLINE,
            trace: None,
        }
    }

    /// For an instance other than the default one.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = Some(name.into());
        self
    }

    /// When it is acknowledged; once it is on disk unless said otherwise, or in memory where there is no journal on disk.
    pub fn ack(mut self, level: AckLevel) -> Self {
        self.ack = level;
        self
    }

    /// How long level [`AckLevel::Delivered`] waits for the ends of the deliveries; 30 s unless said otherwise. What is
    /// open then is accepted all the same, and counted in the answer.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Which trace these events are part of: sinks get it to continue, and where spans are recorded they stand below it.
    /// An event whose extension `traceparent` names another trace keeps that one. `None`, which is what
    /// [`TraceContext::parse`] makes of a header that breaks the rules, is no trace.
    ///
    /// ```
    /// use twinroute::prelude::*;
    /// use twinroute::trace::TraceContext;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), twinroute::Error> {
    /// let sink = sink_fn(|batch: Vec<Delivery>| async move {
    ///     let context = batch[0].trace_context().expect("it came with one");
    ///     assert_eq!(context.trace_id(), 0x4bf92f3577b34da6a3ce929d0e0e4736);
    ///     Ok(SendOutcome::all_delivered())
    /// });
    /// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
    /// let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
    /// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let accepting = router.accept(event).trace(TraceContext::parse(header));
    /// assert_eq!(accepting.ack(AckLevel::Delivered).await?.open(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trace(mut self, trace: impl Into<Option<TraceContext>>) -> Self {
        self.trace = trace.into();
        self
    }

    async fn accept(self) -> Result<AcceptedBatch, AcceptError> {
        let Self {
            router,
            events,
            instance,
            ack,
            deadline,
            trace,
        } = self;
        let instance = instance.as_deref();
        let until = tokio::time::sleep(deadline);
        match trace {
            None => router.accept_until(instance, events, ack, until).await,
            Some(trace) => {
                let accepting = router.accept_traced(trace, instance, events, ack, until);
                accepting.await
            }
        }
    }
}

impl<'a> IntoFuture for AcceptRequest<'a> {
    type Output = Result<AcceptedBatch, AcceptError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.accept())
    }
}
