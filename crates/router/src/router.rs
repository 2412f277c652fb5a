//! The embedding API: build a router, accept events, watch it work.

mod accepting;
mod history;
mod in_cluster;
#[cfg(test)]
pub(crate) mod journal_body;
mod own_sinks;
mod weak;

pub use weak::WeakRouter;

use crate::accept::{
    AcceptError, Acceptor, AckLevel, AdmissionGate, DuplicateWindow, JournalAppender, RoomMaker,
    SharedDuplicateWindow, UnreadableLanes, give_turns, make_room_on_disk,
};
use crate::cluster_journal::ClusterJournal;
use crate::credential_refresh::CredentialRefresh;
use crate::damage::JournalDamage;
use crate::dead_letters::{
    self, DeadLetterCursor, DeadLetterPage, DeadLetterQuery, DeadLetterView, EndpointHandle,
};
use crate::delivery::Lane;
use crate::event_journal::EventJournal;
use crate::history::{EventHistory, RecentHistory};
use crate::replay::{ReplayError, ReplayJobs, ReplayNotes, ReplayRequest, ReplayStatus};
use crate::sink::HeldEvent;
use crate::status::{RouterReadiness, RouterStatus, SourceStatus};
use crate::status_reporter::StatusReporter;
use crate::table::LiveTable;
use crate::table::source::{DefinitionFaults, Definitions};
use crate::tap::{EventTap, TapSelection, TooManyTaps};
use crate::user_code::EventHooks;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use twinroute_filter::explain::{FilterExplanation, explain};
use twinroute_journal::DiskJournal;
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};

/// Routes events to endpoints. Cheap to clone; all clones are one router.
///
/// It needs a tokio runtime: every endpoint has a task. [`Router::stop`] lets them finish. When the last clone is
/// dropped without it the tasks end at once: a journal on disk gets all that was handed to it and is closed, which
/// blocks for as long as that takes, and another router may open it; what a journal in memory holds is discarded.
#[derive(Clone)]
pub struct Router {
    parts: Arc<RouterParts>,
}

/// What a router is made of. None of its own tasks holds on to all of it, so that they keep no router alive.
struct RouterParts {
    acceptor: Arc<Acceptor>,
    replays: ReplayJobs,
    reporter: StatusReporter,
    history: Option<EventHistory>,
    recent: Option<RecentHistory>,
}

impl Drop for RouterParts {
    /// Nobody has this router any more: if nobody has stopped it, it ends here.
    fn drop(&mut self) {
        self.abandon();
    }
}

/// How much longer than its grace a stop may take.
const STOP_MARGIN: Duration = Duration::from_secs(1);

impl RouterParts {
    /// The journal on disk, where it is.
    fn disk(&self) -> Option<&DiskJournal> {
        self.acceptor.appender.room.disk.as_ref()
    }

    /// The journal over a shared log, where it is.
    fn cluster(&self) -> Option<&ClusterJournal> {
        self.acceptor.appender.room.cluster.as_ref()
    }

    fn abandon(&self) {
        // Whoever still hands over events does so before the lanes end.
        self.acceptor.appender.close();
        self.acceptor.stopped();
        self.replays.abort_all();
        if let Some(cluster) = self.cluster() {
            // As a crash would: the next owner finds in the log what is not settled.
            cluster.abandon();
            self.acceptor.live.abandon();
            return;
        }
        let open = self.acceptor.live.abandon();
        let Some(disk) = self.disk() else {
            if open > 0 {
                tracing::error!(
                    deliveries = open,
                    "the router was dropped with deliveries in its memory; call stop to let them finish"
                );
            }
            return;
        };
        if let Err(error) = disk.close() {
            tracing::warn!(%error, "the journal was not closed in order");
        }
    }
}

impl Router {
    /// Runs with a table that is in use already.
    pub(crate) fn start(
        live: LiveTable,
        unreadable: &UnreadableLanes,
        (journal, damage): (EventJournal, JournalDamage),
        notes: Option<ReplayNotes>,
        (duplicates, hooks): (Option<DuplicateWindow>, EventHooks),
        expiry_warning: Duration,
    ) -> Self {
        damage.count();
        let live = Arc::new(live);
        let room = Arc::new(RoomMaker::new(Arc::clone(&live), &journal));
        drop(tokio::spawn(make_room_on_disk(Arc::downgrade(&room))));
        let admission = Arc::new(AdmissionGate::new());
        let appender = Arc::new(JournalAppender::new(journal, room, Arc::clone(&admission)));
        drop(tokio::spawn(give_turns(Arc::clone(&admission))));
        drop(tokio::spawn(LiveTable::forget_ended(Arc::downgrade(&live))));
        let order = hooks.clone();
        let history = appender.room.disk.as_ref().map(EventHistory::of);
        let recent = live.recent_outcomes().as_ref().map(RecentHistory::new);
        let (tables, way) = (Arc::clone(&live), Arc::clone(&appender));
        let replays = ReplayJobs::new(tables, way, notes, order, history.clone());
        let duplicates = duplicates.map(SharedDuplicateWindow::new);
        let acceptor = Arc::new(Acceptor::new(live, admission, duplicates, appender, hooks));
        unreadable.connect(&acceptor);
        replays.resume();
        Self::feed_lanes(&acceptor);
        let reporter = StatusReporter {
            acceptor: Arc::clone(&acceptor),
            damage,
            source: OnceLock::new(),
            expiry_warning,
        };
        let parts = RouterParts {
            history,
            recent,
            acceptor,
            replays,
            reporter,
        };
        Self {
            parts: Arc::new(parts),
        }
    }

    /// The instance of events that name none.
    #[must_use]
    pub fn default_instance(&self) -> &InstanceName {
        self.parts.acceptor.live.default_instance()
    }

    /// The level that requests get which ask for none: the strongest that the journal gives at once.
    #[must_use]
    pub fn default_level(&self) -> AckLevel {
        self.parts.acceptor.default_level()
    }

    /// Whether the journal gives a level.
    #[must_use]
    pub fn gives(&self, level: AckLevel) -> bool {
        self.parts.acceptor.gives(level)
    }

    /// The lane of an endpoint.
    fn lane(&self, instance: Option<&str>, endpoint: &str) -> Option<Arc<Lane>> {
        let instance = match instance {
            None => self.parts.acceptor.live.default_instance().clone(),
            Some(name) => InstanceName::new(name).ok()?,
        };
        let endpoint = EndpointName::new(endpoint).ok()?;
        self.parts.acceptor.live.lane(&(instance, endpoint))
    }

    /// A running endpoint (of the default instance for `None`), that of a removed one too while anything
    /// of it is left.
    #[must_use]
    pub fn endpoint(&self, instance: Option<&str>, endpoint: &str) -> Option<EndpointHandle> {
        self.lane(instance, endpoint).map(EndpointHandle)
    }

    /// Dead letters that are kept here, from behind `after` on, at most `most` of them.
    ///
    /// Their events are read from disk; dropping the future is harmless.
    pub async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
        after: Option<&DeadLetterCursor>,
        most: usize,
    ) -> DeadLetterPage {
        dead_letters::page_of(self.parts.acceptor.live.lanes(), query, after, most).await
    }

    /// One dead letter that is kept here, with its event.
    pub async fn dead_letter(
        &self,
        instance: Option<&str>,
        endpoint: &str,
        sequence: u64,
    ) -> Option<(DeadLetterView, HeldEvent)> {
        let lane = self.lane(instance, endpoint)?;
        dead_letters::one_of(&lane, sequence).await
    }

    /// Begins to replay dead letters; see [`Self::replays`] for how it goes.
    ///
    /// # Errors
    /// Why it was not begun.
    pub async fn replay(&self, request: ReplayRequest) -> Result<ReplayStatus, ReplayError> {
        self.parts.replays.begin(request).await
    }

    /// Replays that are under way, and the last that have ended; oldest first.
    #[must_use]
    pub fn replays(&self) -> Vec<ReplayStatus> {
        self.parts.replays.statuses()
    }

    /// Resolves when a replay has ended, or when the router stops before that; at once for one that is not known.
    pub async fn replay_over(&self, number: u64) {
        self.parts.replays.until_over(number).await;
    }

    /// Ends a replay; what it has put back stays. False when not found.
    #[must_use]
    pub fn cancel_replay(&self, number: u64) -> bool {
        self.parts.replays.cancel(number)
    }

    /// Makes `definitions` the table: validates, compiles and swaps, or changes nothing.
    ///
    /// Gives the generation in use afterwards; it stays the same when nothing changed. What did not change
    /// keeps its lane, sink and compiled filter.
    ///
    /// It computes for as long as the definitions are large, about a second for the first ten thousand
    /// endpoints and routes and some tens of milliseconds when one of them changes, and waits for another
    /// `apply` to end: call it where blocking is allowed (tokio's `spawn_blocking`), within the runtime.
    /// Accepting and delivering go on meanwhile.
    ///
    /// # Errors
    /// Everything that is wrong; [`Router::status`] shows it too until definitions are taken again.
    pub fn apply(&self, definitions: &Definitions) -> Result<u64, DefinitionFaults> {
        self.parts.acceptor.live.apply(definitions)
    }

    /// Notes that definitions could not even be read; the table stays and status shows why.
    pub fn refuse(&self, faults: &DefinitionFaults) {
        self.parts.acceptor.live.refuse(faults);
    }

    /// Says for every route of an instance whether and why it would match an event, for none if the program drops it.
    /// Accepts nothing.
    ///
    /// # Errors
    /// When there is no such instance, or the program makes no event of it.
    pub fn explain(
        &self,
        instance: Option<&str>,
        event: &Event,
    ) -> Result<Vec<(RouteId, EndpointName, FilterExplanation)>, AcceptError> {
        let (compiled, _) = self.parts.acceptor.instance(instance)?;
        let Some(event) = self.parts.acceptor.mapped(event)? else {
            return Ok(Vec::new());
        };
        let routes = compiled.routes.iter();
        let explained = routes.map(|route| {
            let route = &route.definition;
            (
                route.id.clone(),
                route.endpoint.clone(),
                explain(&route.filter, &event),
            )
        });
        Ok(explained.collect())
    }

    /// The routes that an event would match. Accepts nothing.
    ///
    /// # Errors
    /// When there is no such instance, or the program makes no event of it.
    pub fn dry_run(
        &self,
        instance: Option<&str>,
        event: &Event,
    ) -> Result<Vec<RouteId>, AcceptError> {
        let (compiled, _) = self.parts.acceptor.instance(instance)?;
        let Some(event) = self.parts.acceptor.mapped(event)? else {
            return Ok(Vec::new());
        };
        Ok(compiled
            .matching_routes(&event)
            .into_iter()
            .map(|route| route.definition.id.clone())
            .collect())
    }

    /// Shows events as they pass, from now on; see [`tap`](crate::tap).
    ///
    /// # Errors
    /// When as many watch as may.
    pub fn tap(&self, selection: TapSelection) -> Result<EventTap, TooManyTaps> {
        self.parts.acceptor.taps.open(selection)
    }

    /// Says when the sources of secrets and definitions are to be read again, because an endpoint
    /// refuses its credential. For one caller, who reads them and has [`Router::apply`] use what is new.
    #[must_use]
    pub fn credential_refresh(&self) -> CredentialRefresh {
        self.parts.acceptor.live.credential_refresh()
    }

    /// Whether events are accepted.
    #[must_use]
    pub fn readiness(&self) -> RouterReadiness {
        self.parts.reporter.readiness()
    }

    /// Has the status show how the source of definitions goes; the first call counts. `show` is asked at each
    /// snapshot, so it must be quick.
    pub fn show_source(&self, show: impl Fn() -> SourceStatus + Send + Sync + 'static) {
        drop(self.parts.reporter.source.set(Box::new(show)));
    }

    /// A snapshot of everything.
    #[must_use]
    pub fn status(&self) -> RouterStatus {
        self.parts.reporter.status()
    }

    /// Resolves when every delivery made so far is settled.
    pub async fn settled(&self) {
        self.heard_of().await;
        for lane in self.parts.acceptor.live.lanes() {
            lane.idle().await;
        }
    }

    /// Stops: refuses events from now on, lets lanes finish for at most `grace`, then discards the rest
    /// and counts it. Gives the last status.
    pub async fn stop(&self, grace: Duration) -> RouterStatus {
        let deadline = Instant::now() + grace;
        // Whoever still hands over events does so before the lanes are told.
        self.parts.acceptor.appender.close();
        let latest = deadline.max(Instant::now() + STOP_MARGIN);
        self.parts.acceptor.appender.handed_over(latest).await;
        if let Some(cluster) = self.parts.cluster() {
            return self.leave(cluster, latest).await;
        }
        let lanes = self.parts.acceptor.live.lanes();
        self.parts.acceptor.live.stop(deadline);
        for lane in lanes {
            // A batch in flight ends by itself within the attempt timeout.
            let latest = deadline + STOP_MARGIN;
            if timeout_at(latest, lane.idle()).await.is_err() {
                tracing::warn!(endpoint = %format!("{}/{}", lane.instance, lane.name),
                    "stopped with a batch in flight; whether it arrived is not known");
            }
        }
        self.parts.acceptor.stopped();
        self.parts.replays.note_all().await;
        if let Some(disk) = self.parts.disk() {
            // What is not recorded yet counts as backlog.
            let latest = Instant::now() + STOP_MARGIN;
            drop(timeout_at(latest, disk.flush()).await);
        }
        let status = self.status();
        if let Some(disk) = self.parts.disk().cloned() {
            let closed = tokio::task::spawn_blocking(move || disk.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::warn!(%error, "the journal was not closed in order");
            }
        }
        status
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "reload_tests.rs"]
pub(crate) mod reload_tests;

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod cluster_tests;

#[cfg(test)]
#[path = "every_journal_tests.rs"]
mod every_journal_tests;

#[cfg(test)]
#[path = "flood_tests.rs"]
mod flood_tests;

#[cfg(test)]
#[path = "replay_overload_tests.rs"]
mod replay_overload_tests;

#[cfg(test)]
#[path = "hold_tests.rs"]
mod hold_tests;

#[cfg(test)]
#[path = "durable_tests.rs"]
mod durable_tests;

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
pub(crate) mod dead_letter_tests;

#[cfg(test)]
#[path = "refused_tests.rs"]
mod refused_tests;

#[cfg(test)]
#[path = "removed_tests.rs"]
mod removed_tests;

#[cfg(test)]
#[path = "shares_tests.rs"]
mod shares_tests;

#[cfg(test)]
#[path = "full_disk_tests.rs"]
mod full_disk_tests;

#[cfg(test)]
#[path = "damage_tests.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "ttl_tests.rs"]
mod ttl_tests;
