//! What a router shows of itself: one snapshot, the same for `/status`, the terminal and tests.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use twinroute_model::name::EndpointName;
use twinroute_retry::journal::RecoveredLane;
use twinroute_retry::ledger::{Discard, Ledger};

/// A snapshot of a running router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the library.
    pub version: String,
    /// Whether events are accepted, and why not.
    pub readiness: Readiness,
    /// The table in use.
    pub table: TableStatus,
    /// What waits.
    pub journal: JournalStatus,
    /// Every instance, by name.
    pub instances: Vec<InstanceStatus>,
}

/// Whether a router accepts events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// True when it does.
    pub ready: bool,
    /// Why not, empty when it does.
    pub reason: String,
}

/// The table in use and how the last change to it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableStatus {
    /// Counts the tables of this process; 0 before the first.
    pub generation: u64,
    /// SHA-256 over the definitions, hexadecimal; equal definitions have equal hashes.
    pub hash: String,
    /// When it was put in use, RFC 3339.
    pub since: String,
    /// Why the newest definitions were refused; empty when the table is the newest.
    pub errors: Vec<String>,
    /// Warnings about filters that probably do not do what was meant.
    pub warnings: Vec<String>,
}

/// What the journal holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalStatus {
    /// `memory`: nothing outlives the process; `disk`: what is acknowledged as durable does.
    pub kind: String,
    /// Events held.
    pub events: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes it may hold; events are refused above.
    pub bytes_max: u64,
    /// Bytes of its files; 0 in memory.
    pub disk_bytes: u64,
    /// Events that were acknowledged at level `memory` and did not reach the disk.
    pub lost: u64,
    /// Events accepted since the start.
    pub accepted: u64,
    /// Accepted events that matched no route.
    pub unmatched: u64,
}

/// One instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// Its endpoints, by name.
    pub endpoints: Vec<EndpointStatus>,
    /// Its routes, by id.
    pub routes: Vec<RouteStatus>,
}

/// One endpoint and its ledger.
///
/// `matched = queued + in_flight + parked + delivered + discarded`, always.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// `EventGrid`, `EventHub` or `ServiceBus`.
    pub endpoint_type: String,
    /// `healthy`, `undefined` (see `last_error`), the kind of fault that holds it back, or why it ends: `removed`, `stopped`.
    pub state: String,
    /// The last failure in words, also when it is over; empty when there was none.
    pub last_error: String,
    /// Milliseconds until the next attempt while it backs off; 0 when it does not.
    pub backing_off_ms: u64,
    /// Deliveries that routes made for it.
    pub matched: u64,
    /// Deliveries waiting for their first attempt or for their twin's turn.
    pub queued: u64,
    /// Deliveries sent and unanswered.
    pub in_flight: u64,
    /// Deliveries that failed alone and wait for their next attempt.
    pub parked: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries given up, for all reasons together.
    pub discarded: u64,
    /// The same by reason; reasons that never came up are left out.
    pub discarded_by: BTreeMap<String, u64>,
    /// Bytes of what waits or is in flight.
    pub queue_bytes: u64,
    /// Age of the oldest delivery not yet settled, in milliseconds.
    pub oldest_age_ms: u64,
    /// Middle latency from acceptance to delivery, in milliseconds, over the last deliveries.
    pub latency_p50_ms: f64,
    /// The same, 99th percentile.
    pub latency_p99_ms: f64,
}

impl EndpointStatus {
    /// What waits on disk for an endpoint that is not defined.
    pub(crate) fn of_orphan(name: &EndpointName, lane: &RecoveredLane) -> Self {
        let ledger = &lane.ledger;
        let parked = lane
            .pending
            .iter()
            .filter(|delivery| delivery.due.is_some())
            .count() as u64;
        let bytes = lane
            .pending
            .iter()
            .map(|delivery| delivery.entry.event.size() as u64);
        Self {
            name: name.to_string(),
            endpoint_type: "unknown".to_owned(),
            state: "undefined".to_owned(),
            last_error: "waits in the journal; define the endpoint again to have it delivered"
                .to_owned(),
            backing_off_ms: 0,
            matched: ledger.matched,
            queued: lane.pending.len() as u64 - parked,
            in_flight: 0,
            parked,
            delivered: ledger.delivered,
            discarded: ledger.discarded_all(),
            discarded_by: discarded_by(ledger),
            queue_bytes: bytes.sum(),
            oldest_age_ms: 0,
            latency_p50_ms: 0.0,
            latency_p99_ms: 0.0,
        }
    }

    /// Deliveries that are in no known state: always 0.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let known = self.queued + self.in_flight + self.parked + self.delivered + self.discarded;
        i64::try_from(self.matched).unwrap_or(i64::MAX) - i64::try_from(known).unwrap_or(i64::MAX)
    }
}

/// Deliveries given up, by reason; reasons that never came up are left out.
pub(crate) fn discarded_by(ledger: &Ledger) -> BTreeMap<String, u64> {
    Discard::ALL
        .into_iter()
        .map(|reason| (reason.to_string(), ledger.discarded(reason)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its id.
    pub id: String,
    /// The endpoint it sends to.
    pub endpoint: String,
    /// Its filter.
    pub filter: String,
    /// Events it matched, under this table and those before it.
    pub matched: u64,
}
