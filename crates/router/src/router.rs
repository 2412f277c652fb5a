//! The embedding API: build a router, accept events, watch it work.

use crate::accept::{AcceptError, Accepted, AckLevel};
use crate::builder::Builder;
use crate::lane::Lane;
use crate::live::Live;
use crate::source::{Definitions, Faults};
use crate::status::{JournalStatus, Readiness, Status};
use crate::table::{CompiledInstance, Scratch};
use metrics::{Counter, counter, gauge};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use twinroute_filter::explain::{Explanation, explain};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::twin::TwinKey;
use twinroute_retry::journal::{Full, Gauge, Journal};

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
}

struct Counters {
    accepted: Counter,
    unmatched: Counter,
    refused: Counter,
}

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
    pub(crate) fn start(live: Live, journal: Journal) -> Self {
        let shared = Shared {
            live,
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
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Accepts a batch, whole or not at all, for an instance (`None`: the default one).
    ///
    /// Once this has begun, dropping the future does not undo it.
    ///
    /// # Errors
    /// Why nothing of the batch was kept.
    pub async fn accept(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<Accepted, AcceptError> {
        let count = events.len() as u64;
        let result = self.accept_now(instance, events, level);
        if result.is_err() {
            self.shared.counters.refused.increment(count);
        }
        result
    }

    fn accept_now(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<Accepted, AcceptError> {
        let shared = &*self.shared;
        if shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        if level != AckLevel::Memory {
            return Err(AcceptError::AckUnavailable {
                level: level.as_str(),
            });
        }
        let (compiled, generation) = self.instance(instance)?;
        let mut accepted = Accepted {
            events: events.len(),
            deliveries: 0,
            unmatched: 0,
            generation,
        };
        let mut scratch = Scratch::default();
        let mut matched = Vec::with_capacity(events.len());
        let mut lanes_of: Vec<(usize, u64)> = Vec::with_capacity(events.len());
        let mut lanes = Vec::with_capacity(events.len());
        for event in events {
            compiled.matches(&event, &mut scratch);
            if scratch.lanes.is_empty() {
                accepted.unmatched += 1;
                continue;
            }
            accepted.deliveries += scratch.lanes.len();
            lanes_of.push((scratch.lanes.len(), TwinKey::of(&event).stable_hash()));
            lanes.extend_from_slice(&scratch.lanes);
            matched.push(event.detached());
        }
        self.hand_over(&compiled.lanes, matched, &lanes_of, &lanes)?;
        compiled.count(&scratch);
        let (events, unmatched) = (accepted.events as u64, accepted.unmatched as u64);
        shared.accepted.fetch_add(events, Ordering::Relaxed);
        shared.unmatched.fetch_add(unmatched, Ordering::Relaxed);
        shared.counters.accepted.increment(events);
        shared.counters.unmatched.increment(unmatched);
        Ok(accepted)
    }

    /// Appends to the journal and queues for the lanes, in one order for all.
    ///
    /// `lanes_of` says of each event how many of `lanes` are its own, and its twin.
    fn hand_over(
        &self,
        all: &[Arc<Lane>],
        events: Vec<Event>,
        lanes_of: &[(usize, u64)],
        lanes: &[u32],
    ) -> Result<(), AcceptError> {
        if events.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let mut journal = self
            .shared
            .journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Once more under the lock: lanes that are told to stop must not get another event.
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        let entries = journal.append(events).map_err(|full| self.full(full))?;
        if let [(_, twin)] = lanes_of {
            let delivery = [(entries[0].clone(), *twin)];
            lanes
                .iter()
                .for_each(|lane| all[*lane as usize].push(&delivery, now));
            return Ok(());
        }
        let mut by_lane: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        let mut rest = lanes;
        for (entry, (count, twin)) in entries.into_iter().zip(lanes_of) {
            let (own, others) = rest.split_at(*count);
            rest = others;
            for lane in own {
                by_lane
                    .entry(*lane)
                    .or_default()
                    .push((entry.clone(), *twin));
            }
        }
        for (lane, deliveries) in by_lane {
            all[lane as usize].push(&deliveries, now);
        }
        Ok(())
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
        if self.shared.stopping.load(Ordering::Acquire) {
            return Readiness {
                ready: false,
                reason: "stopping".to_owned(),
            };
        }
        Readiness {
            ready: true,
            reason: String::new(),
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
        drop(
            self.shared
                .journal
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let lanes = self.shared.live.lanes();
        self.shared.live.stop(deadline);
        for lane in lanes {
            // A batch in flight ends by itself within the attempt timeout.
            let latest = deadline + Duration::from_secs(1);
            if timeout_at(latest, lane.idle()).await.is_err() {
                tracing::warn!(endpoint = %format!("{}/{}", lane.instance, lane.name),
                    "stopped with a batch in flight; whether it arrived is not known");
            }
        }
        self.status()
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
