//! The embedding API: build a router, accept events, watch it work.

use crate::accept::{AcceptError, Accepted, AckLevel};
use crate::awaited::Awaited;
use crate::builder::Builder;
use crate::commit::{self, ByLane, Commit};
use crate::lane::{Arrival, Kind, Lane};
use crate::live::Live;
use crate::matched::Matched;
use crate::replay::Replays;
use crate::source::{Definitions, Faults};
use crate::status::{JournalStatus, Readiness, Status};
use crate::table::{CompiledInstance, Scratch};
use metrics::{Counter, counter, gauge};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use twinroute_filter::explain::{Explanation, explain};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_retry::journal::{
    AppendError, Disk, DurableTicket, Full, Gauge, Health, Journal, NotDurable,
};

/// Routes events to endpoints. Cheap to clone; all clones are one router.
///
/// It needs a tokio runtime: every endpoint has a task. [`Router::stop`] lets them finish; a router that
/// is only dropped gives up what it holds when the runtime ends.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    live: Live,
    /// Held while a batch is numbered and handed to its lanes, so that lanes see one order.
    journal: Mutex<Journal>,
    gauge: Gauge,
    journal_kind: &'static str,
    stopping: AtomicBool,
    accepted: AtomicU64,
    unmatched: AtomicU64,
    drain: Mutex<Drain>,
    counters: Counters,
    /// Events that were acknowledged in memory and did not reach the disk.
    lost: Arc<AtomicU64>,
    /// The journal on disk, where it is.
    disk: Option<Disk>,
    /// The way of events from that disk to their lanes.
    commits: Option<mpsc::UnboundedSender<Commit>>,
    replays: Replays,
}

struct Counters {
    accepted: Counter,
    unmatched: Counter,
    refused: Counter,
}

/// How much longer than its grace a stop may take.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// How long level `delivered` waits unless told otherwise.
const DELIVERED_DEADLINE: Duration = Duration::from_secs(30);

/// When to come back to an endpoint that is full.
const ENDPOINT_FULL_RETRY: Duration = Duration::from_secs(5);

/// Tells when a batch is on disk, and its lanes have it.
pub(crate) type OnDisk = oneshot::Receiver<Result<(), NotDurable>>;

/// How fast the journal drains, as last looked at.
struct Drain {
    at: Instant,
    bytes_released: u64,
    bytes_per_second: f64,
}

impl Router {
    /// Starts to build a router.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Runs with a table that is in use already.
    pub(crate) fn start(live: Live, journal: Journal, replays: Replays) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let disk = journal.disk().cloned();
        let commits = disk.is_some().then(|| {
            let (commits, inbox) = mpsc::unbounded_channel();
            drop(tokio::spawn(commit::run(inbox, Arc::clone(&lost))));
            commits
        });
        let shared = Shared {
            live,
            disk,
            lost,
            commits,
            replays,
            journal_kind: journal.kind(),
            gauge: journal.gauge(),
            journal: Mutex::new(journal),
            stopping: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            drain: Mutex::new(Drain {
                at: Instant::now(),
                bytes_released: 0,
                bytes_per_second: 0.0,
            }),
            counters: Counters {
                accepted: counter!("twinroute_events_accepted_total"),
                unmatched: counter!("twinroute_events_unmatched_total"),
                refused: counter!("twinroute_events_refused_total"),
            },
        };
        let router = Self {
            shared: Arc::new(shared),
        };
        router.resume_replays();
        router
    }

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
    ) -> Result<Accepted, AcceptError> {
        self.accept_within(instance, events, level, DELIVERED_DEADLINE)
            .await
    }

    /// As [`Self::accept`]; level `delivered` waits no longer than `deadline` for the ends of the
    /// deliveries. What is open then is accepted all the same, and said in the answer.
    ///
    /// # Errors
    /// Why nothing of the batch was kept; after a failed sync of the disk, why that is not known.
    pub async fn accept_within(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        deadline: Duration,
    ) -> Result<Accepted, AcceptError> {
        let count = events.len() as u64;
        let result = self.accept_at(instance, events, level, deadline).await;
        if result.is_err() {
            self.shared.counters.refused.increment(count);
        }
        result
    }

    /// The level that requests get which ask for none: the strongest that the journal gives at once.
    #[must_use]
    pub fn default_level(&self) -> AckLevel {
        match self.shared.commits {
            None => AckLevel::Memory,
            Some(_) => AckLevel::Durable,
        }
    }

    async fn accept_at(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        deadline: Duration,
    ) -> Result<Accepted, AcceptError> {
        let deadline = Instant::now() + deadline;
        let shared = &*self.shared;
        if shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        self.check_level(level)?;
        let (compiled, generation) = self.instance(instance)?;
        let mut accepted = Accepted {
            events: events.len(),
            deliveries: 0,
            unmatched: 0,
            generation,
            outcomes: BTreeMap::new(),
        };
        let mut scratch = Scratch::default();
        let mut matched = Matched::with_capacity(events.len());
        for event in events {
            compiled.matches(&event, &mut scratch);
            if scratch.lanes.is_empty() {
                accepted.unmatched += 1;
                continue;
            }
            accepted.deliveries += scratch.lanes.len();
            matched.add(event, &scratch.lanes);
        }
        if let Some(full) = matched.refusing(&compiled.lanes) {
            return Err(AcceptError::EndpointFull {
                endpoint: format!("{}/{}", full.instance, full.name),
                retry_after: ENDPOINT_FULL_RETRY,
            });
        }
        let awaited = (level == AckLevel::Delivered).then(Arc::<Awaited>::default);
        if let Some(awaited) = &awaited {
            matched.expect(&compiled.lanes, awaited);
        }
        let arrival = Arrival {
            came: Instant::now(),
            kind: Kind::Matched,
            awaited: awaited.clone(),
        };
        let on_disk = self.hand_over(&compiled.lanes, matched, level, arrival)?;
        if let Some(on_disk) = on_disk.filter(|_| level != AckLevel::Memory) {
            let result = on_disk.await.unwrap_or(Err(NotDurable::Closed));
            result.map_err(|error| AcceptError::Journal {
                reason: error.to_string(),
            })?;
        }
        compiled.count(&scratch);
        let (events, unmatched) = (accepted.events as u64, accepted.unmatched as u64);
        shared.accepted.fetch_add(events, Ordering::Relaxed);
        shared.unmatched.fetch_add(unmatched, Ordering::Relaxed);
        shared.counters.accepted.increment(events);
        shared.counters.unmatched.increment(unmatched);
        if let Some(awaited) = awaited {
            // What is open at the deadline is said in the answer.
            drop(timeout_at(deadline, awaited.all()).await);
            accepted.outcomes = awaited.outcomes();
        }
        Ok(accepted)
    }

    fn check_level(&self, level: AckLevel) -> Result<(), AcceptError> {
        let reason = match (level, &self.shared.commits) {
            (AckLevel::Memory | AckLevel::Delivered, _) | (AckLevel::Durable, Some(_)) => {
                return Ok(());
            }
            (AckLevel::Durable, None) => {
                "the journal is in memory; use \"memory\" or \"delivered\""
            }
        };
        let level = level.as_str();
        Err(AcceptError::AckUnavailable { level, reason })
    }

    /// Appends to the journal and queues for the lanes, in one order for all.
    ///
    /// With a journal on disk the lanes get the events once they are there, which the receiver tells.
    fn hand_over(
        &self,
        all: &[Arc<Lane>],
        mut matched: Matched,
        level: AckLevel,
        arrival: Arrival,
    ) -> Result<Option<OnDisk>, AcceptError> {
        if matched.is_empty() {
            return Ok(None);
        }
        let mut journal = self.journal();
        // Once more under the lock: lanes that are told to stop must not get another event.
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        match &mut *journal {
            Journal::Memory(memory) => {
                let events = matched.take_events();
                let entries = memory.append(events).map_err(|full| self.full(full))?;
                matched.push(all, entries, &arrival);
                Ok(None)
            }
            Journal::Disk(disk) => {
                let batch = matched.take_numbered(all);
                let events = batch.len() as u64;
                let appended = disk
                    .append(batch)
                    .map_err(|error| self.not_appended(error))?;
                let answered = if level == AckLevel::Memory { events } else { 0 };
                let batch = (matched.by_lane(all, appended.entries), arrival);
                self.send_on(batch, appended.durable, answered).map(Some)
            }
        }
    }

    /// Appends a dead letter anew for the one endpoint that failed; `of` is its sequence if it is kept here
    /// and was taken from its lane.
    pub(crate) fn put_back(
        &self,
        lane: &Arc<Lane>,
        of: Option<u64>,
        event: Event,
        twin: u64,
        awaited: &Arc<Awaited>,
    ) -> Result<Option<OnDisk>, AcceptError> {
        let arrival = Arrival {
            came: Instant::now(),
            kind: Kind::Replayed { of },
            awaited: Some(Arc::clone(awaited)),
        };
        let mut journal = self.journal();
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        match &mut *journal {
            Journal::Memory(memory) => {
                let entries = memory.append(vec![event]).map_err(|full| self.full(full))?;
                for entry in entries {
                    lane.push(&[(entry, twin)], &arrival);
                }
                Ok(None)
            }
            Journal::Disk(disk) => {
                let number = lane.number.ok_or(AcceptError::Stopping)?;
                let appended = disk.replay(number, of, event, twin);
                let appended = appended.map_err(|error| self.not_appended(error))?;
                let entries = appended.entries.into_iter();
                let deliveries = entries.map(|entry| (entry, twin)).collect();
                let batch = (vec![(Arc::clone(lane), deliveries)], arrival);
                self.send_on(batch, appended.durable, 0).map(Some)
            }
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        let journal = self.shared.journal.lock();
        journal.unwrap_or_else(PoisonError::into_inner)
    }

    /// Has deliveries go to their lanes once they are on disk. `answered` events were acknowledged
    /// already.
    fn send_on(
        &self,
        (deliveries, arrival): (ByLane, Arrival),
        durable: DurableTicket,
        answered: u64,
    ) -> Result<OnDisk, AcceptError> {
        let commits = self.shared.commits.as_ref();
        let commits = commits.expect("a journal on disk comes with a way to the lanes");
        let (done, on_disk) = oneshot::channel();
        let sent = commits.send(Commit::Batch {
            deliveries,
            arrival,
            durable,
            answered,
            done,
        });
        sent.map_err(|_| AcceptError::Stopping)?;
        Ok(on_disk)
    }

    /// The sequence that the next event gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.journal().next_sequence()
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

    fn not_appended(&self, error: AppendError) -> AcceptError {
        match error {
            AppendError::Full(full) => self.full(full),
            AppendError::Backlog(_) => AcceptError::Journal {
                reason: error.to_string(),
            },
            AppendError::TooLarge {
                bytes, bytes_max, ..
            } => AcceptError::TooLarge {
                bytes: bytes as u64,
                bytes_max: bytes_max as u64,
            },
            AppendError::NoRoom(reason) | AppendError::Poisoned(reason) => AcceptError::Journal {
                reason: reason.to_string(),
            },
            AppendError::Closed => AcceptError::Stopping,
        }
    }

    fn instance(&self, name: Option<&str>) -> Result<(Arc<CompiledInstance>, u64), AcceptError> {
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
            None => {
                let mut known: Vec<&str> =
                    table.instances.keys().map(InstanceName::as_str).collect();
                known.sort_unstable();
                let name = name.unwrap_or_default().to_owned();
                Err(AcceptError::UnknownInstance {
                    name,
                    known: known.join(", "),
                })
            }
        }
    }

    /// Says when there is likely to be room: what does not fit, by the rate at which things settle.
    fn full(&self, full: Full) -> AcceptError {
        if full.bytes_new > full.bytes_max {
            return AcceptError::TooLarge {
                bytes: full.bytes_new,
                bytes_max: full.bytes_max,
            };
        }
        let lacking = (full.bytes + full.bytes_new - full.bytes_max) as f64;
        let rate = self.drain_rate();
        // Nothing drained lately: an endpoint may be back any moment.
        let seconds = if rate > 0.0 { lacking / rate } else { 5.0 };
        AcceptError::Full {
            bytes: full.bytes,
            bytes_max: full.bytes_max,
            retry_after: Duration::from_secs_f64(seconds.clamp(1.0, 60.0)),
        }
    }

    fn drain_rate(&self) -> f64 {
        let mut drain = self
            .shared
            .drain
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let passed = drain.at.elapsed();
        if passed >= Duration::from_secs(1) {
            let released = self.shared.gauge.usage().bytes_released;
            drain.bytes_per_second =
                (released - drain.bytes_released) as f64 / passed.as_secs_f64();
            drain.bytes_released = released;
            drain.at = Instant::now();
        }
        drain.bytes_per_second
    }

    /// Makes `definitions` the table: validates, compiles and swaps, or changes nothing.
    ///
    /// Gives the generation in use afterwards; it stays the same when nothing changed.
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
            .map(|route| route.id.clone())
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

    /// A snapshot of everything.
    #[must_use]
    pub fn status(&self) -> Status {
        let usage = self.shared.gauge.usage();
        gauge!("twinroute_journal_bytes").set(usage.bytes as f64);
        gauge!("twinroute_journal_bytes_max").set(usage.bytes_max as f64);
        gauge!("twinroute_journal_events").set(usage.events as f64);
        let (table, instances) = self.shared.live.status();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            readiness: self.readiness(),
            table,
            journal: JournalStatus {
                kind: self.shared.journal_kind.to_owned(),
                events: usage.events,
                bytes: usage.bytes,
                bytes_max: usage.bytes_max,
                disk_bytes: self
                    .shared
                    .disk
                    .as_ref()
                    .map_or(0, |disk| disk.usage().disk_bytes),
                lost: self.shared.lost.load(Ordering::Relaxed),
                accepted: self.shared.accepted.load(Ordering::Relaxed),
                unmatched: self.shared.unmatched.load(Ordering::Relaxed),
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
#[path = "router_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "reload_tests.rs"]
mod reload_tests;

#[cfg(test)]
#[path = "durable_tests.rs"]
mod durable_tests;
