//! The spans of one batch to an endpoint.

use super::queue::SpanQueue;
use super::span::{SpanAttributes, SpanEndpoint, SpanStep, TraceSpan, shown};
use crate::sink::{DeliveryOutcome, continued};
use rapidhash::RapidHashMap;
use std::sync::Arc;
use tokio::time::Instant;
use twinroute_model::event::Event;
use twinroute_model::trace_context::TraceContext;

/// Attempts that are recorded: one for all deliveries of a batch with one parent.
#[derive(Debug)]
pub(crate) struct AttemptSpans {
    spans: SpanQueue,
    open: Vec<OpenAttempt>,
    /// Of each delivery of the batch the place of its attempt.
    places: Vec<Option<usize>>,
}

#[derive(Debug)]
struct OpenAttempt {
    context: Arc<TraceContext>,
    parent: u64,
    /// Whether that is the producer's: nothing is known here of how the event was accepted.
    parent_is_remote: bool,
    /// Attempts that counted before this one, of the first delivery.
    attempts: u32,
    deliveries: u64,
    failed: u64,
    /// What became of the first that failed, or of all.
    outcome: &'static str,
    error: Option<Box<str>>,
    /// The event, while there is one only.
    about: SpanAttributes,
}

/// A delivery of a batch, as far as spans go.
pub(crate) struct TracedDelivery<'a> {
    pub(crate) trace: Option<&'a TraceContext>,
    pub(crate) event: &'a Event,
    pub(crate) attempts: u32,
}

impl AttemptSpans {
    /// Begins the attempts of a batch; `None` stands for a delivery that is not sent. Nothing when none is recorded.
    pub(crate) fn begin<'a>(
        spans: &SpanQueue,
        batch: impl Iterator<Item = Option<TracedDelivery<'a>>>,
    ) -> Option<Self> {
        if !spans.is_on() {
            return None;
        }
        let mut begun = Self {
            spans: spans.clone(),
            open: Vec::new(),
            places: Vec::new(),
        };
        let mut by_parent = RapidHashMap::default();
        for delivery in batch {
            let place = delivery.and_then(|delivery| begun.add(&delivery, &mut by_parent));
            begun.places.push(place);
        }
        (!begun.open.is_empty()).then_some(begun)
    }

    fn add(
        &mut self,
        delivery: &TracedDelivery<'_>,
        by_parent: &mut RapidHashMap<(u128, u64), usize>,
    ) -> Option<usize> {
        let parent = continued(delivery.trace, delivery.event)?;
        if !parent.is_sampled() {
            return None;
        }
        let key = (parent.trace_id(), parent.span_id());
        if let Some(place) = by_parent.get(&key) {
            let open = &mut self.open[*place];
            open.deliveries += 1;
            open.about = SpanAttributes::default();
            return Some(*place);
        }
        let place = self.open.len();
        by_parent.insert(key, place);
        self.open.push(OpenAttempt {
            context: Arc::new(self.spans.below(&parent)),
            parent: parent.span_id(),
            parent_is_remote: delivery.trace.is_none(),
            attempts: delivery.attempts,
            deliveries: 1,
            failed: 0,
            outcome: "delivered",
            error: None,
            about: SpanAttributes::default().event(delivery.event),
        });
        Some(place)
    }

    /// What the destination is to continue of a delivery of the batch.
    pub(crate) fn context(&self, place: usize) -> Option<Arc<TraceContext>> {
        let open = &self.open[(*self.places.get(place)?)?];
        Some(Arc::clone(&open.context))
    }

    /// Records them. There is one outcome for each delivery of the batch.
    pub(crate) fn end(
        mut self,
        outcomes: impl Iterator<Item = Option<DeliveryOutcome>>,
        endpoint: SpanEndpoint<'_>,
        begun: Instant,
        now: Instant,
    ) {
        for (place, outcome) in self.places.iter().zip(outcomes) {
            let (Some(place), Some(outcome)) = (place, outcome) else {
                continue;
            };
            self.open[*place].note(&outcome);
        }
        for open in self.open {
            let attributes = open
                .about
                .endpoint(endpoint)
                .text("twinroute.outcome", open.outcome)
                .count("twinroute.attempt", u64::from(open.attempts) + 1)
                .count("twinroute.deliveries", open.deliveries)
                .count("twinroute.failed", open.failed);
            self.spans.add(TraceSpan {
                step: SpanStep::Attempt,
                context: TraceContext::clone(&open.context),
                parent: Some(open.parent),
                parent_is_remote: open.parent_is_remote,
                link: None,
                begun,
                took: now.saturating_duration_since(begun),
                error: open.error,
                attributes: attributes.0,
            });
        }
    }
}

impl OpenAttempt {
    fn note(&mut self, outcome: &DeliveryOutcome) {
        let (word, reason) = match outcome {
            DeliveryOutcome::Delivered => return,
            DeliveryOutcome::Retry { reason, .. } => ("retry", reason),
            DeliveryOutcome::Reject(reason) => ("rejected", reason),
            DeliveryOutcome::Unavailable(fault) => (fault.kind.as_str(), &fault.reason),
        };
        self.failed += 1;
        if self.error.is_none() {
            self.outcome = word;
            self.error = Some(shown(&reason.to_string()));
        }
    }
}
