//! Traces: which one an event is part of on its way through the router, and the spans of that way.
//!
//! What a producer said is handed on to destinations whether spans are recorded or not. It costs a reference for each
//! delivery, and nothing where nobody said anything. Spans go into a queue with a limit, which the program empties
//! ([`SpanQueue`]); what finds no room is dropped and counted. Recording never waits.
//!
//! | span | below | from, until |
//! |---|---|---|
//! | `accept` | the producer's | a request asks for its turn, its events are as safe as the journal makes them |
//! | `journal` | `accept` | the events are handed to the journal, they are there |
//! | `attempt` | `accept` | a batch is sent, its outcomes are known |
//! | `dead letter` | `accept` | the delivery becomes one |
//! | `store dead letter` | `dead letter` | it is sent to its store, the store answers |
//!
//! Events of a request that bring no trace of their own share the spans of the request, those of one batch to an endpoint
//! share an `attempt`. After a restart only what stands in the event is known: attempts are then below the producer's span.

mod attempt_spans;
mod batch_trace;
mod event_traces;
mod queue;
mod span;

pub(crate) use attempt_spans::{AttemptSpans, TracedDelivery};
pub(crate) use batch_trace::BatchTrace;
pub(crate) use event_traces::EventTraces;
pub use queue::{SpanQueue, SpanReceiver, SpanSettings};
pub(crate) use span::{SpanAttributes, SpanEndpoint, shown};
pub use span::{SpanStep, SpanValue, TraceSpan};
pub use twinroute_model::trace_context::{TraceContext, TraceParent};

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
