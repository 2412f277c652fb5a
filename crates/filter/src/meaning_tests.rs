//! What an event means does not depend on how it came: over a table of payloads and attributes, each in every form it
//! can travel in, the same filters match, and the same bytes and media type arrive in every encoding.

use crate::explain::explain;
use crate::{FilterOptions, RouteFilter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::sync::LazyLock;
use twinroute_model::cloudevents::{amqp, http, json};
use twinroute_model::event::{Event, EventLimits, TELEMETRY};
use twinroute_model::{event_grid_schema, received};

const SOURCE: &str = "contoso/digitaltwins/t1";
const MARK: &str = "\u{feff}";

/// An event as its producer means it.
#[derive(Clone, Debug)]
struct MeantEvent {
    media_type: Option<&'static str>,
    bytes: Vec<u8>,
    /// Beside those that every event has: names, and values as JSON.
    attributes: Vec<(&'static str, Value)>,
}

fn meant(media_type: impl Into<Option<&'static str>>, bytes: impl AsRef<[u8]>) -> MeantEvent {
    MeantEvent {
        media_type: media_type.into(),
        bytes: bytes.as_ref().to_vec(),
        attributes: Vec::new(),
    }
}

fn with(attributes: &[(&'static str, Value)]) -> MeantEvent {
    MeantEvent {
        attributes: attributes.to_vec(),
        ..meant("application/json", r#"{"t":21}"#)
    }
}

/// Name and event.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, MeantEvent)> {
    const JSON: &str = "application/json";
    vec![
        ("object", meant(JSON, r#"{"t":21,"a":{"b":"x"}}"#)),
        ("array", meant(JSON, "[1,2]")),
        ("string", meant(JSON, r#""text""#)),
        ("empty string", meant(JSON, r#""""#)),
        ("number", meant(JSON, "21")),
        ("digits", meant(JSON, "1.10")),
        ("null", meant(JSON, "null")),
        ("true", meant(JSON, "true")),
        ("escapes", meant(JSON, r#""\u0041\/\ud83d\ude00""#)),
        ("integer of 64 bits", meant(JSON, r#"{"t":9223372036854775807}"#)),
        ("integer beyond", meant(JSON, r#"{"t":123456789012345678901234567890}"#)),
        ("number beyond a double", meant(JSON, r#"{"t":1e999,"a":{"b":"x"}}"#)),
        ("repeated member", meant(JSON, r#"{"t":1,"t":21}"#)),
        ("blanks", meant(JSON, " {\n\t\"t\" : 21 } ")),
        ("null members", meant(JSON, r#"{"t":null,"a":{"b":null}}"#)),
        ("not ASCII", meant(JSON, r#"{"a":{"b":"Süd €"}}"#)),
        ("byte order mark", meant(JSON, format!(r#"{MARK}{{"t":21}}"#))),
        ("charset", meant("application/json; charset=utf-8", r#"{"t":21}"#)),
        ("charset in quotes", meant("application/json;charset=\"UTF-8\"", r#"{"t":21}"#)),
        ("suffix", meant("application/vnd.contoso+json", r#"{"t":21}"#)),
        ("patch", meant("application/json-patch+json; charset=utf-8", r#"{"t":21}"#)),
        ("upper case", meant("APPLICATION/JSON", r#"{"t":21}"#)),
        ("upper suffix", meant("Application/X+Json", r#"{"t":21}"#)),
        ("text json", meant("text/json", r#"{"t":21}"#)),
        ("none", meant(None, "")),
        ("none of a type", meant("text/plain", "")),
        ("none of JSON", meant(JSON, "")),
        ("text", meant("text/plain", "hello\nworld")),
        ("text that looks like JSON", meant("text/plain", r#"{"t":21}"#)),
        ("text null", meant("text/plain", "null")),
        ("text with marks", meant("text/plain", format!("{MARK}a\u{2028}\"\\"))),
        ("text of utf-8", meant("text/plain; charset=UTF-8", "Süd €")),
        ("text of latin 1", meant("text/plain; charset=iso-8859-1", b"S\xfcd")),
        ("text of latin 1 that is utf-8", meant("text/plain; charset=iso-8859-1", "\u{c3}\u{bc}")),
        ("text that is none", meant("text/plain", b"\xff\x00")),
        ("control characters", meant("text/plain", "a\x00\x1b[0m\r\n")),
        ("xml", meant("application/xml", "<a b=\"c\"/>")),
        ("soap", meant("application/soap+xml", "<a/>")),
        ("csv", meant("text/csv; header=present", "a,b\r\n1,2\r\n")),
        ("form", meant("application/x-www-form-urlencoded", "t=21&a=b")),
        ("bytes", meant("application/octet-stream", b"\x00\xff\x80")),
        ("bytes that look like JSON", meant("application/octet-stream", r#"{"t":21}"#)),
        ("image", meant("image/png", b"\x89PNG\r\n\x1a\n")),
        ("no media type", meant(None, "hello world")),
        ("no media type, xml", meant(None, "<a/>")),
        ("no media type, JSON", meant(None, r#"{"t":21}"#)),
        ("no media type, bytes", meant(None, b"\xff\x00")),
        ("no media type, mark", meant(None, format!("{MARK}x"))),
        ("subject", with(&[("subject", "Süd 1/€".into())])),
        ("percent", with(&[("subject", "100%25 a%20b".into())])),
        ("quotes", with(&[("subject", "\"a\\b\"".into())])),
        ("time", with(&[("time", "2026-01-31T08:15:30.1234567+01:00".into())])),
        ("schema", with(&[("dataschema", "dtmi:contoso:Room;1".into())])),
        ("string extension", with(&[("kind", "ü".into())])),
        ("empty extension", with(&[("kind", "".into())])),
        ("number extension", with(&[("kind", 7.into())])),
        ("negative extension", with(&[("kind", (-7).into())])),
        ("boolean extension", with(&[("kind", true.into())])),
        ("digits extension", with(&[("kind", "007".into())])),
        ("number as a string", with(&[("kind", "7".into())])),
        ("boolean as a string", with(&[("kind", "true".into())])),
        ("null attribute", with(&[("subject", Value::Null)])),
        ("null extension", with(&[("kind", Value::Null), ("other", "x".into())])),
    ]
}

impl MeantEvent {
    fn is_json(&self) -> bool {
        let media_type = self.media_type.unwrap_or_default().to_ascii_lowercase();
        let essence = media_type.split(';').next().unwrap_or_default();
        essence.ends_with("/json") || essence.ends_with("+json")
    }

    /// Its bytes as they arrive: JSON without a mark before it, and without the blanks around it.
    fn arrives(&self) -> &[u8] {
        match self.is_json() {
            true => self
                .bytes
                .strip_prefix(MARK.as_bytes())
                .unwrap_or(&self.bytes)
                .trim_ascii(),
            false => &self.bytes,
        }
    }

    /// The members that hold the payload, in every way there is.
    fn payloads(&self) -> Vec<String> {
        let (raw, base64) = (self.arrives(), BASE64.encode(&self.bytes));
        let mut all = Vec::new();
        if raw.is_empty() {
            all.extend(["", r#","data_base64":"""#, r#","data_base64":null"#].map(str::to_owned));
            if self.media_type.is_some() && !self.is_json() {
                all.extend([r#","data":"""#, r#","data":null"#].map(str::to_owned));
            }
            return all;
        }
        for (before, after) in [("", ""), (r#","data":null"#, ""), ("", r#","data":null"#)] {
            all.push(format!(r#"{before},"data_base64":"{base64}"{after}"#));
        }
        match std::str::from_utf8(raw) {
            Ok(text) if self.is_json() => {
                all.push(format!(r#","data":{text}"#));
                all.push(format!(r#","data":{text},"data_base64":null"#));
            }
            Ok(text) if self.media_type.is_some() => {
                all.push(format!(r#","data":{}"#, Value::from(text)));
                let other = serde_json::from_str::<Value>(text);
                if other.is_ok_and(|value| !value.is_string() && !value.is_null()) {
                    all.push(format!(r#","data":{text}"#));
                }
            }
            Ok(_) | Err(_) => {}
        }
        all
    }

    fn structured(&self, payload: &str) -> String {
        let mut text =
            format!(r#"{{"specversion":"1.0","id":"1","source":"{SOURCE}","type":"{TELEMETRY}""#);
        for (name, value) in &self.attributes {
            text.push_str(&format!(r#","{name}":{value}"#));
        }
        if let Some(media_type) = self.media_type {
            text.push_str(&format!(
                r#","datacontenttype":{}"#,
                Value::from(media_type)
            ));
        }
        format!("{text}{payload}}}")
    }

    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let plain = [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", SOURCE),
            ("type", TELEMETRY),
        ];
        let mut headers: Vec<_> = plain
            .iter()
            .map(|(name, value)| (format!("ce-{name}"), value.as_bytes().to_vec()))
            .collect();
        for (name, value) in self.attributes.iter().filter(|(_, value)| !value.is_null()) {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
            headers.push((format!("CE-{name}"), encoded.into_bytes()));
        }
        if let Some(media_type) = self.media_type {
            headers.push(("Content-Type".to_owned(), media_type.into()));
        }
        headers
    }

    /// As Azure Digital Twins would send it to a topic of the Event Grid schema.
    fn event_grid(&self, payload: &str) -> String {
        let mut inside = Map::new();
        let mut time = "0001-01-01T00:00:00Z";
        for (name, value) in &self.attributes {
            match (*name, value.as_str()) {
                ("time", Some(text)) => time = text,
                _ => drop(inside.insert((*name).to_owned(), value.clone())),
            }
        }
        let inside = Value::Object(inside).to_string();
        let inside = inside.trim_start_matches('{').trim_end_matches('}');
        let mut members: Vec<String> = vec![inside.to_owned()];
        members.push(payload.trim_start_matches(',').to_owned());
        if let Some(media_type) = self.media_type {
            members.push(format!(r#""contenttype":{}"#, Value::from(media_type)));
        }
        members.retain(|member| !member.is_empty());
        format!(
            r#"[{{"id":"1","subject":"t1","topic":"contoso","eventType":"{TELEMETRY}","eventTime":"{time}","dataVersion":"1.0","data":{{{}}}}}]"#,
            members.join(",")
        )
    }

    /// The event in every form it can travel in.
    fn forms(&self) -> Vec<(String, Event)> {
        let limits = EventLimits::default();
        let mut forms = Vec::new();
        let headers = self.headers();
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let body = Bytes::from(self.bytes.clone());
        let binary = http::parse_binary(headers.iter().copied(), body.clone(), &limits);
        forms.push(("binary".to_owned(), binary.unwrap()));
        let mut received = received::read_binary(&headers, &body, &limits);
        forms.push(("binary webhook".to_owned(), received.events.remove(0)));
        for payload in self.payloads() {
            let text = self.structured(&payload);
            let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
            let event = json::parse(bytes(&text), &limits);
            forms.push((format!("structured {text}"), event.unwrap()));
            let marked = json::parse(bytes(&format!("{MARK}{text}")), &limits);
            forms.push((format!("marked {text}"), marked.unwrap()));
            let batch = json::parse_batch(bytes(&format!(" [{text} , {text}]")), &limits);
            forms.push((format!("batch {text}"), batch.unwrap().remove(1)));
            let mut received = received::read(&bytes(&format!("[{text}]")), "/events", &limits);
            forms.push((format!("webhook {text}"), received.events.remove(0)));
            // It knows the wrapping by one of the two.
            if self.media_type.is_some() || payload.contains("data_base64") {
                let text = self.event_grid(&payload);
                let events = event_grid_schema::parse_batch(&bytes(&text), "x", &limits);
                forms.push((format!("Event Grid {text}"), events.unwrap().remove(0)));
                let mut received = received::read(&bytes(&text), "/events", &limits);
                forms.push((
                    format!("Event Grid webhook {text}"),
                    received.events.remove(0),
                ));
            }
        }
        // And once more each, after a time in the journal.
        let kept = forms.iter().map(|(form, event)| {
            let mut text = Vec::new();
            json::write(event, &mut text);
            let again = json::parse_lenient(text.into(), &limits).unwrap();
            (format!("journaled {form}"), again.detached())
        });
        let kept: Vec<_> = kept.collect();
        forms.extend(kept);
        forms
    }
}

const FILTERS: [&str; 22] = [
    "$body.t > 10",
    "$body.t = 21",
    "$body.t != null",
    "$body.t = null",
    "$body.a.b = 'x'",
    "CONTAINS($body.a.b, '€')",
    "$body = 'text'",
    "$body = 21",
    "$body = null",
    "$body",
    "datacontenttype = 'application/json'",
    "datacontenttype != null",
    "STARTS_WITH(datacontenttype, 'text/')",
    "subject = 'Süd 1/€'",
    "subject != null",
    "dataschema = 'dtmi:contoso:Room;1' OR time != null",
    "kind = 7",
    "kind = '7'",
    "kind > 5",
    "kind",
    "STARTS_WITH(kind, '0')",
    "kind != null",
];

/// Which filters match, and why.
fn matches(event: &Event) -> Vec<String> {
    static PARSED: LazyLock<Vec<RouteFilter>> = LazyLock::new(|| {
        let parse = |text| RouteFilter::parse(text, &FilterOptions::default()).unwrap();
        FILTERS.into_iter().map(parse).collect()
    });
    let explained = PARSED.iter().map(|filter| {
        let explanation = explain(filter, event);
        assert_eq!(explanation.matches, filter.matches(event));
        explanation.to_string()
    });
    explained.collect()
}

/// Content type and payload of an AMQP message.
fn of_message(message: &[u8]) -> (Option<String>, Vec<u8>) {
    let text = |bytes: &[u8], code: [u8; 2]| -> Option<Vec<u8>> {
        let (len, rest) = match bytes.first()? {
            first if *first == code[0] => (usize::from(bytes[1]), &bytes[2..]),
            first if *first == code[1] => (
                u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize,
                &bytes[5..],
            ),
            _ => return None,
        };
        Some(rest.get(..len)?.to_vec())
    };
    // No message-id here, so the content type is the seventh field of the properties, behind six nulls.
    let properties = [0x00, 0x53, 0x73, 0xd0];
    let content_type = message.strip_prefix(&properties[..]).map(|rest| {
        assert_eq!(rest[8..14], [0x40; 6]);
        String::from_utf8(text(&rest[14..], [0xa3, 0xb3]).unwrap()).unwrap()
    });
    // The data section is the last.
    let mark = [0x00, 0x53, 0x75];
    let starts = message
        .windows(3)
        .enumerate()
        .filter(|(_, window)| *window == mark);
    let mut payloads = starts.filter_map(|(at, _)| {
        let rest = &message[at + 3..];
        let head = if rest.first() == Some(&0xa0) { 2 } else { 5 };
        (rest.len() >= head).then_some(())?;
        text(rest, [0xa0, 0xb0]).filter(|payload| payload.len() + head == rest.len())
    });
    (content_type, payloads.next().unwrap())
}

/// What arrives by each encoding.
fn arrivals(event: &Event) -> Vec<(&'static str, Option<String>, Vec<u8>)> {
    let limits = EventLimits::default();
    let payload = |event: &Event| {
        let payload = event.payload();
        (
            payload.media_type.map(str::to_owned),
            payload.bytes.into_owned(),
        )
    };
    let mut text = Vec::new();
    json::write(event, &mut text);
    assert!(!String::from_utf8_lossy(&text).contains("\"subject\":null"));
    let cloud = payload(&json::parse(text.into(), &limits).unwrap());
    let mut text = vec![b'['];
    event_grid_schema::write(event, &mut text);
    text.push(b']');
    let grid = event_grid_schema::parse_batch(&text.into(), "x", &limits)
        .unwrap()
        .remove(0);
    let mut message = Vec::new();
    amqp::write(event, &amqp::MessageEnvelope::default(), &mut message);
    let (grid, amqp) = (payload(&grid), of_message(&message));
    vec![
        ("CloudEvents", cloud.0, cloud.1),
        ("Event Grid", grid.0, grid.1),
        ("AMQP", amqp.0, amqp.1),
    ]
}

fn check(name: &str, meant: &MeantEvent) {
    let forms = meant.forms();
    let routes = matches(&forms[0].1);
    for (form, event) in &forms {
        let payload = event.payload();
        let found = (payload.media_type, String::from_utf8_lossy(&payload.bytes));
        let expect = (meant.media_type, String::from_utf8_lossy(meant.arrives()));
        // A payload in binary mode keeps the blanks around JSON.
        let blanks = (found.0, found.1.trim().into());
        assert!(
            found == expect || meant.is_json() && blanks == expect,
            "{name}, {form}: {found:?}"
        );
        assert_eq!(matches(event), routes, "{name}, {form}");
        for (encoding, media_type, bytes) in arrivals(event) {
            // The Event Grid schema always has a content type beside what is no bytes.
            let media_type = media_type.filter(|_| !(encoding == "Event Grid" && bytes.is_empty()));
            let expect = meant
                .media_type
                .filter(|_| !(encoding == "Event Grid" && bytes.is_empty()));
            assert_eq!(
                media_type.as_deref(),
                expect,
                "{name}, {form} by {encoding}"
            );
            let (bytes, expect) = match meant.is_json() {
                true => (bytes.trim_ascii(), meant.arrives()),
                false => (&*bytes, meant.arrives()),
            };
            assert_eq!(bytes, expect, "{name}, {form} by {encoding}");
        }
    }
}

#[test]
fn every_form_of_an_event_means_the_same() {
    let table = table();
    assert!(table.len() >= 60);
    for (name, meant) in &table {
        check(name, meant);
    }
}

/// CloudEvents 1.0.2, `datacontenttype`: a JSON value without one is application/json, everywhere.
#[test]
fn default_media_type_of_a_json_value_is_application_json() {
    for data in [r#"{"t":21}"#, "null", "[1.10]", r#""x""#] {
        let implied = meant(None, "").structured(&format!(r#","data":{data}"#));
        let said = meant("application/json", "").structured(&format!(r#","data":{data}"#));
        let [implied, said] =
            [implied, said].map(|text| json::parse(text.into(), &EventLimits::default()).unwrap());
        assert_eq!(implied.payload(), said.payload());
        assert_eq!(matches(&implied), matches(&said));
        assert_eq!(arrivals(&implied), arrivals(&said));
        assert_eq!(implied.payload().media_type, Some("application/json"));
    }
    // An event of the plain Event Grid schema has no place for one either.
    let plain = r#"[{"id":"1","subject":"s","eventType":"T","eventTime":"2026-01-31T08:15:30Z","data":null}]"#;
    let events = event_grid_schema::parse_batch(&Bytes::from(plain), "x", &EventLimits::default());
    let payload = (Some("application/json"), &b"null"[..]);
    let events = events.unwrap();
    assert_eq!(
        (events[0].payload().media_type, &*events[0].payload().bytes),
        payload
    );
}

/// What is said to be JSON and is not is refused in every form alike.
#[test]
fn what_is_no_json_is_refused_in_every_form() {
    let wrong = meant("application/json", "{oops");
    let headers = wrong.headers();
    let headers = headers.iter().map(|(name, value)| (&**name, &**value));
    let binary = http::parse_binary(headers, wrong.bytes.clone().into(), &EventLimits::default());
    let text = wrong.structured(&format!(
        r#","data_base64":"{}""#,
        BASE64.encode(&wrong.bytes)
    ));
    let structured = json::parse(text.clone().into(), &EventLimits::default());
    let why = binary.unwrap_err().to_string();
    assert!(why.contains("is not the JSON"), "{why}");
    assert_eq!(structured.unwrap_err().to_string(), why);
    // What was accepted before is read all the same.
    let kept = json::parse_lenient(text.into(), &EventLimits::default()).unwrap();
    assert_eq!(&*kept.payload().bytes, b"{oops");
    assert_eq!(kept.json_data(), None);
}

proptest! {
    // Each case is some sixty events under all filters.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_event_means_the_same_in_every_form(
        media_type in prop::sample::select(vec![
            None, Some("application/json"), Some("text/plain"), Some("TEXT/XML; charset=utf-8"),
            Some("application/x+json; charset=utf-8"), Some("image/png"), Some("text/plain;charset=utf-16"),
        ]),
        json in crate::arbitrary::json(),
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..40), "\\PC{0,20}".prop_map(String::into_bytes)],
        as_json: bool,
        subject in prop::option::of("[ -~äß€]{1,12}"),
        kind in prop_oneof![
            any::<i32>().prop_map(Value::from), any::<bool>().prop_map(Value::from),
            "[ -~ü]{0,6}".prop_map(Value::from), "-?[0-9]{1,11}".prop_map(Value::from), Just(Value::Null),
        ],
    ) {
        let mut event = meant(media_type, if as_json { json.clone().into_bytes() } else { bytes });
        if event.is_json() {
            event.bytes = json.into_bytes();
        }
        event.attributes.push(("kind", kind));
        if let Some(subject) = subject {
            event.attributes.push(("subject", subject.into()));
        }
        check("any", &event);
    }
}
