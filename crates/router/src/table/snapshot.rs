//! A routing table as the history keeps it: which route sent what to which endpoint, without secrets.

use super::routing_table::RoutingTable;
use crate::status::moment;
use serde::{Deserialize, Serialize};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::clock::Timestamp;

/// A routing table as the history keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableSnapshot {
    pub(crate) generation: u64,
    #[serde(with = "moment")]
    pub(crate) since: Option<Timestamp>,
    pub(crate) routes: Vec<RouteSnapshot>,
}

/// A route of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSnapshot {
    /// Its instance.
    pub instance: String,
    /// Its id.
    pub route: String,
    /// The endpoint that it sends to.
    pub endpoint: String,
    /// Its filter.
    pub filter: String,
}

impl TableSnapshot {
    pub(crate) fn of(table: &RoutingTable) -> Self {
        let mut routes = Vec::new();
        for (instance, compiled) in &table.instances {
            routes.extend(compiled.routes.iter().map(|route| RouteSnapshot {
                instance: instance.as_str().to_owned(),
                route: route.definition.id.as_str().to_owned(),
                endpoint: route.definition.endpoint.as_str().to_owned(),
                filter: route.definition.filter.as_str().to_owned(),
            }));
        }
        routes.sort_by(|left, right| {
            (&left.instance, &left.route).cmp(&(&right.instance, &right.route))
        });
        Self {
            generation: table.generation,
            since: table.since,
            routes,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has text and numbers only")
    }

    /// Reads one back; nothing where it was written by a newer program.
    pub(crate) fn decode(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }
}

impl RouteSnapshot {
    /// Its filter, which was read once before.
    pub(crate) fn parse_filter(&self) -> Option<RouteFilter> {
        RouteFilter::parse(&self.filter, &FilterOptions::default()).ok()
    }
}
