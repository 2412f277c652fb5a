//! The running table: the one way in for definitions, and the lanes they keep.
//!
//! `apply` validates, compiles and swaps. Whatever is wrong, the old table stays, whole. A lane is kept
//! as long as its endpoint is, and its sink too while nothing about the endpoint changed.

use super::last_definitions::LastEndpoints;
use super::plan::{CustomEndpoint, PlannedEndpoint, PlannedInstance, TablePlanner, hash};
use super::plan_warnings::journal_warnings;
use super::previous::{PreviousEndpoint, PreviousTable, retain_only};
use super::removed::RemovedEndpoints;
use super::route::{CompiledRoute, PlannedRoute};
use super::routing_table::{CompiledInstance, RoutingTable};
use super::running_lanes::RunningLanes;
use super::snapshot::TableSnapshot;
use super::source::{DefinitionFault, DefinitionFaults, Definitions};
use crate::credential_refresh::CredentialRefresh;
use crate::delivery::{Lane, LaneKey, RecentOutcomes};
use crate::sink::Connect;
use crate::status::{InstanceStatus, RouteStatus, TableStatus};
use crate::tap::EventTaps;
use crate::trace::SpanQueue;
use crate::unreadable_endpoint;
use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use rapidhash::RapidHashMap;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::DiskJournal;
use twinroute_model::clock::Clock;
use twinroute_model::name::{EndpointName, InstanceName};

/// The table in use and its lanes.
pub(crate) struct LiveTable {
    table: ArcSwap<RoutingTable>,
    parts: LiveParts,
    lanes: Mutex<RunningLanes>,
    /// What the table was made of. Held while definitions are applied: one at a time.
    applied: Mutex<AppliedTable>,
    /// Why the newest definitions were refused.
    faults: Mutex<Vec<String>>,
    removed: RemovedEndpoints,
}

/// What the table in use was made of, and the endpoints whose sinks the program brought along.
struct AppliedTable {
    previous: PreviousTable,
    custom: CustomEndpoints,
}

/// Endpoints of the default instance whose sinks the program brought along.
pub(crate) type CustomEndpoints = BTreeMap<EndpointName, CustomEndpoint>;

/// What stays as it is, whatever is defined.
pub(crate) struct LiveParts {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) default_instance: InstanceName,
    pub(crate) removed_grace: Duration,
    /// Bytes that may wait in all.
    pub(crate) journal_bytes_max: u64,
    /// Where the journal is on disk: tables are recorded there, where it keeps a history.
    pub(crate) disk: Option<DiskJournal>,
}

impl LiveTable {
    /// With an empty table. `last` is of use where the journal is on disk.
    pub(crate) fn new(
        parts: LiveParts,
        custom: CustomEndpoints,
        lanes: RunningLanes,
        last: Option<LastEndpoints>,
    ) -> Self {
        let removed = RemovedEndpoints::new(parts.removed_grace, Arc::clone(&parts.connect), last);
        Self {
            table: ArcSwap::default(),
            parts,
            lanes: Mutex::new(lanes),
            applied: Mutex::new(AppliedTable {
                previous: PreviousTable::default(),
                custom,
            }),
            faults: Mutex::default(),
            removed,
        }
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<RoutingTable>> {
        self.table.load()
    }

    pub(crate) fn default_instance(&self) -> &InstanceName {
        &self.parts.default_instance
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.parts.clock)
    }

    fn lanes_locked(&self) -> MutexGuard<'_, RunningLanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults_locked(&self) -> MutexGuard<'_, Vec<String>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why definitions could not even be read.
    pub(crate) fn refuse(&self, faults: &DefinitionFaults) {
        let mut view = self.faults_locked();
        let faults: Vec<String> = faults.0.iter().map(DefinitionFault::to_string).collect();
        counter!("twinroute_table_refusals_total").increment(1);
        // Before the first table the caller gets them, and nothing runs that could go on.
        if *view != faults && self.table.load().generation > 0 {
            for fault in &faults {
                tracing::error!(fault, "the definitions were refused; the old table stays");
            }
        }
        gauge!("twinroute_table_faults").set(faults.len() as f64);
        *view = faults;
    }

    /// Makes `definitions` the table. Gives the generation in use afterwards, which stays the same when
    /// nothing changed.
    pub(crate) fn apply(&self, definitions: &Definitions) -> Result<u64, DefinitionFaults> {
        let applied = self.applied.lock();
        let mut applied = applied.unwrap_or_else(PoisonError::into_inner);
        let AppliedTable { previous, custom } = &mut *applied;
        self.apply_locked(definitions, custom, previous)
    }

    /// As [`Self::apply`], with other endpoints of the program's own; they too stay as they are when anything is wrong.
    pub(crate) fn apply_with_sinks<E: From<DefinitionFaults>>(
        &self,
        definitions: &Definitions,
        change: impl FnOnce(&mut CustomEndpoints) -> Result<(), E>,
    ) -> Result<u64, E> {
        let applied = self.applied.lock();
        let mut applied = applied.unwrap_or_else(PoisonError::into_inner);
        let AppliedTable { previous, custom } = &mut *applied;
        let mut changed = custom.clone();
        change(&mut changed)?;
        let generation = self.apply_locked(definitions, &changed, previous)?;
        *custom = changed;
        Ok(generation)
    }

    fn apply_locked(
        &self,
        definitions: &Definitions,
        custom: &CustomEndpoints,
        previous: &mut PreviousTable,
    ) -> Result<u64, DefinitionFaults> {
        let mut warnings = Vec::new();
        let planner = TablePlanner {
            connect: &*self.parts.connect,
            default_instance: &self.parts.default_instance,
            custom,
            previous,
            now: self.parts.clock.now(),
        };
        // All that can fail comes first, and touches nothing that runs.
        let planned = match planner.plan(definitions, &mut warnings) {
            Ok(planned) => planned,
            Err(faults) => {
                self.refuse(&faults);
                return Err(faults);
            }
        };
        warnings.extend(journal_warnings(&planned, self.parts.journal_bytes_max));
        let hash = hash(&planned);
        let old = self.table.load_full();
        let mut endpoints = planned.iter().flat_map(|instance| &instance.endpoints);
        let same = hash == old.hash
            && old.generation > 0
            && endpoints.all(|endpoint| endpoint.change.is_none());
        self.faults_locked().clear();
        gauge!("twinroute_table_faults").set(0.0);
        if same {
            self.removed.save_last();
            if warnings != old.warnings {
                self.show_warnings(&old, warnings);
            }
            return Ok(old.generation);
        }
        // The last definitions are saved before a lane is removed by the new table: after a crash
        // between the two they are still known.
        self.removed
            .note_last(&self.lanes, previous, &planned, self.parts.clock.now());
        let Some(lanes) = self.bring_up(previous, planned) else {
            return Ok(old.generation);
        };
        let table = RoutingTable {
            generation: old.generation + 1,
            hash,
            since: Some(self.parts.clock.now()),
            warnings,
            instances: compile(lanes, &old),
        };
        let generation = table.generation;
        gauge!("twinroute_table_generation").set(generation as f64);
        tracing::info!(
            generation,
            hash = table.hash,
            instances = table.instances.len(),
            "a new table is in use"
        );
        table.log_warnings();
        // Before any event is matched against it.
        if let Some(disk) = self.parts.disk.as_ref().filter(|disk| disk.keeps_history()) {
            disk.record_table(generation, TableSnapshot::of(&table).encode());
        }
        self.table.store(Arc::new(table));
        // Only once nobody can match them any more.
        self.removed.retire_absent(&self.lanes, previous);
        Ok(generation)
    }

    /// Shows other warnings about a table that stays.
    fn show_warnings(&self, old: &RoutingTable, warnings: Vec<String>) {
        let table = RoutingTable {
            generation: old.generation,
            hash: old.hash.clone(),
            since: old.since,
            warnings,
            instances: old.instances.clone(),
        };
        table.log_warnings();
        self.table.store(Arc::new(table));
    }

    /// Gives endpoints their lanes; nothing when the router stops. Cannot fail any more.
    ///
    /// Only lanes that change are touched. Nobody who accepts or delivers waits for this lock.
    fn bring_up(
        &self,
        previous: &mut PreviousTable,
        planned: Vec<PlannedInstance>,
    ) -> Option<Vec<InstanceLanes>> {
        let mut running = self.lanes_locked();
        if running.is_stopping {
            return None;
        }
        previous.retain(planned.iter().map(|plan| &plan.name));
        let mut all = Vec::with_capacity(planned.len());
        for plan in planned {
            let previous = previous.instance_mut(&plan.name);
            let mut lanes = Vec::with_capacity(plan.endpoints.len());
            for PlannedEndpoint {
                name,
                fingerprint,
                change,
                ..
            } in plan.endpoints
            {
                let lane = match change {
                    None => {
                        let kept = previous.endpoints.get(&name);
                        let kept = kept.expect("a sink is kept because its lane is known");
                        Arc::clone(&kept.lane)
                    }
                    Some((definition, setup)) => {
                        let key = (plan.name.clone(), name.clone());
                        let lane = running.bring_up(key, setup);
                        let endpoint = PreviousEndpoint {
                            definition,
                            fingerprint,
                            lane: Arc::clone(&lane),
                        };
                        previous.endpoints.insert(name, endpoint);
                        lane
                    }
                };
                lanes.push(lane);
            }
            for PlannedRoute { route, .. } in &plan.routes {
                let id = &route.definition.id;
                let same = previous.routes.get(id);
                if !same.is_some_and(|same| Arc::ptr_eq(&same.definition, &route.definition)) {
                    previous.routes.insert(id.clone(), route.clone());
                }
            }
            retain_only(&mut previous.endpoints, lanes.iter().map(|lane| &lane.name));
            let routes = plan.routes.iter();
            let ids = routes.map(|planned| &planned.route.definition.id);
            retain_only(&mut previous.routes, ids);
            all.push((plan.name, lanes, plan.routes));
        }
        Some(all)
    }

    /// The lane of an endpoint, that of a removed one too while it finishes.
    pub(crate) fn lane(&self, key: &LaneKey) -> Option<Arc<Lane>> {
        self.lanes_locked().get(key)
    }

    /// The lane of an endpoint of which a shared log has something; it is started, where `is_needed`, though nothing defines
    /// the endpoint. None when the router stops.
    pub(crate) fn lane_of_log(&self, key: &LaneKey, is_needed: bool) -> Option<Arc<Lane>> {
        let mut lanes = self.lanes_locked();
        if unreadable_endpoint::is_reserved(&key.1) {
            return match is_needed {
                true => lanes.unreadable(&key.0),
                false => lanes.get(key),
            };
        }
        let lane = lanes.get(key).filter(|lane| lane.is_over().is_none());
        if lane.is_some() || !is_needed || lanes.is_stopping {
            return lane;
        }
        Some(self.removed.adopt(&mut lanes, key.clone()))
    }

    /// The lane that keeps what an instance was sent and nobody can read; none when the router stops.
    pub(crate) fn unreadable_lane(&self, instance: &InstanceName) -> Option<Arc<Lane>> {
        self.lanes_locked().unreadable(instance)
    }

    /// Says when the sources of secrets are to be read again.
    pub(crate) fn credential_refresh(&self) -> CredentialRefresh {
        let reports = self.lanes_locked().reports.clone();
        reports.refresh_trigger.credential_refresh()
    }

    /// Where lanes show what passes.
    pub(crate) fn taps(&self) -> EventTaps {
        self.lanes_locked().reports.taps.clone()
    }

    /// Where lanes keep what they settled, if the journal is in memory.
    pub(crate) fn recent_outcomes(&self) -> Option<RecentOutcomes> {
        self.lanes_locked().reports.recent.clone()
    }

    /// Where spans are recorded.
    pub(crate) fn spans(&self) -> SpanQueue {
        self.lanes_locked().reports.spans.clone()
    }

    /// Retires every lane; definitions change nothing from here on.
    pub(crate) fn stop(&self, deadline: Instant) {
        let mut lanes = self.lanes_locked();
        lanes.is_stopping = true;
        lanes.all().for_each(|lane| lane.stop(deadline));
    }

    /// Ends every lane as it is; gives how many deliveries they had not settled.
    pub(crate) fn abandon(&self) -> u64 {
        let mut lanes = self.lanes_locked();
        lanes.is_stopping = true;
        lanes.ended.notify_one();
        lanes.all().map(|lane| lane.abandon()).sum()
    }

    /// All lanes, those of removed endpoints too while they finish.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes_locked().all().map(Arc::clone).collect()
    }

    /// Forgets last definitions as lanes end, for as long as there is a router; at once where none are kept.
    pub(crate) async fn forget_ended(live: Weak<Self>) {
        let of = |live: Arc<Self>| {
            let kept = live.removed.keeps_last();
            kept.then(|| Arc::clone(&live.lanes_locked().ended))
        };
        let Some(ended) = live.upgrade().and_then(of) else {
            return;
        };
        loop {
            ended.notified().await;
            let Some(live) = live.upgrade() else {
                return;
            };
            let forget = move || live.removed.forget_ended(&live.lanes);
            if tokio::task::spawn_blocking(forget).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn status(&self) -> (TableStatus, Vec<InstanceStatus>) {
        let table = self.table.load_full();
        let errors = self.faults_locked().clone();
        let mut instances: BTreeMap<&InstanceName, InstanceStatus> = BTreeMap::new();
        let empty = |name: &InstanceName| InstanceStatus {
            name: name.to_string(),
            endpoints: Vec::new(),
            routes: Vec::new(),
        };
        for (name, compiled) in &table.instances {
            let mut view = empty(name);
            view.routes = compiled.routes.iter().map(route_status).collect();
            view.routes.sort_by(|a, b| a.id.cmp(&b.id));
            instances.insert(name, view);
        }
        let lanes = self.lanes();
        for lane in &lanes {
            let instance = instances.entry(&lane.instance);
            let instance = instance.or_insert_with(|| empty(&lane.instance));
            instance.endpoints.push(lane.status());
        }
        let mut instances: Vec<InstanceStatus> = instances.into_values().collect();
        for instance in &mut instances {
            instance.endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let status = TableStatus {
            generation: table.generation,
            hash: table.hash.clone(),
            since: table.since,
            errors,
            warnings: table
                .warnings
                .iter()
                .cloned()
                .chain(self.removed.problems())
                .collect(),
            source: None,
        };
        (status, instances)
    }
}

/// An instance with the lanes of its endpoints and its routes.
type InstanceLanes = (InstanceName, Vec<Arc<Lane>>, Vec<PlannedRoute>);

/// Makes instances ready to match; those that would become the same again are kept.
fn compile(
    instances: Vec<InstanceLanes>,
    old: &RoutingTable,
) -> RapidHashMap<InstanceName, Arc<CompiledInstance>> {
    let compile = |(name, lanes, routes): InstanceLanes| {
        let before = old.instances.get(&name);
        let compiled = match before.filter(|before| before.is(&lanes, &routes)) {
            Some(same) => Arc::clone(same),
            None => Arc::new(CompiledInstance::new(name.clone(), lanes, routes)),
        };
        (name, compiled)
    };
    instances.into_iter().map(compile).collect()
}

fn route_status(route: &CompiledRoute) -> RouteStatus {
    let definition = &route.definition;
    RouteStatus {
        id: definition.id.to_string(),
        endpoint: definition.endpoint.to_string(),
        filter: definition.filter.as_str().to_owned(),
        matched: route.matched.load(Ordering::Relaxed),
    }
}
