//! Bringing events into a router.

use super::Router;
use crate::accept::{
    AcceptError, AcceptedBatch, AckLevel, AdmissionTurn, DELIVERED_DEADLINE, UnreadableDelivery,
    UnreadableKeeper,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use twinroute_model::event::Event;
use twinroute_model::trace_context::TraceContext;

impl Router {
    /// Accepts a batch, whole or not at all, for an instance (`None`: the default one). Level
    /// `delivered` waits for 30 s at most; see [`Self::accept_within`].
    ///
    /// Once this has begun, dropping the future does not undo it.
    ///
    /// # Errors
    /// Why nothing of the batch was kept; after a failed sync of the disk, why that is not known.
    pub async fn accept(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<AcceptedBatch, AcceptError> {
        self.accept_within(instance, events, level, DELIVERED_DEADLINE)
            .await
    }

    /// As [`Self::accept`]; level `delivered` waits no longer than `deadline` for the ends of the
    /// deliveries. What is open then is accepted all the same, and said in the answer.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_within(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        deadline: Duration,
    ) -> Result<AcceptedBatch, AcceptError> {
        self.accept_until(instance, events, level, sleep(deadline))
            .await
    }

    /// As [`Self::accept`]; level `delivered` waits for the ends of the deliveries until `until` completes,
    /// or the router has stopped. The other levels never poll `until`.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn accept_until(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> impl Future<Output = Result<AcceptedBatch, AcceptError>> {
        // Handed on as it is: a future around it would copy all that it holds.
        let acceptor = &self.parts.acceptor;
        acceptor.accept_until(instance, events, level, until)
    }

    /// As [`Self::accept_until`], of events that are part of a trace: destinations continue it, but for events that bring
    /// one of their own.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_traced(
        &self,
        trace: TraceContext,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> Result<AcceptedBatch, AcceptError> {
        let acceptor = &self.parts.acceptor;
        let admitted = acceptor.admitted(&events).await?.within(Some(trace));
        let accepting = acceptor.accept_admitted(admitted, instance, events, level, until);
        accepting.await
    }

    /// Waits for a turn to bring in about `bytes`, before they are even read: at once while the router does
    /// what it has to, and for at most `wait_max` while it has more to do than it can.
    ///
    /// Nothing is held by waiting. Dropping the future gives the place in the line up.
    ///
    /// # Errors
    /// [`AcceptError::Overloaded`] when there was no turn in time; [`AcceptError::Stopping`].
    pub async fn admit(
        &self,
        bytes: u64,
        wait_max: Duration,
    ) -> Result<AdmissionTurn, AcceptError> {
        self.parts.acceptor.admission.admit(bytes, wait_max).await
    }

    /// As [`Self::accept_until`], for whoever waited for a turn already.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn accept_admitted(
        &self,
        admitted: AdmissionTurn,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> impl Future<Output = Result<AcceptedBatch, AcceptError>> {
        let acceptor = &self.parts.acceptor;
        acceptor.accept_admitted(admitted, instance, events, level, until)
    }

    /// Keeps what a sender that does not repeat delivered and that is no event: on disk before this ends, where the
    /// journal is there. It counts as deliveries to [`UNREADABLE_ENDPOINT`](crate::UNREADABLE_ENDPOINT) of `instance`
    /// (`None`: the default one), which become dead letters.
    ///
    /// Once this has begun, dropping the future does not undo it.
    ///
    /// # Errors
    /// Why nothing of it was kept.
    pub async fn keep_unreadable(
        &self,
        instance: Option<&str>,
        deliveries: Vec<UnreadableDelivery>,
    ) -> Result<(), AcceptError> {
        let keeper = UnreadableKeeper(Arc::clone(&self.parts.acceptor));
        keeper.keep(instance, deliveries).await
    }
}
