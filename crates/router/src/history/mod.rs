//! The history: which events were accepted, where they went and why, as far as the journal on disk keeps it.

mod query;
mod routes;
mod view;

pub use query::{HistoryQuery, HistoryQueryText, OUTCOMES};
pub use view::{
    AttemptView, DeliveryRow, DeliveryView, EventView, HistoryRows, RouteDecision, RouteDecisionAt,
};

use routes::PastRoutes;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use twinroute_journal::history::{HistoryCursor, HistoryEvent, HistoryReader};
use twinroute_journal::{DiskJournal, EventSealing, JournalOpenError};

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
        let found = self.past_events(query, HistoryCursor::default()).await?;
        let mut routes = PastRoutes::default();
        let first = found.len().saturating_sub(SHOWN_MAX);
        let shown = found[first..].iter();
        Ok(shown.map(|event| view::event(event, &mut routes)).collect())
    }

    /// All events that are asked for, as the journal has them; of a page at a time, the latest 1,000.
    async fn past_events(
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

/// The names of endpoints that an event went to.
fn endpoints(event: &HistoryEvent) -> BTreeSet<&str> {
    let names = event.deliveries.iter();
    names
        .filter_map(|one| one.name.as_ref())
        .map(|(_, endpoint)| endpoint.as_str())
        .collect()
}
