//! The history of a router whose journal is in memory: the latest outcomes, without the bodies of events.

use super::query::HistoryQuery;
use super::routes::PastRoutes;
use super::view::{self, HistoryRows};
use crate::delivery::{EventAbout, OutcomeRun, RecentOutcome, RecentOutcomes};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use twinroute_journal::LaneId;
use twinroute_journal::history::{HistoryCursor, HistoryDelivery, HistoryEvent};
use twinroute_model::clock::Timestamp;
use twinroute_model::event::{Event, EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::twin::TwinKey;

/// Deliveries that one page has at most.
const PAGE_MAX: usize = 10_000;

/// The latest 10,000 outcomes of a router whose journal is in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RecentHistory(RecentOutcomes);

/// A delivery: its event's sequence, and where it went.
type DeliveryKey<'a> = (u64, &'a str, &'a str);

/// What is known of a delivery.
struct KnownDelivery<'a> {
    /// The number of its latest outcome.
    number: u64,
    about: Option<EventAbout<'a>>,
    accepted_at: Option<Timestamp>,
    run: &'a OutcomeRun,
    latest: &'a RecentOutcome,
}

impl RecentHistory {
    pub(crate) fn new(outcomes: &RecentOutcomes) -> Self {
        Self(outcomes.clone())
    }

    /// Deliveries that are asked for, each with its latest outcome, and events that no route matched, in the order of
    /// those outcomes, from behind `after` on: `most` of them or fewer. Dropping the future ends no search that has
    /// begun.
    pub async fn rows(
        &self,
        query: HistoryQuery,
        after: HistoryCursor,
        most: usize,
    ) -> HistoryRows {
        let recent = self.clone();
        let searched = spawn_blocking(move || recent.search(&query, after, most));
        match searched.await {
            Ok(found) => found,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn search(&self, query: &HistoryQuery, after: HistoryCursor, most: usize) -> HistoryRows {
        let runs = self.0.runs();
        let mut known: Vec<KnownDelivery<'_>> = known_of(&runs)
            .into_iter()
            .filter(|known| known.number >= after.number())
            .collect();
        known.sort_unstable_by_key(|known| known.number);
        let most = most.clamp(1, PAGE_MAX);
        let mut routes = PastRoutes::default();
        let mut page = HistoryRows {
            rows: Vec::new(),
            next: after.to_string(),
            at_end: true,
        };
        for known in &known {
            if page.rows.len() >= most {
                page.at_end = false;
                return page;
            }
            page.next = HistoryCursor::numbered(known.number + 1).to_string();
            let event = known.event();
            let wanted = event.filter(|event| {
                query.is_in_time(event.accepted_at) && query.wants(event, &mut routes)
            });
            if let Some(event) = wanted {
                page.rows
                    .extend(view::rows(&event, &mut routes).filter(|row| query.shows(row)));
            }
        }
        page
    }
}

/// Each delivery once, with its latest outcome.
fn known_of(runs: &[Arc<OutcomeRun>]) -> Vec<KnownDelivery<'_>> {
    let mut known: Vec<KnownDelivery<'_>> = Vec::new();
    let mut places: HashMap<DeliveryKey<'_>, usize> = HashMap::new();
    for run in runs {
        let endpoint = run.endpoint.as_ref().map_or("", EndpointName::as_str);
        for (number, outcome) in (run.first..).zip(&run.outcomes) {
            let one = KnownDelivery {
                number,
                about: run.about(outcome),
                accepted_at: outcome.accepted_at,
                run,
                latest: outcome,
            };
            if outcome.sequence == 0 {
                known.push(one);
                continue;
            }
            let key = (outcome.sequence, run.instance.as_str(), endpoint);
            match places.get(&key) {
                None => {
                    places.insert(key, known.len());
                    known.push(one);
                }
                Some(place) => {
                    let before = &known[*place];
                    known[*place] = KnownDelivery {
                        about: before.about.or(one.about),
                        accepted_at: before.accepted_at.or(one.accepted_at),
                        ..one
                    };
                }
            }
        }
    }
    known
}

impl KnownDelivery<'_> {
    /// As the journal on disk would show it; none where nothing is kept of its event any more.
    fn event(&self) -> Option<HistoryEvent> {
        let event = rebuilt(self.about?)?;
        let delivery = self.run.endpoint.as_ref().map(|endpoint| {
            let name: (InstanceName, EndpointName) = (self.run.instance.clone(), endpoint.clone());
            HistoryDelivery {
                lane: LaneId(0),
                name: Some(name),
                state: self.latest.state.clone(),
                at: Some(self.latest.at),
                failed_alone: self.latest.failed_alone,
                attempts: Vec::new(),
            }
        });
        Some(HistoryEvent {
            sequence: (self.latest.sequence > 0).then_some(self.latest.sequence),
            accepted_at: self.accepted_at.unwrap_or(self.latest.at),
            twin: TwinKey::of(&event).stable_hash(),
            event,
            generation: 0,
            table: None,
            instance: Some(self.run.instance.as_str().to_owned()),
            caller: None,
            address: None,
            is_replay: false,
            deliveries: delivery.into_iter().collect(),
        })
    }
}

/// An event without its body and without what else it had.
fn rebuilt(about: EventAbout<'_>) -> Option<Event> {
    let parts = EventParts::new(about.id, about.source, about.event_type);
    let parts = match about.subject {
        Some(subject) => parts.set("subject", subject).ok()?,
        None => parts,
    };
    parts.build_lenient(&EventLimits::default()).ok()
}
