//! One span: what was done, in which trace, from when until when.

use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::event::Event;
use twinroute_model::trace_context::TraceContext;
use twinroute_model::visible;

/// Bytes of a text in a span.
const TEXT_BYTES_MAX: usize = 256;

/// A span that has ended. It holds no payload and no secret; texts of others are cut and made visible as in a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TraceSpan {
    /// What was done.
    pub step: SpanStep,
    /// Its trace, and itself in it.
    pub context: TraceContext,
    /// The span that it is below; none for the first of a trace.
    pub parent: Option<u64>,
    /// Whether that is the producer's.
    pub parent_is_remote: bool,
    /// Another trace that led to it: that of the request, where the event brought one of its own.
    pub link: Option<TraceContext>,
    /// When it began.
    pub begun: Instant,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<Box<str>>,
    /// What else is known, by the names of the OpenTelemetry conventions where there is one.
    pub attributes: Vec<(&'static str, SpanValue)>,
}

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanStep {
    /// It is taken from its producer.
    Accept,
    /// It is written to the journal.
    Journal,
    /// It is sent to an endpoint, once.
    Attempt,
    /// It became a dead letter.
    DeadLetter,
    /// It is sent to the store of dead letters, once.
    StoreDeadLetter,
}

impl SpanStep {
    /// The name of its spans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Journal => "journal",
            Self::Attempt => "attempt",
            Self::DeadLetter => "dead letter",
            Self::StoreDeadLetter => "store dead letter",
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    /// Text, 256 bytes at most.
    Text(Box<str>),
    /// A number.
    Count(u64),
}

/// The endpoint that a span is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanEndpoint<'a> {
    pub(crate) instance: &'a str,
    pub(crate) name: &'a str,
    pub(crate) endpoint_type: &'a str,
}

/// What a span is given to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpanAttributes(pub(crate) Vec<(&'static str, SpanValue)>);

impl SpanAttributes {
    pub(crate) fn text(mut self, name: &'static str, value: &str) -> Self {
        self.0.push((name, SpanValue::Text(shown(value))));
        self
    }

    pub(crate) fn count(mut self, name: &'static str, value: u64) -> Self {
        self.0.push((name, SpanValue::Count(value)));
        self
    }

    /// OpenTelemetry semantic conventions, "CloudEvents attributes".
    pub(crate) fn event(self, event: &Event) -> Self {
        let about = self
            .text("cloudevents.event_id", event.id())
            .text("cloudevents.event_source", event.source())
            .text("cloudevents.event_type", event.event_type());
        match event.subject() {
            None => about,
            Some(subject) => about.text("cloudevents.event_subject", subject),
        }
    }

    pub(crate) fn endpoint(self, endpoint: SpanEndpoint<'_>) -> Self {
        self.text("twinroute.instance", endpoint.instance)
            .text("twinroute.endpoint", endpoint.name)
            .text("twinroute.endpoint_type", endpoint.endpoint_type)
    }
}

/// Text of others, as a log shows it.
pub(crate) fn shown(text: &str) -> Box<str> {
    visible::one_line(visible::cut(text, TEXT_BYTES_MAX)).into()
}
