//! What producers post: a pure function of seed, producer and number.
//!
//! The content of an event is identified by a hash over its attributes and payload, made alike from what was
//! posted and from what arrived, so that two that differ anywhere have different hashes.

use super::history::{Endpoint, Endpoints, Event, EventId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Twins of each producer.
const TWINS: u32 = 6;

/// The largest message that hub and topic take, in bytes. Small, so that many events are too large.
pub(super) const MESSAGE_BYTES_MAX: usize = 24 << 10;

/// The routes of the scene: id, endpoint and filter. What they match is repeated in [`matched`].
pub(super) const ROUTES: [(&str, Endpoint, &str); 5] = [
    ("all", Endpoint::Grid, "true"),
    (
        "telemetry",
        Endpoint::Hub,
        "type = 'microsoft.iot.telemetry'",
    ),
    ("high", Endpoint::Hub, "$body.level >= 50"),
    (
        "updates",
        Endpoint::Topic,
        "type = 'Microsoft.DigitalTwins.Twin.Update'",
    ),
    ("highest", Endpoint::Topic, "$body.level >= 80"),
];

/// The content mode of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Structured,
    Binary,
    Batch,
}

/// A request and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Head and body, as they go over the wire.
    pub(super) bytes: Vec<u8>,
    pub(super) events: Vec<Event>,
}

/// The `number`-th post of a producer.
pub(super) fn request(seed: u64, producer: u32, number: u32) -> Request {
    let place = (u64::from(producer) << 32) | u64::from(number);
    let mut rng = Rng::with_seed(seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mode = match rng.u32(0..10) {
        0..4 => Mode::Structured,
        4..6 => Mode::Binary,
        _ => Mode::Batch,
    };
    let count = match mode {
        Mode::Structured | Mode::Binary => 1,
        Mode::Batch => rng.u32(2..=12),
    };
    let events: Vec<Full> = (0..count)
        .map(|index| {
            let id = EventId {
                producer,
                post: number,
                index,
            };
            Full::new(id, mode, &mut rng)
        })
        .collect();
    Request {
        bytes: encode(mode, &events),
        events: events
            .iter()
            .map(|event| event.history_event(mode))
            .collect(),
    }
}

/// An event in full.
struct Full {
    twin: u32,
    telemetry: bool,
    /// What `$body.level` is, where the payload is JSON.
    level: Option<u32>,
    /// By name; `data` apart.
    attributes: BTreeMap<&'static str, Attribute>,
    data: Vec<u8>,
}

/// A value with its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Attribute {
    Text(String),
    Integer(i64),
    Truth(bool),
}

impl Full {
    fn new(id: EventId, mode: Mode, rng: &mut Rng) -> Self {
        let twin = id.producer * TWINS + rng.u32(0..TWINS);
        let telemetry = rng.bool();
        let mut attributes = BTreeMap::new();
        let mut text = |name, value: String| {
            attributes.insert(name, Attribute::Text(value));
        };
        text("specversion", "1.0".to_owned());
        text("id", id.to_string());
        // Both kinds of event name the same twin.
        if telemetry {
            text("source", format!("crash.example/digitaltwins/twin-{twin}"));
            text("type", "microsoft.iot.telemetry".to_owned());
        } else {
            text("source", "crash.example".to_owned());
            text("subject", format!("twin-{twin}"));
            text("type", "Microsoft.DigitalTwins.Twin.Update".to_owned());
        }
        text("traceparent", format!("00-{:032x}-1-01", rng.u128(..)));
        if rng.bool() {
            text("comment", "caf\u{e9} \u{2603} \"100%\"".to_owned());
        }
        // In binary mode every extension is text (CloudEvents HTTP binding 1.0.2 §3.1.3).
        if mode != Mode::Binary {
            attributes.insert("weight", Attribute::Integer(rng.i32(..).into()));
            attributes.insert("urgent", Attribute::Truth(rng.bool()));
        }
        let bytes = match rng.u32(0..1_000) {
            0..60 => rng.usize(MESSAGE_BYTES_MAX..MESSAGE_BYTES_MAX + (8 << 10)),
            60..90 => rng.usize(4 << 10..16 << 10),
            _ => rng.usize(16..1_200),
        };
        let (level, kind, data) = if mode == Mode::Binary {
            let data = std::iter::repeat_with(|| rng.u8(..)).take(bytes);
            (None, "application/octet-stream", data.collect())
        } else {
            let level = rng.u32(0..100);
            let filler: String = std::iter::repeat_with(|| rng.alphanumeric())
                .take(bytes)
                .collect();
            // Blanks, digits and order that a rewritten payload would not have.
            let data = format!(
                r#"{{ "z":1.10,"level": {level} , "big":90071992547409931,"a":"{filler}" }}"#
            );
            (Some(level), "application/json", data.into_bytes())
        };
        attributes.insert("datacontenttype", Attribute::Text(kind.to_owned()));
        Self {
            twin,
            telemetry,
            level,
            attributes,
            data,
        }
    }

    fn history_event(&self, mode: Mode) -> Event {
        let matched = matched(self.telemetry, self.level);
        let amqp = [Endpoint::Hub, Endpoint::Topic].into_iter();
        let too_large = self.data.len() >= MESSAGE_BYTES_MAX;
        let attributes = self.attributes.iter();
        Event {
            twin: self.twin,
            content: fingerprint(
                attributes.map(|(name, value)| (*name, value.clone())),
                &self.data,
            ),
            json: (mode != Mode::Binary).then(|| hash(self.json().as_bytes())),
            matched,
            refused_by: amqp
                .filter(|endpoint| too_large && matched.has(*endpoint))
                .collect(),
        }
    }

    fn json(&self) -> String {
        let mut json = String::from("{");
        for (name, value) in &self.attributes {
            let value = match value {
                Attribute::Text(text) => serde_json::Value::from(text.as_str()),
                Attribute::Integer(number) => (*number).into(),
                Attribute::Truth(truth) => (*truth).into(),
            };
            let written = write!(json, r#""{name}":{value},"#);
            written.expect("a String takes everything");
        }
        json.push_str(r#""data":"#);
        json.push_str(std::str::from_utf8(&self.data).expect("JSON is UTF-8"));
        json.push('}');
        json
    }
}

/// What [`ROUTES`] make of an event.
fn matched(telemetry: bool, level: Option<u32>) -> Endpoints {
    let above = |limit| level.is_some_and(|level| level >= limit);
    let wanted = |endpoint: &Endpoint| match endpoint {
        Endpoint::Grid => true,
        Endpoint::Hub => telemetry || above(50),
        Endpoint::Topic => !telemetry || above(80),
    };
    Endpoint::ALL.into_iter().filter(wanted).collect()
}

fn encode(mode: Mode, events: &[Full]) -> Vec<u8> {
    let mut head = String::from("POST /events HTTP/1.1\r\nhost: crash\r\n");
    let body = match mode {
        Mode::Structured => {
            head.push_str("content-type: application/cloudevents+json\r\n");
            events[0].json().into_bytes()
        }
        Mode::Batch => {
            head.push_str("content-type: application/cloudevents-batch+json\r\n");
            let all: Vec<String> = events.iter().map(Full::json).collect();
            format!("[{}]", all.join(" ,")).into_bytes()
        }
        Mode::Binary => {
            for (name, value) in &events[0].attributes {
                let Attribute::Text(value) = value else {
                    continue;
                };
                let line = match *name {
                    "datacontenttype" => write!(head, "content-type: {value}\r\n"),
                    name => write!(head, "ce-{name}: {}\r\n", percent(value)),
                };
                line.expect("a String takes everything");
            }
            events[0].data.clone()
        }
    };
    let length = write!(head, "content-length: {}\r\n\r\n", body.len());
    length.expect("a String takes everything");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// CloudEvents HTTP binding 1.0.2 §3.1.3.2: blank, quote, percent and what is not ASCII are encoded.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let written = match byte {
            b' ' | b'"' | b'%' | 0x7f.. => write!(out, "%{byte:02X}"),
            _ => write!(out, "{}", char::from(byte)),
        };
        written.expect("a String takes everything");
    }
    out
}

/// A hash over attributes, with their names and types, and the payload. The order of attributes does
/// not count.
pub(super) fn fingerprint<'a>(
    attributes: impl Iterator<Item = (&'a str, Attribute)>,
    data: &[u8],
) -> u64 {
    let attributes: BTreeMap<&str, Attribute> = attributes.collect();
    let mut hasher = DefaultHasher::new();
    attributes.hash(&mut hasher);
    data.hash(&mut hasher);
    hasher.finish()
}

/// A hash over bytes.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// What an event in JSON is: its id, its source, and its [`fingerprint`]. What is no event gives nothing.
pub(super) struct Read {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) content: u64,
}

impl Read {
    pub(super) fn json(text: &str) -> Self {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
        let mut data = Vec::new();
        let mut attributes = BTreeMap::new();
        for (name, value) in &fields {
            let parsed = serde_json::from_str(value.get()).unwrap_or_default();
            let attribute = match (name.as_str(), parsed) {
                ("data", _) => {
                    data.extend_from_slice(value.get().as_bytes());
                    continue;
                }
                ("data_base64", serde_json::Value::String(text)) => {
                    data = base64(&text);
                    continue;
                }
                (_, serde_json::Value::String(text)) => Attribute::Text(text),
                (_, serde_json::Value::Bool(truth)) => Attribute::Truth(truth),
                (_, other) => Attribute::Integer(other.as_i64().unwrap_or(i64::MIN)),
            };
            attributes.insert(name.as_str(), attribute);
        }
        let text = |name| match attributes.get(name) {
            Some(Attribute::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let (id, source) = (text("id"), text("source"));
        Self {
            id,
            source,
            content: fingerprint(attributes.into_iter(), &data),
        }
    }
}

/// The payload of an attribute `data_base64`; a text that is none gives nothing.
fn base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}
