//! Messages of a queue at rest, and the tokens they are locked with.

use super::received::{MessagePlace, ReceivedMessage};
use crate::amqp::message::{self, APPLICATION_PROPERTIES, AmqpMessage, PROPERTIES};
use crate::amqp::value::{AmqpValue, symbols};
use std::sync::atomic::{AtomicU64, Ordering};
use twinroute_model::clock::Timestamp;

/// A lock token: a UUID in network order.
pub(crate) type LockToken = [u8; 16];

/// Where lock tokens come from: a counter, scrambled so that they look like what the service gives.
#[derive(Debug, Default)]
pub(crate) struct LockTokens(AtomicU64);

/// A message of a queue.
#[derive(Clone, Debug)]
pub(crate) struct StoredMessage {
    pub(crate) arrival: u64,
    pub(crate) sequence: i64,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) delivery_count: u32,
    pub(crate) session: Option<String>,
    pub(crate) message: AmqpMessage,
    pub(super) expires_at: Option<Timestamp>,
}

impl StoredMessage {
    pub(super) fn received(&self) -> ReceivedMessage {
        let place = MessagePlace {
            arrival: self.arrival,
            partition: None,
            sequence: self.sequence,
            enqueued_at: self.enqueued_at,
            delivery_count: self.delivery_count,
        };
        ReceivedMessage::new(place, &self.message)
    }

    /// The message on the wire.
    pub(crate) fn encode(&self, locked_until: Option<Timestamp>) -> bytes::Bytes {
        let mut header = self.message.header.clone();
        header.resize(5, AmqpValue::Null);
        header[4] = AmqpValue::Uint(self.delivery_count);
        let mut annotations = symbols([
            ("x-opt-sequence-number", AmqpValue::Long(self.sequence)),
            ("x-opt-enqueued-time", AmqpValue::time(self.enqueued_at)),
            ("x-opt-message-state", AmqpValue::Int(0)),
        ]);
        if let Some(until) = locked_until {
            annotations.extend(symbols([("x-opt-locked-until", AmqpValue::time(until))]));
        }
        self.message.encode(&header, annotations)
    }
}

impl LockTokens {
    /// Two rounds of splitmix64 over a counter.
    pub(super) fn next(&self) -> LockToken {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let half = |seed: u64| {
            let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let both = (u128::from(half(number * 2 + 1)) << 64) | u128::from(half(number * 2 + 2));
        both.to_be_bytes()
    }
}

/// A bare message with this `message-id`.
pub(super) fn with_message_id(bare: &bytes::Bytes, id: &str) -> bytes::Bytes {
    let changed = message::rewrite(bare, PROPERTIES, |old| {
        let mut properties = old.into_items();
        properties.resize(properties.len().max(1), AmqpValue::Null);
        properties[0] = AmqpValue::string(id);
        AmqpValue::List(properties)
    });
    changed.unwrap_or_else(|_| bare.clone())
}

/// A dead letter says why it is one in its application properties.
pub(super) fn dead_letter(
    mut stored: StoredMessage,
    reason: Option<&str>,
    description: Option<&str>,
) -> StoredMessage {
    let changed = message::rewrite(&stored.message.bare, APPLICATION_PROPERTIES, |old| {
        let mut pairs = old.into_pairs();
        for (name, text) in [
            ("DeadLetterReason", reason),
            ("DeadLetterErrorDescription", description),
        ] {
            if let Some(text) = text {
                pairs.retain(|(known, _)| *known != name);
                pairs.push((AmqpValue::string(name), AmqpValue::string(text)));
            }
        }
        AmqpValue::Map(pairs)
    });
    if let Ok(changed) = changed {
        stored.message.bare = changed;
    }
    stored
}
