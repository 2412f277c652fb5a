//! The ledger: what became of every delivery, per endpoint and in total.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use twinroute_router::status::{EndpointStatus, RouterStatus};
use twinroute_router::{LOST, UNKNOWN};

/// What must hold in every row.
pub const EQUATION: &str =
    "matched + replayed = queued + in_flight + retrying + delivered + dead_lettered + discarded";

/// What became of all deliveries, from one snapshot of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerReport {
    /// What must hold in every row; see [`EQUATION`].
    pub equation: String,
    /// By instance and name.
    pub endpoints: Vec<LedgerRow>,
    /// The sum of the rows.
    pub total: DeliveryCounts,
    /// Accepted events that matched no route, and of which no delivery was made.
    pub unmatched: u64,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Its instance; empty for [`UNKNOWN`], the endpoint of deliveries that damage took and of which nobody can
    /// tell for which endpoints they were.
    pub instance: String,
    /// Its name.
    pub endpoint: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: DeliveryCounts,
}

/// Deliveries by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCounts {
    /// Made by routes.
    pub matched: u64,
    /// Made by replays.
    pub replayed: u64,
    /// Waiting for their first attempt or for their twin's turn.
    pub queued: u64,
    /// Sent and unanswered.
    pub in_flight: u64,
    /// Failed alone, and waiting for the next attempt.
    pub retrying: u64,
    /// Arrived.
    pub delivered: u64,
    /// Dead letters, by where they are.
    pub dead_lettered: DeadLettered,
    /// Discarded, by reason; reasons that never came up are left out.
    pub discarded: BTreeMap<String, u64>,
    /// What was made and is in no known state: 0, or there is a defect.
    pub unaccounted: i64,
}

/// Dead letters by where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettered {
    /// In the endpoint's container.
    pub uploaded: u64,
    /// Here, until the container takes them.
    pub awaiting_upload: u64,
    /// Here: there is no container, or it will never take them.
    pub local: u64,
    /// They were here, until a replay took their place.
    pub replayed: u64,
}

impl LedgerReport {
    /// The ledger of a snapshot.
    #[must_use]
    pub fn of(status: &RouterStatus) -> Self {
        let mut total = DeliveryCounts::default();
        let mut endpoints = Vec::new();
        for instance in &status.instances {
            for endpoint in &instance.endpoints {
                let counts = DeliveryCounts::of(endpoint);
                total.add(&counts);
                endpoints.push(LedgerRow {
                    instance: instance.name.clone(),
                    endpoint: endpoint.name.clone(),
                    counts,
                });
            }
        }
        let unknown = status.journal.lost_unknown;
        if unknown > 0 {
            let counts = DeliveryCounts::lost(unknown);
            total.add(&counts);
            endpoints.push(LedgerRow {
                instance: String::new(),
                endpoint: UNKNOWN.to_owned(),
                counts,
            });
        }
        endpoints.sort_by(|left, right| {
            (&left.instance, &left.endpoint).cmp(&(&right.instance, &right.endpoint))
        });
        Self {
            equation: EQUATION.to_owned(),
            endpoints,
            total,
            unmatched: status.journal.unmatched,
        }
    }
}

impl DeliveryCounts {
    fn of(status: &EndpointStatus) -> Self {
        let dead = &status.dead_letters;
        Self {
            matched: status.matched,
            replayed: status.replayed,
            queued: status.queued,
            in_flight: status.in_flight,
            retrying: status.retrying,
            delivered: status.delivered,
            dead_lettered: DeadLettered {
                uploaded: dead.uploaded,
                awaiting_upload: dead.awaiting_upload,
                local: dead.local,
                replayed: dead.replayed,
            },
            discarded: {
                let counts = status.discarded_by.iter();
                counts
                    .map(|(reason, count)| (reason.to_string(), *count))
                    .collect()
            },
            unaccounted: status.unaccounted(),
        }
    }

    /// Deliveries that damage took, of which nothing else is known.
    fn lost(deliveries: u64) -> Self {
        Self {
            matched: deliveries,
            discarded: BTreeMap::from([(LOST.to_owned(), deliveries)]),
            ..Self::default()
        }
    }

    /// Discarded for any reason.
    #[must_use]
    pub fn discarded_all(&self) -> u64 {
        self.discarded.values().sum()
    }

    fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.replayed += other.replayed;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.retrying += other.retrying;
        self.delivered += other.delivered;
        self.dead_lettered.uploaded += other.dead_lettered.uploaded;
        self.dead_lettered.awaiting_upload += other.dead_lettered.awaiting_upload;
        self.dead_lettered.local += other.dead_lettered.local;
        self.dead_lettered.replayed += other.dead_lettered.replayed;
        for (reason, count) in &other.discarded {
            *self.discarded.entry(reason.clone()).or_default() += count;
        }
        // One endpoint's surplus must not hide what another lacks.
        self.unaccounted += other.unaccounted.abs();
    }
}

impl DeadLettered {
    /// All of them, wherever they are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.uploaded + self.awaiting_upload + self.local + self.replayed
    }
}
