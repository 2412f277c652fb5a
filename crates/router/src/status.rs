//! What a router shows of itself: one snapshot, the same for `/status`, the terminal and tests.

mod cluster;
mod states;
mod text_form;

pub use cluster::{ClusterMemberStatus, ClusterStatus, PartitionBacklog, PartitionStatus};
pub use states::{AdmissionState, EndpointState, JournalKind, LetterStoreState};
pub(crate) use text_form::moment;

use crate::delivery::DurationHistogram;
use crate::sink::CredentialSlot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use twinroute_journal::ledger::{DiscardReason, Ledger};
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::{AnswerMeaning, WhenFull};

/// A snapshot of a running router.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouterStatus {
    /// Version of the library.
    pub version: String,
    /// Whether events are accepted, and why not.
    pub readiness: RouterReadiness,
    /// What requires action soon, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether producers wait for the router.
    #[serde(default)]
    pub admission: AdmissionStatus,
    /// The table in use.
    pub table: TableStatus,
    /// What waits.
    pub journal: JournalStatus,
    /// Every instance, by name.
    pub instances: Vec<InstanceStatus>,
}

/// Whether producers wait because the router has more to do than it can.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdmissionStatus {
    /// Whether producers wait, or are refused; both last until nobody was slowed for 10 s.
    pub state: AdmissionState,
    /// Milliseconds that the state has lasted; 0 while it is `open`.
    pub lasts_ms: u64,
    /// Producers that wait now.
    pub waiting: u64,
    /// Producers that waited 250 ms or longer and were let in, since the start.
    pub slowed: u64,
    /// Producers that waited as long as they may, since the start.
    pub refused: u64,
    /// Bytes of accepted events that are not on disk yet.
    pub unsynced_bytes: u64,
}

/// Whether a router accepts events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouterReadiness {
    /// True when it does.
    pub ready: bool,
    /// Why not, empty when it does.
    pub reason: String,
}

/// The table in use and how the last change to it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableStatus {
    /// Counts the tables of this process; 0 before the first.
    pub generation: u64,
    /// SHA-256 over the definitions, hexadecimal; equal definitions have equal hashes.
    pub hash: String,
    /// When it was put in use; nothing before the first.
    #[serde(with = "moment")]
    pub since: Option<Timestamp>,
    /// Why the newest definitions were refused; empty when the table is the newest.
    pub errors: Vec<String>,
    /// Warnings about the definitions: filters that probably do not do what was meant, keys that are sent in the clear.
    pub warnings: Vec<String>,
    /// How the source of the definitions goes, where it is one that can fail or lag.
    #[serde(default)]
    pub source: Option<SourceStatus>,
}

/// How a source of definitions goes that is read again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Which: `azure`.
    pub kind: String,
    /// When the definitions were last seen to be current.
    #[serde(with = "moment")]
    pub last_success: Option<Timestamp>,
    /// Milliseconds since then.
    pub age_ms: Option<u64>,
    /// Why the last read failed; empty when it did not.
    pub last_error: String,
    /// Reads that failed since the last good one.
    pub failures: u32,
    /// Whether the definitions are those that an earlier process saved.
    pub saved: bool,
    /// Endpoints that wait, and for what.
    pub waiting: Vec<String>,
    /// What was skipped, left out or cannot be used.
    pub warnings: Vec<String>,
}

/// What the journal holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalStatus {
    /// Where it is.
    pub kind: JournalKind,
    /// Events held.
    pub events: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes it may hold. Above, endpoints that hold more than their share make room; events are refused when
    /// none does.
    pub bytes_max: u64,
    /// Bytes of it that each endpoint is guaranteed for its queue and the dead letters that are kept here.
    #[serde(default)]
    pub share_bytes: u64,
    /// Bytes of its files; 0 in memory.
    pub disk_bytes: u64,
    /// Whether its disk has no room for another file, but for what the journal itself gives back: dead letters that
    /// are kept here make room, of endpoints above their share.
    #[serde(default)]
    pub disk_full: bool,
    /// Events that were acknowledged at level `memory` and did not reach the disk.
    pub lost: u64,
    /// Events accepted since the start, each once.
    pub accepted: u64,
    /// Deliveries that damage of the disk took, ever: those that endpoints have as `lost`, and the next.
    #[serde(default)]
    pub lost_deliveries: u64,
    /// Of those, the ones of which nobody can tell for which endpoints they were.
    #[serde(default)]
    pub lost_unknown: u64,
    /// How long its syncs took; nothing in memory.
    #[serde(default)]
    pub syncs: Option<SyncStatus>,
    /// Accepted events that matched no route.
    pub unmatched: u64,
    /// Accepted events that the embedding program changed before they were matched.
    #[serde(default)]
    pub changed: u64,
    /// Accepted events that the embedding program dropped before they were matched.
    #[serde(default)]
    pub dropped: u64,
    /// Repeats of accepted events, which are not counted as accepted once more.
    #[serde(default)]
    pub duplicates: u64,
}

/// How long syncs of the journal took since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncStatus {
    /// How many there were.
    pub count: u64,
    /// Seconds that all of them took.
    pub sum_s: f64,
    /// Seconds that the one that goes on has taken by now; 0 where none does.
    pub running_s: f64,
    /// How many took no longer than so many seconds, growing.
    pub buckets: Vec<SyncBucket>,
}

/// Syncs that took no longer than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncBucket {
    /// The bound in seconds.
    pub le_s: f64,
    /// How many.
    pub count: u64,
}

/// One instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
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
/// `matched + replayed = queued + in_flight + retrying + delivered + dead-lettered + discarded`, always, where
/// dead-lettered is the sum of [`DeadLetterStatus::all`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// `EventGrid`, `EventHub` or `ServiceBus`.
    pub endpoint_type: String,
    /// Host and port that it is reached at; empty where its definition names none.
    #[serde(default)]
    pub address: String,
    /// How it is: why it is sent nothing, or what kind of fault holds it back.
    pub state: EndpointState,
    /// Since when this kind of fault holds it back.
    #[serde(default, with = "moment")]
    pub since: Option<Timestamp>,
    /// Attempts in a row that failed since it was last in order, whatever the kind of fault.
    #[serde(default)]
    pub failed_attempts: u32,
    /// Its credentials, where its sink knows them.
    #[serde(default)]
    pub credentials: Vec<CredentialStatus>,
    /// Why it is sent nothing, where its state says so; else the last failure in words, also when it is over.
    /// Empty when there was none.
    pub last_error: String,
    /// Events that became dead letters after an attempt, since the start or the last one that was delivered: such an
    /// endpoint may be `healthy` and take nothing.
    #[serde(default)]
    pub failed_in_a_row: u64,
    /// Milliseconds until the next attempt while it backs off; 0 when it does not.
    pub backing_off_ms: u64,
    /// Deliveries that routes made for it.
    pub matched: u64,
    /// Deliveries that replays made for it.
    pub replayed: u64,
    /// Deliveries waiting for their first attempt or for their twin's turn.
    pub queued: u64,
    /// Deliveries sent and unanswered.
    pub in_flight: u64,
    /// Deliveries that failed alone and wait for their next attempt.
    pub retrying: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub dead_letters: DeadLetterStatus,
    /// Deliveries discarded, for all reasons together.
    pub discarded: u64,
    /// The same by reason; reasons that never came up are left out.
    #[serde(
        serialize_with = "text_form::by_word",
        deserialize_with = "text_form::discards"
    )]
    pub discarded_by: BTreeMap<DiscardReason, u64>,
    /// Bytes of what waits or is in flight.
    pub queue_bytes: u64,
    /// Bytes that may wait; at this cap `retry.when_full` says what happens.
    #[serde(default)]
    pub queue_bytes_max: u64,
    /// Events that may wait, likewise.
    #[serde(default)]
    pub queue_events_max: u64,
    /// Of `queue_bytes`, what is in memory.
    pub memory_bytes: u64,
    /// Age of the oldest delivery not yet settled, in milliseconds.
    pub oldest_age_ms: u64,
    /// Middle latency from acceptance to delivery, in milliseconds, over the last deliveries.
    pub latency_p50_ms: f64,
    /// The same, 99th percentile.
    pub latency_p99_ms: f64,
    /// Batches that may be unanswered at present: fewer than set while the endpoint is slow.
    pub batches_in_flight_max: u64,
    /// How it is tried again.
    pub retry: RetryStatus,
    /// What only scrapers are shown.
    #[serde(skip)]
    pub metrics: EndpointMetrics,
}

/// What scrapers are shown of an endpoint beside its status.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EndpointMetrics {
    /// Whether it has no series of its own; see [`metrics_endpoints_max`](crate::RouterBuilder::metrics_endpoints_max).
    pub is_in_remainder: bool,
    /// Attempts that failed since the start, of each event of a batch.
    pub failed_attempts: u64,
    /// From acceptance to delivery, of each delivery that arrived.
    pub deliveries: DurationHistogram,
    /// From sending to the last answer, of each batch.
    pub attempts: DurationHistogram,
}

/// A credential of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// Which one.
    pub slot: CredentialSlot,
    /// Whether it is the one in use; while all are refused, the one that is tried first.
    pub active: bool,
    /// When it ends, where that is known. That of an identity is its token's, which is renewed before.
    #[serde(with = "moment")]
    pub expires_at: Option<Timestamp>,
    /// Seconds until then; negative when that is over.
    pub expires_in_s: Option<i64>,
}

/// What became of the deliveries that could not be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterStatus {
    /// They stand in the endpoint's container.
    pub uploaded: u64,
    /// They are kept here until the container takes them.
    pub awaiting_upload: u64,
    /// They are kept here: the endpoint has no container, or it will never take them.
    pub local: u64,
    /// They were kept here, until a replay took their place.
    pub replayed: u64,
    /// Those that are kept here, by reason.
    #[serde(serialize_with = "text_form::by_word")]
    pub by_reason: BTreeMap<DeadLetterReason, u64>,
    /// Bytes of those that are kept here.
    pub bytes: u64,
    /// Whether there is a container, and whether it takes any.
    pub store: LetterStoreState,
    /// The container's last failure, also when it is over; empty when there was none.
    pub last_error: String,
    /// Milliseconds until it is tried again while it takes nothing.
    pub backing_off_ms: u64,
    /// When its credential ends, where that is known.
    #[serde(with = "moment")]
    pub expires_at: Option<Timestamp>,
    /// Seconds until then; negative when that is over.
    pub expires_in_s: Option<i64>,
}

impl DeadLetterStatus {
    /// All of them, wherever they are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.uploaded + self.awaiting_upload + self.local + self.replayed
    }
}

/// How an endpoint's events are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetryStatus {
    /// Seconds after the first, second, … attempt of an event that failed alone.
    pub schedule_s: Vec<f64>,
    /// How far they are spread by chance.
    pub jitter_percent: u8,
    /// Attempts of an event that fails alone.
    pub attempts_max: u32,
    /// Seconds that an event is tried.
    pub time_to_live_s: u64,
    /// Whether that stands still now.
    pub standing_still: bool,
    /// The most seconds of a `Retry-After` that are honoured.
    pub retry_after_max_s: u64,
    /// The most seconds between two probes of an endpoint that takes nothing.
    pub probe_interval_max_s: f64,
    /// What happens at the endpoint's limits.
    pub when_full: WhenFull,
    /// Answers that mean something else here than the sink's table says.
    pub answers: BTreeMap<String, AnswerMeaning>,
}

impl EndpointStatus {
    /// Deliveries that are in no known state: always 0.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let waiting = self.queued + self.in_flight + self.retrying;
        let known = waiting + self.delivered + self.dead_letters.all() + self.discarded;
        let made = self.matched + self.replayed;
        i64::try_from(made).unwrap_or(i64::MAX) - i64::try_from(known).unwrap_or(i64::MAX)
    }
}

/// Deliveries discarded, by reason; reasons that never came up are left out.
pub(crate) fn discarded_by(ledger: &Ledger) -> BTreeMap<DiscardReason, u64> {
    DiscardReason::ALL
        .into_iter()
        .map(|reason| (reason, ledger.discarded(reason)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
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
