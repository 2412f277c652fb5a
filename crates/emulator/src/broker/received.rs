//! Messages as tests and people want to read them.

use crate::amqp::message::{self, AmqpMessage, MessageBody, text};
use crate::amqp::value::AmqpValue;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use twinroute_model::clock::Timestamp;

/// A message that a hub, queue or subscription holds, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedMessage {
    /// Its place in the order of arrival over the whole emulator.
    pub arrival: u64,
    /// The partition of a hub; `None` elsewhere.
    pub partition: Option<u16>,
    /// Its sequence number in partition, queue or subscription.
    pub sequence: i64,
    /// When it arrived.
    pub enqueued_at: Timestamp,
    /// Times it was handed out without being settled.
    pub delivery_count: u32,
    /// Property `message-id`; numbers and identifiers as text.
    pub message_id: Option<String>,
    /// Property `correlation-id`.
    pub correlation_id: Option<String>,
    /// Property `subject`.
    pub subject: Option<String>,
    /// Property `content-type`.
    pub content_type: Option<String>,
    /// Property `group-id`, the session.
    pub group_id: Option<String>,
    /// Annotation `x-opt-partition-key`.
    pub partition_key: Option<String>,
    /// Time to live in the header.
    pub time_to_live_ms: Option<u32>,
    /// Application properties.
    pub application_properties: BTreeMap<String, AmqpValue>,
    /// The data sections joined, or the bytes of a binary or string value.
    pub body: Bytes,
}

/// What the broker knows of a message beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessagePlace {
    pub(crate) arrival: u64,
    pub(crate) partition: Option<u16>,
    pub(crate) sequence: i64,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) delivery_count: u32,
}

impl ReceivedMessage {
    pub(crate) fn new(place: MessagePlace, message: &AmqpMessage) -> Self {
        // Messages are checked when they arrive; what does not decode now reads as empty.
        let content = message::content(&message.bare).unwrap_or_default();
        let property = |at: usize| content.properties.get(at).and_then(text);
        let pairs = content.application.iter();
        let pairs = pairs.filter_map(|(name, value)| Some((name.as_str()?, value)));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.clone()));
        Self {
            arrival: place.arrival,
            partition: place.partition,
            sequence: place.sequence,
            enqueued_at: place.enqueued_at,
            delivery_count: place.delivery_count,
            message_id: message.message_id.clone(),
            correlation_id: property(5),
            subject: property(3),
            content_type: property(6),
            group_id: message.group_id.clone(),
            partition_key: message.annotation("x-opt-partition-key").and_then(text),
            time_to_live_ms: time_to_live_ms(message),
            application_properties: pairs.collect(),
            body: body_bytes(content.body),
        }
    }
}

pub(crate) fn time_to_live_ms(message: &AmqpMessage) -> Option<u32> {
    let ttl = message.header.get(2).and_then(AmqpValue::as_i64);
    ttl.and_then(|ttl| u32::try_from(ttl).ok())
}

fn body_bytes(body: MessageBody) -> Bytes {
    match body {
        MessageBody::Data(mut sections) if sections.len() == 1 => sections.remove(0),
        MessageBody::Data(sections) => {
            let mut all = BytesMut::new();
            all.extend(sections);
            all.freeze()
        }
        MessageBody::Value(AmqpValue::Binary(bytes)) => bytes,
        MessageBody::Value(AmqpValue::String(text)) => Bytes::from(text),
        MessageBody::Empty | MessageBody::Value(_) | MessageBody::Sequence => Bytes::new(),
    }
}
