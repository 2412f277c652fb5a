//! The running table: the one way in for definitions, and the lanes they keep.
//!
//! `apply` validates, compiles and swaps. Whatever is wrong, the old table stays, whole. A lane is kept
//! as long as its endpoint is, and its sink too while nothing about the endpoint changed.

use crate::lane::durable::Origin;
use crate::lane::{self, Lane};
use crate::plan::{
    Custom, LaneKey, MadeOf, Planned, PlannedEndpoint, Planner, hash, overcommitted,
};
use crate::sink::Connect;
use crate::source::{Definitions, Fault, Faults};
use crate::status::{InstanceStatus, RouteStatus, TableStatus};
use crate::table::{CompiledInstance, ParsedRoute, Table};
use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::Clock;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::settings::EndpointSettings;
use twinroute_retry::journal::{Disk, Recovered, RecoveredLane};
use twinroute_retry::ledger::Ledger;

/// The journal on disk, and what it gave back for lanes that do not run yet.
pub(crate) struct Durable {
    disk: Disk,
    recovered: BTreeMap<LaneKey, RecoveredLane>,
}

impl Durable {
    pub(crate) fn new(disk: Disk, recovered: Recovered) -> Self {
        let named = recovered.lanes.into_iter().filter_map(|lane| {
            if lane.name.is_none() && !lane.pending.is_empty() {
                tracing::error!(
                    lane = lane.number.0,
                    events = lane.pending.len(),
                    "the journal lost which endpoint these events are for; they stay in it"
                );
            }
            Some((lane.name.clone()?, lane))
        });
        Self {
            disk,
            recovered: named.collect(),
        }
    }

    fn origin(&mut self, key: &LaneKey, clock: Arc<dyn Clock>) -> Origin {
        let number = self.disk.bind(&key.0, &key.1);
        let recovered = self.recovered.remove(key);
        Origin::durable(self.disk.clone(), number, clock, recovered)
    }

    /// The endpoints for which something waits that no lane has taken.
    fn unclaimed(&self) -> Vec<LaneKey> {
        let waiting = self.recovered.iter();
        let waiting = waiting.filter(|(_, lane)| !lane.pending.is_empty());
        waiting.map(|(key, _)| key.clone()).collect()
    }
}

pub(crate) struct Live {
    table: ArcSwap<Table>,
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    default_instance: InstanceName,
    custom: BTreeMap<EndpointName, Custom>,
    removed_grace: Duration,
    /// Bytes that may wait in all.
    journal_bytes_max: u64,
    running: Mutex<Running>,
    /// Held while definitions are applied: one at a time.
    applying: Mutex<()>,
}

#[derive(Default)]
struct Running {
    lanes: HashMap<LaneKey, RunningLane>,
    /// What lanes that are over had counted, should their endpoints come back.
    over: HashMap<LaneKey, Ledger>,
    durable: Option<Durable>,
    matched: HashMap<(InstanceName, RouteId), Arc<AtomicU64>>,
    faults: Vec<String>,
    stopping: bool,
}

struct RunningLane {
    lane: Arc<Lane>,
    /// Nothing, when nothing defines the endpoint.
    made_of: Option<MadeOf>,
}

impl Live {
    pub(crate) fn new(
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        default_instance: InstanceName,
        custom: BTreeMap<EndpointName, Custom>,
        removed_grace: Duration,
        journal_bytes_max: u64,
        durable: Option<Durable>,
    ) -> Self {
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
            applying: Mutex::default(),
        }
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    pub(crate) fn default_instance(&self) -> &InstanceName {
        &self.default_instance
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
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
        let _one_at_a_time = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut warnings = Vec::new();
        let planner = Planner {
            connect: &*self.connect,
            default_instance: &self.default_instance,
            custom: &self.custom,
            keeps: &|key, made_of| self.running().keeps(key, made_of),
        };
        let planned = match planner.plan(definitions, &mut warnings) {
            Ok(planned) => planned,
            Err(faults) => {
                self.refuse(&faults);
                return Err(faults);
            }
        };
        warnings.extend(overcommitted(&planned, self.journal_bytes_max));
        let mut running = self.running();
        running.faults.clear();
        gauge!("twinroute_table_faults").set(0.0);
        let old = self.table.load();
        let hash = hash(&planned);
        let same = hash == old.hash
            && old.generation > 0
            && planned
                .iter()
                .flat_map(|instance| &instance.endpoints)
                .all(|e| e.setup.is_none());
        if same || running.stopping {
            return Ok(old.generation);
        }
        let table = Table {
            generation: old.generation + 1,
            hash,
            since: self.clock.now().rfc3339(),
            warnings,
            instances: self.compile(planned, &mut running),
        };
        let generation = table.generation;
        gauge!("twinroute_table_generation").set(generation as f64);
        tracing::info!(
            generation,
            hash = table.hash,
            instances = table.instances.len(),
            "a new table is in use"
        );
        for warning in &table.warnings {
            tracing::warn!(warning, "the definitions may not do what was meant");
        }
        self.table.store(Arc::new(table));
        self.retire_absent(&mut running);
        self.adopt_unclaimed(&mut running);
        Ok(generation)
    }

    /// Brings lanes up to date and compiles; cannot fail any more.
    fn compile(
        &self,
        planned: Vec<Planned>,
        running: &mut Running,
    ) -> HashMap<InstanceName, Arc<CompiledInstance>> {
        let mut instances = HashMap::new();
        for plan in planned {
            let mut lanes = Vec::new();
            let mut numbers = HashMap::new();
            for endpoint in plan.endpoints {
                let key = (plan.name.clone(), endpoint.name.clone());
                numbers.insert(endpoint.name.clone(), lanes.len() as u32);
                lanes.push(running.lane(key, endpoint, &self.clock));
            }
            let routes = plan
                .routes
                .into_iter()
                .map(|(id, endpoint, filter)| ParsedRoute {
                    matched: running.counter(&plan.name, &id),
                    lane: numbers[&endpoint],
                    id,
                    endpoint,
                    filter,
                });
            let compiled = CompiledInstance::new(lanes, routes.collect());
            instances.insert(plan.name, Arc::new(compiled));
        }
        instances
    }

    /// Retires lanes whose endpoints are gone; they finish what they have within the grace time.
    fn retire_absent(&self, running: &mut Running) {
        let table = self.table.load();
        let deadline = Instant::now() + self.removed_grace;
        let Running { lanes, over, .. } = running;
        lanes.retain(|key, running| {
            let (instance, name) = key;
            let present = table
                .instances
                .get(instance)
                .is_some_and(|compiled| compiled.lanes.iter().any(|lane| lane.name == *name));
            if present {
                return true;
            }
            if let Some(ledger) = running.lane.is_over() {
                over.insert(key.clone(), ledger);
                return false;
            }
            if running.lane.is_running() {
                tracing::info!(endpoint = %format!("{instance}/{name}"),
                    grace = ?self.removed_grace, "the endpoint was removed; its lane finishes");
                running.lane.retire(deadline);
            }
            true
        });
        running.matched.retain(|(instance, id), _| {
            let compiled = table.instances.get(instance);
            compiled.is_some_and(|compiled| compiled.routes.iter().any(|route| route.id == *id))
        });
    }

    /// Gives what waits for endpoints that nothing defines a lane, in which it is seen. It is not sent; after
    /// the grace time it becomes dead letters.
    fn adopt_unclaimed(&self, running: &mut Running) {
        let unclaimed = running.durable.as_ref().map(Durable::unclaimed);
        for key in unclaimed.unwrap_or_default() {
            let setup = lane::Setup {
                endpoint_type: "unknown",
                sink: Arc::new(lane::Nowhere),
                store: None,
                settings: EndpointSettings::default(),
                hold: Some(lane::Hold::Undefined),
            };
            tracing::warn!(endpoint = %format!("{}/{}", key.0, key.1), grace = ?self.removed_grace,
                "events wait in the journal for an endpoint that is not defined");
            let lane = running.start(key, None, setup, &self.clock);
            lane.retire(Instant::now() + self.removed_grace);
        }
    }

    /// The lane of an endpoint, that of a removed one too while it finishes.
    pub(crate) fn lane(&self, key: &LaneKey) -> Option<Arc<Lane>> {
        let running = self.running();
        running
            .lanes
            .get(key)
            .map(|running| Arc::clone(&running.lane))
    }

    /// Retires every lane; definitions change nothing from here on.
    pub(crate) fn stop(&self, deadline: Instant) {
        let mut running = self.running();
        running.stopping = true;
        running
            .lanes
            .values()
            .for_each(|running| running.lane.stop(deadline));
    }

    /// All lanes, those of removed endpoints too while they finish.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        let running = self.running();
        running
            .lanes
            .values()
            .map(|running| Arc::clone(&running.lane))
            .collect()
    }

    pub(crate) fn status(&self) -> (TableStatus, Vec<InstanceStatus>) {
        let table = self.table.load();
        let running = self.running();
        let status = TableStatus {
            generation: table.generation,
            hash: table.hash.clone(),
            since: table.since.clone(),
            errors: running.faults.clone(),
            warnings: table.warnings.clone(),
            source: None,
        };
        let names: BTreeSet<&InstanceName> = table.instances.keys().collect();
        let instances = names.into_iter().map(|name| {
            let lanes = running
                .lanes
                .iter()
                .filter(|((instance, _), _)| instance == name);
            let mut endpoints: Vec<_> = lanes.map(|(_, running)| running.lane.status()).collect();
            endpoints.sort_by(|a, b| a.name.cmp(&b.name));
            let mut routes: Vec<_> = table.instances[name]
                .routes
                .iter()
                .map(|route| RouteStatus {
                    id: route.id.to_string(),
                    endpoint: route.endpoint.to_string(),
                    filter: route.filter.as_str().to_owned(),
                    matched: route.matched.load(Ordering::Relaxed),
                })
                .collect();
            routes.sort_by(|a, b| a.id.cmp(&b.id));
            InstanceStatus {
                name: name.to_string(),
                endpoints,
                routes,
            }
        });
        let mut instances: Vec<InstanceStatus> = instances.collect();
        for ((instance, _), running) in &running.lanes {
            let name = instance.to_string();
            if !table.instances.contains_key(instance) {
                let endpoint = running.lane.status();
                match instances.iter_mut().find(|known| known.name == name) {
                    Some(known) => known.endpoints.push(endpoint),
                    None => instances.push(InstanceStatus {
                        name,
                        endpoints: vec![endpoint],
                        routes: Vec::new(),
                    }),
                }
            }
        }
        (status, instances)
    }
}

impl Running {
    fn keeps(&self, key: &LaneKey, made_of: &MadeOf) -> bool {
        let running = self.lanes.get(key);
        running.is_some_and(|running| {
            running.made_of.as_ref() == Some(made_of) && running.lane.is_running()
        })
    }

    fn lane(
        &mut self,
        key: LaneKey,
        planned: PlannedEndpoint,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Lane> {
        if let Some(known) = self.lanes.get_mut(&key) {
            if let Some(setup) = planned.setup {
                known.lane.reconfigure(setup);
                known.made_of = Some(planned.made_of);
            }
            if !known.lane.revive() {
                drop(lane::spawn(Arc::clone(&known.lane)));
            }
            return Arc::clone(&known.lane);
        }
        let setup = planned
            .setup
            .expect("a lane that does not run was planned with a sink");
        self.start(key, Some(planned.made_of), setup, clock)
    }

    fn start(
        &mut self,
        key: LaneKey,
        made_of: Option<MadeOf>,
        setup: lane::Setup,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Lane> {
        let over = self.over.remove(&key);
        let clock = Arc::clone(clock);
        let mut origin = match &mut self.durable {
            Some(durable) => durable.origin(&key, clock),
            None => Origin::in_memory(clock, Ledger::default()),
        };
        if let Some(ledger) = over {
            origin.ledger = ledger;
        }
        let lane = Lane::new(key.0.clone(), key.1.clone(), setup, origin);
        drop(lane::spawn(Arc::clone(&lane)));
        let running = RunningLane {
            lane: Arc::clone(&lane),
            made_of,
        };
        self.lanes.insert(key, running);
        lane
    }

    fn counter(&mut self, instance: &InstanceName, id: &RouteId) -> Arc<AtomicU64> {
        let key = (instance.clone(), id.clone());
        Arc::clone(self.matched.entry(key).or_default())
    }
}
