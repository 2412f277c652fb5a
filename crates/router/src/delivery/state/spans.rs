//! Spans of a lane: attempts, dead letters, and how those are stored.

use super::LaneCore;
use crate::delivery::action::{DeadLetterUpload, UploadOutcome};
use crate::delivery::in_flight::InFlightBatch;
use crate::delivery::queued_delivery::QueuedDelivery;
use crate::sink::{DeliveryOutcome, continued};
use crate::trace::{SpanAttributes, SpanEndpoint, SpanStep, TraceSpan, shown};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::trace_context::TraceContext;

impl LaneCore {
    fn span_endpoint(&self) -> SpanEndpoint<'_> {
        SpanEndpoint {
            instance: self.instance.as_str(),
            name: self.name.as_str(),
            endpoint_type: &self.setup.endpoint_type,
        }
    }

    /// Records the attempts of a batch that was answered, by what its outcomes mean for this endpoint.
    pub(in crate::delivery) fn end_attempts(
        &self,
        flight: &mut InFlightBatch,
        outcomes: &[Option<DeliveryOutcome>],
        now: Instant,
    ) {
        let Some(attempts) = flight.attempts.take() else {
            return;
        };
        let outcomes = outcomes.iter().cloned();
        let outcomes = outcomes.map(|outcome| outcome.map(|outcome| self.answer(outcome)));
        attempts.end(outcomes, self.span_endpoint(), flight.begun, now);
    }

    /// Records that a delivery became a dead letter; gives the span, below which it is stored. Nothing where its trace is
    /// not recorded, or not known: after a restart, while the event is on disk only.
    pub(super) fn dead_letter_span(
        &self,
        waiting: &QueuedDelivery,
        about: &DeadLetter,
        now: Instant,
    ) -> Option<Arc<TraceContext>> {
        let spans = &self.reports.spans;
        if !spans.is_on() {
            return None;
        }
        let trace = waiting.trace.as_deref();
        let parent = match waiting.event.as_deref() {
            Some(event) => continued(trace, event),
            None => trace.map(Cow::Borrowed),
        };
        let parent = parent.filter(|parent| parent.is_sampled())?;
        let context = spans.below(&parent);
        let attributes = SpanAttributes::default()
            .endpoint(self.span_endpoint())
            .text("twinroute.dead_letter.reason", about.reason.as_str())
            .count("twinroute.attempts", u64::from(about.attempts));
        let attributes = match waiting.event.as_deref() {
            None => attributes,
            Some(event) => attributes.event(event),
        };
        spans.add(TraceSpan {
            step: SpanStep::DeadLetter,
            context: context.clone(),
            parent: Some(parent.span_id()),
            parent_is_remote: trace.is_none(),
            link: None,
            begun: now,
            took: Duration::ZERO,
            error: Some(match &*about.outcome {
                "" => about.reason.as_str().into(),
                outcome => shown(outcome),
            }),
            attributes: attributes.0,
        });
        Some(Arc::new(context))
    }

    /// Records that a store was given a dead letter.
    pub(super) fn upload_span(
        &self,
        upload: &DeadLetterUpload,
        stored: &UploadOutcome,
        now: Instant,
    ) {
        let Some(parent) = &upload.dead.trace else {
            return;
        };
        let error = match stored {
            UploadOutcome::Done => None,
            UploadOutcome::Unreadable(reason) => Some(shown(&reason.to_string())),
            UploadOutcome::Failed(fault) => Some(shown(&fault.reason.to_string())),
        };
        let attributes = SpanAttributes::default().endpoint(self.span_endpoint());
        self.reports.spans.add(TraceSpan {
            step: SpanStep::StoreDeadLetter,
            context: self.reports.spans.below(parent),
            parent: Some(parent.span_id()),
            parent_is_remote: false,
            link: None,
            begun: upload.begun,
            took: now.saturating_duration_since(upload.begun),
            error,
            attributes: attributes.0,
        });
    }
}
