//! The spans of a batch until it is accepted.

use super::event_traces::{EventTrace, EventTraces};
use super::queue::SpanQueue;
use super::span::{SpanAttributes, SpanStep, TraceSpan};
use std::sync::Arc;
use tokio::time::Instant;
use twinroute_model::event::Event;
use twinroute_model::name::InstanceName;
use twinroute_model::trace_context::TraceContext;

/// Records what became of a batch: accepted, or, when it is dropped without that, refused.
#[derive(Debug)]
pub(crate) struct BatchTrace {
    spans: SpanQueue,
    instance: InstanceName,
    begun: Instant,
    /// That of the request.
    request: Option<Arc<TraceContext>>,
    /// That of events without one of their own, once there is one.
    shared: SharedSpan,
    own: Vec<AcceptSpan>,
    /// Of events that go on: their places, and where they have one their own.
    places: Vec<EventTrace>,
    /// When the events were handed to the journal.
    appended: Option<Instant>,
}

#[derive(Debug)]
enum SharedSpan {
    Undecided,
    Recorded(AcceptSpan),
    NotRecorded,
}

/// An `accept` that is not over.
#[derive(Debug)]
struct AcceptSpan {
    context: Arc<TraceContext>,
    /// The producer's.
    parent: Option<u64>,
    link: Option<TraceContext>,
    events: u64,
    /// The event, while there is one only.
    about: SpanAttributes,
}

impl AcceptSpan {
    fn count(&mut self, event: &Event) {
        self.events += 1;
        self.about = match self.events {
            1 => SpanAttributes::default().event(event),
            _ => SpanAttributes::default(),
        };
    }
}

impl BatchTrace {
    /// Of a batch that came with `request`, which asked for its turn at `begun`. Nothing while no spans are recorded.
    pub(crate) fn begin(
        spans: &SpanQueue,
        instance: &InstanceName,
        request: Option<Arc<TraceContext>>,
        begun: Instant,
    ) -> Option<Box<Self>> {
        let trace = || Self {
            spans: spans.clone(),
            instance: instance.clone(),
            begun,
            request,
            shared: SharedSpan::Undecided,
            own: Vec::new(),
            places: Vec::new(),
            appended: None,
        };
        spans.is_on().then(|| Box::new(trace()))
    }

    /// Takes in an event; one that goes on to lanes does so in a place of the batch.
    pub(crate) fn add(&mut self, event: &Event, place: Option<usize>) {
        let own = TraceContext::of_event(event);
        // Where both are of one trace, the request is the nearer part of it.
        let request = self.request.as_ref().map(|request| request.trace_id());
        match own.filter(|own| request != Some(own.trace_id())) {
            None => self.add_shared(event),
            Some(own) if own.is_sampled() => {
                let context = self.add_own(event, own);
                self.places
                    .extend(place.map(|place| (place as u64, context)));
            }
            Some(_) => {}
        }
    }

    fn add_own(&mut self, event: &Event, own: TraceContext) -> Arc<TraceContext> {
        let last = self.own.last_mut().filter(|last| {
            last.parent == Some(own.span_id()) && last.context.trace_id() == own.trace_id()
        });
        if let Some(last) = last {
            last.count(event);
            return Arc::clone(&last.context);
        }
        let context = Arc::new(self.spans.below(&own));
        let mut span = AcceptSpan {
            context: Arc::clone(&context),
            parent: Some(own.span_id()),
            link: self.request.as_deref().cloned(),
            events: 0,
            about: SpanAttributes::default(),
        };
        span.count(event);
        self.own.push(span);
        context
    }

    fn add_shared(&mut self, event: &Event) {
        if matches!(self.shared, SharedSpan::Undecided) {
            let recorded = match self.request.as_deref() {
                None => self.spans.root().map(|root| (root, None)),
                Some(request) => {
                    let below = || (self.spans.below(request), Some(request.span_id()));
                    request.is_sampled().then(below)
                }
            };
            self.shared = match recorded {
                None => SharedSpan::NotRecorded,
                Some((context, parent)) => SharedSpan::Recorded(AcceptSpan {
                    context: Arc::new(context),
                    parent,
                    link: None,
                    events: 0,
                    about: SpanAttributes::default(),
                }),
            };
        }
        if let SharedSpan::Recorded(span) = &mut self.shared {
            span.count(event);
        }
    }

    /// What lanes are to know of it.
    pub(crate) fn traces(&mut self) -> EventTraces {
        let shared = match &self.shared {
            SharedSpan::Recorded(span) => Some(Arc::clone(&span.context)),
            SharedSpan::Undecided | SharedSpan::NotRecorded => self.request.clone(),
        };
        EventTraces::new(shared, std::mem::take(&mut self.places))
    }

    /// The events are handed to the journal.
    pub(crate) fn appended(&mut self) {
        self.appended.get_or_insert_with(Instant::now);
    }

    /// The batch is as safe as the journal makes it.
    pub(crate) fn accepted(mut self: Box<Self>) {
        self.end(None);
    }

    fn end(&mut self, error: Option<&str>) {
        let now = Instant::now();
        let shared = std::mem::replace(&mut self.shared, SharedSpan::NotRecorded);
        let shared = match shared {
            SharedSpan::Recorded(span) => Some(span),
            SharedSpan::Undecided | SharedSpan::NotRecorded => None,
        };
        for span in shared.into_iter().chain(std::mem::take(&mut self.own)) {
            if let Some(appended) = self.appended {
                self.spans.add(TraceSpan {
                    step: SpanStep::Journal,
                    context: self.spans.below(&span.context),
                    parent: Some(span.context.span_id()),
                    parent_is_remote: false,
                    link: None,
                    begun: appended,
                    took: now.saturating_duration_since(appended),
                    error: error.map(Box::from),
                    attributes: Vec::new(),
                });
            }
            let attributes = span
                .about
                .text("twinroute.instance", self.instance.as_str())
                .count("twinroute.events", span.events);
            self.spans.add(TraceSpan {
                step: SpanStep::Accept,
                parent_is_remote: span.parent.is_some(),
                parent: span.parent,
                context: TraceContext::clone(&span.context),
                link: span.link,
                begun: self.begun,
                took: now.saturating_duration_since(self.begun),
                error: error.map(Box::from),
                attributes: attributes.0,
            });
        }
    }
}

impl Drop for BatchTrace {
    /// Nothing is left once it was accepted.
    fn drop(&mut self) {
        self.end(Some("the batch was not accepted"));
    }
}
