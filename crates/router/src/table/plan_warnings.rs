//! What an operator should know of definitions that can be used as they are.

use super::plan::{PlannedEndpoint, PlannedInstance, TablePlanner, some};
use super::previous::PreviousTable;
use super::source::{DefinitionFaults, Definitions};
use crate::sink::Connect;
use std::collections::BTreeMap;
use twinroute_model::clock::{Clock as _, SystemClock};
use twinroute_model::name::InstanceName;
use twinroute_model::settings::KeptDeadLetters;

/// Checks definitions as applying them would, without a router. Gives the warnings about filters, about endpoints
/// whose dead letters stay in the journal, and about places of dead letters that are of no use at this time by the
/// machine's clock.
///
/// # Errors
/// Everything that is wrong.
pub fn check(
    definitions: &Definitions,
    connect: &dyn Connect,
) -> Result<Vec<String>, DefinitionFaults> {
    let first = definitions
        .instances
        .first()
        .map(|instance| instance.name.clone());
    let default_instance =
        first.unwrap_or_else(|| InstanceName::new("default").expect("a legal name"));
    let planner = TablePlanner {
        connect,
        default_instance: &default_instance,
        custom: &BTreeMap::new(),
        previous: &PreviousTable::default(),
        now: SystemClock.now(),
    };
    let mut warnings = Vec::new();
    let planned = planner.plan(definitions, &mut warnings)?;
    warnings.extend(keeping_all(&planned));
    warnings.extend(without_store(&planned));
    Ok(warnings)
}

/// What the operator should know of endpoints that share a journal of `journal_bytes_max`.
pub(super) fn journal_warnings(planned: &[PlannedInstance], journal_bytes_max: u64) -> Vec<String> {
    let mut warnings = keeping_all(planned);
    warnings.extend(overcommitted(planned, journal_bytes_max));
    warnings
}

/// The endpoints for which something holds, each with its instance.
fn labels(planned: &[PlannedInstance], holds: impl Fn(&PlannedEndpoint) -> bool) -> Vec<String> {
    let mut labels = Vec::new();
    for instance in planned {
        let found = instance.endpoints.iter().filter(|endpoint| holds(endpoint));
        labels.extend(found.map(|endpoint| format!("{}/{}", instance.name, endpoint.name)));
    }
    labels
}

/// Warns about endpoints that can fill the journal for all the others.
fn keeping_all(planned: &[PlannedInstance]) -> Vec<String> {
    let labels = labels(planned, |endpoint| {
        endpoint.settings.dead_letters_kept == KeptDeadLetters::KeepAll
    })
    .into_iter();
    let warning = |label| {
        format!(
            "endpoint {label}: dead_letters_kept = \"keep-all\" breaks isolation: when its dead letters fill the \
             journal, events for every endpoint are refused; give it a dead-letter container, or set \"share\""
        )
    };
    labels.map(warning).collect()
}

/// Warns when not every queue can be as long as its cap says.
fn overcommitted(planned: &[PlannedInstance], journal_bytes_max: u64) -> Option<String> {
    let endpoints = planned.iter().flat_map(|instance| &instance.endpoints);
    let caps = endpoints.map(|endpoint| endpoint.settings.queue_bytes_max.as_u64());
    let sum = caps.fold(0_u64, u64::saturating_add);
    (sum > journal_bytes_max).then(|| {
        format!(
            "the journal holds at most {journal_bytes_max} bytes, the endpoints' queues together \
             {sum}: when several endpoints take nothing and it is full, their queues are cut to their shares of \
             it, below queue_bytes_max; raise the journal's bytes_max, or lower queue_bytes_max"
        )
    })
}

/// Warns about endpoints whose dead letters have nowhere to go but the journal.
fn without_store(planned: &[PlannedInstance]) -> Option<String> {
    let has_none = |endpoint: &PlannedEndpoint| {
        let change = endpoint.change.as_ref();
        change.is_some_and(|(_, setup)| setup.store.is_none())
    };
    let labels = labels(planned, has_none);
    if labels.is_empty() {
        return None;
    }
    let (noun, names) = (
        if labels.len() == 1 {
            "endpoint"
        } else {
            "endpoints"
        },
        some(&labels),
    );
    Some(format!(
        "{noun} {names}: no dead-letter container, so dead letters are kept in the journal; when that is full, the \
         oldest of the endpoint furthest above its share are discarded (dead-letter-overflow)"
    ))
}
