//! What an endpoint can be told that the management API has no field for.

use bytesize::ByteSize;
use serde::Deserialize;
use std::time::Duration;

/// Settings of one endpoint: TOML under `[endpoints."name"]`, the same for every source of definitions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSettings {
    /// The schema that an Event Grid topic was created with.
    pub topic_schema: TopicSchema,
    /// Whether a twin's events keep their order.
    pub ordering: Ordering,
    /// What stands in `x-opt-partition-key` (Event Hubs).
    pub partition_key: PartitionKey,
    /// What stands in `group-id` (Service Bus).
    pub session: Session,
    /// How an AMQP connection authenticates.
    pub amqp_auth: AmqpAuth,
    /// Whether AMQP transfers carry many events (message-format `0x80013700`); only Event Hubs and
    /// Service Bus understand that.
    pub batch: bool,
    /// Batches that may be unanswered at a time: 1 to 64.
    pub batches_in_flight_max: usize,
    /// Bytes of events that may wait for this endpoint.
    pub queue_bytes_max: ByteSize,
    /// Events that may wait for this endpoint.
    pub queue_events_max: usize,
    /// How long a batch that is not full waits for more events: 0 to 1 s.
    ///
    /// At low rates the cost of an event is the wake-up, so a few milliseconds save most of the CPU.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How long one attempt may take.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// Attempts of an event that fails alone, the first included: 1 to 30.
    pub attempts_max: u32,
    /// How long an event is tried.
    #[serde(with = "humantime_serde")]
    pub time_to_live: Duration,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            topic_schema: TopicSchema::CloudEvents,
            ordering: Ordering::Twin,
            partition_key: PartitionKey::Bucket,
            session: Session::None,
            amqp_auth: AmqpAuth::Cbs,
            batch: true,
            batches_in_flight_max: 4,
            queue_bytes_max: ByteSize::mib(64),
            queue_events_max: 100_000,
            linger: Duration::from_millis(5),
            attempt_timeout: Duration::from_secs(30),
            attempts_max: 30,
            time_to_live: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl EndpointSettings {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value out of range, by its key.
    pub fn check(&self) -> Result<(), String> {
        let minute = Duration::from_secs(60);
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
        } else {
            return Ok(());
        };
        Err(rule.to_owned())
    }
}

/// The schema of an Event Grid topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopicSchema {
    /// CloudEvents 1.0, sent as a batch.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// Event Grid's own.
    #[serde(rename = "eventgrid")]
    EventGrid,
}

/// Whether a twin's events keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// First attempts of one twin's events follow acceptance order.
    Twin,
    /// No order.
    None,
}

/// The partition key of Event Hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionKey {
    /// One of 32 keys, by a stable hash of the twin: batches stay full, a twin stays in its partition.
    Bucket,
    /// The twin itself.
    Twin,
    /// None: Event Hubs spreads events over partitions.
    None,
}

/// The session of Service Bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// None.
    None,
    /// The twin.
    Twin,
}

/// How an AMQP connection authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AmqpAuth {
    /// SASL ANONYMOUS, then claims-based security: Event Hubs and Service Bus.
    Cbs,
    /// SASL PLAIN with the key's name and the key.
    Plain,
    /// SASL ANONYMOUS and nothing else.
    Anonymous,
}
