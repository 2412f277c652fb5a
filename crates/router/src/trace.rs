//! Traces: which one an event is part of on its way through the router.
//!
//! What a producer said is handed on to destinations. It costs a reference for each delivery, and nothing where nobody said
//! anything.

mod event_traces;

pub(crate) use event_traces::EventTraces;
pub use twinroute_model::trace_context::{TraceContext, TraceParent};
