//! Stands in for the router: answers what it is told to.

use std::sync::Arc;
use twinroute_model::event::Event;
use twinroute_router::accept::{AcceptError, Accepted, AckLevel};

type Answer =
    dyn Fn(Option<&str>, Vec<Event>, AckLevel) -> Result<Accepted, AcceptError> + Send + Sync;

/// A router without routes.
#[derive(Clone)]
pub struct Router(Arc<Answer>);

impl Router {
    /// One that answers what `answer` says.
    pub fn new(
        answer: impl Fn(Option<&str>, Vec<Event>, AckLevel) -> Result<Accepted, AcceptError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// What it was told.
    pub async fn accept(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<Accepted, AcceptError> {
        (self.0)(instance, events, level)
    }
}
