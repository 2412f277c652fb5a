//! The table: definitions, compiled. Immutable, with a generation number; swapped as a whole.

use crate::index::{Index, RouteNumber};
use crate::lane::Lane;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twinroute_filter::Filter;
use twinroute_filter::eval::{Fields, Program, Scope};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};

/// A lane's position in its instance.
pub(crate) type LaneNumber = u32;

/// What events are matched against.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) generation: u64,
    pub(crate) hash: String,
    pub(crate) since: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) instances: HashMap<InstanceName, Arc<CompiledInstance>>,
}

/// One instance: its lanes and its routes, ready to match.
#[derive(Debug)]
pub(crate) struct CompiledInstance {
    pub(crate) lanes: Vec<Arc<Lane>>,
    pub(crate) routes: Vec<CompiledRoute>,
    /// What matching looks at of each route, apart from the rest so that more of it stays in the cache.
    matchers: Vec<Matcher>,
    fields: Fields,
    index: Index,
}

#[derive(Debug)]
struct Matcher {
    program: Program,
    lane: LaneNumber,
}

#[derive(Debug)]
pub(crate) struct CompiledRoute {
    pub(crate) id: RouteId,
    pub(crate) endpoint: EndpointName,
    pub(crate) filter: Filter,
    /// Outlives the table, so that a reload does not reset it.
    pub(crate) matched: Arc<AtomicU64>,
}

/// A route before it is compiled: its filter parsed, its endpoint known.
pub(crate) struct ParsedRoute {
    pub(crate) id: RouteId,
    pub(crate) endpoint: EndpointName,
    pub(crate) filter: Filter,
    pub(crate) lane: LaneNumber,
    pub(crate) matched: Arc<AtomicU64>,
}

/// Buffers that matching uses again for each event.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    candidates: Vec<RouteNumber>,
    /// The lanes of the event last matched, each once.
    pub(crate) lanes: Vec<LaneNumber>,
}

impl CompiledInstance {
    pub(crate) fn new(lanes: Vec<Arc<Lane>>, routes: Vec<ParsedRoute>) -> Self {
        let index = Index::new(routes.iter().map(|route| &route.filter));
        let mut fields = Fields::new();
        let matcher = |route: &ParsedRoute| Matcher {
            program: fields.compile(&route.filter),
            lane: route.lane,
        };
        let matchers = routes.iter().map(matcher).collect();
        let keep = |route: ParsedRoute| CompiledRoute {
            id: route.id,
            endpoint: route.endpoint,
            filter: route.filter,
            matched: route.matched,
        };
        Self {
            lanes,
            routes: routes.into_iter().map(keep).collect(),
            matchers,
            fields,
            index,
        }
    }

    /// The routes that match, in the table's order; counts nothing.
    pub(crate) fn matching_routes(&self, event: &Event) -> Vec<&CompiledRoute> {
        let scope = Scope::new(&self.fields, event);
        let mut candidates = Vec::new();
        self.index.candidates(&scope, &mut candidates);
        let matching = candidates
            .into_iter()
            .map(|number| number as usize)
            .filter(|number| self.matchers[*number].program.matches(&scope));
        matching.map(|number| &self.routes[number]).collect()
    }

    /// Matches one event: leaves its lanes in `scratch`, each once, and counts the routes.
    pub(crate) fn matches(&self, event: &Event, scratch: &mut Scratch) {
        scratch.lanes.clear();
        let scope = Scope::new(&self.fields, event);
        self.index.candidates(&scope, &mut scratch.candidates);
        for number in &scratch.candidates {
            let matcher = &self.matchers[*number as usize];
            if matcher.program.matches(&scope) {
                let route = &self.routes[*number as usize];
                route.matched.fetch_add(1, Ordering::Relaxed);
                scratch.lanes.push(matcher.lane);
            }
        }
        // Two routes to one endpoint make one delivery.
        scratch.lanes.sort_unstable();
        scratch.lanes.dedup();
    }
}
