//! Layers around a sink: a limit of time, a rate, a span for traces. Each is a sink again.
//!
//! ```
//! use twinroute::layers::SinkLayers as _;
//! use twinroute::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), twinroute::Error> {
//! # let pager = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
//! let pager = pager.time_limit(Duration::from_secs(3)).rate_limit(50).traced("pager");
//! assert_eq!(pager.limits().events_max, 50);
//! let router = Router::builder().sink("pager", pager).start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What is called first is innermost: here the time is that of the sink alone, and not of the wait for its rate.

use crate::sink::{BatchLimits, Delivery, FailureReason, SendError, SendResult, Sink};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

/// Puts layers around a sink.
///
/// ```
/// use twinroute::layers::SinkLayers as _;
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let sink = sink.rate_limit(20).time_limit(Duration::from_secs(3));
/// assert_eq!(sink.limits().events_max, 20);
/// # Ok(())
/// # }
/// ```
pub trait SinkLayers: Sink + Sized {
    /// Drops a batch, and says that the endpoint is unavailable, when the sink does not answer in time. Each batch then is
    /// sent again, so the limit should be far above what a batch takes.
    fn time_limit(self, limit: Duration) -> TimeLimited<Self> {
        TimeLimited { sink: self, limit }
    }

    /// Sends no more than so many events a second, evenly; 0 counts as 1. Batches become small enough that none waits
    /// longer than about a second.
    fn rate_limit(self, events_per_second: u32) -> RateLimited<Self> {
        RateLimited {
            sink: self,
            rate: NonZeroU32::new(events_per_second).unwrap_or(NonZeroU32::MIN),
            next_at: Mutex::new(None),
        }
    }

    /// Runs each batch in a span `send`, with the name and the number of events, of target `twinroute::sink`.
    fn traced(self, name: impl Into<String>) -> TracedSink<Self> {
        TracedSink {
            sink: self,
            name: name.into(),
        }
    }
}

impl<S: Sink> SinkLayers for S {}

/// A sink with a limit of time.
///
/// ```
/// use twinroute::layers::SinkLayers as _;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let one = [Delivery::new(1, Event::builder().id("1").source("press-7").event_type("t").build()?)];
/// let stuck = sink_fn(|_| std::future::pending()).time_limit(Duration::from_millis(5));
/// let late = stuck.send(&one).await.unwrap_err();
/// assert!(late.to_string().contains("did not end within 0.005 s"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TimeLimited<S> {
    sink: S,
    limit: Duration,
}

impl<S: Sink> Sink for TimeLimited<S> {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        match timeout(self.limit, self.sink.send(batch)).await {
            Ok(result) => result,
            Err(_) => Err(self.late("the batch")),
        }
    }

    fn limits(&self) -> BatchLimits {
        self.sink.limits()
    }

    async fn probe(&self) -> Result<(), SendError> {
        match timeout(self.limit, self.sink.probe()).await {
            Ok(result) => result,
            Err(_) => Err(self.late("the probe")),
        }
    }
}

impl<S> TimeLimited<S> {
    fn late(&self, what: &str) -> SendError {
        let limit = self.limit.as_secs_f64();
        let detail = format!("{what} did not end within {limit} s");
        SendError::unavailable(FailureReason::new("time-limit", detail))
    }
}

/// A sink with a rate.
///
/// ```
/// use twinroute::layers::SinkLayers as _;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let one = [Delivery::new(1, Event::builder().id("1").source("press-7").event_type("t").build()?)];
/// let sink = sink.rate_limit(100);
/// let begun = std::time::Instant::now();
/// for _ in 0..4 {
///     sink.send(&one).await.expect("it is delivered");
/// }
/// assert!(begun.elapsed() >= Duration::from_millis(29));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RateLimited<S> {
    sink: S,
    rate: NonZeroU32,
    /// When the next batch may go.
    next_at: Mutex<Option<Instant>>,
}

impl<S> RateLimited<S> {
    /// Takes the time of a batch from the schedule; gives when it may go. A rate that was not used up is not made up for.
    fn place(&self, events: usize) -> Instant {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let takes = Duration::from_secs(1) * events / self.rate.get();
        let mut next_at = self.next_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let at = next_at.map_or(now, |next| next.max(now));
        *next_at = Some(at + takes);
        at
    }
}

impl<S: Sink> Sink for RateLimited<S> {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        sleep_until(self.place(batch.len())).await;
        self.sink.send(batch).await
    }

    fn limits(&self) -> BatchLimits {
        let limits = self.sink.limits();
        let a_seconds = usize::try_from(self.rate.get()).unwrap_or(usize::MAX);
        BatchLimits {
            events_max: limits.events_max.min(a_seconds),
            ..limits
        }
    }

    async fn probe(&self) -> Result<(), SendError> {
        self.sink.probe().await
    }
}

/// A sink whose batches are spans.
///
/// ```
/// use twinroute::layers::SinkLayers as _;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let one = [Delivery::new(1, Event::builder().id("1").source("press-7").event_type("t").build()?)];
/// let sink = sink.traced("pager");
/// assert_eq!(sink.send(&one).await, Ok(SendOutcome::all_delivered()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TracedSink<S> {
    sink: S,
    name: String,
}

impl<S: Sink> Sink for TracedSink<S> {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        let (sink, events) = (&*self.name, batch.len());
        let span = tracing::info_span!(target: "twinroute::sink", "send", sink, events);
        self.sink.send(batch).instrument(span).await
    }

    fn limits(&self) -> BatchLimits {
        self.sink.limits()
    }

    async fn probe(&self) -> Result<(), SendError> {
        let span = tracing::info_span!(target: "twinroute::sink", "probe", sink = &*self.name);
        self.sink.probe().instrument(span).await
    }
}
