//! The Event Grid event schema: written as Azure Digital Twins writes it, read from any publisher.
//!
//! Azure Digital Twins wraps the payload: `data` holds the payload as `data`, the content type as
//! `contenttype`, and `dataschema` and extension attributes beside it. Telemetry names its twin in
//! `subject` and carries `0001-01-01T00:00:00Z` when the sender gave no time.
//! Source: Azure Digital Twins, "Event notifications", samples per destination.

use crate::cloudevents::json::write_string;
use crate::event::payload::{IMPLIED_MEDIA_TYPE, MediaKind, PayloadMember, without_mark};
use crate::event::{
    ADT_TYPES, Event, EventData, EventLimits, EventParts, EventProblem, EventStrictness,
    ExtensionValue, InvalidEvent, TELEMETRY,
};
use crate::twin::TwinKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What stands for an absent time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Appends one event.
///
/// `topic` and `metadataVersion` are left to Event Grid, which adds them. The schema has no place for
/// `source`; the component path of telemetry is kept as `subject` inside `data`, where attributes go.
/// `contenttype` is there unless the payload is bytes of which nobody said what they are; readers know the wrapping by
/// it, or by `data_base64`.
pub fn write(event: &Event, out: &mut Vec<u8>) {
    let telemetry = event.event_type() == TELEMETRY;
    let twin = TwinKey::of(event).twin;
    let subject = if telemetry {
        twin
    } else {
        event.subject().unwrap_or(twin)
    };
    member(out, b"{\"id\":", event.id());
    member(out, b",\"subject\":", subject);
    out.extend_from_slice(b",\"data\":{");
    let data = event.data();
    let content_type = event.datacontenttype().or(match data {
        EventData::Binary(_) => None,
        _ => Some(IMPLIED_MEDIA_TYPE),
    });
    let mut members = DataMembers::default();
    match data {
        EventData::None => {}
        EventData::Json(json) => members.raw(out, "data", json),
        EventData::Text(text) => members.string(out, "data", &text),
        EventData::Binary(bytes) => members.string(out, "data_base64", &BASE64.encode(bytes)),
    }
    if let Some(schema) = event.dataschema() {
        members.string(out, "dataschema", schema);
    }
    if let Some(content_type) = content_type {
        members.string(out, "contenttype", content_type);
    }
    if let Some(component) = event.subject().filter(|_| telemetry) {
        members.string(out, "subject", component);
    }
    for (name, value) in event.extensions() {
        match value {
            ExtensionValue::String(text) => members.string(out, name, text),
            ExtensionValue::Integer(number) => members.raw(out, name, &number.to_string()),
            ExtensionValue::Boolean(truth) => members.raw(out, name, &truth.to_string()),
        }
    }
    member(out, b"},\"eventType\":", event.event_type());
    member(out, b",\"eventTime\":", event.time().unwrap_or(NO_TIME));
    out.extend_from_slice(b",\"dataVersion\":\"1.0\"}");
}

/// Writes the members of `data`, with commas between them.
#[derive(Default)]
struct DataMembers {
    is_second: bool,
}

impl DataMembers {
    fn name(&mut self, out: &mut Vec<u8>, name: &str) {
        if std::mem::replace(&mut self.is_second, true) {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
    }

    fn string(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        self.name(out, name);
        write_string(out, value);
    }

    fn raw(&mut self, out: &mut Vec<u8>, name: &str, json: &str) {
        self.name(out, name);
        out.extend_from_slice(json.as_bytes());
    }
}

fn member(out: &mut Vec<u8>, before: &[u8], value: &str) {
    out.extend_from_slice(before);
    write_string(out, value);
}

/// One event of the schema, as received.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceivedEvent<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_time: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_version: Option<Cow<'a, str>>,
}

/// Reads an array of events: all of it, or nothing.
///
/// `default_source` stands in where an event names no `topic`. What Azure Digital Twins wrapped is
/// unwrapped, so that filters see the same event as over CloudEvents; telemetry gets its twin back into
/// `source`.
///
/// # Errors
/// The first event that breaks a rule, with its index.
pub fn parse_batch(
    json: &Bytes,
    default_source: &str,
    limits: &EventLimits,
) -> Result<Vec<Event>, InvalidEvent> {
    let not_array = |error: serde_json::Error| EventProblem::NotArray {
        reason: error.to_string(),
    };
    let json = without_mark(json);
    let items: Vec<&RawValue> = serde_json::from_slice(&json).map_err(not_array)?;
    if items.len() > limits.batch_events_max {
        return Err(EventProblem::TooMany {
            events_max: limits.batch_events_max,
        }
        .into());
    }
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let event = parse(
                item.get(),
                default_source,
                limits,
                EventStrictness::Producer,
            );
            event.map_err(|problem| InvalidEvent::from(problem).at(index))
        })
        .collect()
}

/// Reads one event of which no repeat will come: a `topic` that is no URI-reference is kept as it is. Else as
/// [`parse_batch`].
///
/// # Errors
/// The first rule that is broken.
pub fn parse_lenient(
    json: &str,
    default_source: &str,
    limits: &EventLimits,
) -> Result<Event, EventProblem> {
    parse(json, default_source, limits, EventStrictness::Lenient)
}

fn parse(
    json: &str,
    default_source: &str,
    limits: &EventLimits,
    strictness: EventStrictness,
) -> Result<Event, EventProblem> {
    if json.len() > limits.event_bytes_max {
        let (bytes, bytes_max) = (json.len(), limits.event_bytes_max);
        return Err(EventProblem::TooLarge { bytes, bytes_max });
    }
    let received: ReceivedEvent<'_> =
        serde_json::from_str(json).map_err(|error| EventProblem::NotJson {
            reason: error.to_string(),
        })?;
    let id = required("id", &received.id)?;
    let event_type = required("eventType", &received.event_type)?;
    let subject = required("subject", &received.subject)?;
    let time = required("eventTime", &received.event_time)?;
    let source = received.topic.as_deref().filter(|topic| !topic.is_empty());
    let source = source.unwrap_or(default_source);
    // Azure Digital Twins wraps its payload for this schema; it is undone, so that an event means the
    // same in either.
    let wrapped = ADT_TYPES
        .contains(&event_type)
        .then(|| {
            received
                .data
                .and_then(|data| WrappedPayload::parse(data.get()))
        })
        .flatten();
    let source = match &wrapped {
        Some(_) if event_type == TELEMETRY => source_of_twin(source, subject),
        _ => source.to_owned(),
    };
    let mut parts = EventParts::new(id, &source, event_type);
    if time != NO_TIME {
        parts.put("time", time)?;
    }
    match wrapped {
        Some(wrapped) => wrapped.fill(parts, subject, event_type)?,
        None => {
            parts.put("subject", subject)?;
            if let Some(version) = received
                .data_version
                .as_deref()
                .filter(|text| !text.is_empty())
            {
                parts.put("dataversion", version)?;
            }
            match received.data {
                Some(data) => parts.json(data.get()),
                None => parts,
            }
        }
    }
    .build_as(limits, strictness)
}

fn required<'a>(
    name: &'static str,
    value: &'a Option<Cow<'_, str>>,
) -> Result<&'a str, EventProblem> {
    match value.as_deref() {
        None => Err(EventProblem::Missing { attribute: name }),
        Some("") => Err(EventProblem::attribute(name, "must not be empty")),
        Some(value) => Ok(value),
    }
}

/// The source of a twin's telemetry, as CloudEvents carry it: the schema has the twin in `subject` alone.
fn source_of_twin(source: &str, twin: &str) -> String {
    /// What a segment of a URI-reference cannot hold; `%` stays, since it may begin an escape.
    const OUTSIDE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\\').add(b'/');
    let source = source.trim_end_matches('/');
    format!(
        "{source}/digitaltwins/{}",
        utf8_percent_encode(twin, OUTSIDE)
    )
}

/// The `data` that Azure Digital Twins writes around a payload.
#[derive(Deserialize)]
struct WrappedPayload<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data_base64: Option<&'a RawValue>,
    #[serde(borrow)]
    contenttype: Option<Cow<'a, str>>,
    #[serde(borrow, flatten)]
    attributes: BTreeMap<Cow<'a, str>, serde_json::Value>,
}

/// A member that is there, `null` or not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl<'a> WrappedPayload<'a> {
    fn parse(json: &'a str) -> Option<Self> {
        let wrapped: Option<Self> = serde_json::from_str(json).ok();
        wrapped.filter(|wrapped| wrapped.contenttype.is_some() || wrapped.data_base64.is_some())
    }

    fn fill(
        self,
        mut parts: EventParts,
        subject: &str,
        event_type: &str,
    ) -> Result<EventParts, EventProblem> {
        // That of telemetry is its component, if it has one, and stands inside.
        if event_type != TELEMETRY {
            parts.put("subject", subject)?;
        }
        if let Some(content_type) = &self.contenttype {
            parts.put("datacontenttype", content_type)?;
        }
        for (name, value) in &self.attributes {
            match value {
                // JSON format 1.0.2 §2.2: a null attribute is an absent one.
                Value::Null => {}
                Value::String(text) => parts.put(name, text)?,
                Value::Bool(truth) => {
                    parts = parts.extension(name, ExtensionValue::Boolean(*truth))?;
                }
                Value::Number(number) => {
                    let number = number
                        .as_i64()
                        .and_then(|number| i32::try_from(number).ok());
                    let rule = "a number must be an integer of 32 bits";
                    let number = number.ok_or_else(|| EventProblem::attribute(name, rule))?;
                    parts = parts.extension(name, ExtensionValue::Integer(number))?;
                }
                _ => return Err(EventProblem::attribute(name, "must be a string")),
            }
        }
        self.payload(parts)
    }

    /// Sets the payload as it stands alone: text without its quotes, bytes without their base64.
    fn payload(&self, parts: EventParts) -> Result<EventParts, EventProblem> {
        let kind = MediaKind::of(self.contenttype.as_deref());
        let raw = |member: Option<&'a RawValue>| member.map(RawValue::get);
        let text = |json: &str| serde_json::from_str::<String>(json).ok();
        Ok(
            match PayloadMember::of(raw(self.data), raw(self.data_base64), kind)? {
                PayloadMember::None => parts,
                PayloadMember::Value(json) if kind != MediaKind::Other => parts.json(json),
                PayloadMember::Value(json) => {
                    parts.data(text(json).unwrap_or_else(|| json.to_owned()).into())
                }
                PayloadMember::Base64(json) => {
                    let name = "data_base64";
                    let base64 =
                        text(json).ok_or_else(|| EventProblem::attribute(name, "must be a string"));
                    let bytes = BASE64.decode(base64?);
                    let bytes = bytes.map_err(|error| {
                        EventProblem::attribute(name, format!("is not base64: {error}"))
                    })?;
                    parts.data(bytes.into())
                }
            },
        )
    }
}

#[cfg(test)]
#[path = "event_grid_schema_tests.rs"]
mod tests;
