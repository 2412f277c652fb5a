//! Dead letters read back: from blobs of twinroute, of Azure Digital Twins and of Event Grid.
//!
//! | written by | content | what is known of the failure |
//! |---|---|---|
//! | twinroute | one CloudEvent | metadata, see [`super::document`] |
//! | Azure Digital Twins | one CloudEvent | nothing |
//! | Event Grid, CloudEvents schema | array; attributes such as `deadletterreason` among the event's own | those |
//! | Event Grid, its own schema | array; members such as `deadLetterReason` among the event's own | those |
//!
//! What Event Grid mixed in is taken out again, so that a replay sends what the producer sent. It is
//! only taken out of events that have a `deadletterreason` and of blobs that are not ours: an event may
//! have an attribute `publishtime` of its own. Such CloudEvents are also published without `specversion`,
//! which is then put back. Everything else of an event stays as it is, byte for byte.
//!
//! Source: Azure Event Grid "Message delivery and retry" (2026-02-09), dead-letter events.

use super::document::{
    ATTEMPTS, BlobMetadata, ENDPOINT, EVENT_GRID_OUTCOME, EVENT_GRID_REASON, INSTANCE,
    LAST_ATTEMPT_TIME, OUTCOME, PUBLISH_TIME, REASON, unescape,
};
use bytes::Bytes;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::value::RawValue;
use std::fmt;
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::event::{Event, EventLimits, EventProblem, InvalidEvent};
use twinroute_model::event_grid_schema;

/// The largest blob that is read, in bytes: the largest event, its payload in base64, and an envelope.
pub const BLOB_BYTES_MAX: usize = 96 << 20;

/// Members of one event: its extensions, what CloudEvents define, and what Event Grid adds.
const MEMBERS_MAX: usize = EventLimits::EXTENSIONS_MAX + 32;

/// An event taken out of a blob, and what is known of it.
#[derive(Clone, Debug)]
pub struct ReadBack {
    /// The event as its producer sent it.
    pub event: Event,
    /// What the blob and its metadata say of the failure.
    pub known: DeadLetterDetails,
}

/// What a blob says of a failure. Texts have at most
/// [`OUTCOME_BYTES_MAX`](twinroute_model::dead_letter::OUTCOME_BYTES_MAX) bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterDetails {
    /// Our reason, when the blob is ours.
    pub reason: Option<DeadLetterReason>,
    /// Event Grid's word for the reason.
    pub event_grid_reason: Option<Box<str>>,
    /// Attempts that were made.
    pub attempts: Option<u32>,
    /// The last outcome: ours, or Event Grid's word for it.
    pub outcome: Option<Box<str>>,
    /// When the event was accepted or published.
    pub accepted_at: Option<Timestamp>,
    /// When it was last tried.
    pub last_attempt_at: Option<Timestamp>,
    /// The endpoint that did not get it, when the blob is ours.
    pub endpoint: Option<Box<str>>,
    /// The instance of that endpoint, when the blob is ours.
    pub instance: Option<Box<str>>,
}

/// Reads a blob: one result per event, in order, so that one bad event does not hide the others.
///
/// Events larger than `limits` and arrays longer than its batch are refused; events own their bytes.
///
/// # Errors
/// When the blob is no JSON object or array of objects, or is larger than [`BLOB_BYTES_MAX`].
pub fn parse(
    content: &Bytes,
    metadata: &BlobMetadata,
    limits: &EventLimits,
) -> Result<Vec<Result<ReadBack, InvalidEvent>>, EventProblem> {
    if content.len() > BLOB_BYTES_MAX {
        return Err(EventProblem::TooLarge {
            bytes: content.len(),
            bytes_max: BLOB_BYTES_MAX,
        });
    }
    let text = std::str::from_utf8(content).map_err(|error| EventProblem::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    // Some writers begin with a byte order mark, which is no JSON.
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('[') {
        let object = EventObject::parse(text)?;
        return Ok(vec![
            object.read(metadata, limits).map_err(InvalidEvent::from),
        ]);
    }
    let events_max = limits.batch_events_max;
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = ArrayItems { events_max }.deserialize(&mut reader);
    let items = read.and_then(|items| reader.end().map(|()| items));
    let items = items.map_err(|error| EventProblem::NotArray {
        reason: error.to_string(),
    })?;
    if items.len() > events_max {
        return Err(EventProblem::TooMany { events_max });
    }
    let read = |(index, item): (usize, &RawValue)| {
        EventObject::parse(item.get())
            .and_then(|object| object.read(metadata, limits))
            .map_err(|problem| InvalidEvent {
                index: Some(index),
                problem,
            })
    };
    Ok(items.into_iter().enumerate().map(read).collect())
}

/// The items of an array: one more than may be, to know that there are too many. A reference takes more memory
/// than a small item.
struct ArrayItems {
    events_max: usize,
}

impl<'de> DeserializeSeed<'de> for ArrayItems {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ArrayItems {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while read.len() <= self.events_max {
            match items.next_element()? {
                Some(item) => read.push(item),
                None => return Ok(read),
            }
        }
        while let Some(IgnoredAny) = items.next_element()? {}
        Ok(read)
    }
}

/// One event of a blob: its text and its members, values not looked at.
struct EventObject<'a> {
    text: &'a str,
    members: ObjectMembers<'a>,
}

impl<'a> EventObject<'a> {
    fn parse(text: &'a str) -> Result<Self, EventProblem> {
        let members = serde_json::from_str(text).map_err(|error| EventProblem::NotJson {
            reason: error.to_string(),
        })?;
        Ok(Self { text, members })
    }

    fn read(
        &self,
        metadata: &BlobMetadata,
        limits: &EventLimits,
    ) -> Result<ReadBack, EventProblem> {
        let ours = metadata.contains_key(REASON);
        let mixed = !ours && self.has(|name| name.eq_ignore_ascii_case(EVENT_GRID_REASON));
        let known = if mixed {
            self.known()
        } else {
            DeadLetterDetails::from_metadata(metadata)
        };
        let single = |json: &str| Bytes::copy_from_slice(json.as_bytes());
        let event = if self.has(|name| name == "eventType") && !self.has(|name| name == "type") {
            // That reader skips members it does not know.
            event_grid_schema::parse_lenient(self.text, "", limits)?.detached()
        } else if !mixed || (self.has(|name| name == "specversion") && !self.has(is_mixed_in)) {
            json::parse_lenient(single(self.text), limits).map_err(|invalid| invalid.problem)?
        } else {
            json::parse_lenient(single(&self.without_mixed_in()), limits)
                .map_err(|invalid| invalid.problem)?
        };
        Ok(ReadBack { event, known })
    }

    fn has(&self, test: impl Fn(&str) -> bool) -> bool {
        self.members.0.iter().any(|(name, _)| test(name))
    }

    /// The event without what Event Grid mixed in, and with a `specversion`.
    fn without_mixed_in(&self) -> String {
        let mut text = String::with_capacity(self.text.len() + 24);
        text.push('{');
        let mut separator = "";
        if !self.has(|name| name == "specversion") {
            text.push_str(r#""specversion":"1.0""#);
            separator = ",";
        }
        for (name, value) in self.members.0.iter().filter(|(name, _)| !is_mixed_in(name)) {
            text.push_str(separator);
            separator = ",";
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }

    /// What Event Grid mixed in.
    fn known(&self) -> DeadLetterDetails {
        let text = |wanted: &str| {
            let (_, value) = self
                .members
                .0
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            serde_json::from_str::<String>(value.get()).ok()
        };
        let attempts = |(name, value): &(String, &RawValue)| {
            let wanted = name.eq_ignore_ascii_case(ATTEMPTS);
            wanted.then(|| value.get().trim_matches('"').parse().ok())?
        };
        DeadLetterDetails {
            reason: None,
            event_grid_reason: text(EVENT_GRID_REASON).map(bounded),
            attempts: self.members.0.iter().find_map(attempts),
            outcome: text(EVENT_GRID_OUTCOME).map(bounded),
            accepted_at: text(PUBLISH_TIME).and_then(|text| Timestamp::parse_rfc3339(&text)),
            last_attempt_at: text(LAST_ATTEMPT_TIME)
                .and_then(|text| Timestamp::parse_rfc3339(&text)),
            endpoint: None,
            instance: None,
        }
    }
}

impl DeadLetterDetails {
    fn from_metadata(metadata: &BlobMetadata) -> Self {
        let text = |name: &str| metadata.get(name).map(|value| unescape(value));
        let time = |name: &str| text(name).and_then(|text| Timestamp::parse_rfc3339(&text));
        Self {
            reason: text(REASON).and_then(|word| DeadLetterReason::parse(&word)),
            event_grid_reason: text(EVENT_GRID_REASON).map(bounded),
            attempts: text(ATTEMPTS).and_then(|number| number.parse().ok()),
            outcome: text(OUTCOME)
                .or_else(|| text(EVENT_GRID_OUTCOME))
                .map(bounded),
            accepted_at: time(PUBLISH_TIME),
            last_attempt_at: time(LAST_ATTEMPT_TIME),
            endpoint: text(ENDPOINT).map(bounded),
            instance: text(INSTANCE).map(bounded),
        }
    }
}

/// A text of somebody else's blob, cut to what a dead letter keeps.
fn bounded(text: String) -> Box<str> {
    (*DeadLetter::outcome(&text)).into()
}

/// What Event Grid adds to an event, in either spelling. The status is not in its documentation, but in
/// blobs that it writes.
fn is_mixed_in(name: &str) -> bool {
    [
        EVENT_GRID_REASON,
        ATTEMPTS,
        EVENT_GRID_OUTCOME,
        "lasthttpstatuscode",
        PUBLISH_TIME,
        LAST_ATTEMPT_TIME,
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// The members of a JSON object in their order, repeated ones too.
struct ObjectMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for ObjectMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectMembersVisitor)
    }
}

struct ObjectMembersVisitor;

impl<'de> Visitor<'de> for ObjectMembersVisitor {
    type Value = ObjectMembers<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            if members.len() == MEMBERS_MAX {
                return Err(A::Error::custom("it has too many members"));
            }
            members.push(member);
        }
        Ok(ObjectMembers(members))
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
