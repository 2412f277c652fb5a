//! A running router.

use crate::accept::AcceptRequest;
use crate::definitions::{
    self, DefinitionChange, Definitions, FollowedSource, Source, TableHandle,
};
use crate::event::Event;
use crate::filter::FilterExplanation;
use crate::name::{EndpointName, InstanceName, RouteId};
use crate::sink::SinkSetup;
use crate::status::{RouterReadiness, RouterStatus};
use crate::{AcceptError, Error};
use std::sync::Arc;
use std::time::Duration;

/// Routes events to endpoints. Cheap to clone; all clones are one router.
///
/// Its endpoints have tasks in the tokio runtime that it was started in. [`Router::stop`] lets them finish. When the last
/// clone is dropped without it the tasks end at once: a journal on disk gets what was handed to it and is closed, which
/// blocks for that long, and can be opened again in the next line; what is in memory alone is gone.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// router.accept(event).await?;
/// router.settled().await;
/// let last = router.stop(Duration::from_secs(5)).await;
/// assert_eq!((last.journal.accepted, last.instances[0].endpoints[0].delivered), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Router {
    pub(crate) table: TableHandle,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Router");
        debug.field("default_instance", &self.inner().default_instance());
        debug.finish_non_exhaustive()
    }
}

impl Router {
    /// The router that this one wraps.
    pub(crate) fn inner(&self) -> &twinroute_router::Router {
        &self.table.router
    }

    /// Accepts one event; see [`Self::accept_batch`].
    pub fn accept(&self, event: Event) -> AcceptRequest<'_> {
        AcceptRequest::new(self.inner(), vec![event])
    }

    /// Accepts a batch, whole or not at all.
    ///
    /// # Errors
    /// Why nothing of the batch was kept; after a failed sync of the disk, why that is not known.
    pub fn accept_batch(&self, events: impl IntoIterator<Item = Event>) -> AcceptRequest<'_> {
        AcceptRequest::new(self.inner(), events.into_iter().collect())
    }

    /// The instance of events that name none.
    #[must_use]
    pub fn default_instance(&self) -> &InstanceName {
        self.inner().default_instance()
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
        self.inner().dry_run(instance, event)
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
        self.inner().explain(instance, event)
    }

    /// The definitions in use: instances, their endpoints and routes. Sinks of the program's own are not among them.
    #[must_use]
    pub fn definitions(&self) -> Arc<Definitions> {
        self.table.keeper.current()
    }

    /// Makes `definitions` the table: all of it, or nothing when anything is wrong. Gives the generation in use
    /// afterwards. What did not change keeps its queue, its connection and its back-off; sinks of the program's own stay;
    /// routes are replaced.
    ///
    /// Once this was polled, dropping it does not undo it.
    ///
    /// # Errors
    /// Everything that is wrong; the status shows it too until definitions are accepted again.
    pub async fn apply(&self, definitions: Definitions) -> Result<u64, Error> {
        definitions::apply(&self.table, definitions).await
    }

    /// Adds a route of the default instance, or replaces the one of that name.
    ///
    /// ```
    /// # async fn change(router: &twinroute::Router) -> Result<(), twinroute::Error> {
    /// router.upsert_route("warm", "archive", "$body.temperature > 25").await?;
    /// router.remove_route("cold").instance("plant-2").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upsert_route(&self, name: &str, endpoint: &str, filter: &str) -> DefinitionChange {
        DefinitionChange::upsert(&self.table, name, endpoint, filter)
    }

    /// Removes a route of the default instance.
    pub fn remove_route(&self, name: &str) -> DefinitionChange {
        DefinitionChange::remove(&self.table, name)
    }

    /// Adds an endpoint of the program's own, which routes may name from then on; see [`RouterBuilder::sink`](crate::RouterBuilder::sink). Gives the
    /// generation of the table in use afterwards.
    ///
    /// Once this was polled, dropping it does not undo it.
    ///
    /// # Errors
    /// Everything that is wrong; nothing was changed then. A sink of that name must be removed first.
    pub async fn add_sink(&self, name: &str, sink: impl Into<SinkSetup>) -> Result<u64, Error> {
        definitions::add_sink(&self.table, name, sink.into()).await
    }

    /// Removes an endpoint of the program's own. What waits for it is delivered within [`RouterBuilder::removed_grace`](crate::RouterBuilder::removed_grace),
    /// and becomes dead letters then. Gives the generation of the table in use afterwards.
    ///
    /// Once this was polled, dropping it does not undo it.
    ///
    /// # Errors
    /// There is none of that name, or a route names it; nothing was changed then.
    pub async fn remove_sink(&self, name: &str) -> Result<u64, Error> {
        definitions::remove_sink(&self.table, name).await
    }

    /// Reads a source, makes its definitions the table, and follows it until what this gives is dropped or the router
    /// ends. What cannot be read or is wrong leaves the table as it is; the status says why. It keeps no router alive, but for
    /// the moment in which it makes a change: [`Self::stop`] the router where its journal is to be opened again at once.
    ///
    /// # Errors
    /// The first definitions cannot be read, or are wrong: nothing is followed then.
    pub async fn follow(&self, source: impl Source) -> Result<FollowedSource, Error> {
        definitions::follow(&self.table, source).await
    }

    /// Whether events are accepted.
    #[must_use]
    pub fn readiness(&self) -> RouterReadiness {
        self.inner().readiness()
    }

    /// A snapshot of everything.
    #[must_use]
    pub fn status(&self) -> RouterStatus {
        self.inner().status()
    }

    /// Resolves when every delivery made so far is settled.
    pub async fn settled(&self) {
        self.inner().settled().await;
    }

    /// Stops: refuses events from now on, lets endpoints finish for at most `grace`, then ends. Gives the last status.
    /// What is left stays in a journal on disk; in memory it is discarded and counted.
    pub async fn stop(&self, grace: Duration) -> RouterStatus {
        self.inner().stop(grace).await
    }
}
