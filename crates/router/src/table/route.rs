//! A route: what defines it, what it counts, the lane it sends to.

use super::fingerprint::DefinitionFingerprint;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use twinroute_filter::error::Error;
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;

/// A lane's position in its instance.
pub(crate) type LaneIndex = u32;

/// A route and what was made of it; tables share it as long as it stays the same.
#[derive(Debug)]
pub(crate) struct RouteDefinition {
    pub(crate) id: RouteId,
    pub(crate) endpoint: EndpointName,
    pub(crate) filter: RouteFilter,
    /// About its filter, with the route's name.
    pub(crate) warnings: Vec<String>,
    pub(crate) fingerprint: DefinitionFingerprint,
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
        let filter = RouteFilter::parse(filter, &FilterOptions::default())?;
        let found = filter.warnings();
        let warnings = found
            .iter()
            .map(|warning| format!("{object}: {}", warning.render(filter.as_str())));
        Ok(Self {
            id: id.clone(),
            endpoint: endpoint_name.clone(),
            warnings: warnings.collect(),
            fingerprint: DefinitionFingerprint::of(format_args!(
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

/// A route in use. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CompiledRoute {
    pub(crate) definition: Arc<RouteDefinition>,
    /// Outlives the table, so that a reload does not reset it.
    pub(crate) matched: Arc<AtomicU64>,
}

/// A checked route, before it is in a table.
pub(crate) struct PlannedRoute {
    pub(crate) route: CompiledRoute,
    /// Its endpoint's place in the instance.
    pub(crate) lane: LaneIndex,
}
