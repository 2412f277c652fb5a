//! What lanes and routes were made of, so that what did not change is known again; and the digest of it.

use crate::lane::{Hold, Lane};
use crate::table::CompiledRoute;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use twinroute_filter::error::Error;
use twinroute_filter::{Filter, Options};
use twinroute_model::endpoint::{Endpoint, ProvisioningState};
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;

/// What a sink was made of; while it stays the same the sink does.
pub(crate) enum MadeOf {
    Endpoint(Arc<Endpoint>, Arc<EndpointSettings>),
    Custom(Arc<EndpointSettings>),
}

impl MadeOf {
    /// What does not change a sink is left out: which of the states it is in in which it is sent to.
    pub(crate) fn endpoint(endpoint: &Endpoint, settings: Arc<EndpointSettings>) -> Self {
        let (state, error) = state_that_holds(endpoint);
        let endpoint = Endpoint {
            provisioning_state: state,
            provisioning_error: error.cloned(),
            ..endpoint.clone()
        };
        Self::Endpoint(Arc::new(endpoint), settings)
    }

    /// Whether it is what [`Self::endpoint`] would make of these.
    pub(crate) fn is_endpoint(&self, endpoint: &Endpoint, settings: &EndpointSettings) -> bool {
        let Self::Endpoint(own, own_settings) = self else {
            return false;
        };
        let Endpoint {
            name,
            destination,
            dead_letter,
            provisioning_state,
            provisioning_error,
        } = &**own;
        *name == endpoint.name
            && *destination == endpoint.destination
            && *dead_letter == endpoint.dead_letter
            && (*provisioning_state, provisioning_error.as_ref()) == state_that_holds(endpoint)
            && (std::ptr::eq(&raw const **own_settings, settings) || **own_settings == *settings)
    }

    /// The definition, unless the program brought the sink along.
    pub(crate) fn definition(&self) -> Option<(Arc<Endpoint>, Arc<EndpointSettings>)> {
        match self {
            Self::Endpoint(endpoint, settings) => {
                Some((Arc::clone(endpoint), Arc::clone(settings)))
            }
            Self::Custom(_) => None,
        }
    }

    pub(crate) fn is_custom(&self, settings: &EndpointSettings) -> bool {
        matches!(self, Self::Custom(own) if **own == *settings)
    }

    /// Over everything but secrets, which print as masks.
    pub(crate) fn digest(&self, instance: &InstanceName, name: &EndpointName) -> Digest {
        match self {
            Self::Endpoint(endpoint, settings) => Digest::of(format_args!(
                "{instance}/endpoint/{name}/{endpoint:?} {settings:?}"
            )),
            Self::Custom(settings) => Digest::of(format_args!(
                "{instance}/endpoint/{name}/custom {settings:?}"
            )),
        }
    }
}

/// State and error of an endpoint that is not sent to because of them.
fn state_that_holds(endpoint: &Endpoint) -> (Option<ProvisioningState>, Option<&String>) {
    match endpoint.provisioning_state {
        Some(state) if Hold::by(state).is_some() => {
            (Some(state), endpoint.provisioning_error.as_ref())
        }
        Some(_) | None => (None, None),
    }
}

/// A route and what was made of it; tables share it as long as it stays the same.
#[derive(Debug)]
pub(crate) struct RouteDefinition {
    pub(crate) id: RouteId,
    pub(crate) endpoint: EndpointName,
    pub(crate) filter: Filter,
    /// About its filter, with the route's name.
    pub(crate) warnings: Vec<String>,
    pub(crate) digest: Digest,
}

impl RouteDefinition {
    /// `object` names the route in warnings.
    pub(crate) fn parse(
        instance: &InstanceName,
        route: &Route,
        object: &str,
    ) -> Result<Self, Error> {
        let Route {
            id,
            endpoint_name,
            filter,
        } = route;
        let filter = Filter::parse(filter, &Options::default())?;
        let found = filter.warnings();
        let warnings = found
            .iter()
            .map(|warning| format!("{object}: {}", warning.render(filter.as_str())));
        Ok(Self {
            id: id.clone(),
            endpoint: endpoint_name.clone(),
            warnings: warnings.collect(),
            digest: Digest::of(format_args!(
                "{instance}/route/{id}/{endpoint_name}/{filter}"
            )),
            filter,
        })
    }

    /// Whether it was made of a route that says the same.
    pub(crate) fn is(&self, route: &Route) -> bool {
        self.filter.as_str() == route.filter
            && self.endpoint.as_str() == route.endpoint_name.as_str()
    }
}

/// What the table in use was made of.
#[derive(Default)]
pub(crate) struct Known(HashMap<InstanceName, KnownInstance>);

#[derive(Default)]
pub(crate) struct KnownInstance {
    pub(crate) endpoints: HashMap<EndpointName, KnownEndpoint>,
    pub(crate) routes: HashMap<RouteId, CompiledRoute>,
}

pub(crate) struct KnownEndpoint {
    pub(crate) made_of: MadeOf,
    pub(crate) digest: Digest,
    pub(crate) lane: Arc<Lane>,
}

impl Known {
    /// What is known of an instance; nothing yet if it is new.
    pub(crate) fn instance_mut(&mut self, name: &InstanceName) -> &mut KnownInstance {
        self.0.entry(name.clone()).or_default()
    }

    /// Forgets all instances but these.
    pub(crate) fn retain<'a>(&mut self, names: impl Iterator<Item = &'a InstanceName>) {
        let names: HashSet<&InstanceName> = names.collect();
        self.0.retain(|name, _| names.contains(name));
    }

    /// All endpoints.
    pub(crate) fn endpoints(&self) -> usize {
        self.0.values().map(|known| known.endpoints.len()).sum()
    }

    pub(crate) fn instance(&self, name: &InstanceName) -> Option<&KnownInstance> {
        self.0.get(name)
    }

    pub(crate) fn has_endpoint(&self, instance: &InstanceName, name: &EndpointName) -> bool {
        self.instance(instance)
            .is_some_and(|instance| instance.endpoints.contains_key(name))
    }
}

impl KnownInstance {
    /// Forgets all endpoints but these.
    pub(crate) fn retain_endpoints<'a>(
        &mut self,
        names: impl ExactSizeIterator<Item = &'a EndpointName>,
    ) {
        // All of them are here, so there are others only if there are more.
        if names.len() < self.endpoints.len() {
            let names: HashSet<&EndpointName> = names.collect();
            self.endpoints.retain(|name, _| names.contains(name));
        }
    }

    /// Forgets all routes but these.
    pub(crate) fn retain_routes<'a>(&mut self, ids: impl ExactSizeIterator<Item = &'a RouteId>) {
        if ids.len() < self.routes.len() {
            let ids: HashSet<&RouteId> = ids.collect();
            self.routes.retain(|id, _| ids.contains(id));
        }
    }
}

/// SHA-256 of one endpoint or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut hashing = Hashing(Sha256::new());
        hashing.write_fmt(text).expect("a hash takes everything");
        Self(hashing.0.finalize().into())
    }

    /// Of an instance, whatever is in it.
    pub(crate) fn of_instance(name: &InstanceName) -> Self {
        Self::of(format_args!("{name}/instance"))
    }

    /// Of all of them, hexadecimal, in whatever order they come.
    pub(crate) fn of_all(digests: impl IntoIterator<Item = Self>) -> String {
        let mut digests: Vec<Self> = digests.into_iter().collect();
        digests.sort_unstable();
        let mut hash = Sha256::new();
        digests.iter().for_each(|digest| hash.update(digest.0));
        let mut text = String::new();
        for byte in hash.finalize() {
            write!(text, "{byte:02x}").expect("a String takes everything");
        }
        text
    }
}

struct Hashing(Sha256);

impl fmt::Write for Hashing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
