//! A running router.

use crate::accept::AcceptRequest;
use crate::event::Event;
use crate::filter::FilterExplanation;
use crate::name::{EndpointName, InstanceName, RouteId};
use crate::status::{RouterReadiness, RouterStatus};
use crate::{AcceptError, RouterBuilder};
use std::time::Duration;

/// Routes events to endpoints. Cheap to clone; all clones are one router.
///
/// Its endpoints have tasks in the tokio runtime that it was started in. [`Router::stop`] lets them finish. When the last
/// clone is dropped without it the tasks end at once: a journal on disk gets what was handed to it and is closed, which
/// blocks for that long, and can be opened again in the next line; what is in memory alone is gone.
#[derive(Clone)]
pub struct Router {
    pub(crate) inner: twinroute_router::Router,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Router");
        shown.field("default_instance", &self.inner.default_instance());
        shown.finish_non_exhaustive()
    }
}

impl Router {
    /// Starts to build a router.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::new()
    }

    /// Accepts one event; see [`Self::accept_batch`].
    pub fn accept(&self, event: Event) -> AcceptRequest<'_> {
        AcceptRequest::new(self, vec![event])
    }

    /// Accepts a batch, whole or not at all.
    ///
    /// # Errors
    /// Why nothing of the batch was kept; after a failed sync of the disk, why that is not known.
    pub fn accept_batch(&self, events: impl IntoIterator<Item = Event>) -> AcceptRequest<'_> {
        AcceptRequest::new(self, events.into_iter().collect())
    }

    /// The instance of events that name none.
    #[must_use]
    pub fn default_instance(&self) -> &InstanceName {
        self.inner.default_instance()
    }

    /// The routes that an event of an instance (`None`: the default one) would match. Accepts nothing.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn dry_run(
        &self,
        instance: Option<&str>,
        event: &Event,
    ) -> Result<Vec<RouteId>, AcceptError> {
        self.inner.dry_run(instance, event)
    }

    /// Says for every route of an instance (`None`: the default one) whether and why it would match. Accepts nothing.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn explain(
        &self,
        instance: Option<&str>,
        event: &Event,
    ) -> Result<Vec<(RouteId, EndpointName, FilterExplanation)>, AcceptError> {
        self.inner.explain(instance, event)
    }

    /// Whether events are accepted.
    #[must_use]
    pub fn readiness(&self) -> RouterReadiness {
        self.inner.readiness()
    }

    /// A snapshot of everything.
    #[must_use]
    pub fn status(&self) -> RouterStatus {
        self.inner.status()
    }

    /// Resolves when every delivery made so far is settled.
    pub async fn settled(&self) {
        self.inner.settled().await;
    }

    /// Stops: refuses events from now on, lets endpoints finish for at most `grace`, then ends. Gives the last status.
    /// What is left stays in a journal on disk; in memory it is discarded and counted.
    pub async fn stop(&self, grace: Duration) -> RouterStatus {
        self.inner.stop(grace).await
    }
}
