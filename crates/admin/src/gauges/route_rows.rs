//! What is shown of each route.

use super::endpoint_rows::{EndpointLabels, labels};
use std::collections::HashSet;
use twinroute_router::REMAINDER;
use twinroute_router::status::InstanceStatus;

/// Routes with a series of their own, at most. Endpoints may have many each.
const ROUTES_MAX: usize = 2_000;

/// A route, or all those without a series of their own.
pub(super) struct RouteRow<'a> {
    pub(super) labels: EndpointLabels<'a>,
    pub(super) route: &'a str,
    pub(super) matched: u64,
}

/// A row each of the first routes whose endpoints have series of their own, and one of the others.
pub(super) fn route_rows(instances: &[InstanceStatus]) -> Vec<RouteRow<'_>> {
    let mut rows = Vec::new();
    let mut remainder = None;
    for instance in instances {
        let shared = instance.endpoints.iter();
        let shared = shared.filter(|endpoint| endpoint.metrics.is_in_remainder);
        let shared: HashSet<&str> = shared.map(|endpoint| endpoint.name.as_str()).collect();
        for route in &instance.routes {
            if rows.len() >= ROUTES_MAX || shared.contains(route.endpoint.as_str()) {
                *remainder.get_or_insert(0) += route.matched;
                continue;
            }
            rows.push(RouteRow {
                labels: labels(&instance.name, &route.endpoint),
                route: &route.id,
                matched: route.matched,
            });
        }
    }
    rows.extend(remainder.map(|matched| RouteRow {
        labels: labels(REMAINDER, REMAINDER),
        route: REMAINDER,
        matched,
    }));
    rows
}
