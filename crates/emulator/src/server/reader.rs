//! A consumer of one partition: its selector, its place and its epoch.

use crate::amqp::state::Problem;
use crate::amqp::value::{Value, find};
use crate::broker::hub::{Hub, HubEvent, Start};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use twinroute_model::clock::Timestamp;

const SELECTOR: &str = "apache.org:selector-filter:string";

pub(super) struct PartitionReader {
    hub: Arc<Hub>,
    partition: u16,
    next_sequence: i64,
    stolen: Arc<AtomicBool>,
}

impl PartitionReader {
    /// Claims the partition for a consumer group.
    pub(super) fn open(
        hub: &Arc<Hub>,
        group: &str,
        partition: u16,
        source: &Value,
        properties: &Value,
        wake: &Arc<Notify>,
    ) -> Result<Self, Problem> {
        let not_found = || Problem::new("amqp:not-found", "no such partition");
        let log = hub.partition(partition).ok_or_else(not_found)?;
        let start = match selector(source) {
            Some(text) => parse(text).ok_or_else(|| {
                Problem::new(
                    "amqp:invalid-field",
                    format!("the filter {text} is not understood"),
                )
            })?,
            None => Start::Earliest,
        };
        let epoch = properties
            .get("com.microsoft:epoch")
            .and_then(Value::as_i64);
        let stolen = log.claim(group, epoch, wake)?;
        let next_sequence = log.first_sequence(start);
        Ok(Self {
            hub: Arc::clone(hub),
            partition,
            next_sequence,
            stolen,
        })
    }

    pub(super) fn is_stolen(&self) -> bool {
        self.stolen.load(Ordering::Relaxed)
    }

    pub(super) fn next(&mut self) -> Option<Arc<HubEvent>> {
        let event = self
            .hub
            .partition(self.partition)?
            .read(self.next_sequence)?;
        self.next_sequence = event.sequence + 1;
        Some(event)
    }
}

/// The filters of a source (AMQP 1.0 part 3 §3.5.3: field 7 of the list).
pub(super) fn filters(source: &Value) -> &[(Value, Value)] {
    match source.items().get(7) {
        Some(Value::Map(filters)) => filters,
        _ => &[],
    }
}

/// Python describes the filter by its name, JavaScript by a number; the key is the same.
fn selector(source: &Value) -> Option<&str> {
    find(filters(source), SELECTOR)?.plain().as_str()
}

/// Reads such as `amqp.annotation.x-opt-offset >= '100'`.
fn parse(text: &str) -> Option<Start> {
    let (name, rest) = text.strip_prefix("amqp.annotation.")?.split_once('>')?;
    let inclusive = rest.starts_with('=');
    let operand = rest.trim_start_matches('=').trim().trim_matches('\'');
    let number = || operand.parse::<i64>().ok();
    match name.trim() {
        "x-opt-offset" if operand == "@latest" => Some(Start::Latest),
        "x-opt-offset" if operand == "-1" => Some(Start::Earliest),
        "x-opt-offset" => Some(Start::Offset {
            at: number()?,
            inclusive,
        }),
        "x-opt-sequence-number" => Some(Start::Sequence {
            at: number()?,
            inclusive,
        }),
        "x-opt-enqueued-time" => Some(Start::Time {
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
            ("amqp.annotation.x-opt-offset > '-1'", Some(Start::Earliest)),
            (
                "amqp.annotation.x-opt-offset > '@latest'",
                Some(Start::Latest),
            ),
            (
                "amqp.annotation.x-opt-offset >= '100'",
                Some(Start::Offset {
                    at: 100,
                    inclusive: true,
                }),
            ),
            (
                "amqp.annotation.x-opt-sequence-number > '12'",
                Some(Start::Sequence {
                    at: 12,
                    inclusive: false,
                }),
            ),
            (
                "amqp.annotation.x-opt-enqueued-time > '1767225600000'",
                Some(Start::Time {
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
