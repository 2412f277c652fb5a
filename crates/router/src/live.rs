//! The running table: the one way in for definitions, and the lanes they keep.
//!
//! `apply` validates, compiles and swaps. Whatever is wrong, the old table stays, whole. A lane is kept
//! as long as its endpoint is, and its sink too while nothing about the endpoint changed.

use crate::lane::{self, Lane};
use crate::sink::{Connect, Sink};
use crate::source::{Definitions, Fault, Faults};
use crate::status::{InstanceStatus, RouteStatus, TableStatus};
use crate::table::{CompiledInstance, ParsedRoute, Table};
use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_filter::{Filter, Options};
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::endpoint::{Endpoint, ProvisioningState};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::settings::EndpointSettings;

/// An endpoint whose sink the embedding program brought along.
#[derive(Clone)]
pub(crate) struct Custom {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) settings: EndpointSettings,
}

pub(crate) struct Live {
    table: ArcSwap<Table>,
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    default_instance: InstanceName,
    custom: BTreeMap<EndpointName, Custom>,
    removed_grace: Duration,
    running: Mutex<Running>,
    /// Held while definitions are applied: one at a time.
    applying: Mutex<()>,
}

#[derive(Default)]
struct Running {
    lanes: HashMap<(InstanceName, EndpointName), RunningLane>,
    matched: HashMap<(InstanceName, RouteId), Arc<AtomicU64>>,
    faults: Vec<String>,
    stopping: bool,
}

struct RunningLane {
    lane: Arc<Lane>,
    made_of: MadeOf,
}

/// What a sink was made of; while it stays the same the sink does.
#[derive(Clone, PartialEq, Eq)]
enum MadeOf {
    Endpoint(Box<Endpoint>, EndpointSettings),
    Custom(EndpointSettings),
}

/// A checked instance, before anything that runs is touched.
struct Planned {
    name: InstanceName,
    endpoints: Vec<PlannedEndpoint>,
    routes: Vec<(RouteId, EndpointName, Filter)>,
}

struct PlannedEndpoint {
    name: EndpointName,
    made_of: MadeOf,
    /// None while the running sink is kept.
    setup: Option<lane::Setup>,
}

/// Checks definitions as applying them would, without a router. Gives the warnings about filters.
///
/// # Errors
/// Everything that is wrong.
pub fn check(definitions: &Definitions, connect: Arc<dyn Connect>) -> Result<Vec<String>, Faults> {
    let first = definitions
        .instances
        .first()
        .map(|instance| instance.name.clone());
    let default_instance =
        first.unwrap_or_else(|| InstanceName::new("default").expect("a legal name"));
    let clock = Arc::new(SystemClock);
    let live = Live::new(
        connect,
        clock,
        default_instance,
        BTreeMap::new(),
        Duration::ZERO,
    );
    let mut warnings = Vec::new();
    live.plan(definitions, &mut warnings)?;
    Ok(warnings)
}

impl Live {
    pub(crate) fn new(
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        default_instance: InstanceName,
        custom: BTreeMap<EndpointName, Custom>,
        removed_grace: Duration,
    ) -> Self {
        Self {
            table: ArcSwap::default(),
            connect,
            clock,
            default_instance,
            custom,
            removed_grace,
            running: Mutex::default(),
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
        let planned = match self.plan(definitions, &mut warnings) {
            Ok(planned) => planned,
            Err(faults) => {
                self.refuse(&faults);
                return Err(faults);
            }
        };
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
            tracing::warn!(warning, "a filter may not do what was meant");
        }
        self.table.store(Arc::new(table));
        self.retire_absent(&mut running);
        Ok(generation)
    }

    /// Checks everything and prepares what is new; touches nothing that runs.
    fn plan(
        &self,
        definitions: &Definitions,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Planned>, Faults> {
        let mut faults = check_settings(definitions, &self.custom);
        let mut planned = Vec::new();
        let empty;
        let has_default = definitions
            .instances
            .iter()
            .any(|instance| instance.name == self.default_instance);
        let implied = if has_default {
            None
        } else {
            let name = self.default_instance.clone();
            empty = Instance {
                name,
                endpoints: Vec::new(),
                routes: Vec::new(),
            };
            Some(&empty)
        };
        for instance in definitions.instances.iter().chain(implied) {
            let endpoints = self.plan_endpoints(instance, definitions, &mut faults);
            let routes = plan_routes(instance, &endpoints, &mut faults, warnings);
            planned.push(Planned {
                name: instance.name.clone(),
                endpoints,
                routes,
            });
        }
        if faults.is_empty() {
            return Ok(planned);
        }
        let faults = Faults(faults);
        Err(match &definitions.folder {
            Some(folder) => folder.locate(faults),
            None => faults,
        })
    }

    fn plan_endpoints(
        &self,
        instance: &Instance,
        definitions: &Definitions,
        faults: &mut Vec<Fault>,
    ) -> Vec<PlannedEndpoint> {
        let running = self.running();
        let mut planned = Vec::new();
        for endpoint in &instance.endpoints {
            if endpoint.provisioning_state == Some(ProvisioningState::Deleting) {
                continue;
            }
            let settings = definitions.settings.of(&instance.name, &endpoint.name);
            let made_of = MadeOf::Endpoint(Box::new(endpoint.clone()), settings.clone());
            let key = (instance.name.clone(), endpoint.name.clone());
            let kept = running
                .lanes
                .get(&key)
                .is_some_and(|running| running.made_of == made_of && running.lane.is_running());
            let setup = if kept {
                None
            } else {
                match self.connect.connect(endpoint, &settings) {
                    Ok(sink) => {
                        let endpoint_type = endpoint.endpoint_type();
                        Some(lane::Setup {
                            endpoint_type,
                            sink,
                            settings,
                        })
                    }
                    Err(error) => {
                        let object = format!("endpoint {}/{}", instance.name, endpoint.name);
                        faults.push(Fault::new(object, error.reason));
                        continue;
                    }
                }
            };
            planned.push(PlannedEndpoint {
                name: endpoint.name.clone(),
                made_of,
                setup,
            });
        }
        if instance.name == self.default_instance {
            for (name, custom) in &self.custom {
                if planned.iter().any(|endpoint| endpoint.name == *name) {
                    let reason = "is defined, but the program brings a sink of that name";
                    faults.push(Fault::new(
                        format!("endpoint {}/{name}", instance.name),
                        reason,
                    ));
                    continue;
                }
                let key = (instance.name.clone(), name.clone());
                let setup = (!running.lanes.contains_key(&key)).then(|| lane::Setup {
                    endpoint_type: "Custom",
                    sink: Arc::clone(&custom.sink),
                    settings: custom.settings.clone(),
                });
                let made_of = MadeOf::Custom(custom.settings.clone());
                planned.push(PlannedEndpoint {
                    name: name.clone(),
                    made_of,
                    setup,
                });
            }
        }
        planned
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
                lanes.push(running.lane(key, endpoint));
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
        running.lanes.retain(|(instance, name), running| {
            let present = table
                .instances
                .get(instance)
                .is_some_and(|compiled| compiled.lanes.iter().any(|lane| lane.name == *name));
            if !present && !running.lane.has_ended() {
                tracing::info!(endpoint = %format!("{instance}/{name}"),
                    grace = ?self.removed_grace, "the endpoint was removed; its lane finishes");
                running.lane.retire(deadline);
            }
            present || !running.lane.has_ended()
        });
        running.matched.retain(|(instance, id), _| {
            let compiled = table.instances.get(instance);
            compiled.is_some_and(|compiled| compiled.routes.iter().any(|route| route.id == *id))
        });
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
        (status, instances.collect())
    }
}

impl Running {
    fn lane(&mut self, key: (InstanceName, EndpointName), planned: PlannedEndpoint) -> Arc<Lane> {
        if let Some(known) = self.lanes.get_mut(&key)
            && known.lane.revive()
        {
            if let Some(setup) = planned.setup {
                known.lane.reconfigure(setup);
                known.made_of = planned.made_of;
            }
            return Arc::clone(&known.lane);
        }
        let setup = planned
            .setup
            .expect("a lane that does not run was planned with a sink");
        let lane = Lane::new(key.0.clone(), planned.name, setup);
        drop(lane::spawn(Arc::clone(&lane)));
        let running = RunningLane {
            lane: Arc::clone(&lane),
            made_of: planned.made_of,
        };
        self.lanes.insert(key, running);
        lane
    }

    fn counter(&mut self, instance: &InstanceName, id: &RouteId) -> Arc<AtomicU64> {
        let key = (instance.clone(), id.clone());
        Arc::clone(self.matched.entry(key).or_default())
    }
}

/// Settings must be in range and belong to an endpoint there is.
fn check_settings(
    definitions: &Definitions,
    custom: &BTreeMap<EndpointName, Custom>,
) -> Vec<Fault> {
    let known = |key: &str| {
        custom
            .keys()
            .any(|name| name.as_str().eq_ignore_ascii_case(key))
            || definitions.instances.iter().any(|instance| {
                instance.endpoints.iter().any(|endpoint| {
                    let name = endpoint.name.as_str();
                    let full = format!("{}/{name}", instance.name);
                    name.eq_ignore_ascii_case(key) || full.eq_ignore_ascii_case(key)
                })
            })
    };
    let mut faults = Vec::new();
    for (key, settings) in definitions.settings.iter() {
        let object = format!("[endpoints.\"{key}\"]");
        if !known(key) {
            faults.push(Fault::new(object, "no endpoint has this name"));
        } else if let Err(rule) = settings.check() {
            faults.push(Fault::new(object, rule));
        }
    }
    faults
}

fn plan_routes(
    instance: &Instance,
    endpoints: &[PlannedEndpoint],
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> Vec<(RouteId, EndpointName, Filter)> {
    let mut routes = Vec::new();
    for route in &instance.routes {
        let object = format!("route {}/{}", instance.name, route.id);
        if !endpoints
            .iter()
            .any(|endpoint| endpoint.name == route.endpoint_name)
        {
            let known: Vec<&str> = endpoints.iter().map(|e| e.name.as_str()).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            let reason = format!(
                "endpoint {} is not defined; defined are: {known}",
                route.endpoint_name
            );
            faults.push(Fault::new(object.clone(), reason));
        }
        match Filter::parse(&route.filter, &Options::default()) {
            Ok(filter) => {
                let found = filter.warnings();
                warnings.extend(
                    found
                        .iter()
                        .map(|w| format!("{object}: {}", w.render(&filter))),
                );
                routes.push((route.id.clone(), route.endpoint_name.clone(), filter));
            }
            Err(error) => faults.push(Fault::new(object, error.render())),
        }
    }
    routes
}

/// SHA-256 over everything but secrets, which print as masks.
fn hash(planned: &[Planned]) -> String {
    let mut parts = BTreeSet::new();
    for instance in planned {
        for endpoint in &instance.endpoints {
            let made_of = match &endpoint.made_of {
                MadeOf::Endpoint(endpoint, settings) => format!("{endpoint:?} {settings:?}"),
                MadeOf::Custom(settings) => format!("custom {settings:?}"),
            };
            parts.insert(format!(
                "{}/endpoint/{}/{made_of}",
                instance.name, endpoint.name
            ));
        }
        for (id, endpoint, filter) in &instance.routes {
            parts.insert(format!("{}/route/{id}/{endpoint}/{filter}", instance.name));
        }
    }
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes everything");
            text
        })
}
