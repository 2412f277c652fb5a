//! From definitions to what a table is made of: everything is checked here, nothing that runs is touched.

use crate::lane::{self, Hold};
use crate::sink::{Connect, ConnectError, DeadLetterStore, Sink};
use crate::source::{Definitions, Fault, Faults, Strays};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use twinroute_filter::{Filter, Options};
use twinroute_model::endpoint::{Endpoint, ProvisioningState};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::settings::EndpointSettings;

/// An endpoint whose sink the embedding program brought along.
#[derive(Clone)]
pub(crate) struct Custom {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) store: Option<Arc<dyn DeadLetterStore>>,
    pub(crate) settings: EndpointSettings,
}

/// What a sink was made of; while it stays the same the sink does.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum MadeOf {
    Endpoint(Box<Endpoint>, EndpointSettings),
    Custom(EndpointSettings),
}

impl MadeOf {
    /// What does not change a sink is left out: which of the states it is in in which it is sent to.
    fn endpoint(endpoint: &Endpoint, settings: EndpointSettings) -> Self {
        let mut endpoint = Box::new(endpoint.clone());
        let held_by_state = matches!(Hold::of(&endpoint), Some(Hold::State { .. }));
        if !held_by_state {
            endpoint.provisioning_state = None;
            endpoint.provisioning_error = None;
        }
        Self::Endpoint(endpoint, settings)
    }
}

/// Whether an endpoint counts as not there, although it is listed.
fn is_absent(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint.provisioning_state,
        Some(ProvisioningState::Deleting | ProvisioningState::Deleted)
    )
}

/// A checked instance, before anything that runs is touched.
pub(crate) struct Planned {
    pub(crate) name: InstanceName,
    pub(crate) endpoints: Vec<PlannedEndpoint>,
    pub(crate) routes: Vec<(RouteId, EndpointName, Filter)>,
}

pub(crate) struct PlannedEndpoint {
    pub(crate) name: EndpointName,
    pub(crate) made_of: MadeOf,
    /// None while the running sink is kept.
    pub(crate) setup: Option<lane::Setup>,
}

/// Checks definitions as applying them would, without a router. Gives the warnings about filters.
///
/// # Errors
/// Everything that is wrong.
pub fn check(definitions: &Definitions, connect: &dyn Connect) -> Result<Vec<String>, Faults> {
    let first = definitions
        .instances
        .first()
        .map(|instance| instance.name.clone());
    let default_instance =
        first.unwrap_or_else(|| InstanceName::new("default").expect("a legal name"));
    let planner = Planner {
        connect,
        default_instance: &default_instance,
        custom: &BTreeMap::new(),
        keeps: &|_, _| false,
    };
    let mut warnings = Vec::new();
    planner.plan(definitions, &mut warnings)?;
    Ok(warnings)
}

/// The endpoint of an instance that a lane serves.
pub(crate) type LaneKey = (InstanceName, EndpointName);

/// What planning looks at beside the definitions.
pub(crate) struct Planner<'a> {
    pub(crate) connect: &'a dyn Connect,
    pub(crate) default_instance: &'a InstanceName,
    pub(crate) custom: &'a BTreeMap<EndpointName, Custom>,
    /// Whether a lane made of the same runs, so that its sink stays.
    pub(crate) keeps: &'a dyn Fn(&LaneKey, &MadeOf) -> bool,
}

impl Planner<'_> {
    /// Checks everything and prepares what is new; touches nothing that runs.
    pub(crate) fn plan(
        &self,
        definitions: &Definitions,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Planned>, Faults> {
        let mut faults = check_settings(definitions, self.custom, warnings);
        let mut planned = Vec::new();
        let empty;
        let has_default = definitions
            .instances
            .iter()
            .any(|instance| instance.name == *self.default_instance);
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
        let mut planned = Vec::new();
        for endpoint in &instance.endpoints {
            if is_absent(endpoint) {
                continue;
            }
            let settings = definitions.settings.of(&instance.name, &endpoint.name);
            let made_of = MadeOf::endpoint(endpoint, settings.clone());
            let key = (instance.name.clone(), endpoint.name.clone());
            let kept = (self.keeps)(&key, &made_of);
            let setup = if kept {
                None
            } else {
                match self.set_up(endpoint, settings) {
                    Ok(setup) => Some(setup),
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
        if instance.name == *self.default_instance {
            self.plan_custom(&instance.name, &mut planned, faults);
        }
        planned
    }

    fn set_up(
        &self,
        endpoint: &Endpoint,
        settings: EndpointSettings,
    ) -> Result<lane::Setup, ConnectError> {
        let hold = Hold::of(endpoint);
        let sink = match hold {
            None => self.connect.connect(endpoint, &settings)?,
            Some(_) => Arc::new(lane::Nowhere),
        };
        Ok(lane::Setup {
            endpoint_type: endpoint.endpoint_type(),
            sink,
            store: self.connect.dead_letters(endpoint)?,
            settings,
            hold,
        })
    }

    fn plan_custom(
        &self,
        instance: &InstanceName,
        planned: &mut Vec<PlannedEndpoint>,
        faults: &mut Vec<Fault>,
    ) {
        for (name, custom) in self.custom {
            if planned.iter().any(|endpoint| endpoint.name == *name) {
                let reason = "is defined, but the program brings a sink of that name";
                faults.push(Fault::new(format!("endpoint {instance}/{name}"), reason));
                continue;
            }
            let made_of = MadeOf::Custom(custom.settings.clone());
            let kept = (self.keeps)(&(instance.clone(), name.clone()), &made_of);
            let setup = (!kept).then(|| lane::Setup {
                endpoint_type: "Custom",
                sink: Arc::clone(&custom.sink),
                store: custom.store.clone(),
                settings: custom.settings.clone(),
                hold: None,
            });
            planned.push(PlannedEndpoint {
                name: name.clone(),
                made_of,
                setup,
            });
        }
    }
}

/// Settings must be in range and belong to an endpoint there is, or may be.
fn check_settings(
    definitions: &Definitions,
    custom: &BTreeMap<EndpointName, Custom>,
    warnings: &mut Vec<String>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let known = settable(definitions, custom);
    for (key, settings) in definitions.settings.iter() {
        let object = format!("[endpoints.\"{key}\"]");
        let stray = !known.contains(key);
        match (definitions.strays, settings.check()) {
            (Strays::Refuse, _) if stray => {
                faults.push(Fault::new(object, "no endpoint has this name"));
            }
            (_, Err(rule)) => faults.push(Fault::new(object, rule)),
            (Strays::Warn, Ok(())) if stray => {
                warnings.push(format!(
                    "{object}: no endpoint has this name; the settings are for one that may come"
                ));
            }
            (Strays::Refuse | Strays::Warn, Ok(())) => {}
        }
    }
    faults
}

/// The keys that name an endpoint, in lower case as [`Settings::iter`] gives them.
///
/// [`Settings::iter`]: crate::source::Settings::iter
fn settable(definitions: &Definitions, custom: &BTreeMap<EndpointName, Custom>) -> HashSet<String> {
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

/// Warns when endpoints that are away could fill the journal for all the others.
pub(crate) fn overcommitted(planned: &[Planned], journal_bytes_max: u64) -> Option<String> {
    let endpoints = planned.iter().flat_map(|instance| &instance.endpoints);
    let caps = endpoints.map(|endpoint| match &endpoint.made_of {
        MadeOf::Endpoint(_, settings) | MadeOf::Custom(settings) => {
            settings.queue_bytes_max.as_u64()
        }
    });
    let sum = caps.fold(0_u64, u64::saturating_add);
    (sum > journal_bytes_max).then(|| {
        format!(
            "the journal holds at most {journal_bytes_max} bytes, the endpoints' queues together \
             {sum}: endpoints that are away could fill it, and events for others be refused; \
             raise the journal's bytes_max, or lower queue_bytes_max"
        )
    })
}

/// SHA-256 over everything but secrets, which print as masks.
pub(crate) fn hash(planned: &[Planned]) -> String {
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
