//! The routes of past tables, read back once each.

use crate::table::snapshot::TableSnapshot;
use std::collections::HashMap;
use std::sync::Arc;
use twinroute_filter::RouteFilter;
use twinroute_journal::history::HistoryEvent;
use twinroute_model::clock::Timestamp;

/// A route as it was.
#[derive(Debug)]
pub(super) struct PastRoute {
    pub(super) instance: String,
    pub(super) id: String,
    pub(super) endpoint: String,
    pub(super) filter: RouteFilter,
}

/// A table as it was.
#[derive(Debug, Default)]
pub(super) struct PastTable {
    pub(super) since: String,
    pub(super) routes: Vec<PastRoute>,
}

/// The tables that events were matched against, by what the journal has of them.
#[derive(Debug, Default)]
pub(super) struct PastRoutes(HashMap<Arc<[u8]>, Arc<PastTable>>);

/// Tables that are kept read.
const TABLES_MAX: usize = 64;

impl PastRoutes {
    /// The table of an event, if it is kept.
    pub(super) fn table(&mut self, event: &HistoryEvent) -> Option<Arc<PastTable>> {
        let content = event.table.as_ref()?;
        if let Some(known) = self.0.get(content) {
            return Some(Arc::clone(known));
        }
        let read = Arc::new(PastTable::read(content)?);
        if self.0.len() >= TABLES_MAX {
            self.0.clear();
        }
        self.0.insert(Arc::clone(content), Arc::clone(&read));
        Some(read)
    }

    /// The routes that an event matched, if that is known.
    pub(super) fn matched(&mut self, event: &HistoryEvent) -> Vec<(String, String)> {
        let Some(table) = self.table(event) else {
            return Vec::new();
        };
        let matching = table
            .of(event)
            .filter(|route| route.filter.matches(&event.event));
        matching
            .map(|route| (route.id.clone(), route.endpoint.clone()))
            .collect()
    }
}

impl PastTable {
    fn read(content: &[u8]) -> Option<Self> {
        let snapshot = TableSnapshot::decode(content)?;
        let routes = snapshot.routes.into_iter().filter_map(|route| {
            Some(PastRoute {
                filter: route.parse_filter()?,
                instance: route.instance,
                id: route.route,
                endpoint: route.endpoint,
            })
        });
        Some(Self {
            since: snapshot.since.map(Timestamp::rfc3339).unwrap_or_default(),
            routes: routes.collect(),
        })
    }

    /// The routes of the instance that an event was sent to. A replay was matched by none.
    pub(super) fn of<'a>(&'a self, event: &'a HistoryEvent) -> impl Iterator<Item = &'a PastRoute> {
        let instance = event.instance.as_deref().unwrap_or_default();
        self.routes
            .iter()
            .filter(move |route| !event.is_replay && route.instance.eq_ignore_ascii_case(instance))
    }
}
