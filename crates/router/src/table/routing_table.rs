//! The table: definitions, compiled. Immutable, with a generation number; swapped as a whole.

use super::index::{RouteIndex, RouteNumbers};
use super::route::{CompiledRoute, LaneIndex, PlannedRoute};
use crate::delivery::Lane;
use rapidhash::RapidHashMap;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use twinroute_filter::eval::{EventFields, EventScope, FilterProgram};
use twinroute_model::clock::Timestamp;
use twinroute_model::event::Event;
use twinroute_model::name::InstanceName;

/// What events are matched against.
#[derive(Debug, Default)]
pub(crate) struct RoutingTable {
    pub(crate) generation: u64,
    pub(crate) hash: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) warnings: Vec<String>,
    pub(crate) instances: RapidHashMap<InstanceName, Arc<CompiledInstance>>,
}

impl RoutingTable {
    pub(crate) fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!(warning, "warning about the definitions");
        }
    }
}

/// One instance: its lanes and its routes, ready to match.
#[derive(Debug)]
pub(crate) struct CompiledInstance {
    pub(crate) name: InstanceName,
    pub(crate) lanes: Vec<Arc<Lane>>,
    pub(crate) routes: Vec<CompiledRoute>,
    /// What matching looks at of each route, apart from the rest so that more of it stays in the cache.
    matchers: Vec<RouteMatcher>,
    fields: EventFields,
    index: RouteIndex,
}

#[derive(Debug)]
struct RouteMatcher {
    program: FilterProgram,
    lane: LaneIndex,
}

/// Buffers that matching uses again for each event.
#[derive(Debug, Default)]
pub(crate) struct MatchScratch {
    candidates: RouteNumbers,
    /// The lanes of the event last matched, each once.
    pub(crate) lanes: SmallVec<[LaneIndex; 4]>,
    /// The routes that matched any of the events since the start.
    matched: RouteNumbers,
}

impl MatchScratch {
    /// For a batch of so many events, of which most match a few routes.
    pub(crate) fn with_capacity(events: usize) -> Self {
        Self {
            matched: RouteNumbers::with_capacity(events),
            ..Self::default()
        }
    }
}

impl MatchScratch {
    /// How many routes have matched so far, each as often as it did.
    pub(crate) fn matched_count(&self) -> usize {
        self.matched.len()
    }
}

impl CompiledInstance {
    pub(crate) fn new(
        name: InstanceName,
        lanes: Vec<Arc<Lane>>,
        routes: Vec<PlannedRoute>,
    ) -> Self {
        let filters = routes.iter().map(|route| &route.route.definition.filter);
        let index = RouteIndex::new(filters);
        let mut fields = EventFields::new();
        let matcher = |planned: &PlannedRoute| RouteMatcher {
            program: fields.compile(planned.route.definition.filter.expr()),
            lane: planned.lane,
        };
        let matchers = routes.iter().map(matcher).collect();
        Self {
            name,
            lanes,
            routes: routes.into_iter().map(|planned| planned.route).collect(),
            matchers,
            fields,
            index,
        }
    }

    /// Whether it is what [`Self::new`] would make of these.
    pub(crate) fn is(&self, lanes: &[Arc<Lane>], routes: &[PlannedRoute]) -> bool {
        let mut own_lanes = self.lanes.iter().zip(lanes);
        let mut own_routes = self.routes.iter().zip(&self.matchers).zip(routes);
        (self.lanes.len(), self.routes.len()) == (lanes.len(), routes.len())
            && own_lanes.all(|(own, other)| Arc::ptr_eq(own, other))
            && own_routes.all(|((own, matcher), other)| {
                Arc::ptr_eq(&own.definition, &other.route.definition) && matcher.lane == other.lane
            })
    }

    /// The routes that match, in the table's order; counts nothing.
    pub(crate) fn matching_routes(&self, event: &Event) -> Vec<&CompiledRoute> {
        let scope = EventScope::new(&self.fields, event);
        let mut candidates = RouteNumbers::new();
        self.index.candidates(&scope, &mut candidates);
        let matching = candidates
            .into_iter()
            .map(|number| number as usize)
            .filter(|number| self.matchers[*number].program.matches(&scope));
        matching.map(|number| &self.routes[number]).collect()
    }

    /// Matches one event: leaves its lanes in `scratch`, each once, and notes the routes.
    pub(crate) fn matches(&self, event: &Event, scratch: &mut MatchScratch) {
        scratch.lanes.clear();
        let scope = EventScope::new(&self.fields, event);
        self.index.candidates(&scope, &mut scratch.candidates);
        for number in &scratch.candidates {
            let matcher = &self.matchers[*number as usize];
            if matcher.program.matches(&scope) {
                scratch.matched.push(*number);
                scratch.lanes.push(matcher.lane);
            }
        }
        // Two routes to one endpoint make one delivery.
        scratch.lanes.sort_unstable();
        scratch.lanes.dedup();
    }

    /// The routes that matched since the first `from` of `scratch`.
    pub(crate) fn matched_since<'a>(
        &'a self,
        scratch: &'a MatchScratch,
        from: usize,
    ) -> impl Iterator<Item = &'a CompiledRoute> {
        let since = scratch.matched[from..].iter();
        since.map(|number| &self.routes[*number as usize])
    }

    /// Counts the routes that matched since `scratch` was made; for events that were accepted.
    pub(crate) fn count(&self, scratch: &MatchScratch) {
        for number in &scratch.matched {
            let route = &self.routes[*number as usize];
            route.matched.fetch_add(1, Ordering::Relaxed);
        }
    }
}
