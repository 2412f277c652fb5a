//! One event route.

use super::super::error::bounded;
use super::members::{object_name, text};
use serde_json::{Map, Value};
use std::collections::HashSet;
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_router::source::DefinitionFault;

/// Reads a route to one of `targets`.
///
/// # Errors
/// Why it is left out.
pub(super) fn read(
    route: &Map<String, Value>,
    instance: &InstanceName,
    targets: &HashSet<&EndpointName>,
) -> Result<Route, DefinitionFault> {
    let printed = text(route, "id").map_or_else(|| "(no id)".to_owned(), bounded);
    let object = object_name("route", instance, &printed);
    let left_out = |reason: String| {
        let text =
            format!("{reason}; the route is left out, and what only it matches goes nowhere");
        DefinitionFault::new(object.clone(), text)
    };
    let id = text(route, "id").ok_or_else(|| left_out("has no `id`".to_owned()))?;
    let id = RouteId::new(id).map_err(|error| left_out(error.to_string()))?;
    let name = text(route, "endpointName");
    let name = name.ok_or_else(|| left_out("has no `endpointName`".to_owned()))?;
    let endpoint_name = EndpointName::new(name).map_err(|error| left_out(error.to_string()))?;
    if !targets.contains(&endpoint_name) {
        return Err(left_out(format!("endpoint {endpoint_name} is not defined")));
    }
    let filter = text(route, "filter");
    let filter = filter.ok_or_else(|| left_out("has no `filter`".to_owned()))?;
    if let Err(error) = RouteFilter::parse(filter, &FilterOptions::default()) {
        let error = error.render();
        let line = error.lines().next().unwrap_or_default();
        return Err(left_out(format!("its filter is not understood: {line}")));
    }
    Ok(Route {
        id,
        endpoint_name,
        filter: filter.to_owned(),
    })
}
