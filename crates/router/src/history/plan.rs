//! What a change of definitions would do to the events of the history.

use super::destination_limits::ComparedDestination;
use super::plan_load::PeakLoad;
use super::plan_report::{EndpointPlan, MatchChange, PlanReport};
use super::view::PastEvent;
use crate::table::snapshot::RouteSnapshot;
use std::collections::{BTreeMap, BTreeSet};
use twinroute_filter::eval::{EventFields, EventScope, FilterProgram};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::event::Event;

/// A table of a plan, before or after the change.
#[derive(Clone, Debug, Default)]
pub struct ComparedTable {
    /// All of its routes.
    pub routes: Vec<RouteSnapshot>,
    /// Its endpoints, as far as it is known what they are: by instance and name.
    pub destinations: BTreeMap<(String, String), ComparedDestination>,
}

/// Compares two tables by the events of the history.
pub struct RoutePlan {
    /// Before and after.
    sides: [ComparedSide; 2],
    routes: Vec<(String, MatchChange)>,
    endpoints: Vec<(String, EndpointChange)>,
    report: PlanReport,
}

/// One of the two tables, ready to match.
#[derive(Default)]
struct ComparedSide {
    fields: EventFields,
    routes: Vec<ComparedRoute>,
    /// By the endpoint's place among all.
    destinations: Vec<Option<ComparedDestination>>,
}

/// A route, with the places of itself and of its endpoint in what is counted.
struct ComparedRoute {
    instance: String,
    program: FilterProgram,
    route: usize,
    endpoint: usize,
}

/// What is counted for an endpoint.
#[derive(Default)]
struct EndpointChange {
    events: MatchChange,
    too_large: MatchChange,
    loads: [PeakLoad; 2],
}

/// Names and their places: routes by their spelling, endpoints in any case.
#[derive(Default)]
struct NamePlaces(BTreeMap<String, usize>);

impl NamePlaces {
    fn place(&mut self, key: String) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }
}

impl RoutePlan {
    /// Compares `after` with `before`.
    ///
    /// # Errors
    /// The first route whose filter cannot be read, and why.
    pub fn new(before: &ComparedTable, after: &ComparedTable) -> Result<Self, String> {
        let (mut route_names, mut endpoint_names) = (NamePlaces::default(), NamePlaces::default());
        let mut plan = Self {
            sides: Default::default(),
            routes: Vec::new(),
            endpoints: Vec::new(),
            report: PlanReport::default(),
        };
        for (side, table) in plan.sides.iter_mut().zip([before, after]) {
            for route in &table.routes {
                let name = format!("{}/{}", route.instance, route.route);
                let endpoint = format!("{}/{}", route.instance, route.endpoint);
                let at = route_names.place(name.clone());
                let to = endpoint_names.place(endpoint.to_ascii_lowercase());
                if at == plan.routes.len() {
                    plan.routes.push((name.clone(), MatchChange::default()));
                }
                if to == plan.endpoints.len() {
                    plan.endpoints.push((endpoint, EndpointChange::default()));
                }
                let filter = RouteFilter::parse(&route.filter, &FilterOptions::default())
                    .map_err(|error| format!("route {name}: {}", error.render()))?;
                side.routes.push(ComparedRoute {
                    instance: route.instance.clone(),
                    program: side.fields.compile(filter.expr()),
                    route: at,
                    endpoint: to,
                });
            }
        }
        for (side, table) in plan.sides.iter_mut().zip([before, after]) {
            side.destinations.resize(plan.endpoints.len(), None);
            for ((instance, endpoint), destination) in &table.destinations {
                let name = format!("{instance}/{endpoint}").to_ascii_lowercase();
                if let Some(&at) = endpoint_names.0.get(&name) {
                    side.destinations[at] = Some(*destination);
                }
            }
        }
        Ok(plan)
    }

    /// Counts an event. Replays were matched by no route, and are left out; so are events of which the history has
    /// no more than their names.
    pub fn add(&mut self, past: &PastEvent) {
        let Some(event) = past.parse().filter(|_| !past.replay) else {
            return;
        };
        self.report.add(&past.accepted_at);
        let [before, after] = [0, 1].map(|side| self.sides[side].matching(&past.instance, &event));
        let both = |left: &BTreeSet<usize>, right: &BTreeSet<usize>| {
            left.union(right).copied().collect::<Vec<_>>()
        };
        for at in both(&before.routes, &after.routes) {
            let matches = [before.routes.contains(&at), after.routes.contains(&at)];
            self.routes[at].1.add(event.id(), matches);
        }
        for at in both(&before.endpoints, &after.endpoints) {
            let goes = [
                before.endpoints.contains(&at),
                after.endpoints.contains(&at),
            ];
            self.count(at, (past, &event), goes);
        }
        let unmatched = [before.routes.is_empty(), after.routes.is_empty()];
        self.report.unmatched.add(event.id(), unmatched);
    }

    fn count(&mut self, at: usize, (past, event): (&PastEvent, &Event), goes: [bool; 2]) {
        let change = &mut self.endpoints[at].1;
        change.events.add(event.id(), goes);
        let mut too_large = [false; 2];
        for side in [0, 1].into_iter().filter(|&side| goes[side]) {
            let destination = self.sides[side].destinations[at];
            let bytes = destination.map_or(0, |destination| (destination.event_bytes)(event));
            too_large[side] = destination.is_some_and(|to| bytes > to.limits.event_bytes_max);
            change.loads[side].add(&past.accepted_at, bytes as u64);
        }
        change.too_large.add(event.id(), too_large);
    }

    /// What was found.
    #[must_use]
    pub fn report(self) -> PlanReport {
        let Self {
            sides: [_, after],
            routes,
            endpoints,
            mut report,
        } = self;
        report.routes = routes.into_iter().collect();
        for (at, (name, change)) in endpoints.into_iter().enumerate() {
            let [before, now] = change.loads;
            let limits = after.destinations[at].map(|destination| destination.limits);
            let plan = EndpointPlan {
                events: change.events,
                too_large: change.too_large,
                load_before: before.peak(),
                load_after: now.peak(),
                limits,
            };
            report.endpoints.insert(name, plan);
        }
        report
    }
}

/// What an event matches in one table, by place.
#[derive(Default)]
struct MatchedPlaces {
    routes: BTreeSet<usize>,
    endpoints: BTreeSet<usize>,
}

impl ComparedSide {
    fn matching(&self, instance: &str, event: &Event) -> MatchedPlaces {
        let scope = EventScope::new(&self.fields, event);
        let mut matched = MatchedPlaces::default();
        for route in &self.routes {
            if route.instance.eq_ignore_ascii_case(instance) && route.program.matches(&scope) {
                matched.routes.insert(route.route);
                matched.endpoints.insert(route.endpoint);
            }
        }
        matched
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
