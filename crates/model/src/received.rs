//! What a sender that does not repeat delivered: its events one by one, and what is none.
//!
//! Event Grid sends a delivery again after most failures, but not when it is told that something is wrong with it.
//! So nothing is refused as a whole: each event is read for itself, leniently, and what cannot be read is given back
//! with its bytes and the reason.
//! Source: Azure Event Grid, "Message delivery and retry": 400 and 413 are not repeated.

use crate::cloudevents::items::JsonArrayItems;
use crate::cloudevents::{http, json};
use crate::event::payload::without_mark;
use crate::event::{Event, EventLimits, EventProblem, EventStrictness, InvalidEvent};
use crate::event_grid_schema;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Parts that are given back one by one; what is no event beyond stays together, so that a body of a million numbers
/// is not a million parts.
const PARTS_MAX: usize = 100;

/// A delivery, read as far as it can be.
#[derive(Debug, Default)]
pub struct ReceivedEvents {
    /// The events, in order.
    pub events: Vec<Event>,
    /// What is no event, in order. Of a long array the last may be an array of many.
    pub unreadable: Vec<UnreadablePart>,
}

/// A part of a delivery that is no event, or the whole of one that has no parts.
#[derive(Clone, Debug)]
pub struct UnreadablePart {
    /// It, byte for byte.
    pub bytes: Bytes,
    /// Why it is no event, and its place in the delivery.
    pub reason: InvalidEvent,
}

/// What the body of a request looks like, judged by its first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// A JSON object with a `specversion`.
    CloudEvent,
    /// A JSON array whose first item has a `specversion`.
    CloudEventBatch,
    /// A JSON array or object whose first item has an `eventType`.
    EventGridSchema,
    /// Anything else.
    Other,
}

impl BodyShape {
    /// Looks no further than the end of the first event.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ReceivedItem {
            specversion: Option<IgnoredAny>,
            event_type: Option<IgnoredAny>,
        }
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let body = body.trim_ascii_start();
        let (item, cloud_events) = match body.split_first() {
            Some((b'[', rest)) => (rest, Self::CloudEventBatch),
            Some(_) | None => (body, Self::CloudEvent),
        };
        let mut items = serde_json::Deserializer::from_slice(item).into_iter::<ReceivedItem>();
        match items.next() {
            Some(Ok(item)) if item.specversion.is_some() => cloud_events,
            Some(Ok(item)) if item.event_type.is_some() => Self::EventGridSchema,
            Some(_) | None => Self::Other,
        }
    }
}

/// Reads a delivery: one event or an array of them, in either schema.
///
/// `default_source` stands in where an event of the Event Grid schema names no `topic`. An event larger than
/// `limits` allows is given back as unreadable; how many there are is bounded by the body alone.
#[must_use]
pub fn read(body: &Bytes, default_source: &str, limits: &EventLimits) -> ReceivedEvents {
    let mut received = ReceivedEvents::default();
    let text = without_mark(body);
    let text = match std::str::from_utf8(&text) {
        Ok(text) => text.trim_ascii(),
        Err(error) => {
            let offset = error.valid_up_to();
            let why = EventProblem::NotUtf8 { offset };
            return read_broken(body, &text, why, default_source, limits);
        }
    };
    if !text.starts_with('[') {
        match read_one(body, text, default_source, limits) {
            Ok(event) => received.events.push(event),
            Err(problem) => received.refuse(body.clone(), problem.into()),
        }
        return received;
    }
    let items: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(error) => {
            let reason = error.to_string();
            let bytes = without_mark(body);
            let why = EventProblem::NotArray { reason };
            return read_broken(body, &bytes, why, default_source, limits);
        }
    };
    // Past the first of them those that are no event are kept together, so that a hostile delivery makes
    // few entries.
    let mut rest: Option<(String, InvalidEvent)> = None;
    for (index, item) in items.into_iter().enumerate() {
        let item = item.get();
        let reason = match read_one(body, item, default_source, limits) {
            Ok(event) => {
                received.events.push(event);
                continue;
            }
            Err(problem) => InvalidEvent::from(problem).at(index),
        };
        match &mut rest {
            Some((together, _)) => {
                together.push(',');
                together.push_str(item);
            }
            None if received.unreadable.len() < PARTS_MAX => {
                received.refuse(body.slice_ref(item.as_bytes()), reason);
            }
            None => rest = Some((format!("[{item}"), reason)),
        }
    }
    if let Some((together, reason)) = rest {
        received.refuse((together + "]").into(), reason);
    }
    received
}

/// Reads an array of which not all is JSON in UTF-8: its items one by one, as far as it is clear where each ends. What
/// follows the first that has no clear end is given back in one piece. Without one event, all is.
///
/// A byte that is no UTF-8 inside a string makes unreadable the item that holds it, and no other.
fn read_broken(
    body: &Bytes,
    bytes: &Bytes,
    why: EventProblem,
    default_source: &str,
    limits: &EventLimits,
) -> ReceivedEvents {
    let masked = masked(bytes);
    let mut received = ReceivedEvents::default();
    let mut read = 0;
    for (index, item) in whole_items(&masked).enumerate() {
        if received.unreadable.len() == PARTS_MAX {
            break;
        }
        read = item.end;
        let part = bytes.slice(item);
        let event = match std::str::from_utf8(&part) {
            Ok(text) => read_one(body, text, default_source, limits),
            Err(error) => Err(EventProblem::NotUtf8 {
                offset: error.valid_up_to(),
            }),
        };
        match event {
            Ok(event) => received.events.push(event),
            Err(problem) => received.refuse(part, InvalidEvent::from(problem).at(index)),
        }
    }
    if received.events.is_empty() {
        received.unreadable.clear();
        received.refuse(body.clone(), why.into());
        return received;
    }
    let rest = bytes.slice(read..);
    // Brackets and commas hold nothing that could be lost.
    if let Some(begins) = rest.iter().position(|byte| !b",] \t\r\n".contains(byte)) {
        received.refuse(rest.slice(begins..), why.into());
    }
    received
}

/// The bytes as a text of the same length: what is no UTF-8 is a question mark.
fn masked(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// Where the items of an array are, up to the first that is no JSON or that neither a comma nor the end follows.
fn whole_items(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut items = JsonArrayItems::open(text).ok();
    std::iter::from_fn(move || {
        let items = items.as_mut()?;
        let rest = items.next().ok()??;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        values.next()?.ok()?;
        let length = values.byte_offset();
        items.advance(length);
        let start = text.len() - rest.len();
        Some(start..start + length)
    })
}

/// Reads a delivery in binary mode. One that is no event is given back as a JSON object with its attributes as they
/// came, so far as they are text, and its body as base64: what it would have been in structured mode.
#[must_use]
pub fn read_binary(
    headers: &[(&str, &[u8])],
    body: &Bytes,
    limits: &EventLimits,
) -> ReceivedEvents {
    let mut received = ReceivedEvents::default();
    let all = headers.iter().copied();
    match http::parse_as(all, body.clone(), limits, EventStrictness::Lenient) {
        Ok(event) => received.events.push(event),
        Err(reason) => {
            let mut members = serde_json::Map::new();
            for (name, value) in headers {
                let attribute = match name.eq_ignore_ascii_case("content-type") {
                    true => Some("datacontenttype".to_owned()),
                    false => http::attribute_name(name),
                };
                if let Some(attribute) = attribute {
                    members.insert(attribute, String::from_utf8_lossy(value).into());
                }
            }
            members.insert("data_base64".to_owned(), BASE64.encode(body).into());
            let bytes = serde_json::Value::Object(members).to_string();
            received.refuse(bytes.into(), reason);
        }
    }
    received
}

/// Reads the event that `item`, a part of `body`, stands for.
fn read_one(
    body: &Bytes,
    item: &str,
    default_source: &str,
    limits: &EventLimits,
) -> Result<Event, EventProblem> {
    match BodyShape::of(item.as_bytes()) {
        BodyShape::EventGridSchema => {
            event_grid_schema::parse_lenient(item, default_source, limits)
        }
        BodyShape::CloudEvent | BodyShape::CloudEventBatch | BodyShape::Other => {
            let event = json::parse_lenient(body.slice_ref(item.as_bytes()), limits);
            event.map_err(|invalid| invalid.problem)
        }
    }
}

/// An id for bytes that name none: base64url of their SHA-256, 43 characters. The same bytes have the same.
#[must_use]
pub fn content_id(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

/// Whether a text is one JSON value.
#[must_use]
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl ReceivedEvents {
    fn refuse(&mut self, bytes: Bytes, reason: InvalidEvent) {
        self.unreadable.push(UnreadablePart { bytes, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        r#"{"id":"g","subject":"s","eventType":"T","eventTime":"2026-01-31T08:15:30Z","data":{}}"#;
    const CLOUD: &str = r#"{"specversion":"1.0","id":"c","source":"s","type":"t"}"#;

    /// The ids of the events, and each part that is none: its text and why.
    fn check(body: &str, ids: &[&str], unreadable: &[(&str, &str)]) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let received = read(&body, "/events", &EventLimits::default());
        let found: Vec<&str> = received.events.iter().map(Event::id).collect();
        assert_eq!(found, ids);
        let parts = received.unreadable.iter();
        let parts: Vec<(&str, String)> = parts
            .map(|part| {
                (
                    std::str::from_utf8(&part.bytes).unwrap(),
                    part.reason.to_string(),
                )
            })
            .collect();
        let parts: Vec<(&str, &str)> = parts.iter().map(|(text, why)| (*text, &**why)).collect();
        assert_eq!(parts, unreadable);
    }

    #[test]
    fn each_event_of_a_delivery_is_read_for_itself() {
        let empty = GOOD.replace("\"s\"", "\"\"");
        let why = "event 1: attribute `subject`: must not be empty";
        check(
            &format!("[{GOOD}, {empty} ,{CLOUD}]"),
            &["g", "c"],
            &[(&empty, why)],
        );
        check(&format!("\u{feff} [{GOOD}]"), &["g"], &[]);
        check(CLOUD, &["c"], &[]);
        check(GOOD, &["g"], &[]);
        check("[]", &[], &[]);
        let twice = "event 0: attribute `id`: appears more than once";
        let double = CLOUD.replace('}', r#","id":"d"}"#);
        check(&format!("[{double}]"), &[], &[(&double, twice)]);
    }

    #[test]
    fn what_is_no_json_is_given_back_whole() {
        for (body, why) in [
            (
                "hello",
                "the event is not a JSON object: expected value at line 1 column 1",
            ),
            (
                "",
                "the event is not a JSON object: EOF while parsing a value at line 1 column 0",
            ),
            (
                "[1",
                "the batch is not a JSON array of events: EOF while parsing a list at line 1 column 2",
            ),
            (
                "7",
                "the event is not a JSON object: invalid type: integer `7`, expected a CloudEvent at line 1 column 1",
            ),
        ] {
            check(body, &[], &[(body, why)]);
        }
        let body = Bytes::from_static(b"[\xff]");
        let received = read(&body, "/events", &EventLimits::default());
        assert_eq!(received.unreadable[0].bytes, body);
    }

    #[test]
    fn notification_batch_that_is_broken_gives_what_is_whole() {
        let binary = |text: &str| text.replace("{}", "\"\u{1}\"");
        for (rest, unreadable) in [
            // A byte that is no UTF-8 costs the event that holds it.
            (format!(",{},{CLOUD}]", binary(GOOD)), vec![binary(GOOD)]),
            (
                format!(",{},7]", binary(GOOD)),
                vec![binary(GOOD), "7".to_owned()],
            ),
            // What is cut, or goes wrong, costs itself and what follows: nobody knows where it ends.
            (r#", {"id":"#.to_owned(), vec![r#"{"id":"#.to_owned()]),
            (
                format!(r#",{{"id":}},{GOOD}]"#),
                vec![format!(r#"{{"id":}},{GOOD}]"#)],
            ),
            (format!(" {GOOD}]"), vec![format!("{GOOD}]")]),
            ("] x".to_owned(), vec!["x".to_owned()]),
            (",]".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            let bytes = |text: &str| -> Vec<u8> {
                let bytes = text.bytes();
                bytes
                    .map(|byte| if byte == 1 { 0xff } else { byte })
                    .collect()
            };
            for mark in ["", "\u{feff}", " "] {
                let body = Bytes::from(bytes(&format!("{mark}[{CLOUD}{rest}")));
                let received = read(&body, "/events", &EventLimits::default());
                assert_eq!(received.events[0].id(), "c", "{rest}");
                let two = usize::from(rest.contains(&format!("\u{1}\"}},{CLOUD}")));
                assert_eq!(received.events.len(), 1 + two, "{rest}");
                let parts: Vec<_> = received
                    .unreadable
                    .iter()
                    .map(|part| part.bytes.to_vec())
                    .collect();
                let expect: Vec<_> = unreadable.iter().map(|part| bytes(part)).collect();
                assert_eq!(parts, expect, "{rest}");
            }
        }
        // One by one there are bounds as well.
        let body = format!("[{CLOUD}{},{GOOD}", ",7".repeat(1_000));
        let received = read(&Bytes::from(body), "/events", &EventLimits::default());
        assert_eq!(
            (received.events.len(), received.unreadable.len()),
            (1, PARTS_MAX + 1)
        );
    }

    #[test]
    fn many_that_are_none_stay_together() {
        let body = format!("[{},{GOOD},{CLOUD}]", vec!["7"; 100_000].join(","));
        let received = read(&Bytes::from(body), "/events", &EventLimits::default());
        assert_eq!(
            (received.events.len(), received.unreadable.len()),
            (2, PARTS_MAX + 1)
        );
        let last = &received.unreadable[PARTS_MAX];
        let together: Vec<u8> = serde_json::from_slice(&last.bytes).unwrap();
        assert_eq!(together, vec![7; 100_000 - PARTS_MAX]);
        assert!(
            last.reason.to_string().starts_with("event 100: "),
            "{}",
            last.reason
        );
        let again = read(&last.bytes, "/events", &EventLimits::default());
        assert_eq!(
            (again.events.len(), again.unreadable.len()),
            (0, PARTS_MAX + 1)
        );
    }

    #[test]
    fn no_source_loses_an_event() {
        for topic in [
            "a b",
            "bücher",
            "c:\\x",
            "50%",
            "/subscriptions/\\u0022x\\u0022",
        ] {
            let item = GOOD.replace(
                "\"id\"",
                &format!("\"topic\":\"{}\",\"id\"", topic.replace("c:\\", "c:\\\\")),
            );
            let received = read(
                &Bytes::from(format!("[{item}]")),
                "/events",
                &EventLimits::default(),
            );
            assert_eq!(
                received.events.len(),
                1,
                "{topic}: {:?}",
                received.unreadable
            );
            let cloud = CLOUD.replace("\"s\"", "\"a b\\u00fc\"");
            let received = read(&Bytes::from(cloud), "/events", &EventLimits::default());
            assert_eq!(received.events[0].source(), "a bü");
        }
    }

    proptest! {
        #[test]
        fn any_delivery_is_read_or_given_back(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "\\[?(\\{\"(specversion|eventType)\":(null|1|\"\"|\"1.0\")\\}|[0-9],?| ){0,4}\\]?".prop_map(String::into_bytes),
            ],
        ) {
            let body = Bytes::from(bytes);
            let received = read(&body, "/events", &EventLimits::default());
            let parts = received.events.len() + received.unreadable.len();
            let items = serde_json::from_slice::<Vec<IgnoredAny>>(&body).map(|items| items.len());
            match items {
                Ok(items) => prop_assert_eq!(parts, items),
                Err(_) => prop_assert!(parts >= 1),
            }
            for part in received.unreadable {
                prop_assert!(body.windows(part.bytes.len().max(1)).any(|window| window == &*part.bytes)
                    || part.bytes.is_empty());
            }
            drop(read_binary(&[("ce-id", &body)], &body, &EventLimits::default()));
        }
    }

    #[test]
    fn an_event_above_the_limit_is_given_back_and_the_others_are_not() {
        let limits = EventLimits {
            event_bytes_max: GOOD.len(),
            batch_events_max: 1,
        };
        let large = GOOD.replace("{}", "\"larger\"");
        let body = Bytes::from(format!("[{GOOD},{large},{GOOD}]"));
        let received = read(&body, "/events", &limits);
        assert_eq!(received.events.len(), 2, "the number of events is no rule");
        assert_eq!(received.unreadable[0].bytes, large);
    }
}
