//! What `twinroute top` knows: the last status, rates between two of them, and where its user is.

use crate::cli::problem::has_problem;
use crate::cli::selection::EndpointOrder;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use twinroute_router::status::{EndpointStatus, RouterStatus};

/// Seconds of rates that are kept of each endpoint.
pub(super) const RATES_MAX: usize = 120;

/// An endpoint's instance and name.
pub(in crate::cli) type EndpointKey = (String, String);

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopPage {
    List,
    Detail,
}

/// What a key asks for that is done elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopRequest {
    Quit,
    /// A path of the admin API, a body, and what is said when it is done.
    Post(String, String, String),
}

/// Deliveries a second, the last at the back.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct EndpointRates {
    pub(in crate::cli) came: VecDeque<u64>,
    pub(in crate::cli) went: VecDeque<u64>,
    matched: u64,
    delivered: u64,
}

/// All of it.
#[derive(Debug)]
pub(in crate::cli) struct TopState {
    pub(super) status: Option<RouterStatus>,
    pub(super) rates: HashMap<EndpointKey, EndpointRates>,
    pub(in crate::cli) accepted_rate: u64,
    pub(super) page: TopPage,
    pub(super) selected: usize,
    pub(super) order: EndpointOrder,
    pub(super) problems: bool,
    /// What was done, or why it was not.
    pub(super) message: String,
    /// What is done if the next key is `y`.
    pub(super) question: Option<TopRequest>,
}

impl TopState {
    pub(in crate::cli) fn new() -> Self {
        Self {
            status: None,
            rates: HashMap::new(),
            accepted_rate: 0,
            page: TopPage::List,
            selected: 0,
            order: EndpointOrder::State,
            problems: false,
            message: String::new(),
            question: None,
        }
    }

    /// Takes in a status that came `since` the one before.
    pub(in crate::cli) fn update(&mut self, status: RouterStatus, since: Duration) {
        let seconds = since.as_secs_f64().max(0.001);
        let per_second =
            |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round() as u64;
        if let Some(before) = &self.status {
            self.accepted_rate = per_second(status.journal.accepted, before.journal.accepted);
        }
        let mut rates = HashMap::new();
        for instance in &status.instances {
            for endpoint in &instance.endpoints {
                let key = (instance.name.clone(), endpoint.name.clone());
                let known = self.rates.remove(&key);
                let is_new = known.is_none();
                let mut own = known.unwrap_or_default();
                if !is_new {
                    push(&mut own.came, per_second(endpoint.matched, own.matched));
                    push(&mut own.went, per_second(endpoint.delivered, own.delivered));
                }
                (own.matched, own.delivered) = (endpoint.matched, endpoint.delivered);
                rates.insert(key, own);
            }
        }
        self.rates = rates;
        self.status = Some(status);
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
    }

    /// Rates of all endpoints, by their names.
    pub(in crate::cli) fn by_name(&self) -> Vec<(&EndpointKey, &EndpointRates)> {
        let mut all: Vec<_> = self.rates.iter().collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    /// Endpoints as they are listed.
    pub(super) fn rows(&self) -> Vec<(&str, &EndpointStatus)> {
        let instances = self.status.iter().flat_map(|status| &status.instances);
        let mut rows: Vec<_> = instances
            .flat_map(|instance| {
                let endpoints = instance.endpoints.iter();
                endpoints.map(|endpoint| (instance.name.as_str(), endpoint))
            })
            .filter(|(_, endpoint)| !self.problems || has_problem(endpoint))
            .collect();
        rows.sort_by_key(|(_, endpoint)| self.order.key(endpoint));
        rows
    }

    pub(super) fn chosen(&self) -> Option<(&str, &EndpointStatus)> {
        self.rows().get(self.selected).copied()
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: TopKey) -> Option<TopRequest> {
        self.message.clear();
        if let Some(question) = self.question.take() {
            if key == TopKey::Char('y') {
                return Some(question);
            }
            "nothing was done".clone_into(&mut self.message);
            return None;
        }
        let last = self.rows().len().saturating_sub(1);
        match key {
            TopKey::Char('q') => return Some(TopRequest::Quit),
            TopKey::Back if self.page == TopPage::List => return Some(TopRequest::Quit),
            TopKey::Back => self.page = TopPage::List,
            TopKey::Enter if self.chosen().is_some() => self.page = TopPage::Detail,
            TopKey::Up | TopKey::Char('k') => self.selected = self.selected.saturating_sub(1),
            TopKey::Down | TopKey::Char('j') => self.selected = (self.selected + 1).min(last),
            TopKey::Char('!') => {
                self.problems = !self.problems;
                self.selected = 0;
            }
            TopKey::Char('s') => self.order = next_order(self.order),
            TopKey::Char('p') => return self.pause_or_resume(),
            TopKey::Char('r') => return self.post("retry-now", "is tried now"),
            TopKey::Char('R') => self.ask_for_replay(),
            TopKey::Enter | TopKey::Char(_) => {}
        }
        None
    }

    fn pause_or_resume(&self) -> Option<TopRequest> {
        let (_, endpoint) = self.chosen()?;
        match endpoint.state.as_str() {
            "paused" => self.post("resume", "resumed"),
            _ => self.post("pause", "paused"),
        }
    }

    fn post(&self, step: &str, done: &str) -> Option<TopRequest> {
        let (instance, endpoint) = self.chosen()?;
        let name = &endpoint.name;
        let path = format!("/endpoints/{instance}/{name}/{step}");
        let said = format!("{instance}/{name}: {done}");
        Some(TopRequest::Post(path, "{}".to_owned(), said))
    }

    fn ask_for_replay(&mut self) {
        let Some((instance, endpoint)) = self.chosen() else {
            return;
        };
        let name = format!("{instance}/{}", endpoint.name);
        let count = endpoint.dead_letters.local + endpoint.dead_letters.awaiting_upload;
        if count == 0 {
            self.message = format!("{name}: no dead letters are kept here");
            return;
        }
        let body = serde_json::json!({
            "query": { "instance": instance, "endpoint": endpoint.name },
        });
        let done = format!("{name}: the replay of its dead letters has begun");
        self.question = Some(TopRequest::Post(
            "/replays".to_owned(),
            body.to_string(),
            done,
        ));
        self.message = format!("replay {count} dead letters of {name}? y, or any other key");
    }
}

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopKey {
    Up,
    Down,
    Enter,
    /// Escape, or to the left.
    Back,
    Char(char),
}

fn next_order(order: EndpointOrder) -> EndpointOrder {
    match order {
        EndpointOrder::State => EndpointOrder::Name,
        EndpointOrder::Name => EndpointOrder::Backlog,
        EndpointOrder::Backlog => EndpointOrder::Oldest,
        EndpointOrder::Oldest => EndpointOrder::Delivered,
        EndpointOrder::Delivered => EndpointOrder::DeadLetters,
        EndpointOrder::DeadLetters => EndpointOrder::Latency,
        EndpointOrder::Latency => EndpointOrder::State,
    }
}

fn push(rates: &mut VecDeque<u64>, rate: u64) {
    if rates.len() == RATES_MAX {
        rates.pop_front();
    }
    rates.push_back(rate);
}
