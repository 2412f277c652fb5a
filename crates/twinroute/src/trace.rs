//! Traces: what destinations continue of them, and the spans of a router's own.

/// ```
/// use twinroute::prelude::*;
/// use twinroute::trace::{SpanQueue, SpanSettings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let (queue, mut receiver) = SpanQueue::new(SpanSettings { sample: 1.0, spans_max: 2_048 });
/// let builder = Router::builder().spans(queue).sink("archive", sink);
/// let router = builder.route("all", "archive", "true").start().await?;
/// router.accept(event).ack(AckLevel::Delivered).await?;
/// router.stop(Duration::from_secs(1)).await;
/// drop(router);
///
/// let mut spans = Vec::new();
/// while receiver.take(&mut spans, 512).await > 0 {}
/// let mut steps: Vec<&str> = spans.iter().map(|span| span.step.as_str()).collect();
/// steps.sort_unstable();
/// assert_eq!(steps, ["accept", "attempt", "journal"]);
/// assert!(spans.iter().all(|span| span.context.trace_id() == spans[0].context.trace_id()));
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::trace::SpanQueue;
/// ```
/// use twinroute::trace::TraceContext;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = TraceContext::parse(parent).ok_or("breaks a rule")?;
/// assert!(context.is_sampled());
/// assert_eq!(context.parent().as_str(), parent);
/// assert_eq!(TraceContext::parse("00-4bf9-00f0-01"), None);
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::trace::TraceContext;
pub use twinroute_router::trace::{SpanReceiver, SpanSettings, SpanStep, SpanValue};
pub use twinroute_router::trace::{TraceParent, TraceSpan};
