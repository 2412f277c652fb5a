//! The Event Grid event schema: written as Azure Digital Twins writes it, read from any publisher.
//!
//! Azure Digital Twins wraps the payload: `data` holds the payload as `data`, the content type as
//! `contenttype`, and `dataschema` and extension attributes beside it. Telemetry names its twin in
//! `subject` and carries `0001-01-01T00:00:00Z` when the sender gave no time.
//! Source: Azure Digital Twins, "Event notifications", samples per destination.

use crate::cloudevents::json::write_string;
use crate::event::{
    ADT_TYPES, Data, Event, ExtensionValue, Invalid, Limits, Parts, Problem, TELEMETRY, rules,
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
/// `contenttype` is always there, since readers know the wrapping by it.
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
    let content_type = event.datacontenttype().unwrap_or(match &data {
        Data::Binary(_) => "application/octet-stream",
        // CloudEvents JSON format 1.0.2 §3.1.1: an absent `datacontenttype` means this one.
        _ => "application/json",
    });
    match data {
        Data::None => {}
        Data::Json(json) => {
            out.extend_from_slice(b"\"data\":");
            out.extend_from_slice(json.as_bytes());
            out.push(b',');
        }
        Data::Text(text) => {
            member(out, b"\"data\":", &text);
            out.push(b',');
        }
        Data::Binary(bytes) => {
            member(out, b"\"data_base64\":", &BASE64.encode(bytes));
            out.push(b',');
        }
    }
    if let Some(schema) = event.dataschema() {
        member(out, b"\"dataschema\":", schema);
        out.push(b',');
    }
    member(out, b"\"contenttype\":", content_type);
    if let Some(component) = event.subject().filter(|_| telemetry) {
        member(out, b",\"subject\":", component);
    }
    for (name, value) in event.extensions() {
        out.push(b',');
        write_string(out, name);
        out.push(b':');
        match value {
            ExtensionValue::String(text) => write_string(out, text),
            ExtensionValue::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            ExtensionValue::Boolean(truth) => out.extend_from_slice(truth.to_string().as_bytes()),
        }
    }
    member(out, b"},\"eventType\":", event.event_type());
    member(out, b",\"eventTime\":", event.time().unwrap_or(NO_TIME));
    out.extend_from_slice(b",\"dataVersion\":\"1.0\"}");
}

fn member(out: &mut Vec<u8>, before: &[u8], value: &str) {
    out.extend_from_slice(before);
    write_string(out, value);
}

/// One event of the schema, as received.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
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
    #[serde(borrow)]
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
    limits: &Limits,
) -> Result<Vec<Event>, Invalid> {
    let not_array = |error: serde_json::Error| Problem::NotArray {
        reason: error.to_string(),
    };
    let items: Vec<&RawValue> = serde_json::from_slice(json).map_err(not_array)?;
    if items.len() > limits.batch_events_max {
        return Err(Problem::TooMany {
            events_max: limits.batch_events_max,
        }
        .into());
    }
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            parse(item.get(), default_source, limits).map_err(|problem| Invalid {
                index: Some(index),
                problem,
            })
        })
        .collect()
}

fn parse(json: &str, default_source: &str, limits: &Limits) -> Result<Event, Problem> {
    if json.len() > limits.event_bytes_max {
        let (bytes, bytes_max) = (json.len(), limits.event_bytes_max);
        return Err(Problem::TooLarge { bytes, bytes_max });
    }
    let received: Received<'_> = serde_json::from_str(json).map_err(|error| Problem::NotJson {
        reason: error.to_string(),
    })?;
    let id = required("id", &received.id)?;
    let event_type = required("eventType", &received.event_type)?;
    let subject = required("subject", &received.subject)?;
    let time = required("eventTime", &received.event_time)?;
    let source = received.topic.as_deref().filter(|topic| !topic.is_empty());
    let source = source.unwrap_or(default_source);
    let wrapped = ADT_TYPES
        .contains(&event_type)
        .then(|| received.data.and_then(|data| Wrapped::parse(data.get())))
        .flatten();
    let source = match &wrapped {
        Some(_) if event_type == TELEMETRY => source_of_twin(source, subject),
        _ => source.to_owned(),
    };
    let mut parts = Parts::new(id, &source, event_type);
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
    .build(limits)
}

fn required<'a>(name: &'static str, value: &'a Option<Cow<'_, str>>) -> Result<&'a str, Problem> {
    match value.as_deref() {
        None => Err(Problem::Missing { attribute: name }),
        Some("") => Err(Problem::attribute(name, "must not be empty")),
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
struct Wrapped<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(borrow)]
    contenttype: Cow<'a, str>,
    #[serde(borrow, flatten)]
    attributes: BTreeMap<Cow<'a, str>, serde_json::Value>,
}

/// A member that is there, `null` or not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl<'a> Wrapped<'a> {
    fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    fn fill(self, mut parts: Parts, subject: &str, event_type: &str) -> Result<Parts, Problem> {
        // That of telemetry is its component, if it has one, and stands inside.
        if event_type != TELEMETRY {
            parts.put("subject", subject)?;
        }
        parts.put("datacontenttype", &self.contenttype)?;
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
                    let number = number.ok_or_else(|| Problem::attribute(name, rule))?;
                    parts = parts.extension(name, ExtensionValue::Integer(number))?;
                }
                _ => return Err(Problem::attribute(name, "must be a string")),
            }
        }
        Ok(match self.payload()? {
            Some(payload) => parts.data(payload),
            None => parts,
        })
    }

    /// The payload as it stands alone: text without its quotes, bytes without their base64.
    fn payload(&self) -> Result<Option<Bytes>, Problem> {
        match (self.data, &self.data_base64) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Problem::Data {
                rule: "must not stand beside `data_base64`".to_owned(),
            }),
            (None, Some(base64)) => match BASE64.decode(base64) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) => Err(Problem::attribute(
                    "data_base64",
                    format!("is not base64: {error}"),
                )),
            },
            (Some(raw), None) => {
                let text = (!rules::is_json(Some(&self.contenttype)))
                    .then(|| serde_json::from_str::<String>(raw.get()).ok())
                    .flatten();
                let text = text.unwrap_or_else(|| raw.get().to_owned());
                Ok(Some(text.into()))
            }
        }
    }
}

#[cfg(test)]
#[path = "event_grid_schema_tests.rs"]
mod tests;
