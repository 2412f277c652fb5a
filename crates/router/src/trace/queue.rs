//! Where spans wait for whoever exports them, and the decision which traces are recorded.

use super::span::TraceSpan;
use metrics::{Counter, counter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use twinroute_model::trace_context::TraceContext;

/// The step of a Weyl sequence, which visits every number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Which traces are recorded, and how many spans may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanSettings {
    /// The share of traces that begin here which are recorded, 0 to 1. A producer's trace is recorded if its producer
    /// says so.
    pub sample: f64,
    /// Spans that wait to be exported; what comes beyond them is dropped and counted.
    pub spans_max: usize,
}

/// Takes the spans of a router; see [`RouterBuilder::spans`](crate::RouterBuilder::spans). The default records nothing.
#[derive(Clone, Default)]
pub struct SpanQueue(Option<Arc<OpenQueue>>);

struct OpenQueue {
    spans: Sender<TraceSpan>,
    /// Of traces that begin here, those whose number is below it are recorded.
    sample_bound: u64,
    next: AtomicU64,
    keys: [u64; 3],
    dropped: Counter,
}

/// Gives the spans of a router, until the router and all its lanes are gone.
#[derive(Debug)]
pub struct SpanReceiver(Receiver<TraceSpan>);

impl SpanQueue {
    /// A queue and its end. Spans that find no room are counted in `twinroute_spans_dropped_total`.
    #[must_use]
    pub fn new(settings: SpanSettings) -> (Self, SpanReceiver) {
        let (spans, receiver) = channel(settings.spans_max.max(1));
        let dropped = counter!("twinroute_spans_dropped_total", "reason" => "queue-full");
        dropped.increment(0);
        let mut rng = fastrand::Rng::new();
        let queue = OpenQueue {
            spans,
            sample_bound: (settings.sample.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64,
            next: AtomicU64::new(rng.u64(..)),
            keys: [rng.u64(..), rng.u64(..), rng.u64(..)],
            dropped,
        };
        (Self(Some(Arc::new(queue))), SpanReceiver(receiver))
    }

    /// Whether spans are recorded at all.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The first span of a trace that begins here, if it is to be recorded.
    pub(crate) fn root(&self) -> Option<TraceContext> {
        let queue = self.0.as_ref()?;
        let number = queue.number();
        let [high, low, span] = queue.keys.map(|key| mixed(number.wrapping_add(key)));
        // As OpenTelemetry's `TraceIdRatioBased` does: by the id, so that others decide alike.
        let is_sampled = low >> 1 < queue.sample_bound;
        let trace_id = u128::from(high) << 64 | u128::from(low);
        is_sampled.then(|| TraceContext::root(trace_id, span.max(1)))?
    }

    /// A span below another one of its trace.
    pub(crate) fn below(&self, parent: &TraceContext) -> TraceContext {
        let number = self.0.as_ref().map_or(0, |queue| queue.number());
        parent.child(mixed(number).max(1))
    }

    /// Takes a span that has ended. Never waits.
    pub(crate) fn add(&self, span: TraceSpan) {
        if let Some(queue) = &self.0
            && queue.spans.try_send(span).is_err()
        {
            queue.dropped.increment(1);
        }
    }
}

impl OpenQueue {
    fn number(&self) -> u64 {
        self.next.fetch_add(STEP, Ordering::Relaxed)
    }
}

impl SpanReceiver {
    /// Waits for spans and takes up to `max` of them; 0 once there will be none any more. Dropping the future loses none.
    pub async fn take(&mut self, spans: &mut Vec<TraceSpan>, max: usize) -> usize {
        self.0.recv_many(spans, max).await
    }
}

impl std::fmt::Debug for SpanQueue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("SpanQueue")
            .field(&self.is_on())
            .finish()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): numbers in a row give ids that look random, without a lock.
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_that_begin_here_are_sampled_by_their_ids() {
        let sampled = |sample| {
            let (queue, _receiver) = SpanQueue::new(SpanSettings {
                sample,
                spans_max: 1,
            });
            (0..10_000).filter_map(|_| queue.root()).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        let some = sampled(0.1);
        assert!((700..1_300).contains(&some), "{some}");
        assert_eq!(SpanQueue::default().root(), None);
    }

    #[test]
    fn ids_do_not_repeat_and_children_stay_in_their_trace() {
        let (queue, _receiver) = SpanQueue::new(SpanSettings {
            sample: 1.0,
            spans_max: 1,
        });
        let roots = (0..1_000).map(|_| queue.root().unwrap());
        let all: Vec<_> = roots.flat_map(|root| [queue.below(&root), root]).collect();
        let ids: std::collections::BTreeSet<_> = all.iter().map(TraceContext::span_id).collect();
        assert_eq!(ids.len(), all.len());
        let traces: std::collections::BTreeSet<_> =
            all.iter().map(TraceContext::trace_id).collect();
        assert_eq!(traces.len() * 2, all.len());
    }
}
