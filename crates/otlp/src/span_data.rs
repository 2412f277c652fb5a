//! Spans of a router as OpenTelemetry has them.

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use twinroute_model::clock::Clock;
use twinroute_router::trace::{SpanStep, SpanValue, TraceContext, TraceSpan};

/// The wall's clock is set now and then; when spans are off by more than that they follow it.
const DRIFT_MAX: Duration = Duration::from_millis(20);

/// A moment by both clocks. Spans are timed by the runtime's, which nobody sets, so that one that lies within another one
/// is shown so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockAnchor {
    wall: SystemTime,
    moment: Instant,
}

impl ClockAnchor {
    pub(crate) fn read(clock: &dyn Clock) -> Self {
        let millis = u64::try_from(clock.now().unix_millis()).unwrap_or_default();
        Self {
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(millis),
            moment: Instant::now(),
        }
    }

    /// The same as long as it holds.
    pub(crate) fn checked(self, clock: &dyn Clock) -> Self {
        let present = Self::read(clock);
        let expected = self.at(present.moment);
        let drift = match present.wall.duration_since(expected) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        match drift > DRIFT_MAX {
            true => present,
            false => self,
        }
    }

    fn at(&self, moment: Instant) -> SystemTime {
        match moment.checked_duration_since(self.moment) {
            Some(later) => self.wall + later,
            None => self.wall - (self.moment - moment),
        }
    }
}

/// One span.
pub(crate) fn span_data(
    span: TraceSpan,
    scope: &InstrumentationScope,
    anchor: ClockAnchor,
) -> SpanData {
    let start_time = anchor.at(span.begun);
    let mut links = SpanLinks::default();
    if let Some(link) = &span.link {
        links.links.push(Link::with_context(context(link, true)));
    }
    SpanData {
        span_context: context(&span.context, false),
        parent_span_id: SpanId::from(span.parent.unwrap_or_default()),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: kind(span.step),
        name: span.step.as_str().into(),
        start_time,
        end_time: start_time + span.took,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: match span.error {
            None => Status::Unset,
            Some(reason) => Status::error(String::from(reason)),
        },
        instrumentation_scope: scope.clone(),
    }
}

fn context(context: &TraceContext, is_remote: bool) -> SpanContext {
    let state = context.state().map(TraceState::from_str);
    SpanContext::new(
        TraceId::from(context.trace_id()),
        SpanId::from(context.span_id()),
        TraceFlags::new(context.flags()),
        is_remote,
        state.and_then(Result::ok).unwrap_or_default(),
    )
}

fn attribute((name, value): (&'static str, SpanValue)) -> KeyValue {
    KeyValue::new(
        name,
        match value {
            SpanValue::Text(text) => Value::from(String::from(text)),
            SpanValue::Count(count) => Value::from(i64::try_from(count).unwrap_or(i64::MAX)),
        },
    )
}

/// OpenTelemetry, "Span kind": who is on the other side.
fn kind(step: SpanStep) -> SpanKind {
    match step {
        SpanStep::Accept => SpanKind::Server,
        SpanStep::Attempt => SpanKind::Producer,
        SpanStep::StoreDeadLetter => SpanKind::Client,
        _ => SpanKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::clock::{ManualClock, Timestamp};

    #[tokio::test(start_paused = true)]
    async fn times_follow_a_clock_that_is_set_and_not_its_grain() {
        let clock = ManualClock::new(Timestamp::from_unix_millis(1_000_000));
        let anchor = ClockAnchor::read(&clock);
        let millis = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let begun = Instant::now();
        tokio::time::advance(Duration::from_millis(500)).await;
        // The clock says 5 ms less than what passed.
        clock.advance(Duration::from_millis(495));
        let same = anchor.checked(&clock);
        assert_eq!(same.at(begun), millis(1_000_000));
        assert_eq!(same.at(Instant::now()), millis(1_000_500));
        clock.set(Timestamp::from_unix_millis(2_000_000));
        let other = same.checked(&clock);
        assert_eq!(other.at(Instant::now()), millis(2_000_000));
        assert_eq!(other.at(begun), millis(1_999_500));
    }
}
