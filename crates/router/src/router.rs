//! The embedding API: build a router, accept events, watch it work.

use crate::accept::{AcceptError, AckLevel};
use crate::admission::{self, Admission};
use crate::builder::Builder;
use crate::commit::{self, Commit};
use crate::damage::{self, Damage};
use crate::drain::DrainRate;
use crate::duplicates::{DuplicateWindow, Duplicates};
use crate::expiry::{self, Expiry};
use crate::lane::Lane;
use crate::receipt::Tally;
use crate::refusals::Looks;
use crate::replay::Replays;
use crate::shares::RoomMaker;
use crate::status::{
    CertificateStatus, InstanceStatus, JournalStatus, Readiness, SourceStatus, Status,
};
use crate::table::source::{Definitions, Faults};
use crate::table::{CompiledInstance, Live};
use crate::unreadable::{self, UnreadableLanes};
use crate::user_code;
use metrics::gauge;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use twinroute_filter::explain::{Explanation, explain};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_retry::journal::{Disk, Gauge, Health, Journal};

/// Routes events to endpoints. Cheap to clone; all clones are one router.
///
/// It needs a tokio runtime: every endpoint has a task. [`Router::stop`] lets them finish. When the last clone is
/// dropped without it the tasks end at once: a journal on disk gets all that was handed to it and is closed, which
/// blocks for as long as that takes, and another router may open it; what a journal in memory holds is discarded.
#[derive(Clone)]
pub struct Router {
    pub(crate) shared: Arc<Shared>,
    /// None where the router itself holds on to it: its own tasks keep no router alive.
    _handle: Option<Arc<RouterHandle>>,
}

/// What the program holds of a router.
struct RouterHandle(Arc<Shared>);

impl Drop for RouterHandle {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

pub(crate) struct Shared {
    pub(crate) live: Arc<Live>,
    /// Held while a batch is numbered and handed to its lanes, so that lanes see one order.
    journal: Mutex<Journal>,
    pub(crate) gauge: Gauge,
    journal_kind: &'static str,
    pub(crate) stopping: AtomicBool,
    /// Whether a stop is over: nobody waits for deliveries any more.
    pub(crate) stopped: watch::Sender<bool>,
    pub(crate) tally: Arc<Tally>,
    /// Where repeats are to be known.
    pub(crate) duplicates: Option<Arc<Duplicates>>,
    pub(crate) drain: DrainRate,
    pub(crate) admission: Arc<Admission>,
    pub(crate) room: RoomMaker,
    /// Events that were acknowledged in memory and did not reach the disk.
    lost: Arc<AtomicU64>,
    /// The journal on disk, where it is.
    pub(crate) disk: Option<Disk>,
    /// What had become of it when it was opened.
    damage: Damage,
    /// The way of events from that disk to their lanes.
    pub(crate) commits: Option<mpsc::UnboundedSender<Commit>>,
    replays: Replays,
    /// How the source of definitions goes.
    source: OnceLock<ShowSource>,
    /// What ends beside credentials of endpoints.
    expiries: OnceLock<ShowExpiries>,
    /// How long before its end something is warned about.
    expiry_warning: Duration,
}

impl Drop for Shared {
    /// Ends the task that gives turns.
    fn drop(&mut self) {
        self.admission.close();
    }
}

/// Tells how the source of definitions goes.
type ShowSource = Box<dyn Fn() -> SourceStatus + Send + Sync>;

/// Tells what ends.
type ShowExpiries = Box<dyn Fn() -> Vec<Expiry> + Send + Sync>;

/// How much longer than its grace a stop may take.
const STOP_MARGIN: Duration = Duration::from_secs(1);

impl Shared {
    /// Nobody has this router any more, and nobody has stopped it: it ends here.
    fn abandon(&self) {
        self.stopping.store(true, Ordering::Release);
        self.admission.close();
        // Whoever still hands over events does so before the lanes end.
        drop(self.journal.lock().unwrap_or_else(PoisonError::into_inner));
        self.stopped.send_replace(true);
        self.replays.abort_all();
        let open = self.live.abandon();
        let Some(disk) = &self.disk else {
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
    /// Starts to build a router.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Runs with a table that is in use already.
    pub(crate) fn start(
        live: Live,
        unreadable: &UnreadableLanes,
        (journal, damage): (Journal, Damage),
        replays: Replays,
        duplicates: Option<DuplicateWindow>,
        expiry_warning: Duration,
    ) -> Self {
        damage.count();
        let lost = Arc::new(AtomicU64::new(0));
        let disk = journal.disk().cloned();
        let commits = disk.is_some().then(|| {
            let (commits, inbox) = mpsc::unbounded_channel();
            drop(tokio::spawn(commit::run(inbox, Arc::clone(&lost))));
            commits
        });
        let shared = Shared {
            live: Arc::new(live),
            disk,
            damage,
            lost,
            commits,
            replays,
            source: OnceLock::new(),
            expiries: OnceLock::new(),
            expiry_warning,
            journal_kind: journal.kind(),
            gauge: journal.gauge(),
            journal: Mutex::new(journal),
            stopping: AtomicBool::new(false),
            stopped: watch::Sender::new(false),
            tally: Arc::new(Tally::new()),
            duplicates: duplicates.map(Duplicates::new),
            drain: DrainRate::new(),
            admission: Arc::new(Admission::new()),
            room: RoomMaker::default(),
        };
        let shared = Arc::new(shared);
        let admission = Arc::clone(&shared.admission);
        drop(tokio::spawn(admission::give_turns(admission)));
        let router = Self {
            _handle: Some(Arc::new(RouterHandle(Arc::clone(&shared)))),
            shared,
        };
        unreadable.connect(&router);
        router.resume_replays();
        let live = Arc::downgrade(&router.shared.live);
        drop(tokio::spawn(Live::forget_ended(live)));
        router
    }

    /// The instance of events that name none.
    #[must_use]
    pub fn default_instance(&self) -> &InstanceName {
        self.shared.live.default_instance()
    }

    /// The level that requests get which ask for none: the strongest that the journal gives at once.
    #[must_use]
    pub fn default_level(&self) -> AckLevel {
        match self.shared.commits {
            None => AckLevel::Memory,
            Some(_) => AckLevel::Durable,
        }
    }

    /// Whether the journal gives a level.
    #[must_use]
    pub fn gives(&self, level: AckLevel) -> bool {
        level != AckLevel::Durable || self.shared.commits.is_some()
    }

    /// The same router for a task of its own, which does not keep it from ending.
    pub(crate) fn for_task(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }

    /// As [`Self::for_task`], for who has only what is behind it.
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            _handle: None,
        }
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        let journal = self.shared.journal.lock();
        journal.unwrap_or_else(PoisonError::into_inner)
    }

    /// The sequence that the next event gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.journal().next_sequence()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn replay_jobs(&self) -> &Replays {
        &self.shared.replays
    }

    /// All lanes.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.shared.live.lanes()
    }

    /// The lane of an endpoint.
    pub(crate) fn lane(&self, instance: Option<&str>, endpoint: &str) -> Option<Arc<Lane>> {
        let instance = match instance {
            None => self.shared.live.default_instance().clone(),
            Some(name) => InstanceName::new(name).ok()?,
        };
        let endpoint = EndpointName::new(endpoint).ok()?;
        self.shared.live.lane(&(instance, endpoint))
    }

    pub(crate) fn instance(
        &self,
        name: Option<&str>,
    ) -> Result<(Arc<CompiledInstance>, u64), AcceptError> {
        let table = self.shared.live.table();
        let parsed;
        let key = match name {
            None => Some(self.shared.live.default_instance()),
            Some(name) => {
                parsed = InstanceName::new(name).ok();
                parsed.as_ref()
            }
        };
        match key.and_then(|key| table.instances.get(key)) {
            Some(compiled) => Ok((Arc::clone(compiled), table.generation)),
            None => Err(self.unknown_instance(name.unwrap_or_default())),
        }
    }

    /// Refuses a name that is not in the table.
    pub(crate) fn unknown_instance(&self, name: &str) -> AcceptError {
        let table = self.shared.live.table();
        let mut known: Vec<&str> = table.instances.keys().map(InstanceName::as_str).collect();
        known.sort_unstable();
        AcceptError::UnknownInstance {
            name: name.to_owned(),
            known: known.join(", "),
        }
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
    pub fn apply(&self, definitions: &Definitions) -> Result<u64, Faults> {
        self.shared.live.apply(definitions)
    }

    /// Notes that definitions could not even be read; the table stays and status shows why.
    pub fn refuse(&self, faults: &Faults) {
        self.shared.live.refuse(faults);
    }

    /// Says for every route of an instance whether and why it would match an event. Accepts nothing.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn explain(
        &self,
        instance: Option<&str>,
        event: &Event,
    ) -> Result<Vec<(RouteId, EndpointName, Explanation)>, AcceptError> {
        let (compiled, _) = self.instance(instance)?;
        let routes = compiled.routes.iter();
        let explained = routes.map(|route| {
            let route = &route.definition;
            (
                route.id.clone(),
                route.endpoint.clone(),
                explain(&route.filter, event),
            )
        });
        Ok(explained.collect())
    }

    /// The routes that an event would match. Accepts nothing.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn dry_run(
        &self,
        instance: Option<&str>,
        event: &Event,
    ) -> Result<Vec<RouteId>, AcceptError> {
        let (compiled, _) = self.instance(instance)?;
        Ok(compiled
            .matching_routes(event)
            .into_iter()
            .map(|route| route.definition.id.clone())
            .collect())
    }

    /// Whether events are accepted.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let reason = if self.shared.stopping.load(Ordering::Acquire) {
            "stopping".to_owned()
        } else {
            match self.shared.disk.as_ref().map(Disk::health) {
                None | Some(Health::Ok) => String::new(),
                Some(Health::Full(reason)) => format!("the journal cannot be written: {reason}"),
                Some(Health::Stalled(reason)) => reason.to_string(),
                Some(Health::Poisoned(reason)) => {
                    format!("the journal is poisoned until a restart: {reason}")
                }
            }
        };
        Readiness {
            ready: reason.is_empty(),
            reason,
        }
    }

    /// Says when the sources of secrets and definitions are to be looked at again, because an endpoint
    /// refuses its credential. For one caller, who looks and has [`Router::apply`] use what is new.
    #[must_use]
    pub fn looks(&self) -> Looks {
        self.shared.live.looks()
    }

    /// Has the status show how the source of definitions goes; the first call counts. `show` is asked at each
    /// snapshot, so it must be quick.
    pub fn show_source(&self, show: impl Fn() -> SourceStatus + Send + Sync + 'static) {
        drop(self.shared.source.set(Box::new(show)));
    }

    /// Has the status show when certificates of servers end, and warn about it; the first call counts. `ends` is
    /// asked at each snapshot, so it must be quick.
    pub fn show_expiries(&self, ends: impl Fn() -> Vec<Expiry> + Send + Sync + 'static) {
        drop(self.shared.expiries.set(Box::new(ends)));
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        let now = self.shared.live.now();
        let ends = self.shared.expiries.get();
        let ends = ends.and_then(|ends| user_code::shown("show_expiries", ends));
        let ends = ends.unwrap_or_default();
        ends.into_iter().map(|known| known.status(now)).collect()
    }

    fn warnings(
        &self,
        instances: &[InstanceStatus],
        certificates: &[CertificateStatus],
    ) -> Vec<String> {
        let before = self.shared.expiry_warning;
        let mut warnings = expiry::of_endpoints(instances, before);
        warnings.extend(self.kept_warning(instances));
        warnings.extend(expiry::of_certificates(certificates, before));
        warnings.extend(unreadable::warnings(instances));
        warnings.extend(self.shared.admission.warning());
        warnings.extend(self.shared.damage.warning.clone());
        warnings
    }

    /// A snapshot of everything.
    #[must_use]
    pub fn status(&self) -> Status {
        let usage = self.shared.gauge.usage();
        gauge!("twinroute_journal_bytes").set(usage.bytes as f64);
        gauge!("twinroute_journal_bytes_max").set(usage.bytes_max as f64);
        gauge!("twinroute_journal_events").set(usage.events as f64);
        if let Some(duplicates) = &self.shared.duplicates {
            gauge!("twinroute_duplicate_window_events").set(duplicates.remembered() as f64);
        }
        let (mut table, instances) = self.shared.live.status();
        let source = self.shared.source.get();
        table.source = source.and_then(|source| user_code::shown("show_source", source));
        let tally = &self.shared.tally;
        let certificates = self.certificates();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            readiness: self.readiness(),
            warnings: self.warnings(&instances, &certificates),
            certificates,
            admission: self.shared.admission.status(),
            table,
            journal: JournalStatus {
                kind: self.shared.journal_kind.to_owned(),
                events: usage.events,
                bytes: usage.bytes,
                bytes_max: usage.bytes_max,
                share_bytes: self.journal_share(),
                disk_bytes: self
                    .shared
                    .disk
                    .as_ref()
                    .map_or(0, |disk| disk.usage().disk_bytes),
                lost: self.shared.lost.load(Ordering::Relaxed),
                lost_deliveries: self.shared.damage.lost,
                lost_unknown: self.shared.damage.unknown,
                syncs: self.shared.disk.as_ref().map(damage::syncs),
                accepted: tally.accepted(),
                unmatched: tally.unmatched(),
                duplicates: tally.duplicates(),
            },
            instances,
        }
    }

    /// Resolves when every delivery made so far is settled.
    pub async fn settled(&self) {
        for lane in self.shared.live.lanes() {
            lane.idle().await;
        }
    }

    /// Stops: refuses events from now on, lets lanes finish for at most `grace`, then gives up the rest
    /// and counts it as discarded. Gives the last status.
    pub async fn stop(&self, grace: Duration) -> Status {
        let deadline = Instant::now() + grace;
        self.shared.stopping.store(true, Ordering::Release);
        // Whoever still hands over events does so before the lanes are told.
        drop(self.journal());
        self.shared.admission.close();
        if let Some(commits) = &self.shared.commits {
            let (done, handed_over) = oneshot::channel();
            if commits.send(Commit::Barrier(done)).is_ok() {
                // A disk that hangs must not keep the process; its events are found at the next start.
                drop(timeout_at(deadline.max(Instant::now() + STOP_MARGIN), handed_over).await);
            }
        }
        let lanes = self.shared.live.lanes();
        self.shared.live.stop(deadline);
        for lane in lanes {
            // A batch in flight ends by itself within the attempt timeout.
            let latest = deadline + STOP_MARGIN;
            if timeout_at(latest, lane.idle()).await.is_err() {
                tracing::warn!(endpoint = %format!("{}/{}", lane.instance, lane.name),
                    "stopped with a batch in flight; whether it arrived is not known");
            }
        }
        self.shared.stopped.send_replace(true);
        self.shared.replays.note_all().await;
        let status = self.status();
        if let Some(disk) = self.shared.disk.clone() {
            let closed = tokio::task::spawn_blocking(move || disk.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::warn!(%error, "the journal was not closed in order");
            }
        }
        status
    }
}

#[cfg(test)]
use crate::accept::Accepted;

#[cfg(test)]
#[path = "router_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "reload_tests.rs"]
pub(crate) mod reload_tests;

#[cfg(test)]
#[path = "flood_tests.rs"]
mod flood_tests;

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
#[path = "damage_tests.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "ttl_tests.rs"]
mod ttl_tests;
