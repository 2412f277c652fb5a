//! What a plan found.

use super::destination_limits::DestinationLimits;
use super::plan_load::DestinationLoad;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ids of events that are named of each kind.
const SAMPLES_MAX: usize = 3;

/// What a change would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// Events that were compared; replays are not.
    pub events: u64,
    /// When the first of them was accepted, RFC 3339; empty where there is none.
    pub since: String,
    /// When the last was.
    pub until: String,
    /// Events that no route matches.
    pub unmatched: MatchChange,
    /// By `instance/route`, the events that match it.
    pub routes: BTreeMap<String, MatchChange>,
    /// By `instance/endpoint`, the events that go there.
    pub endpoints: BTreeMap<String, EndpointPlan>,
}

/// Events of some kind, before and after the change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchChange {
    /// Under the table in use.
    pub before: u64,
    /// Under the changed one.
    pub after: u64,
    /// Those that would be new.
    pub come: u64,
    /// The ids of some that would be new, at most three.
    pub come_ids: Vec<String>,
    /// Those that would be so no more.
    pub go: u64,
    /// The ids of some of them, at most three.
    pub go_ids: Vec<String>,
}

/// What would change for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPlan {
    /// Events that go there.
    #[serde(flatten)]
    pub events: MatchChange,
    /// Those of them that are larger than what its destination takes.
    pub too_large: MatchChange,
    /// The most in a second under the table in use.
    pub load_before: DestinationLoad,
    /// The most in a second under the changed one.
    pub load_after: DestinationLoad,
    /// What its destination is published to take, under the changed table; nothing where its type is not known.
    pub limits: Option<DestinationLimits>,
}

impl PlanReport {
    /// Whether any event would go elsewhere, match other routes, or begin or cease to be too large.
    #[must_use]
    pub fn is_change(&self) -> bool {
        let endpoints = self.endpoints.values();
        let of_endpoints = endpoints.flat_map(|plan| [&plan.events, &plan.too_large]);
        let mut changes = self.routes.values().chain(of_endpoints);
        changes.any(|change| change.come + change.go > 0)
    }

    pub(super) fn add(&mut self, accepted_at: &str) {
        self.events += 1;
        if self.since.is_empty() || accepted_at < self.since.as_str() {
            accepted_at.clone_into(&mut self.since);
        }
        if accepted_at > self.until.as_str() {
            accepted_at.clone_into(&mut self.until);
        }
    }
}

impl MatchChange {
    /// Counts an event that is so, or not, before and after.
    pub(super) fn add(&mut self, id: &str, [before, after]: [bool; 2]) {
        self.before += u64::from(before);
        self.after += u64::from(after);
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

impl EndpointPlan {
    /// Whether the second with most would be more than its destination is published to take.
    #[must_use]
    pub fn is_above_rate(&self) -> bool {
        self.limits.is_some_and(|limits| {
            let bytes_max = limits.bytes_per_second_max.unwrap_or(u64::MAX);
            self.load_after.events_per_second > limits.events_per_second_max
                || self.load_after.bytes_per_second > bytes_max
        })
    }
}
