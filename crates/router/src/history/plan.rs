//! What a change of routes would do to the events of the history.

use super::view::PastEvent;
use crate::table::snapshot::RouteSnapshot;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use twinroute_filter::RouteFilter;
use twinroute_model::event::Event;

/// Ids of events that are named of each kind.
const SAMPLES_MAX: usize = 3;

/// A table of routes, ready to match.
struct PlanTable(Vec<(RouteSnapshot, RouteFilter)>);

impl PlanTable {
    fn new(routes: &[RouteSnapshot]) -> Result<Self, String> {
        let read = |route: &RouteSnapshot| {
            let filter = route.parse_filter();
            let name = format!("route {}/{}", route.instance, route.route);
            let filter = filter.ok_or(format!("{name}: its filter cannot be read"))?;
            Ok((route.clone(), filter))
        };
        routes.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn matching<'a>(
        &'a self,
        instance: &'a str,
        event: &'a Event,
    ) -> impl Iterator<Item = &'a RouteSnapshot> {
        let routes = self.0.iter();
        routes
            .filter(move |(route, filter)| {
                route.instance.eq_ignore_ascii_case(instance) && filter.matches(event)
            })
            .map(|(route, _)| route)
    }
}

/// Compares two tables by the events of the history.
pub struct RoutePlan {
    before: PlanTable,
    after: PlanTable,
    report: PlanReport,
}

/// What a change would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// Events that were looked at; replays are not.
    pub events: u64,
    /// Events that no route matches, before and after.
    pub unmatched: RouteCount,
    /// By `instance/route`, the events that match it.
    pub routes: BTreeMap<String, RouteCount>,
    /// By `instance/endpoint`, the events that go there.
    pub endpoints: BTreeMap<String, EndpointPlan>,
}

/// A number of events, before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCount {
    /// Under the table in use.
    pub before: u64,
    /// Under the changed one.
    pub after: u64,
}

/// What would change for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPlan {
    /// Events that go there under each table.
    pub count: RouteCount,
    /// Events that would come, and the ids of some.
    pub come: u64,
    /// At most three.
    pub come_ids: Vec<String>,
    /// Events that would not go there any more, and the ids of some.
    pub go: u64,
    /// At most three.
    pub go_ids: Vec<String>,
}

impl RoutePlan {
    /// Compares `after` with `before`.
    ///
    /// # Errors
    /// The first route whose filter cannot be read.
    pub fn new(before: &[RouteSnapshot], after: &[RouteSnapshot]) -> Result<Self, String> {
        let mut report = PlanReport::default();
        for route in before.iter().chain(after) {
            let name = format!("{}/{}", route.instance, route.route);
            report.routes.entry(name).or_default();
            let name = format!("{}/{}", route.instance, route.endpoint);
            report.endpoints.entry(name).or_default();
        }
        Ok(Self {
            before: PlanTable::new(before)?,
            after: PlanTable::new(after)?,
            report,
        })
    }

    /// Counts an event. Replays were matched by no route, and are left out.
    pub fn add(&mut self, past: &PastEvent) {
        let Some(event) = past.parse().filter(|_| !past.replay) else {
            return;
        };
        let report = &mut self.report;
        report.events += 1;
        let mut endpoints = [BTreeSet::new(), BTreeSet::new()];
        for (place, table) in [&self.before, &self.after].into_iter().enumerate() {
            for route in table.matching(&past.instance, &event) {
                let name = format!("{}/{}", route.instance, route.route);
                report.routes.entry(name).or_default().add(place);
                endpoints[place].insert(format!("{}/{}", route.instance, route.endpoint));
            }
            if endpoints[place].is_empty() {
                report.unmatched.add(place);
            }
        }
        let [before, after] = endpoints;
        for name in before.union(&after) {
            let plan = report.endpoints.entry(name.clone()).or_default();
            plan.add(event.id(), before.contains(name), after.contains(name));
        }
    }

    /// What was found.
    #[must_use]
    pub fn report(self) -> PlanReport {
        self.report
    }
}

impl PlanReport {
    /// Whether any event would go elsewhere, or match another number of routes.
    #[must_use]
    pub fn is_change(&self) -> bool {
        let mut endpoints = self.endpoints.values();
        let differs = |count: &RouteCount| count.before != count.after;
        endpoints.any(|plan| plan.come + plan.go > 0) || self.routes.values().any(differs)
    }
}

impl RouteCount {
    fn add(&mut self, place: usize) {
        match place {
            0 => self.before += 1,
            _ => self.after += 1,
        }
    }
}

impl EndpointPlan {
    fn add(&mut self, id: &str, before: bool, after: bool) {
        self.count.before += u64::from(before);
        self.count.after += u64::from(after);
        let (count, ids) = match (before, after) {
            (false, true) => (&mut self.come, &mut self.come_ids),
            (true, false) => (&mut self.go, &mut self.go_ids),
            _ => return,
        };
        *count += 1;
        if ids.len() < SAMPLES_MAX {
            ids.push(id.to_owned());
        }
    }
}
