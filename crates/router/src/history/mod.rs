//! The history: which events were accepted, where they went and why, as far as the journal on disk keeps it.

mod plan;
mod query;
mod recent;
mod routes;
mod view;

pub use crate::table::snapshot::RouteSnapshot;
pub use plan::{EndpointPlan, PlanReport, RouteCount, RoutePlan};
pub use query::{HistoryQuery, HistoryQueryText, OUTCOMES};
pub use recent::RecentHistory;
pub(crate) use view::decision;
pub use view::{
    AttemptView, DeliveryRow, DeliveryView, EventView, HistoryRows, PastEvent, PastEvents,
    RouteDecision,
};

use routes::PastRoutes;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use twinroute_journal::history::{HistoryCursor, HistoryEvent, HistoryReader};
use twinroute_journal::{DiskJournal, EventSealing, JournalOpenError};
use twinroute_model::event::Event;

/// Deliveries that one page has at most.
pub const HISTORY_PAGE_MAX: usize = 10_000;

/// Events of one id that are shown in full.
const SHOWN_MAX: usize = 20;

/// The history of a journal on disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventHistory {
    reader: HistoryReader,
    /// One search at a time: others wait, and delivery has the other processors.
    turns: Arc<Semaphore>,
}

impl EventHistory {
    /// That of a journal that is written to.
    #[must_use]
    pub fn of(disk: &DiskJournal) -> Self {
        Self::new(disk.history())
    }

    /// That of the journal in a folder which nobody else has open; blocks.
    ///
    /// # Errors
    /// As [`HistoryReader::open`].
    pub fn open(folder: &Path, sealing: &EventSealing) -> Result<Self, JournalOpenError> {
        HistoryReader::open(folder, sealing).map(Self::new)
    }

    fn new(reader: HistoryReader) -> Self {
        Self {
            reader,
            turns: Arc::new(Semaphore::new(1)),
        }
    }

    /// Deliveries that are asked for, from behind `after` on, about `most` of them or fewer: a page may have few or
    /// none though there are more, which its `at_end` says. Dropping the future ends no search that has begun.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn rows(
        &self,
        query: HistoryQuery,
        after: HistoryCursor,
        most: usize,
    ) -> Result<HistoryRows, JournalOpenError> {
        let most = most.clamp(1, HISTORY_PAGE_MAX);
        self.search(move |reader| {
            let mut routes = PastRoutes::default();
            let mut wants = |event: &HistoryEvent| query.wants(event, &mut routes);
            let page = reader.page(&query.selection(), &mut wants, after, most)?;
            let mut rows = Vec::new();
            for event in &page.events {
                rows.extend(view::rows(event, &mut routes).filter(|row| query.shows(row)));
            }
            Ok(HistoryRows {
                rows,
                next: page.next.to_string(),
                at_end: page.at_end,
            })
        })
        .await
    }

    /// Events that are asked for, each in full with what its routes decided then; at most 20, the latest.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn events(&self, query: HistoryQuery) -> Result<Vec<EventView>, JournalOpenError> {
        let found = self.latest(query, HistoryCursor::default()).await?;
        let mut routes = PastRoutes::default();
        let first = found.len().saturating_sub(SHOWN_MAX);
        let visible = found[first..].iter();
        Ok(visible
            .map(|event| view::event(event, &mut routes))
            .collect())
    }

    /// Events that are asked for, each alone, from behind `after` on.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn export(
        &self,
        query: HistoryQuery,
        after: HistoryCursor,
        most: usize,
    ) -> Result<PastEvents, JournalOpenError> {
        let most = most.clamp(1, HISTORY_PAGE_MAX);
        self.search(move |reader| {
            let mut routes = PastRoutes::default();
            let mut wants = |event: &HistoryEvent| query.wants(event, &mut routes);
            let page = reader.page(&query.selection(), &mut wants, after, most)?;
            Ok(PastEvents {
                events: page.events.iter().map(view::past).collect(),
                next: page.next.to_string(),
                at_end: page.at_end,
            })
        })
        .await
    }

    /// Events that a replay to one endpoint puts back, from behind `after` on.
    pub(crate) async fn to_replay(
        &self,
        query: HistoryQuery,
        target: ReplayTarget,
        after: HistoryCursor,
    ) -> Result<ReplayEvents, JournalOpenError> {
        const EVENTS: usize = 100;
        self.search(move |reader| {
            let mut routes = PastRoutes::default();
            let mut wants = |event: &HistoryEvent| {
                // A replay's original is there too, or was settled by it.
                !event.is_replay && target.is_before_end(event) && query.wants(event, &mut routes)
            };
            let page = reader.page(&query.selection(), &mut wants, after, EVENTS)?;
            let mut events = Vec::new();
            for event in page.events {
                let is_wanted = view::rows(&event, &mut routes)
                    .any(|row| query.shows(&row) && target.takes(&row));
                if is_wanted {
                    events.push(event.event);
                }
            }
            Ok(ReplayEvents {
                events,
                next: page.next,
                at_end: page.at_end,
            })
        })
        .await
    }

    /// All events that are asked for, as the journal has them; of many, the latest 1,000.
    async fn latest(
        &self,
        query: HistoryQuery,
        mut after: HistoryCursor,
    ) -> Result<Vec<HistoryEvent>, JournalOpenError> {
        const EVENTS_MAX: usize = 1_000;
        self.search(move |reader| {
            let mut routes = PastRoutes::default();
            let mut found = Vec::new();
            loop {
                let mut wants = |event: &HistoryEvent| query.wants(event, &mut routes);
                let page = reader.page(&query.selection(), &mut wants, after, EVENTS_MAX)?;
                found.extend(page.events);
                let surplus = found.len().saturating_sub(EVENTS_MAX);
                found.drain(..surplus);
                after = page.next;
                if page.at_end {
                    return Ok(found);
                }
            }
        })
        .await
    }

    async fn search<T: Send + 'static>(
        &self,
        search: impl FnOnce(&HistoryReader) -> Result<T, JournalOpenError> + Send + 'static,
    ) -> Result<T, JournalOpenError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let reader = self.reader.clone();
        let searched = spawn_blocking(move || {
            let _turn = turn;
            search(&reader)
        });
        match searched.await {
            Ok(found) => found,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Where past events are put back.
#[derive(Clone, Debug)]
pub(crate) struct ReplayTarget {
    pub(crate) instance: String,
    pub(crate) endpoint: String,
    /// Whether it gets events that went elsewhere, or nowhere.
    pub(crate) is_named: bool,
    /// Events from this sequence on came after the replay was begun.
    pub(crate) end: u64,
}

impl ReplayTarget {
    fn is_before_end(&self, event: &HistoryEvent) -> bool {
        event.sequence.is_none_or(|sequence| sequence < self.end)
    }

    /// Whether this delivery is one that is put back: it came to its end, at this endpoint.
    fn takes(&self, row: &DeliveryRow) -> bool {
        self.is_named
            || row.is_settled()
                && row.endpoint.eq_ignore_ascii_case(&self.endpoint)
                && row.instance.eq_ignore_ascii_case(&self.instance)
    }
}

/// A part of what a replay puts back.
pub(crate) struct ReplayEvents {
    pub(crate) events: Vec<Event>,
    pub(crate) next: HistoryCursor,
    pub(crate) at_end: bool,
}
