//! Groups a lane's batch by key and encodes the groups as transfers.
//!
//! Azure batch: a transfer of message-format `0x80013700` with one data section for each message,
//! the section's content being one whole encoded message. Its envelope repeats the key of its
//! first message, so one transfer never mixes keys. Source: azure-servicebus 7.15.0 and
//! Azure/azure-amqp, batch encoding.

use super::buckets;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Batch, Data, Message, MessageAnnotations, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Symbol, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use twinroute_model::cloudevents::amqp::{self, MessageEnvelope};
use twinroute_model::event::{Event, EventLimits, ExtensionValue};
use twinroute_model::settings::{PartitionKey, SessionKey};
use twinroute_model::trace_context::TraceContext;
use twinroute_model::twin::TwinKey;
use twinroute_router::sink::Delivery;

/// Message format of a batch (Azure).
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;
/// Message format of one AMQP message (AMQP 1.0 part 3 §3.2.16).
const MESSAGE_FORMAT: u32 = 0;
/// Longest partition key or session id, in UTF-16 code units, which are the characters of .NET.
/// Source: Azure Service Bus quotas, "message/session/partition key size 128".
const KEY_CHARS_MAX: usize = 128;
/// More than a message has around its payload and its event's attributes: an envelope of three values of at most
/// 128 characters of up to four bytes, a trace context, the names of the attributes, and what AMQP writes around each.
const AROUND_BYTES: usize = 3 * 4 * KEY_CHARS_MAX + 1_024 + 64 * (16 + EventLimits::EXTENSIONS_MAX);

/// What stands around an event's message, by destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageRouting {
    /// A partition key.
    EventHubs(PartitionKey),
    /// A message id, and perhaps a session.
    ServiceBus(SessionKey),
}

impl MessageRouting {
    /// The key whose events share a transfer, or `None` when any may.
    pub(crate) fn key<'a>(self, delivery: &'a Delivery) -> Option<Cow<'a, str>> {
        match self {
            Self::EventHubs(PartitionKey::Bucket) => {
                Some(buckets::key_of_twin(delivery.twin).into())
            }
            Self::EventHubs(PartitionKey::Twin) | Self::ServiceBus(SessionKey::Twin) => {
                Some(twin_key(delivery).into())
            }
            Self::EventHubs(_) | Self::ServiceBus(_) => None,
        }
    }

    /// A number that events which share a transfer have in common. Twins may have it in common too, if hardly ever.
    fn group(self, delivery: &Delivery) -> u64 {
        match self {
            Self::EventHubs(PartitionKey::Bucket) => buckets::of_twin(delivery.twin) as u64,
            Self::EventHubs(PartitionKey::Twin) | Self::ServiceBus(SessionKey::Twin) => {
                delivery.twin
            }
            Self::EventHubs(_) | Self::ServiceBus(_) => 0,
        }
    }

    /// Whether two events of one group have the same key too.
    fn is_same_key(self, one: &Delivery, other: &Delivery) -> bool {
        match self {
            Self::EventHubs(PartitionKey::Twin) | Self::ServiceBus(SessionKey::Twin) => {
                TwinKey::of(&one.event) == TwinKey::of(&other.event)
            }
            Self::EventHubs(_) | Self::ServiceBus(_) => true,
        }
    }

    fn envelope<'a>(
        self,
        key: Option<&'a str>,
        message_id: Option<&'a str>,
    ) -> MessageEnvelope<'a> {
        MessageEnvelope {
            partition_key: key,
            message_id,
            group_id: key.filter(|_| matches!(self, Self::ServiceBus(_))),
            trace: None,
        }
    }

    fn message_id(self, event: &Event) -> Option<String> {
        matches!(self, Self::ServiceBus(_)).then(|| amqp::message_id(event))
    }

    /// Whether events are spread over keys, so that a lane's batch becomes many transfers.
    pub(crate) fn spreads(self) -> bool {
        !matches!(
            self,
            Self::EventHubs(PartitionKey::None) | Self::ServiceBus(SessionKey::None)
        )
    }
}

/// The twin as a key; one that is too long stands as its stable hash.
fn twin_key(delivery: &Delivery) -> String {
    let TwinKey { host, twin } = TwinKey::of(&delivery.event);
    let key = [host, "/", twin].concat();
    // No character takes more code units than bytes.
    if key.len() <= KEY_CHARS_MAX || key.encode_utf16().count() <= KEY_CHARS_MAX {
        return key;
    }
    format!("{:016x}", delivery.twin)
}

/// How a transfer holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferForm {
    /// As a batch, perhaps of one.
    Batch,
    /// One event as a message of its own, which is a few bytes smaller.
    Single,
}

/// Some deliveries of a lane's batch that go in one transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferGroup {
    /// Their places in the lane's batch, ascending.
    pub(crate) places: Vec<usize>,
    pub(crate) form: TransferForm,
}

/// A group and its bytes.
pub(crate) struct EncodedGroup {
    pub(crate) group: TransferGroup,
    pub(crate) sendable: Box<Sendable<Batch<Data>>>,
}

/// What became of a lane's batch on its way to transfers.
#[derive(Default)]
pub(crate) struct TransferPlan {
    /// Ready to be sent, in order.
    pub(crate) transfers: Vec<EncodedGroup>,
    /// Deliveries that are larger than any transfer may be.
    pub(crate) too_large: Vec<TooLargeEvent>,
}

/// An event that no transfer of the link can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLargeEvent {
    pub(crate) place: usize,
    /// What its message alone has.
    pub(crate) bytes: usize,
    /// The link's max-message-size.
    pub(crate) bytes_max: usize,
}

/// Bytes that a transfer may have, its sections and nothing else: AMQP 1.0 part 2 §2.7.3, max-message-size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeLimits {
    /// The link's max-message-size; the largest number where it names none.
    pub(crate) message_max: usize,
    /// What a batch may have; Service Bus takes larger messages than batches.
    pub(crate) batch_max: usize,
}

/// Groups `places` of `batch` by key and encodes them; order within a key is kept.
///
/// Sizes are exact. An event that does not fit a batch, not even alone, goes as a message of its own where that
/// fits.
pub(crate) fn plan(
    routing: MessageRouting,
    batched: bool,
    limits: SizeLimits,
    batch: &[Delivery],
    places: impl Iterator<Item = usize>,
) -> TransferPlan {
    let mut plan = TransferPlan::default();
    let mut open = OpenTransfers::new(routing);
    for place in places {
        let delivery = &batch[place];
        if !batched {
            let key = routing.key(delivery);
            plan.single(routing, limits, delivery, place, key.as_deref());
            continue;
        }
        let group = open.of(batch, place);
        let id = routing.message_id(&delivery.event);
        let trace = delivery.trace_context();
        let envelope = MessageEnvelope {
            trace: trace.as_deref(),
            ..routing.envelope(group.key.as_deref(), id.as_deref())
        };
        // What an encoded event has beyond the memory of the event itself: names of properties.
        let mut bytes = Vec::with_capacity(delivery.event.size() + 256);
        amqp::write(&delivery.event, &envelope, &mut bytes);
        let cost = section_bytes(bytes.len());
        if group.envelope_bytes + cost > limits.batch_max {
            // What came before it with its key goes before it.
            if !group.places.is_empty() {
                group.flush(routing, &mut plan);
            }
            plan.single(routing, limits, delivery, place, group.key.as_deref());
            continue;
        }
        if !group.places.is_empty() && group.bytes + cost > limits.batch_max {
            group.flush(routing, &mut plan);
        }
        group.push(place, bytes, cost, id);
    }
    for mut group in open.transfers {
        if !group.places.is_empty() {
            group.flush(routing, &mut plan);
        }
    }
    plan.transfers
        .sort_by_key(|transfer| transfer.group.places[0]);
    plan
}

/// The transfers that are being filled, by the group of their events.
struct OpenTransfers<'a> {
    routing: MessageRouting,
    transfers: Vec<OpenTransfer<'a>>,
    by_group: HashMap<u64, usize>,
    /// What an envelope has, by the length of its key: to encode one is dear, and twins are many.
    envelope_bytes: Vec<(usize, usize)>,
}

impl<'a> OpenTransfers<'a> {
    fn new(routing: MessageRouting) -> Self {
        Self {
            routing,
            transfers: Vec::new(),
            by_group: HashMap::new(),
            envelope_bytes: Vec::new(),
        }
    }

    /// The transfer for the event in a place of `batch`, opened if there is none.
    ///
    /// Where two twins share a group, the later one takes it over: what follows of the earlier one gets another
    /// transfer, which goes behind.
    fn of(&mut self, batch: &'a [Delivery], place: usize) -> &mut OpenTransfer<'a> {
        let delivery = &batch[place];
        let group = self.routing.group(delivery);
        let found = self.by_group.get(&group).copied().filter(|slot| {
            let first = &batch[self.transfers[*slot].opened_by];
            self.routing.is_same_key(first, delivery)
        });
        let slot = match found {
            Some(slot) => slot,
            None => {
                self.by_group.insert(group, self.transfers.len());
                self.open(delivery, place);
                self.transfers.len() - 1
            }
        };
        &mut self.transfers[slot]
    }

    fn open(&mut self, delivery: &'a Delivery, place: usize) {
        let key = self.routing.key(delivery);
        let envelope_bytes = self.envelope_bytes(key.as_deref());
        self.transfers.push(OpenTransfer {
            opened_by: place,
            envelope_bytes,
            key,
            message_id: None,
            places: Vec::new(),
            sections: Vec::new(),
            bytes: envelope_bytes,
        });
    }

    fn envelope_bytes(&mut self, key: Option<&str>) -> usize {
        let length = key.map_or(0, str::len);
        let known = self.envelope_bytes.iter().find(|known| known.0 == length);
        if let Some((_, bytes)) = known {
            return *bytes;
        }
        // All message ids have the same length.
        let id = match self.routing {
            MessageRouting::ServiceBus(_) => Some("x".repeat(amqp::MESSAGE_ID_BYTES)),
            MessageRouting::EventHubs(_) => None,
        };
        let bytes = envelope_bytes(&self.routing.envelope(key, id.as_deref()));
        self.envelope_bytes.push((length, bytes));
        bytes
    }
}

/// A transfer that is being filled.
struct OpenTransfer<'a> {
    /// The place of the event that it was opened for.
    opened_by: usize,
    envelope_bytes: usize,
    key: Option<Cow<'a, str>>,
    /// Of the first event.
    message_id: Option<String>,
    places: Vec<usize>,
    sections: Vec<Data>,
    bytes: usize,
}

impl OpenTransfer<'_> {
    fn push(&mut self, place: usize, bytes: Vec<u8>, cost: usize, message_id: Option<String>) {
        if self.places.is_empty() {
            self.message_id = message_id;
        }
        self.bytes += cost;
        self.places.push(place);
        self.sections.push(Data::from(bytes));
    }

    fn flush(&mut self, routing: MessageRouting, plan: &mut TransferPlan) {
        let places = std::mem::take(&mut self.places);
        let sections = std::mem::take(&mut self.sections);
        self.bytes = self.envelope_bytes;
        let envelope = routing.envelope(self.key.as_deref(), self.message_id.as_deref());
        plan.transfers.push(EncodedGroup {
            group: TransferGroup {
                places,
                form: TransferForm::Batch,
            },
            sendable: Box::new(Sendable {
                message: message(&envelope, None, None, sections),
                message_format: BATCH_FORMAT,
                settled: Some(false),
            }),
        });
    }
}

impl TransferPlan {
    /// One event as one AMQP message, for brokers that know no batches and for events that fit none.
    fn single(
        &mut self,
        routing: MessageRouting,
        limits: SizeLimits,
        delivery: &Delivery,
        place: usize,
        key: Option<&str>,
    ) {
        let event = &delivery.event;
        let payload = event.payload();
        let data = payload.bytes.into_owned();
        // An event's size has its attributes and at least a part of its payload.
        let near = data.len() + event.size() + AROUND_BYTES > limits.message_max;
        let id = routing.message_id(event);
        let envelope = routing.envelope(key, id.as_deref());
        let attributes = attributes(event, delivery.trace_context().as_deref());
        let sections = vec![Data::from(data)];
        let message = message(&envelope, payload.media_type, Some(attributes), sections);
        if near {
            let (bytes, bytes_max) = (message_bytes(&message), limits.message_max);
            if bytes > bytes_max {
                self.too_large.push(TooLargeEvent {
                    place,
                    bytes,
                    bytes_max,
                });
                return;
            }
        }
        self.transfers.push(EncodedGroup {
            group: TransferGroup {
                places: vec![place],
                form: TransferForm::Single,
            },
            sendable: Box::new(Sendable {
                message,
                message_format: MESSAGE_FORMAT,
                settled: Some(false),
            }),
        });
    }
}

/// What the sections before the payload of a batch have.
fn envelope_bytes(envelope: &MessageEnvelope<'_>) -> usize {
    message_bytes(&message(envelope, None, None, Vec::new()))
}

/// What a message has on the wire: its sections one after the other.
fn message_bytes(message: &Message<Batch<Data>>) -> usize {
    let annotations = message.message_annotations.as_ref();
    let properties = message.properties.as_ref();
    let attributes = message.application_properties.as_ref();
    let sections = [
        annotations.map_or(0, encoded_bytes),
        properties.map_or(0, encoded_bytes),
        attributes.map_or(0, encoded_bytes),
    ];
    let data = message.body.iter().map(|data| section_bytes(data.0.len()));
    sections.into_iter().chain(data).sum()
}

/// What fe2o3-amqp makes of a data section with so many bytes: it writes a length in one byte up to 254.
const fn section_bytes(bytes: usize) -> usize {
    bytes + if bytes < 255 { 5 } else { 8 }
}

fn encoded_bytes(section: &impl serde::Serialize) -> usize {
    // A section of texts, numbers and truths is always written.
    serde_amqp::to_vec(section).map_or(0, |bytes| bytes.len())
}

fn message(
    envelope: &MessageEnvelope<'_>,
    content_type: Option<&str>,
    application_properties: Option<ApplicationProperties>,
    sections: Vec<Data>,
) -> Message<Batch<Data>> {
    let message_annotations = envelope.partition_key.map(|key| {
        MessageAnnotations::builder()
            .insert(
                Symbol::from("x-opt-partition-key"),
                Value::String(key.to_owned()),
            )
            .build()
    });
    let has_properties =
        envelope.message_id.is_some() || envelope.group_id.is_some() || content_type.is_some();
    let properties = has_properties.then(|| Properties {
        message_id: envelope.message_id.map(|id| id.to_owned().into()),
        group_id: envelope.group_id.map(str::to_owned),
        content_type: content_type.map(Symbol::from),
        ..Properties::default()
    });
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations,
        properties,
        application_properties,
        body: Batch::new(sections),
        footer: None,
    }
}

/// CloudEvents attributes as application properties, under the prefix that Azure Digital Twins uses, and a trace
/// context.
fn attributes(event: &Event, trace: Option<&TraceContext>) -> ApplicationProperties {
    let text = |value: &str| SimpleValue::String(value.to_owned());
    let mut builder = ApplicationProperties::builder()
        .insert("cloudEvents:id", text(event.id()))
        .insert("cloudEvents:source", text(event.source()))
        .insert("cloudEvents:specversion", text("1.0"))
        .insert("cloudEvents:type", text(event.event_type()));
    for (name, value) in [
        ("cloudEvents:time", event.time()),
        ("cloudEvents:subject", event.subject()),
        ("cloudEvents:dataschema", event.dataschema()),
    ] {
        if let Some(value) = value {
            builder = builder.insert(name, text(value));
        }
    }
    for (name, value) in event.extensions() {
        let value = match value {
            ExtensionValue::String(value) => text(value),
            ExtensionValue::Integer(value) => SimpleValue::Int(value),
            ExtensionValue::Boolean(value) => SimpleValue::Bool(value),
        };
        builder = builder.insert(format!("cloudEvents:{name}"), value);
    }
    if let Some(trace) = trace {
        let parent = trace.parent();
        builder = builder
            .insert("traceparent", text(parent.as_str()))
            .insert("Diagnostic-Id", text(parent.as_str()));
        if let Some(state) = trace.state() {
            builder = builder.insert("tracestate", text(state));
        }
    }
    builder.build()
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
