//! What one entity holds.

use super::listing::{self, HeldEntities};
use super::query::{EntityQuery, KINDS, QueryError};
use crate::amqp::value::AmqpValue;
use crate::blob::StoredBlob;
use crate::broker::message_broker::BrokerEntity;
use crate::broker::queue::MessageQueue;
use crate::broker::received::ReceivedMessage;
use crate::event_grid::GridEvent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use uuid::Uuid;

/// Bytes of bodies in one answer; the first event is there whatever its size.
const BODIES_BYTES_MAX: usize = 16 << 20;

pub(super) fn read(held: &HeldEntities, question: &EntityQuery) -> Result<String, QueryError> {
    let (kind, name) = match &question.entity {
        Some((kind, name)) => (*kind, name.as_str()),
        None => ("topic", only_topic(held)?),
    };
    let absent = || not_found(held, kind, name);
    let page = match kind {
        "hub" => {
            let Some(BrokerEntity::Hub(hub)) = held.broker.entity(name) else {
                return Err(absent());
            };
            let count = hub.partition_count();
            if question
                .partition
                .is_some_and(|number| usize::from(number) >= count)
            {
                let last = count - 1;
                let text = format!("hub {name} has the partitions 0 to {last}");
                return Err(QueryError::NotFound(text));
            }
            messages(
                hub.events_after(question.after, question.partition, question.max + 1),
                question,
            )
        }
        "queue" => {
            let Some(BrokerEntity::Queue(queue)) = held.broker.entity(name) else {
                return Err(absent());
            };
            queue_messages(queue, question)
        }
        "subscription" => {
            let parts = name.split_once('/').ok_or_else(|| {
                let text =
                    format!("parameter subscription: {name:?} is not <topic>/<subscription>");
                QueryError::Question(text)
            })?;
            let Some(BrokerEntity::Topic(topic)) = held.broker.entity(parts.0) else {
                return Err(absent());
            };
            queue_messages(topic.subscription(parts.1).ok_or_else(absent)?, question)
        }
        "container" => blobs(held.blobs.blobs(name).ok_or_else(absent)?, question),
        _ => {
            let found = held.event_grid.topic(name);
            grid_events(found.ok_or_else(absent)?.events(question.after), question)
        }
    };
    let key = if kind == "container" {
        "blobs"
    } else {
        "events"
    };
    let (name, items, more) = (json!(name), page.items.join(","), page.more);
    Ok(format!(
        r#"{{"{kind}":{name},"{key}":[{items}],"more":{more}}}"#
    ))
}

/// Without a name the only Event Grid topic is meant, and never one of several.
fn only_topic(held: &HeldEntities) -> Result<&str, QueryError> {
    match held.event_grid.topics.as_slice() {
        [topic] => Ok(&topic.name),
        _ => {
            let text = "say which entity: one of the parameters";
            let text = format!("{text} {}; /entities lists them", KINDS.join(", "));
            Err(QueryError::Question(text))
        }
    }
}

/// Says which of the kind there are, and when the name is one of another kind.
fn not_found(held: &HeldEntities, kind: &str, name: &str) -> QueryError {
    let all = listing::names(held);
    let of_kind: Vec<&str> = all
        .iter()
        .filter(|(known, _)| *known == kind)
        .map(|(_, name)| name.as_str())
        .collect();
    let known = match of_kind.as_slice() {
        [] => format!("there are no {kind}s here"),
        some => format!("there are {}", some.join(", ")),
    };
    let topic_of = |other: &str| {
        let topic = other.split_once('/').map(|(topic, _)| topic);
        topic.is_some_and(|topic| topic.eq_ignore_ascii_case(name))
    };
    let other = all
        .iter()
        .find(|(_, other)| other.eq_ignore_ascii_case(name) || topic_of(other));
    let hint = match other {
        Some((other_kind, other_name)) => format!("; did you mean {other_kind}={other_name}?"),
        None => String::new(),
    };
    QueryError::NotFound(format!("{kind} {name:?} is not here: {known}{hint}"))
}

/// What fits one answer.
struct EventPage {
    /// JSON each.
    items: Vec<String>,
    /// Whether there is more.
    more: bool,
}

fn page(items: impl Iterator<Item = (usize, String)>, max: usize) -> EventPage {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for (size, item) in items {
        bytes += size;
        if taken.len() == max || (bytes > BODIES_BYTES_MAX && !taken.is_empty()) {
            return EventPage {
                items: taken,
                more: true,
            };
        }
        taken.push(item);
    }
    EventPage {
        items: taken,
        more: false,
    }
}

fn messages(all: Vec<ReceivedMessage>, question: &EntityQuery) -> EventPage {
    let items = all
        .iter()
        .map(|one| (one.body.len(), message(one).to_string()));
    page(items, question.max)
}

fn queue_messages(queue: &Arc<MessageQueue>, question: &EntityQuery) -> EventPage {
    let queue = match (&queue.dead_letters, question.dead_letters) {
        (Some(dead_letters), true) => dead_letters,
        _ => queue,
    };
    let after = i64::try_from(question.after).unwrap_or(i64::MAX);
    messages(queue.messages_after(after, question.max + 1), question)
}

fn grid_events(all: Vec<GridEvent>, question: &EntityQuery) -> EventPage {
    let items = all.iter().map(|event| {
        // The event's JSON is shown byte for byte.
        let (number, post, text) = (event.number, event.post, event.text());
        let time = event.received_at.rfc3339();
        let view =
            format!(r#"{{"number":{number},"post":{post},"receivedAt":"{time}","event":{text}}}"#);
        (text.len(), view)
    });
    page(items, question.max)
}

fn blobs(all: Vec<StoredBlob>, question: &EntityQuery) -> EventPage {
    let items = all.iter().map(|blob| {
        let mut view = json!({
            "name": blob.name,
            "contentType": blob.content_type,
            "metadata": blob.metadata,
            "changedAt": blob.changed_at.rfc3339(),
            "size": blob.content.len(),
        });
        body(&mut view, &blob.content);
        (blob.content.len(), view.to_string())
    });
    page(items, question.max)
}

/// A message; what it does not have is left out.
fn message(message: &ReceivedMessage) -> Value {
    let properties = message.application_properties.iter();
    let properties: Map<String, Value> = properties
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect();
    let number = match message.partition {
        Some(_) => i64::try_from(message.arrival + 1).unwrap_or(i64::MAX),
        None => message.sequence,
    };
    let mut view = json!({
        "number": number,
        "sequence": message.sequence,
        "enqueuedAt": message.enqueued_at.rfc3339(),
        "properties": properties,
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            view[name] = value;
        }
    };
    let queued = message.partition.is_none();
    add("partition", message.partition.map(Value::from));
    add("partitionKey", text(&message.partition_key));
    add("sessionId", text(&message.group_id));
    add("messageId", text(&message.message_id));
    add("correlationId", text(&message.correlation_id));
    add("subject", text(&message.subject));
    add("contentType", text(&message.content_type));
    add("timeToLiveMs", message.time_to_live_ms.map(Value::from));
    add(
        "deliveryCount",
        queued.then(|| json!(message.delivery_count)),
    );
    body(&mut view, &message.body);
    view
}

fn text(text: &Option<String>) -> Option<Value> {
    text.as_deref().map(Value::from)
}

/// Text as it is, other bytes in base64.
fn body(view: &mut Value, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => view["body"] = json!(text),
        Err(_) => view["bodyBase64"] = json!(BASE64.encode(bytes)),
    }
}

/// An AMQP value as JSON; what JSON has no type for becomes text.
fn plain(value: &AmqpValue) -> Value {
    match value {
        AmqpValue::Null => Value::Null,
        AmqpValue::Bool(truth) => json!(truth),
        AmqpValue::Float(number) => json!(number),
        AmqpValue::Double(number) => json!(number),
        AmqpValue::Ulong(number) => json!(number),
        AmqpValue::Timestamp(millis) => json!(Timestamp::from_unix_millis(*millis).rfc3339()),
        AmqpValue::Binary(bytes) => json!(BASE64.encode(bytes)),
        AmqpValue::Uuid(bytes) => json!(Uuid::from_bytes(*bytes).to_string()),
        AmqpValue::String(text) | AmqpValue::Symbol(text) => json!(text),
        AmqpValue::Char(letter) => json!(letter),
        AmqpValue::List(items) | AmqpValue::Array(items) => items.iter().map(plain).collect(),
        AmqpValue::Map(pairs) => {
            let named = pairs.iter().map(|(key, value)| {
                let key = plain(key);
                (
                    key.as_str().map_or_else(|| key.to_string(), str::to_owned),
                    plain(value),
                )
            });
            Value::Object(named.collect())
        }
        AmqpValue::Described(both) => plain(&both.1),
        AmqpValue::Decimal32(_) | AmqpValue::Decimal64(_) | AmqpValue::Decimal128(_) => {
            json!("a decimal number")
        }
        other => json!(other.as_i64()),
    }
}
