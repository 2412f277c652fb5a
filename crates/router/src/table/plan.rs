//! From definitions to what a table is made of: everything is checked here, nothing that runs is touched.

use super::fingerprint::DefinitionFingerprint;
use super::previous::{PreviousEndpoint, PreviousInstance, PreviousTable};
use super::route::{CompiledRoute, LaneIndex, PlannedRoute, RouteDefinition};
use super::sink_definition::SinkDefinition;
use super::source::{DefinitionFault, DefinitionFaults, Definitions, StraySettings};
use crate::delivery::{HeldSink, HoldReason, LaneSetup};
use crate::sink::{Connect, ConnectError};
use crate::unreadable_endpoint;
use crate::user_code::{self, UserSink, UserStore};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::{Endpoint, ProvisioningState, problem};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::network::NetworkAccess;
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;

/// Names that a fault lists at most, of those that would have been right.
const NAMES_SHOWN_MAX: usize = 20;

/// An endpoint whose sink the embedding program brought along.
#[derive(Clone)]
pub(crate) struct CustomEndpoint {
    pub(crate) sink: UserSink,
    pub(crate) store: Option<UserStore>,
    pub(crate) settings: Arc<EndpointSettings>,
}

/// A checked instance, before anything that runs is touched.
pub(crate) struct PlannedInstance {
    pub(crate) name: InstanceName,
    pub(crate) endpoints: Vec<PlannedEndpoint>,
    pub(crate) routes: Vec<PlannedRoute>,
}

pub(crate) struct PlannedEndpoint {
    pub(crate) name: EndpointName,
    pub(crate) fingerprint: DefinitionFingerprint,
    pub(crate) settings: Arc<EndpointSettings>,
    /// Its sink and what that is made of; none while the running one is kept.
    pub(crate) change: Option<(SinkDefinition, LaneSetup)>,
}

/// What planning looks at beside the definitions.
pub(crate) struct TablePlanner<'a> {
    pub(crate) connect: &'a dyn Connect,
    pub(crate) default_instance: &'a InstanceName,
    pub(crate) custom: &'a BTreeMap<EndpointName, CustomEndpoint>,
    /// What is in use; what did not change is kept.
    pub(crate) previous: &'a PreviousTable,
    pub(crate) now: Timestamp,
}

impl TablePlanner<'_> {
    /// Checks everything and prepares what is new; touches nothing that runs.
    pub(crate) fn plan(
        &self,
        definitions: &Definitions,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<PlannedInstance>, DefinitionFaults> {
        let mut faults = check_settings(definitions, self.custom, warnings);
        if let Some(folder) = &definitions.folder {
            warnings.extend(folder.unread());
        }
        let mut planned = Vec::new();
        let empty;
        let has_default = definitions
            .instances
            .iter()
            .any(|instance| instance.name == *self.default_instance);
        // The default instance is there also when nobody defines it: its address answers, and matches
        // nothing.
        let implied = if has_default {
            None
        } else {
            let name = self.default_instance.clone();
            empty = Instance {
                name,
                endpoints: Vec::new(),
                routes: Vec::new(),
                network: NetworkAccess::default(),
            };
            Some(&empty)
        };
        let nothing = PreviousInstance::default();
        let mut names = HashSet::new();
        for instance in definitions.instances.iter().chain(implied) {
            if !names.insert(&instance.name) {
                let object = format!("instance {}", instance.name);
                faults.push(DefinitionFault::new(object, "is defined twice"));
                continue;
            }
            let planning = InstancePlanning {
                planner: self,
                previous: self.previous.instance(&instance.name).unwrap_or(&nothing),
                instance: &instance.name,
            };
            planned.push(planning.plan(instance, definitions, &mut faults, warnings));
        }
        if faults.is_empty() {
            return Ok(planned);
        }
        let faults = DefinitionFaults(faults);
        Err(match &definitions.folder {
            Some(folder) => folder.locate(faults),
            None => faults,
        })
    }
}

/// One instance while it is planned.
struct InstancePlanning<'a> {
    planner: &'a TablePlanner<'a>,
    previous: &'a PreviousInstance,
    instance: &'a InstanceName,
}

impl InstancePlanning<'_> {
    fn plan(
        &self,
        instance: &Instance,
        definitions: &Definitions,
        faults: &mut Vec<DefinitionFault>,
        warnings: &mut Vec<String>,
    ) -> PlannedInstance {
        let mut endpoints = Vec::with_capacity(instance.endpoints.len());
        let mut places = HashMap::with_capacity(instance.endpoints.len());
        for endpoint in instance.endpoints.iter().filter(|one| !is_absent(one)) {
            let object = || format!("endpoint {}/{}", self.instance, endpoint.name);
            let settings = definitions.settings.of(self.instance, &endpoint.name);
            let warning = endpoint.key_in_clear();
            warnings.extend(warning.map(|warning| format!("{}: {warning}", object())));
            let dead_letter = endpoint.dead_letter.as_ref();
            if let Some(problem) = dead_letter.and_then(|of| problem::of(of, self.planner.now)) {
                let (object, message) = (object(), problem.message);
                warnings.push(format!("{object}: its dead letters stay here: {message}"));
            }
            match self.plan_endpoint(endpoint, settings) {
                Ok(planned) if places.contains_key(&planned.name) => {
                    faults.push(DefinitionFault::new(object(), "is defined twice"));
                }
                Ok(planned) => place(planned, &mut endpoints, &mut places),
                Err(error) => faults.push(DefinitionFault::new(object(), error.reason)),
            }
        }
        if *self.instance == *self.planner.default_instance {
            for (name, custom) in self.planner.custom {
                let reason = if places.contains_key(name) {
                    Some("is defined, but the program brings a sink of that name")
                } else {
                    unreadable_endpoint::is_reserved(name).then_some(unreadable_endpoint::RESERVED)
                };
                if let Some(reason) = reason {
                    let object = format!("endpoint {}/{name}", self.instance);
                    faults.push(DefinitionFault::new(object, reason));
                } else {
                    place(self.plan_custom(name, custom), &mut endpoints, &mut places);
                }
            }
        }
        let routes = self.plan_routes(&instance.routes, &endpoints, &places, faults, warnings);
        PlannedInstance {
            name: self.instance.clone(),
            endpoints,
            routes,
        }
    }

    fn plan_endpoint(
        &self,
        endpoint: &Endpoint,
        settings: Arc<EndpointSettings>,
    ) -> Result<PlannedEndpoint, ConnectError> {
        let name = endpoint.name.clone();
        if unreadable_endpoint::is_reserved(&name) {
            return Err(ConnectError {
                endpoint: name.to_string(),
                reason: unreadable_endpoint::RESERVED.to_owned(),
            });
        }
        let is_same = |before: &SinkDefinition| before.is_endpoint(endpoint, &settings);
        self.planned(name, &settings, is_same, || {
            let setup = set_up(self.planner.connect, endpoint, Arc::clone(&settings))?;
            let definition = SinkDefinition::endpoint(endpoint, Arc::clone(&settings));
            Ok((definition, setup))
        })
    }

    fn plan_custom(&self, name: &EndpointName, custom: &CustomEndpoint) -> PlannedEndpoint {
        let settings = &custom.settings;
        let is_same = |before: &SinkDefinition| before.is_custom(settings);
        let Ok(planned) = self.planned::<Infallible>(name.clone(), settings, is_same, || {
            let setup = LaneSetup {
                endpoint_type: "Custom".into(),
                address: String::new(),
                sink: custom.sink.clone(),
                store: custom.store.clone(),
                settings: Arc::clone(settings),
                hold: None,
            };
            Ok((SinkDefinition::Custom(Arc::clone(settings)), setup))
        });
        planned
    }

    /// An endpoint that keeps its sink while it is made of the same, and else has what `change` gives.
    fn planned<E>(
        &self,
        name: EndpointName,
        settings: &Arc<EndpointSettings>,
        is_same: impl Fn(&SinkDefinition) -> bool,
        change: impl FnOnce() -> Result<(SinkDefinition, LaneSetup), E>,
    ) -> Result<PlannedEndpoint, E> {
        let previous = self.previous.endpoints.get(&name);
        let is_kept =
            |before: &&PreviousEndpoint| is_same(&before.definition) && before.lane.is_running();
        let (fingerprint, change) = match previous.filter(is_kept) {
            Some(kept) => (kept.fingerprint, None),
            None => {
                let (definition, setup) = change()?;
                let fingerprint = definition.fingerprint(self.instance, &name);
                (fingerprint, Some((definition, setup)))
            }
        };
        Ok(PlannedEndpoint {
            name,
            fingerprint,
            settings: Arc::clone(settings),
            change,
        })
    }

    fn plan_routes(
        &self,
        routes: &[Route],
        endpoints: &[PlannedEndpoint],
        places: &LanePlaces,
        faults: &mut Vec<DefinitionFault>,
        warnings: &mut Vec<String>,
    ) -> Vec<PlannedRoute> {
        let mut planned = Vec::with_capacity(routes.len());
        let mut ids: HashSet<&RouteId> = HashSet::with_capacity(routes.len());
        for route in routes {
            let object = || format!("route {}/{}", self.instance, route.id);
            if !ids.insert(&route.id) {
                faults.push(DefinitionFault::new(object(), "is defined twice"));
                continue;
            }
            let lane = places.get(&route.endpoint_name);
            if lane.is_none() {
                let reason = format!(
                    "endpoint {} is not defined; defined are: {}",
                    route.endpoint_name,
                    names(endpoints)
                );
                faults.push(DefinitionFault::new(object(), reason));
            }
            let previous = self.previous.routes.get(&route.id);
            let definition = match previous.filter(|previous| previous.definition.is(route)) {
                Some(previous) => Arc::clone(&previous.definition),
                None => match RouteDefinition::parse(self.instance, route, &object()) {
                    Ok(definition) => Arc::new(definition),
                    Err(error) => {
                        faults.push(DefinitionFault::new(object(), error.render()));
                        continue;
                    }
                },
            };
            warnings.extend_from_slice(&definition.warnings);
            let matched = previous.map(|previous| Arc::clone(&previous.matched));
            if let Some(lane) = lane {
                planned.push(PlannedRoute {
                    route: CompiledRoute {
                        definition,
                        matched: matched.unwrap_or_default(),
                    },
                    lane: *lane,
                });
            }
        }
        planned
    }
}

/// The place of each endpoint in its instance.
type LanePlaces = HashMap<EndpointName, LaneIndex>;

fn place(planned: PlannedEndpoint, endpoints: &mut Vec<PlannedEndpoint>, places: &mut LanePlaces) {
    let number = LaneIndex::try_from(endpoints.len()).expect("fewer than 2^32 endpoints");
    places.insert(planned.name.clone(), number);
    endpoints.push(planned);
}

/// What the lane of an endpoint is made of.
pub(crate) fn set_up(
    connect: &dyn Connect,
    endpoint: &Endpoint,
    settings: Arc<EndpointSettings>,
) -> Result<LaneSetup, ConnectError> {
    let hold = HoldReason::of(endpoint);
    let sink = match hold {
        None => user_code::connect(connect, endpoint, &settings)?,
        Some(_) => UserSink::of(HeldSink),
    };
    Ok(LaneSetup {
        endpoint_type: endpoint.endpoint_type().to_owned().into(),
        address: endpoint.address(settings.amqp_transport),
        sink,
        store: user_code::dead_letters(connect, endpoint)?,
        settings,
        hold,
    })
}

/// Some of the endpoints there are, for people.
fn names(endpoints: &[PlannedEndpoint]) -> String {
    let names: Vec<_> = endpoints.iter().map(|one| one.name.to_string()).collect();
    some(&names)
}

/// Some of these names, and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    let view = names[..names.len().min(NAMES_SHOWN_MAX)].join(", ");
    match names.len() {
        0 => "none".to_owned(),
        1..=NAMES_SHOWN_MAX => view,
        all => format!("{view} and {} more", all - NAMES_SHOWN_MAX),
    }
}

/// Whether an endpoint counts as not there, although it is listed.
fn is_absent(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint.provisioning_state,
        Some(ProvisioningState::Deleting | ProvisioningState::Deleted)
    )
}

/// Settings must be in range and belong to an endpoint there is, or may be.
fn check_settings(
    definitions: &Definitions,
    custom: &BTreeMap<EndpointName, CustomEndpoint>,
    warnings: &mut Vec<String>,
) -> Vec<DefinitionFault> {
    let mut faults = Vec::new();
    let settable = settable(definitions, custom);
    for (key, settings) in definitions.settings.iter() {
        let object = format!("[endpoints.\"{key}\"]");
        let stray = !settable.contains(key);
        match (definitions.strays, settings.check()) {
            (StraySettings::Refuse, _) if stray => {
                faults.push(DefinitionFault::new(object, "no endpoint has this name"));
            }
            (_, Err(rule)) => faults.push(DefinitionFault::new(object, rule)),
            (StraySettings::Warn, Ok(())) if stray => {
                warnings.push(format!(
                    "{object}: no endpoint has this name; the settings are for one that may come"
                ));
            }
            (StraySettings::Refuse | StraySettings::Warn, Ok(())) => {}
        }
    }
    faults
}

/// The keys that name an endpoint, in lower case as [`Settings::iter`] gives them.
///
/// [`Settings::iter`]: super::source::Settings::iter
fn settable(
    definitions: &Definitions,
    custom: &BTreeMap<EndpointName, CustomEndpoint>,
) -> HashSet<String> {
    if definitions.settings.is_empty() {
        return HashSet::new();
    }
    let lower = |name: &EndpointName| name.as_str().to_ascii_lowercase();
    let mut keys: HashSet<String> = custom.keys().map(lower).collect();
    for instance in &definitions.instances {
        let prefix = instance.name.as_str().to_ascii_lowercase();
        for endpoint in &instance.endpoints {
            let name = lower(&endpoint.name);
            keys.insert(format!("{prefix}/{name}"));
            keys.insert(name);
        }
    }
    keys
}

/// Over everything but secrets; the same for the same definitions in whatever order.
pub(crate) fn hash(planned: &[PlannedInstance]) -> String {
    DefinitionFingerprint::of_all(planned.iter().flat_map(|instance| {
        let endpoints = instance
            .endpoints
            .iter()
            .map(|endpoint| endpoint.fingerprint);
        let routes = instance.routes.iter();
        // One without endpoints takes events too.
        std::iter::once(DefinitionFingerprint::of_instance(&instance.name))
            .chain(endpoints)
            .chain(routes.map(|planned| planned.route.definition.fingerprint))
    }))
}
