//! What can be set for an endpoint that the management API has no field for.

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of one endpoint: TOML under `[endpoints."name"]`, the same for every source of definitions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EndpointSettings {
    /// The schema that an Event Grid topic was created with.
    pub topic_schema: TopicSchema,
    /// Whether a twin's events keep their order.
    pub ordering: TwinOrdering,
    /// What stands in `x-opt-partition-key` (Event Hubs).
    pub partition_key: PartitionKey,
    /// What stands in `group-id` (Service Bus).
    pub session: SessionKey,
    /// How an AMQP connection authenticates.
    pub amqp_auth: AmqpAuth,
    /// What AMQP connections run over.
    pub amqp_transport: AmqpTransport,
    /// Whether AMQP transfers carry many events (message-format `0x80013700`); only Event Hubs and
    /// Service Bus understand that.
    pub batch: bool,
    /// Batches that may be unanswered at a time: 1 to 64.
    pub batches_in_flight_max: usize,
    /// Bytes of events that may wait for this endpoint.
    #[serde(serialize_with = "bytes")]
    pub queue_bytes_max: ByteSize,
    /// Events that may wait for this endpoint.
    pub queue_events_max: usize,
    /// How long an event may wait for this endpoint, whatever holds it back; 0: for ever.
    #[serde(with = "humantime_serde")]
    pub queue_age_max: Duration,
    /// What happens at one of the three limits above.
    pub when_full: WhenFull,
    /// Bytes of dead letters that may be kept here: the oldest above are discarded. 0: no such limit.
    #[serde(serialize_with = "bytes")]
    pub dead_letter_bytes_max: ByteSize,
    /// What happens to dead letters that are kept here when the journal is full.
    pub dead_letters_kept: KeptDeadLetters,
    /// How long a batch that is not full waits for more events, while another is unanswered or was sent less than that
    /// ago: 0 to 1 s. An idle endpoint is sent to at once.
    ///
    /// The cost of a small batch is the wake-up, so a few milliseconds save most of the CPU.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How long one attempt may take.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// Attempts of an event that fails alone, the first included: 1 to 30.
    pub attempts_max: u32,
    /// How long an event is tried: 1 m to 24 h. Stands still while the endpoint is paused or refuses
    /// the credential.
    #[serde(with = "humantime_serde")]
    pub time_to_live: Duration,
    /// How long an event that failed alone waits after its first, second, … attempt; the last holds for
    /// all later ones.
    #[serde(deserialize_with = "durations", serialize_with = "as_durations")]
    pub retry_schedule: Vec<Duration>,
    /// How far a wait is spread by chance, in percent of it to either side: 0 to 50.
    pub retry_jitter_percent: u8,
    /// The longest that a destination's `Retry-After` is honoured.
    #[serde(with = "humantime_serde")]
    pub retry_after_max: Duration,
    /// The longest between two probes of an endpoint that takes nothing: 1 s to 60 s.
    #[serde(with = "humantime_serde")]
    pub probe_interval_max: Duration,
    /// What an answer means for this endpoint, by its code (`http-409`, `server-busy`), where that is not
    /// what the sink's table says.
    pub answers: BTreeMap<String, AnswerMeaning>,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            topic_schema: TopicSchema::CloudEvents,
            ordering: TwinOrdering::Twin,
            partition_key: PartitionKey::Bucket,
            session: SessionKey::None,
            amqp_auth: AmqpAuth::Cbs,
            amqp_transport: AmqpTransport::Tcp,
            batch: true,
            batches_in_flight_max: 4,
            queue_bytes_max: ByteSize::mib(64),
            queue_events_max: 100_000,
            linger: Duration::from_millis(5),
            attempt_timeout: Duration::from_secs(30),
            attempts_max: 30,
            time_to_live: Duration::from_secs(24 * 60 * 60),
            queue_age_max: Duration::ZERO,
            when_full: WhenFull::DeadLetterOldest,
            dead_letter_bytes_max: ByteSize(0),
            dead_letters_kept: KeptDeadLetters::Share,
            retry_schedule: EVENT_GRID_SCHEDULE.map(Duration::from_secs).to_vec(),
            retry_jitter_percent: 10,
            retry_after_max: Duration::from_secs(5 * 60),
            probe_interval_max: Duration::from_secs(60),
            answers: BTreeMap::new(),
        }
    }
}

impl EndpointSettings {
    /// The same with what `change` sets, since settings may grow: `EndpointSettings::default().with(|own| own.attempts_max
    /// = 3)`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// How long an event may wait at most, if there is a limit.
    #[must_use]
    pub fn queue_age_limit(&self) -> Option<Duration> {
        (!self.queue_age_max.is_zero()).then_some(self.queue_age_max)
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value out of range, by its key.
    pub fn check(&self) -> Result<(), String> {
        let minute = Duration::from_secs(60);
        let waits = Duration::from_millis(100)..=1440 * minute;
        let rule = if !(1..=64).contains(&self.batches_in_flight_max) {
            "batches_in_flight_max must be 1 to 64"
        } else if !(1..=30).contains(&self.attempts_max) {
            "attempts_max must be 1 to 30"
        } else if self.queue_events_max == 0 {
            "queue_events_max must be at least 1"
        } else if self.queue_bytes_max.as_u64() < 1 << 20 {
            "queue_bytes_max must be at least 1 MiB"
        } else if self.linger > Duration::from_secs(1) {
            "linger must be 0 to 1s"
        } else if !(minute..=1440 * minute).contains(&self.time_to_live) {
            "time_to_live must be 1m to 24h"
        } else if !(Duration::from_secs(1)..=5 * minute).contains(&self.attempt_timeout) {
            "attempt_timeout must be 1s to 5m"
        } else if !self.queue_age_max.is_zero() && self.queue_age_max < Duration::from_secs(1) {
            "queue_age_max must be 0s or at least 1s"
        } else if !(1..=30).contains(&self.retry_schedule.len()) {
            "retry_schedule must have 1 to 30 steps"
        } else if !self.retry_schedule.iter().all(|step| waits.contains(step)) {
            "retry_schedule must have steps of 100ms to 24h"
        } else if self.retry_jitter_percent > 50 {
            "retry_jitter_percent must be 0 to 50"
        } else if self.retry_after_max > 1440 * minute {
            "retry_after_max must be 0 to 24h"
        } else if !(minute / 60..=minute).contains(&self.probe_interval_max) {
            "probe_interval_max must be 1s to 60s"
        } else {
            return Ok(());
        };
        Err(rule.to_owned())
    }
}

/// Event Grid's published schedule, in seconds; the last step holds for all later attempts.
/// Source: Azure Event Grid, "Delivery and retry", 2026-02-09.
const EVENT_GRID_SCHEDULE: [u64; 10] = [10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200];

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let steps = Vec::<humantime_serde::Serde<Duration>>::deserialize(deserializer)?;
    Ok(steps
        .into_iter()
        .map(humantime_serde::Serde::into_inner)
        .collect())
}

fn as_durations<S: Serializer>(steps: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(steps.iter().copied().map(humantime_serde::Serde::from))
}

/// The exact number; as text it would be rounded.
fn bytes<S: Serializer>(bytes: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(bytes.as_u64())
}

/// What happens when more waits for an endpoint than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WhenFull {
    /// The oldest becomes a dead letter.
    DeadLetterOldest,
    /// The oldest is discarded.
    DiscardOldest,
    /// New events that match are refused, for every endpoint: this one can stop the others.
    Refuse,
}

impl WhenFull {
    /// The word in settings and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetterOldest => "dead-letter-oldest",
            Self::DiscardOldest => "discard-oldest",
            Self::Refuse => "refuse",
        }
    }
}

/// What happens to an endpoint's dead letters, kept in the journal, when that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeptDeadLetters {
    /// Those within the endpoint's share of the journal stay; beyond it the oldest make room for others.
    Share,
    /// All stay: when they fill the journal, events for every endpoint are refused. Breaks isolation.
    KeepAll,
}

impl KeptDeadLetters {
    /// The word in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::KeepAll => "keep-all",
        }
    }
}

/// What a destination's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AnswerMeaning {
    /// The event failed alone and is tried again.
    Retry,
    /// The event will never be taken.
    Reject,
    /// The endpoint takes nothing just now.
    Unavailable,
}

impl AnswerMeaning {
    /// The word in settings and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The schema of an Event Grid topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TopicSchema {
    /// CloudEvents 1.0, sent as a batch.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// Event Grid's own.
    #[serde(rename = "eventgrid")]
    EventGrid,
}

/// Whether a twin's events keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TwinOrdering {
    /// First attempts of one twin's events follow acceptance order.
    Twin,
    /// No order.
    None,
}

/// The partition key of Event Hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartitionKey {
    /// One of 32 keys, by a stable hash of the twin: batches stay full, a twin stays in its partition.
    Bucket,
    /// The twin itself.
    Twin,
    /// None: Event Hubs spreads events over partitions.
    None,
}

/// The session of Service Bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SessionKey {
    /// None.
    None,
    /// The twin.
    Twin,
}

/// What AMQP connections run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AmqpTransport {
    /// TCP, on AMQP's own port.
    Tcp,
    /// WebSockets on port 443, through proxies.
    Websocket,
}

/// How an AMQP connection authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AmqpAuth {
    /// SASL ANONYMOUS, then claims-based security: Event Hubs and Service Bus.
    Cbs,
    /// SASL PLAIN with the key's name and the key.
    Plain,
    /// SASL ANONYMOUS and nothing else.
    Anonymous,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let odd = EndpointSettings {
            topic_schema: TopicSchema::EventGrid,
            ordering: TwinOrdering::None,
            partition_key: PartitionKey::Twin,
            session: SessionKey::Twin,
            amqp_auth: AmqpAuth::Plain,
            amqp_transport: AmqpTransport::Websocket,
            batch: false,
            batches_in_flight_max: 7,
            queue_bytes_max: ByteSize(1_234_567_891),
            queue_events_max: 3,
            queue_age_max: Duration::from_millis(90_001),
            when_full: WhenFull::DiscardOldest,
            dead_letter_bytes_max: ByteSize(1_000_001),
            dead_letters_kept: KeptDeadLetters::KeepAll,
            linger: Duration::from_micros(1_500),
            attempt_timeout: Duration::from_secs(61),
            attempts_max: 5,
            time_to_live: Duration::from_secs(3_601),
            retry_schedule: vec![Duration::from_millis(1_500), Duration::from_secs(9)],
            retry_jitter_percent: 3,
            retry_after_max: Duration::from_secs(1),
            probe_interval_max: Duration::from_secs(2),
            answers: BTreeMap::from([("http-409".to_owned(), AnswerMeaning::Reject)]),
        };
        for settings in [EndpointSettings::default(), odd] {
            let text = serde_json::to_string(&settings).unwrap();
            let read: EndpointSettings = serde_json::from_str(&text).unwrap();
            assert_eq!(read, settings, "{text}");
        }
    }
}
