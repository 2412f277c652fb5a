//! A consumer of one partition: its selector, its place and its epoch.

use crate::amqp::message;
use crate::amqp::performative::AttachFrame;
use crate::amqp::state::AmqpError;
use crate::amqp::value::{AmqpValue, find, symbols};
use crate::broker::hub::{EventHub, ReadStart};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use twinroute_model::clock::Timestamp;

/// A client that names this capability wants the state of the partition with every event.
const METRICS: &str = "com.microsoft:enable-receiver-runtime-metric";
const SELECTOR: &str = "apache.org:selector-filter:string";

pub(super) struct PartitionReader {
    hub: Arc<EventHub>,
    partition: u16,
    next_sequence: i64,
    stolen: Arc<AtomicBool>,
    with_metrics: bool,
}

impl PartitionReader {
    /// Claims the partition for a consumer group.
    pub(super) fn open(
        hub: &Arc<EventHub>,
        group: &str,
        partition: u16,
        asked: &AttachFrame,
        wake: &Arc<Notify>,
    ) -> Result<Self, AmqpError> {
        let not_found = || AmqpError::new("amqp:not-found", "no such partition");
        let log = hub.partition(partition).ok_or_else(not_found)?;
        let start = match selector(&asked.source) {
            Some(text) => parse(text).ok_or_else(|| {
                AmqpError::new(
                    "amqp:invalid-field",
                    format!("the filter {text} is not understood"),
                )
            })?,
            None => ReadStart::Earliest,
        };
        let epoch = asked
            .properties
            .get("com.microsoft:epoch")
            .and_then(AmqpValue::as_i64);
        let stolen = log.claim(group, epoch, wake)?;
        let next_sequence = log.first_sequence(start);
        let capabilities = asked.desired_capabilities.items();
        let with_metrics = asked.desired_capabilities == METRICS
            || capabilities.iter().any(|name| *name == METRICS);
        Ok(Self {
            hub: Arc::clone(hub),
            partition,
            next_sequence,
            stolen,
            with_metrics,
        })
    }

    pub(super) fn is_stolen(&self) -> bool {
        self.stolen.load(Ordering::Relaxed)
    }

    /// The next event on the wire.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Bytes> {
        let log = self.hub.partition(self.partition)?;
        let event = log.read(self.next_sequence)?;
        self.next_sequence = event.sequence + 1;
        let bytes = event.encode();
        if !self.with_metrics {
            return Some(bytes);
        }
        let state = log.state();
        let last = state.last_enqueued_at.unwrap_or(now);
        let last_offset = AmqpValue::string(state.last_offset.to_string());
        let metrics = symbols([
            (
                "last_enqueued_sequence_number",
                AmqpValue::Long(state.last_sequence),
            ),
            ("last_enqueued_offset", last_offset),
            ("last_enqueued_time_utc", AmqpValue::time(last)),
            ("runtime_info_retrieval_time_utc", AmqpValue::time(now)),
        ]);
        Some(message::with_delivery_annotations(metrics, &bytes))
    }
}

/// The filters of a source (AMQP 1.0 part 3 §3.5.3: field 7 of the list).
pub(super) fn filters(source: &AmqpValue) -> &[(AmqpValue, AmqpValue)] {
    match source.items().get(7) {
        Some(AmqpValue::Map(filters)) => filters,
        _ => &[],
    }
}

/// Python describes the filter by its name, JavaScript by a number; the key is the same.
fn selector(source: &AmqpValue) -> Option<&str> {
    find(filters(source), SELECTOR)?.plain().as_str()
}

/// Reads such as `amqp.annotation.x-opt-offset >= '100'`.
fn parse(text: &str) -> Option<ReadStart> {
    let (name, rest) = text.strip_prefix("amqp.annotation.")?.split_once('>')?;
    let inclusive = rest.starts_with('=');
    let operand = rest.trim_start_matches('=').trim().trim_matches('\'');
    let number = || operand.parse::<i64>().ok();
    match name.trim() {
        "x-opt-offset" if operand == "@latest" => Some(ReadStart::Latest),
        "x-opt-offset" if operand == "-1" => Some(ReadStart::Earliest),
        "x-opt-offset" => Some(ReadStart::Offset {
            at: number()?,
            inclusive,
        }),
        "x-opt-sequence-number" => Some(ReadStart::Sequence {
            at: number()?,
            inclusive,
        }),
        "x-opt-enqueued-time" => Some(ReadStart::Time {
            at: Timestamp::from_unix_millis(number()?),
            inclusive,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_the_clients_are_read() {
        let at = Timestamp::from_unix_millis(1_767_225_600_000);
        for (text, expected) in [
            (
                "amqp.annotation.x-opt-offset > '-1'",
                Some(ReadStart::Earliest),
            ),
            (
                "amqp.annotation.x-opt-offset > '@latest'",
                Some(ReadStart::Latest),
            ),
            (
                "amqp.annotation.x-opt-offset >= '100'",
                Some(ReadStart::Offset {
                    at: 100,
                    inclusive: true,
                }),
            ),
            (
                "amqp.annotation.x-opt-sequence-number > '12'",
                Some(ReadStart::Sequence {
                    at: 12,
                    inclusive: false,
                }),
            ),
            (
                "amqp.annotation.x-opt-enqueued-time > '1767225600000'",
                Some(ReadStart::Time {
                    at,
                    inclusive: false,
                }),
            ),
            ("amqp.annotation.x-opt-other > '1'", None),
            ("amqp.annotation.x-opt-offset > 'x'", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
