//! What is shown of each endpoint, and of the remainder together.

use std::collections::BTreeMap;
use twinroute_model::clock::Timestamp;
use twinroute_router::status::LetterStoreState;
use twinroute_router::status::{EndpointStatus, InstanceStatus};
use twinroute_router::{DurationHistogram, REMAINDER};

/// Values by the one label in which they differ.
pub(super) type ByLabel<'a> = BTreeMap<&'a str, u64>;

/// The labels of an endpoint.
pub(super) type EndpointLabels<'a> = [(&'static str, &'a str); 2];

/// One endpoint, or several of them: counts are added, of ages the oldest is shown, of ends the first.
#[derive(Default)]
pub(super) struct EndpointRow<'a> {
    pub(super) labels: EndpointLabels<'a>,
    /// How many are in each state, of those that any is in.
    pub(super) states: ByLabel<'a>,
    pub(super) queue_bytes: u64,
    pub(super) queue_events: u64,
    pub(super) oldest_age_ms: u64,
    pub(super) dead_letters: ByLabel<'a>,
    /// How many use the credential of a slot.
    pub(super) active: ByLabel<'a>,
    /// In seconds since 1970.
    pub(super) credential_ends: BTreeMap<&'a str, i64>,
    pub(super) container_end: Option<i64>,
    pub(super) unaccounted: i64,
    pub(super) delivery: DurationHistogram,
    pub(super) attempt: DurationHistogram,
}

/// A row each of the endpoints with series of their own, and one of the others.
pub(super) fn endpoint_rows(instances: &[InstanceStatus]) -> Vec<EndpointRow<'_>> {
    let mut rows = Vec::new();
    let mut remainder: Option<EndpointRow<'_>> = None;
    for instance in instances {
        for endpoint in &instance.endpoints {
            if endpoint.metrics.is_in_remainder {
                let row = remainder.get_or_insert_with(|| EndpointRow {
                    labels: labels(REMAINDER, REMAINDER),
                    ..EndpointRow::default()
                });
                row.add(endpoint);
            } else {
                let mut row = EndpointRow {
                    labels: labels(&instance.name, &endpoint.name),
                    ..EndpointRow::default()
                };
                row.add(endpoint);
                rows.push(row);
            }
        }
    }
    rows.extend(remainder);
    rows
}

/// Labels as they are everywhere.
pub(super) const fn labels<'a>(instance: &'a str, endpoint: &'a str) -> EndpointLabels<'a> {
    [("adt_instance", instance), ("endpoint", endpoint)]
}

impl<'a> EndpointRow<'a> {
    fn add(&mut self, endpoint: &'a EndpointStatus) {
        *self.states.entry(endpoint.state.as_str()).or_default() += 1;
        self.queue_bytes += endpoint.queue_bytes;
        self.queue_events += endpoint.queued + endpoint.in_flight + endpoint.retrying;
        self.oldest_age_ms = self.oldest_age_ms.max(endpoint.oldest_age_ms);
        self.add_dead_letters(endpoint);
        for credential in &endpoint.credentials {
            if credential.active {
                *self.active.entry(credential.slot.as_str()).or_default() += 1;
            }
            if let Some(end) = credential.expires_at.map(Timestamp::unix_seconds) {
                let first = self
                    .credential_ends
                    .entry(credential.slot.as_str())
                    .or_insert(end);
                *first = end.min(*first);
            }
        }
        self.unaccounted += endpoint.unaccounted();
        self.delivery.merge(&endpoint.metrics.deliveries);
        self.attempt.merge(&endpoint.metrics.attempts);
    }

    /// Where dead letters can be: in a container there are none without one, and few are kept here with one.
    fn add_dead_letters(&mut self, endpoint: &'a EndpointStatus) {
        let dead = &endpoint.dead_letters;
        let has_container = dead.store != LetterStoreState::Local;
        for (place, count, is_usual) in [
            ("uploaded", dead.uploaded, has_container),
            ("awaiting_upload", dead.awaiting_upload, has_container),
            ("local", dead.local, !has_container),
        ] {
            if is_usual || count > 0 {
                *self.dead_letters.entry(place).or_default() += count;
            }
        }
        let end = dead.expires_at.map(Timestamp::unix_seconds);
        let ends = self.container_end.into_iter().chain(end);
        self.container_end = ends.min();
    }
}

/// A moment of a status as Prometheus has moments; none where the status has none.
pub(super) fn seconds_of(rfc3339: &str) -> Option<i64> {
    Timestamp::parse_rfc3339(rfc3339).map(Timestamp::unix_seconds)
}
