//! Whether every event arrived, in order and with nothing dead-lettered; and what it took.

use super::ENDPOINTS;
use super::load::{PRODUCERS, TWINS};
use super::watch::Status;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// Events that were acknowledged.
    pub events: u64,
    /// Polite rotations.
    pub polite: u32,
    /// Rude ones.
    pub rude: u32,
    /// Events that arrived more than once, over all destinations.
    pub duplicates: u64,
    /// The longest from a new key in the definitions until all endpoints took events with it again.
    pub recovery_max: Duration,
    /// Promises that were broken, in words.
    pub violations: Vec<String>,
    /// All of it.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} events to {} endpoints, {} polite and {} rude rotations in {:.1} s",
            self.events,
            ENDPOINTS.len(),
            self.polite,
            self.rude,
            self.took.as_secs_f64()
        )?;
        writeln!(
            formatter,
            "{} duplicates; with a new key all took events again within {} ms",
            self.duplicates,
            self.recovery_max.as_millis()
        )?;
        for violation in &self.violations {
            writeln!(formatter, "VIOLATION: {violation}")?;
        }
        if self.violations.is_empty() {
            writeln!(
                formatter,
                "every event arrived at every endpoint, in order; none became a dead letter"
            )?;
        }
        Ok(())
    }
}

/// Holds the last status against what was posted.
pub(super) fn ledger(status: &Status, events: u64, violations: &mut Vec<String>) {
    for endpoint in status.endpoints() {
        let counts = (endpoint.matched, endpoint.delivered, endpoint.pending());
        let lost = (endpoint.dead(), endpoint.discarded);
        if counts != (events, events, 0) || lost != (0, 0) {
            violations.push(format!(
                "{}: {events} events were acknowledged; matched, delivered, pending: {counts:?}, dead \
                 letters and discarded: {lost:?}",
                endpoint.name
            ));
        }
    }
}

/// Holds what arrived against what was posted; gives how many arrived again.
pub(super) fn arrivals(
    arrived: &[Vec<String>; 3],
    events: u64,
    violations: &mut Vec<String>,
) -> u64 {
    let mut duplicates = 0;
    for (name, ids) in ENDPOINTS.iter().zip(arrived) {
        let mut seen = HashSet::new();
        let mut last: HashMap<(u32, u32), u32> = HashMap::new();
        for id in ids {
            if !seen.insert(id) {
                duplicates += 1;
                continue;
            }
            let Some((producer, number)) = parts(id) else {
                violations.push(format!("{name}: {id:?} was never posted"));
                continue;
            };
            let twin = (producer, number % TWINS);
            let before = last.insert(twin, number);
            if before.is_some_and(|before| before > number) {
                violations.push(format!("{name}: {id} came after {before:?} of its twin"));
            }
        }
        let missing = events.saturating_sub(seen.len() as u64);
        if missing > 0 {
            violations.push(format!("{name}: {missing} events never arrived"));
        }
    }
    duplicates
}

fn parts(id: &str) -> Option<(u32, u32)> {
    let (producer, number) = id.split_once('-')?;
    let producer = producer.parse().ok().filter(|one| *one < PRODUCERS)?;
    Some((producer, number.parse().ok()?))
}

/// The log may hold no key.
pub(super) fn log(log: &str, keys: &[String], violations: &mut Vec<String>) {
    if keys.iter().any(|key| log.contains(key)) {
        violations.push("the log holds a key".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[&str], events: u64) -> (u64, Vec<String>) {
        let good: Vec<String> = (0..events).map(|number| format!("0-{number}")).collect();
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let mut violations = Vec::new();
        let arrived = [good.clone(), ids, good];
        let duplicates = arrivals(&arrived, events, &mut violations);
        (duplicates, violations)
    }

    #[test]
    fn what_is_missing_strange_or_out_of_order_is_found() {
        assert_eq!(check(&["0-1", "0-0", "0-1"], 2), (1, vec![]));
        assert_eq!(check(&["0-0"], 2).1, ["hub-1: 1 events never arrived"]);
        assert_eq!(check(&["0-0", "x"], 1).1, ["hub-1: \"x\" was never posted"]);
        let order = check(&["0-5", "0-0", "0-1", "0-2", "0-3", "0-4"], 6).1;
        assert_eq!(order, ["hub-1: 0-0 came after Some(5) of its twin"]);
    }
}
