//! Messages as tests and people want to read them.

use crate::amqp::message::{self, Body, Message, text};
use crate::amqp::value::Value;
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
    pub application_properties: BTreeMap<String, Value>,
    /// The data sections joined, or the bytes of a binary or string value.
    pub body: Bytes,
}

/// What the broker knows of a message beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) arrival: u64,
    pub(crate) partition: Option<u16>,
    pub(crate) sequence: i64,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) delivery_count: u32,
}

impl ReceivedMessage {
    pub(crate) fn new(place: Place, message: &Message) -> Self {
        // Messages are checked when they arrive; what does not decode now reads as empty.
        let content = message::content(&message.bare).unwrap_or_default();
        let property = |at: usize| content.properties.get(at).and_then(text);
        let application_properties = content
            .application
            .iter()
            .filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value.clone())))
            .collect();
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
            application_properties,
            body: body_bytes(content.body),
        }
    }
}

pub(crate) fn time_to_live_ms(message: &Message) -> Option<u32> {
    message
        .header
        .get(2)
        .and_then(Value::as_i64)
        .and_then(|ttl| u32::try_from(ttl).ok())
}

fn body_bytes(body: Body) -> Bytes {
    match body {
        Body::Data(mut sections) if sections.len() == 1 => sections.remove(0),
        Body::Data(sections) => {
            let mut all = BytesMut::new();
            sections
                .iter()
                .for_each(|section| all.extend_from_slice(section));
            all.freeze()
        }
        Body::Value(Value::Binary(bytes)) => bytes,
        Body::Value(Value::String(text)) => Bytes::from(text),
        Body::Empty | Body::Value(_) | Body::Sequence => Bytes::new(),
    }
}
