//! The running table: the one way in for definitions, and the lanes they keep.
//!
//! `apply` validates, compiles and swaps. Whatever is wrong, the old table stays, whole. A lane is kept
//! as long as its endpoint is, and its sink too while nothing about the endpoint changed.

use crate::durable::Durable;
use crate::lane::durable::Origin;
use crate::lane::{self, Lane};
use crate::last_definitions::Last;
use crate::made_of::{Known, KnownEndpoint};
use crate::plan::{
    Custom, LaneKey, Planned, PlannedEndpoint, PlannedRoute, Planner, hash, journal_warnings,
};
use crate::refusals::{Looks, Refusals};
use crate::sink::Connect;
use crate::source::{Definitions, Fault, Faults};
use crate::status::{InstanceStatus, RouteStatus, TableStatus};
use crate::table::{CompiledInstance, CompiledRoute, Table};
use crate::unreadable::{self, UnreadableLanes};
use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_retry::ledger::Ledger;

pub(crate) struct Live {
    table: ArcSwap<Table>,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Arc<dyn Clock>,
    default_instance: InstanceName,
    custom: BTreeMap<EndpointName, Custom>,
    pub(crate) removed_grace: Duration,
    /// Bytes that may wait in all.
    journal_bytes_max: u64,
    running: Mutex<Running>,
    /// What the table was made of. Held while definitions are applied: one at a time.
    known: Mutex<Known>,
    /// What outlives a restart of them, where the journal is on disk. Locked before `running`, and while the file
    /// is written.
    pub(crate) last: Option<Mutex<Last>>,
    pub(crate) unreadable: UnreadableLanes,
}

#[derive(Default)]
pub(crate) struct Running {
    /// Those of removed endpoints too, while they finish.
    pub(crate) lanes: HashMap<LaneKey, Arc<Lane>>,
    /// Those of our own endpoint, which keep what could not be read; they end with the router.
    pub(crate) unreadable: HashMap<InstanceName, Arc<Lane>>,
    /// What lanes that are over had counted, should their endpoints come back.
    pub(crate) over: HashMap<LaneKey, Ledger>,
    pub(crate) durable: Option<Durable>,
    faults: Vec<String>,
    /// What is wrong with the file of last definitions.
    pub(crate) problems: Vec<String>,
    pub(crate) stopping: bool,
    /// Where lanes tell that they have ended.
    pub(crate) ended: Arc<Notify>,
    /// Where lanes tell that their credential is refused.
    refusals: Refusals,
}

impl Live {
    pub(crate) fn new(
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        default_instance: InstanceName,
        custom: BTreeMap<EndpointName, Custom>,
        removed_grace: Duration,
        journal_bytes_max: u64,
        mut durable: Option<Durable>,
        unreadable: UnreadableLanes,
    ) -> Self {
        let last = durable.as_mut().and_then(|durable| durable.last.take());
        Self {
            table: ArcSwap::default(),
            connect,
            clock,
            default_instance,
            custom,
            removed_grace,
            journal_bytes_max,
            running: Mutex::new(Running {
                durable,
                ..Running::default()
            }),
            known: Mutex::default(),
            last: last.map(Mutex::new),
            unreadable,
        }
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    pub(crate) fn default_instance(&self) -> &InstanceName {
        &self.default_instance
    }

    pub(crate) fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why definitions could not even be read.
    pub(crate) fn refuse(&self, faults: &Faults) {
        let mut running = self.running();
        let faults: Vec<String> = faults.0.iter().map(Fault::to_string).collect();
        counter!("twinroute_table_refusals_total").increment(1);
        // Before the first table the caller gets them, and nothing runs that could go on.
        if running.faults != faults && self.table.load().generation > 0 {
            for fault in &faults {
                tracing::error!(fault, "the definitions were refused; the old table stays");
            }
        }
        gauge!("twinroute_table_faults").set(faults.len() as f64);
        running.faults = faults;
    }

    /// Makes `definitions` the table. Gives the generation in use afterwards, which stays the same when
    /// nothing changed.
    pub(crate) fn apply(&self, definitions: &Definitions) -> Result<u64, Faults> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut warnings = Vec::new();
        let planner = Planner {
            connect: &*self.connect,
            default_instance: &self.default_instance,
            custom: &self.custom,
            known: &known,
            now: self.clock.now(),
        };
        let planned = match planner.plan(definitions, &mut warnings) {
            Ok(planned) => planned,
            Err(faults) => {
                self.refuse(&faults);
                return Err(faults);
            }
        };
        warnings.extend(journal_warnings(&planned, self.journal_bytes_max));
        let hash = hash(&planned);
        let old = self.table.load_full();
        let mut endpoints = planned.iter().flat_map(|instance| &instance.endpoints);
        let same = hash == old.hash
            && old.generation > 0
            && endpoints.all(|endpoint| endpoint.change.is_none());
        self.running().faults.clear();
        gauge!("twinroute_table_faults").set(0.0);
        if same {
            self.save_last();
            if warnings != old.warnings {
                self.warn_anew(&old, warnings);
            }
            return Ok(old.generation);
        }
        self.note_last(&known, &planned);
        let Some(lanes) = self.bring_up(&mut known, planned) else {
            return Ok(old.generation);
        };
        let table = Table {
            generation: old.generation + 1,
            hash,
            since: self.clock.now().rfc3339(),
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
        self.table.store(Arc::new(table));
        self.retire_absent(&known);
        Ok(generation)
    }

    /// Shows other warnings about a table that stays.
    fn warn_anew(&self, old: &Table, warnings: Vec<String>) {
        let table = Table {
            generation: old.generation,
            hash: old.hash.clone(),
            since: old.since.clone(),
            warnings,
            instances: old.instances.clone(),
        };
        table.log_warnings();
        self.table.store(Arc::new(table));
    }

    /// Gives endpoints their lanes; nothing when the router stops. Cannot fail any more.
    ///
    /// Only lanes that change are touched. Nobody who accepts or delivers waits for this lock.
    fn bring_up(&self, known: &mut Known, planned: Vec<Planned>) -> Option<Vec<WithLanes>> {
        let mut running = self.running();
        if running.stopping {
            return None;
        }
        known.retain(planned.iter().map(|plan| &plan.name));
        let mut all = Vec::with_capacity(planned.len());
        for plan in planned {
            let known = known.instance_mut(&plan.name);
            let mut lanes = Vec::with_capacity(plan.endpoints.len());
            for PlannedEndpoint {
                name,
                digest,
                change,
                ..
            } in plan.endpoints
            {
                let lane = match change {
                    None => {
                        let kept = known.endpoints.get(&name);
                        let kept = kept.expect("a sink is kept because its lane is known");
                        Arc::clone(&kept.lane)
                    }
                    Some((made_of, setup)) => {
                        let key = (plan.name.clone(), name.clone());
                        let lane = running.lane(key, setup, &self.clock);
                        let endpoint = KnownEndpoint {
                            made_of,
                            digest,
                            lane: Arc::clone(&lane),
                        };
                        known.endpoints.insert(name, endpoint);
                        lane
                    }
                };
                lanes.push(lane);
            }
            for PlannedRoute { route, .. } in &plan.routes {
                let id = &route.definition.id;
                let same = known.routes.get(id);
                if !same.is_some_and(|same| Arc::ptr_eq(&same.definition, &route.definition)) {
                    known.routes.insert(id.clone(), route.clone());
                }
            }
            known.retain_endpoints(lanes.iter().map(|lane| &lane.name));
            known.retain_routes(
                plan.routes
                    .iter()
                    .map(|planned| &planned.route.definition.id),
            );
            all.push((plan.name, lanes, plan.routes));
        }
        Some(all)
    }

    /// The lane of an endpoint, that of a removed one too while it finishes.
    pub(crate) fn lane(&self, key: &LaneKey) -> Option<Arc<Lane>> {
        let running = self.running();
        match unreadable::is_reserved(&key.1) {
            true => running.unreadable.get(&key.0).map(Arc::clone),
            false => running.lanes.get(key).map(Arc::clone),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Says when the sources of secrets are to be looked at.
    pub(crate) fn looks(&self) -> Looks {
        self.running().refusals.looks()
    }

    /// Retires every lane; definitions change nothing from here on.
    pub(crate) fn stop(&self, deadline: Instant) {
        let mut running = self.running();
        running.stopping = true;
        running.all().for_each(|lane| lane.stop(deadline));
    }

    /// Ends every lane as it is; gives how many deliveries they had not settled.
    pub(crate) fn abandon(&self) -> u64 {
        let mut running = self.running();
        running.stopping = true;
        running.ended.notify_one();
        running.all().map(|lane| lane.abandon()).sum()
    }

    /// All lanes, those of removed endpoints too while they finish.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.running().all().map(Arc::clone).collect()
    }

    pub(crate) fn status(&self) -> (TableStatus, Vec<InstanceStatus>) {
        let table = self.table.load_full();
        let running = self.running();
        let (errors, problems) = (running.faults.clone(), running.problems.clone());
        drop(running);
        let mut instances: BTreeMap<&InstanceName, InstanceStatus> = BTreeMap::new();
        let empty = |name: &InstanceName| InstanceStatus {
            name: name.to_string(),
            endpoints: Vec::new(),
            routes: Vec::new(),
        };
        for (name, compiled) in &table.instances {
            let mut shown = empty(name);
            shown.routes = compiled.routes.iter().map(route_status).collect();
            shown.routes.sort_by(|a, b| a.id.cmp(&b.id));
            instances.insert(name, shown);
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
            since: table.since.clone(),
            errors,
            warnings: table.warnings.iter().cloned().chain(problems).collect(),
            source: None,
        };
        (status, instances)
    }
}

/// An instance with the lanes of its endpoints and its routes.
type WithLanes = (InstanceName, Vec<Arc<Lane>>, Vec<PlannedRoute>);

/// Makes instances ready to match; those that would become the same again are kept.
fn compile(instances: Vec<WithLanes>, old: &Table) -> HashMap<InstanceName, Arc<CompiledInstance>> {
    let compile = |(name, lanes, routes): WithLanes| {
        let before = old.instances.get(&name);
        let compiled = match before.filter(|before| before.is(&lanes, &routes)) {
            Some(same) => Arc::clone(same),
            None => Arc::new(CompiledInstance::new(lanes, routes)),
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

impl Running {
    /// The lane of an endpoint that is new, changed or back.
    fn lane(&mut self, key: LaneKey, setup: lane::Setup, clock: &Arc<dyn Clock>) -> Arc<Lane> {
        let Some(known) = self.lanes.get(&key) else {
            return self.start(key, setup, clock, None);
        };
        known.reconfigure(setup);
        if !known.revive() {
            drop(lane::spawn(Arc::clone(known), Arc::clone(&self.ended)));
        }
        Arc::clone(known)
    }

    /// Starts a lane; one that is to end by `retired_at` never sends behind that.
    pub(crate) fn start(
        &mut self,
        key: LaneKey,
        setup: lane::Setup,
        clock: &Arc<dyn Clock>,
        retired_at: Option<Instant>,
    ) -> Arc<Lane> {
        let lane = self.start_lane(&key, setup, clock, retired_at);
        self.lanes.insert(key, Arc::clone(&lane));
        lane
    }

    /// As [`Self::start`], for a lane that no definition stands behind.
    pub(crate) fn start_lane(
        &mut self,
        key: &LaneKey,
        setup: lane::Setup,
        clock: &Arc<dyn Clock>,
        retired_at: Option<Instant>,
    ) -> Arc<Lane> {
        let over = self.over.remove(key);
        let clock = Arc::clone(clock);
        let mut origin = match &mut self.durable {
            Some(durable) => durable.origin(key, clock),
            None => Origin::in_memory(clock, Ledger::default()),
        };
        if let Some(ledger) = over {
            origin.ledger = ledger;
        }
        let refusals = self.refusals.clone();
        let lane = Lane::new(key.0.clone(), key.1.clone(), setup, origin, refusals);
        if let Some(deadline) = retired_at {
            lane.retire(deadline);
        }
        drop(lane::spawn(Arc::clone(&lane), Arc::clone(&self.ended)));
        lane
    }

    /// All lanes.
    fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.values().chain(self.unreadable.values())
    }
}
