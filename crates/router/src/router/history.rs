//! What a router says of the past.

use super::Router;
use crate::history::{EventHistory, EventView, HistoryQuery, RecentHistory, decision};
use twinroute_journal::JournalOpenError;
use twinroute_model::name::{EndpointName, RouteId};

impl Router {
    /// Events of the history in full, each with what routes decide about it now; none where there is no history.
    ///
    /// # Errors
    /// As [`EventHistory::events`].
    pub async fn past_events(
        &self,
        query: HistoryQuery,
    ) -> Result<Vec<EventView>, JournalOpenError> {
        let Some(history) = self.history() else {
            return Ok(Vec::new());
        };
        let mut events = history.events(query).await?;
        self.decide_now(&mut events);
        Ok(events)
    }

    /// Adds to past events what the routes in use decide about them, whoever accepted them.
    pub fn decide_now(&self, events: &mut [EventView]) {
        for view in events {
            let instance = Some(view.instance.as_str()).filter(|name| !name.is_empty());
            if let Some(event) = view.parse()
                && let Ok(explained) = self.explain(instance, &event)
            {
                let decide = |(route, endpoint, explained): (RouteId, EndpointName, _)| {
                    decision((route.to_string(), endpoint.to_string()), &explained)
                };
                view.now = explained.into_iter().map(decide).collect();
            }
        }
    }

    /// The latest outcomes, where its journal is in memory; nothing where that is on disk.
    #[must_use]
    pub fn recent_history(&self) -> Option<&RecentHistory> {
        self.parts.recent.as_ref()
    }

    /// The history of its journal; nothing where that is in memory.
    #[must_use]
    pub fn history(&self) -> Option<&EventHistory> {
        self.parts.history.as_ref()
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "recent_history_tests.rs"]
mod recent_tests;
