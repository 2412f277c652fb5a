//! Which endpoints of a status are shown, and in which order.

use super::problem::has_problem;
use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::cmp::Reverse;
use twinroute_router::status::{EndpointState, EndpointStatus, RouterStatus};

/// Which endpoints, in which order.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EndpointSelection {
    /// Shows endpoints that something is wrong with, or that somebody paused.
    #[arg(long)]
    pub(super) problems: bool,
    /// Shows the endpoint of this name, in any instance; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: Vec<String>,
    /// Shows endpoints in this state; may be given several times.
    #[arg(long, value_name = "STATE", value_parser = state_of)]
    pub(super) state: Vec<EndpointState>,
    /// Puts endpoints in this order.
    #[arg(long, value_enum, value_name = "ORDER")]
    pub(super) sort: Option<EndpointOrder>,
    /// Shows all of them, however many there are.
    #[arg(long)]
    pub(super) all: bool,
}

/// What endpoints are ordered by: what is most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndpointOrder {
    /// By name.
    Name,
    /// Those with problems first.
    State,
    /// Deliveries that are not settled.
    Backlog,
    /// Age of the oldest delivery that is not settled.
    Oldest,
    /// Deliveries that arrived.
    Delivered,
    /// Dead letters, wherever they are.
    DeadLetters,
    /// Middle latency.
    Latency,
}

impl EndpointOrder {
    /// What is smaller comes first; equals stay as they are, by name.
    pub(crate) fn key(self, endpoint: &EndpointStatus) -> Reverse<u64> {
        Reverse(match self {
            Self::Name => 0,
            Self::State => u64::from(has_problem(endpoint)),
            Self::Backlog => endpoint.queued + endpoint.in_flight + endpoint.retrying,
            Self::Oldest => endpoint.oldest_age_ms,
            Self::Delivered => endpoint.delivered,
            Self::DeadLetters => endpoint.dead_letters.all(),
            // In microseconds: an integer has an order.
            Self::Latency => (endpoint.latency_p50_ms.max(0.0) * 1_000.0) as u64,
        })
    }
}

impl EndpointSelection {
    /// Whether endpoints are chosen by anything.
    pub(super) fn chooses(&self) -> bool {
        self.problems || !self.endpoint.is_empty() || !self.state.is_empty()
    }

    fn takes(&self, endpoint: &EndpointStatus) -> bool {
        let named = |name: &String| name.eq_ignore_ascii_case(&endpoint.name);
        (!self.problems || has_problem(endpoint))
            && (self.endpoint.is_empty() || self.endpoint.iter().any(named))
            && (self.state.is_empty() || self.state.contains(&endpoint.state))
    }

    /// Takes out what is not chosen, and orders the rest.
    ///
    /// # Errors
    /// An endpoint that is named and not there.
    pub(super) fn apply(&self, status: &mut RouterStatus) -> anyhow::Result<()> {
        self.check(status)?;
        for instance in &mut status.instances {
            instance.endpoints.retain(|endpoint| self.takes(endpoint));
            if let Some(order) = self.sort {
                instance
                    .endpoints
                    .sort_by_key(|endpoint| order.key(endpoint));
            }
            if self.chooses() {
                let endpoints = &instance.endpoints;
                let named = |route: &str| endpoints.iter().any(|known| known.name == route);
                let shows = !self.endpoint.is_empty();
                instance
                    .routes
                    .retain(|route| shows && named(&route.endpoint));
            }
        }
        if self.chooses() {
            status
                .instances
                .retain(|instance| !instance.endpoints.is_empty());
        }
        Ok(())
    }

    /// The same in the JSON of an answer, whose other members stay as they are.
    ///
    /// # Errors
    /// As [`Self::apply`]; when it is not of this version.
    pub(super) fn apply_to_json(&self, answer: &mut Value) -> anyhow::Result<()> {
        self.check(&serde_json::from_value(answer.clone())?)?;
        let read = |endpoint: &Value| serde_json::from_value::<EndpointStatus>(endpoint.clone());
        let instances = answer["instances"].as_array_mut().into_iter().flatten();
        for instance in instances {
            let Some(endpoints) = instance["endpoints"].as_array_mut() else {
                continue;
            };
            let mut known = Vec::with_capacity(endpoints.len());
            for endpoint in endpoints.drain(..) {
                let status = read(&endpoint)?;
                if self.takes(&status) {
                    known.push((status, endpoint));
                }
            }
            if let Some(order) = self.sort {
                known.sort_by_key(|(status, _)| order.key(status));
            }
            endpoints.extend(known.into_iter().map(|(_, endpoint)| endpoint));
        }
        Ok(())
    }

    fn check(&self, status: &RouterStatus) -> anyhow::Result<()> {
        let endpoints = || {
            status
                .instances
                .iter()
                .flat_map(|instance| &instance.endpoints)
        };
        for name in &self.endpoint {
            if endpoints().any(|known| known.name.eq_ignore_ascii_case(name)) {
                continue;
            }
            match nearest(name, endpoints().map(|known| known.name.as_str())) {
                Some(near) => bail!("endpoint {name}: not found; did you mean {near}?"),
                None => bail!("endpoint {name}: not found; `twinroute status --all` lists them"),
            }
        }
        Ok(())
    }
}

/// The name that is most like `wrong`, if one is.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&lower, &known.to_lowercase());
    let known = known.map(|name| (likeness(name), name));
    let best = known.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= 0.8).then_some(best.1)
}

/// A state that endpoints can be in.
fn state_of(word: &str) -> Result<EndpointState, String> {
    let lower = word.to_lowercase();
    if let Some(state) = EndpointState::parse(&lower) {
        return Ok(state);
    }
    let states: Vec<&str> = EndpointState::all().map(EndpointState::as_str).collect();
    let near = nearest(&lower, states.iter().copied());
    let near = near.map(|near| format!("; did you mean {near}?"));
    let all = states.join(", ");
    Err(format!(
        "no state of an endpoint; there are {all}{}",
        near.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_known_or_the_nearest_is_named() {
        assert_eq!(state_of("Healthy").unwrap(), "healthy");
        let error = state_of("unreachabel").unwrap_err();
        assert!(error.ends_with("; did you mean unreachable?"), "{error}");
        assert!(!state_of("xyz").unwrap_err().contains("did you mean"));
    }
}
