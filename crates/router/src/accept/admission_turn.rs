//! A producer's turn, and what is known of whoever has it.

use crate::trace::{BatchTrace, SpanQueue};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;
use twinroute_journal::BatchOrigin;
use twinroute_model::name::InstanceName;
use twinroute_model::trace_context::TraceContext;

/// A producer's turn. It may be dropped unused.
#[must_use = "it is what `Router::accept_admitted` takes"]
#[derive(Debug)]
pub struct AdmissionTurn {
    /// Who sends, for the history.
    pub(super) producer: EventProducer,
    /// When it was asked for.
    pub(super) begun: Instant,
    /// The trace that its request is part of.
    pub(super) trace: Option<Arc<TraceContext>>,
    /// What was paid for it.
    pub(super) cost: i64,
    /// When the producer is to be answered at the latest.
    pub(super) until: Instant,
}

/// Who sends events, as far as that is known; the history keeps it. Cloning it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct EventProducer {
    /// The name by which it is let in.
    pub caller: Option<Arc<str>>,
    /// Where it sends from.
    pub address: Option<IpAddr>,
}

impl AdmissionTurn {
    /// Says who sends what comes with this turn.
    pub fn of(self, producer: EventProducer) -> Self {
        Self { producer, ..self }
    }

    /// Says which trace the request is part of that brings what comes with this turn: destinations continue it, but for
    /// events that bring one of their own.
    pub fn within(self, trace: Option<TraceContext>) -> Self {
        let trace = trace.map(Arc::new);
        Self { trace, ..self }
    }

    /// The trace of its request, or that one's spans below it where they are recorded.
    pub(super) fn begin_trace(
        &self,
        spans: &SpanQueue,
        instance: &InstanceName,
    ) -> Option<Box<BatchTrace>> {
        BatchTrace::begin(spans, instance, self.trace.clone(), self.begun)
    }

    pub(super) fn trace(&self) -> Option<Arc<TraceContext>> {
        self.trace.clone()
    }

    /// Where a batch of this turn comes from.
    pub(super) fn origin(&self, generation: u64, instance: &InstanceName) -> BatchOrigin {
        BatchOrigin {
            generation,
            instance: Some(instance.clone()),
            caller: self.producer.caller.clone(),
            address: self.producer.address,
        }
    }
}
