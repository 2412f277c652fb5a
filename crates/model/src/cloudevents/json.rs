//! CloudEvents JSON format 1.0.2: reading one event or a batch, writing them.
//!
//! Reading walks the text once and notes where each member's value stands; values are neither copied nor
//! converted. Writing an event that came in this format sends the same bytes on.

use super::items::JsonArrayItems;
use super::members::{
    DATA, DATA_BASE64, DATACONTENTTYPE, DATASCHEMA, EventMembers, ID, MEMBERS, SOURCE, SPECVERSION,
    SUBJECT, TIME, TYPE,
};
use super::{scan, unset};
use crate::event::payload::{MediaKind, PayloadForm, PayloadMember, json_bytes, without_mark};
use crate::event::{
    Event, EventData, EventExtension, EventExtensions, EventForm, EventLimits, EventProblem,
    EventStrictness, ExtensionKind, ExtensionValue, InvalidEvent, TextSpan, rules,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use bytestring::ByteString;
use memchr::memchr;
use std::borrow::Cow;

/// Reads one event (`application/cloudevents+json`).
///
/// The event borrows `json`; see [`Event::detached`].
///
/// # Errors
/// The first rule that is broken.
pub fn parse(json: Bytes, limits: &EventLimits) -> Result<Event, InvalidEvent> {
    parse_as(json, limits, EventStrictness::Producer)
}

/// As [`parse`], for what must not be lost: an event that was accepted before, or whose sender does not repeat.
/// A `source` that is no URI-reference is kept as it is.
///
/// # Errors
/// The first rule that is broken.
pub fn parse_lenient(json: Bytes, limits: &EventLimits) -> Result<Event, InvalidEvent> {
    parse_as(json, limits, EventStrictness::Lenient)
}

fn parse_as(
    json: Bytes,
    limits: &EventLimits,
    strictness: EventStrictness,
) -> Result<Event, InvalidEvent> {
    if json.len() > limits.event_bytes_max {
        return Err(too_large(json.len(), limits).into());
    }
    let text = utf8(without_mark(&json))?;
    let envelope = match scan::members(&text) {
        Some((envelope, end)) if scan::is_blank(&text[end..]) => envelope,
        _ => serde_json::from_str(&text).map_err(|error| not_json(&error))?,
    };
    Ok(envelope.into_event(&text, &text, strictness)?)
}

/// Reads a batch (`application/cloudevents-batch+json`): all of it, or nothing.
///
/// Each event is a slice of `json`; see [`Event::detached`].
///
/// # Errors
/// The first event that breaks a rule, with its index.
pub fn parse_batch(json: Bytes, limits: &EventLimits) -> Result<Vec<Event>, InvalidEvent> {
    let text = utf8(without_mark(&json))?;
    let mut events = Vec::new();
    let mut items = JsonArrayItems::open(&text)?;
    while let Some(rest) = items.next()? {
        if events.len() == limits.batch_events_max {
            return Err(EventProblem::TooMany {
                events_max: limits.batch_events_max,
            }
            .into());
        }
        let index = events.len();
        let (envelope, end) = match scan::members(rest) {
            Some(scanned) => scanned,
            None => deserialize_first(rest, &items, index)?,
        };
        let json = &rest[..end];
        if json.len() > limits.event_bytes_max {
            return Err(InvalidEvent::from(too_large(json.len(), limits)).at(index));
        }
        let event = envelope
            .into_event(&text, json, EventStrictness::Producer)
            .map_err(|problem| InvalidEvent::from(problem).at(index))?;
        events.push(event);
        items.advance(json.len());
    }
    Ok(events)
}

/// The members of the event at the start of `rest`, and the byte behind it.
fn deserialize_first<'a>(
    rest: &'a str,
    items: &JsonArrayItems<'_>,
    index: usize,
) -> Result<(EventMembers<'a>, usize), InvalidEvent> {
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter();
    match stream.next() {
        Some(Ok(envelope)) => Ok((envelope, stream.byte_offset())),
        Some(Err(error)) => Err(InvalidEvent::from(not_json(&error)).at(index)),
        None => Err(items.ended().into()),
    }
}

fn utf8(json: Bytes) -> Result<ByteString, EventProblem> {
    ByteString::try_from(json).map_err(|error| EventProblem::NotUtf8 {
        offset: error.valid_up_to(),
    })
}

fn too_large(bytes: usize, limits: &EventLimits) -> EventProblem {
    EventProblem::TooLarge {
        bytes,
        bytes_max: limits.event_bytes_max,
    }
}

fn not_json(error: &serde_json::Error) -> EventProblem {
    EventProblem::NotJson {
        reason: error.to_string(),
    }
}

/// Turns raw values into spans of one event's text.
struct EventSpans<'a> {
    json: &'a str,
    /// Whether a member is a string with an escape.
    has_escape: bool,
    unescaped: String,
}

impl<'a> EventSpans<'a> {
    /// Where `part`, a slice of the event's text, stands in it.
    fn locate(&self, part: &str) -> TextSpan {
        TextSpan::of_text(
            part.as_ptr() as usize - self.json.as_ptr() as usize,
            part.len(),
        )
    }

    fn keep(&mut self, text: &str) -> TextSpan {
        let start = self.unescaped.len();
        self.unescaped.push_str(text);
        TextSpan::of_unescaped(start, text.len())
    }

    /// The span of a JSON string's content, or `None` when `raw` is not a string.
    fn string(&mut self, raw: &str) -> Option<TextSpan> {
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        if !self.has_escape || memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(self.locate(inner));
        }
        let text: String = serde_json::from_str(raw).ok()?;
        Some(self.keep(&text))
    }

    fn attribute(
        &mut self,
        member: usize,
        raw: Option<&str>,
    ) -> Result<Option<TextSpan>, EventProblem> {
        match raw {
            None => Ok(None),
            Some(raw) => self.string(raw).map(Some).ok_or_else(|| {
                EventProblem::attribute(
                    MEMBERS[member],
                    format!("must be a string, not {}", kind_of(raw)),
                )
            }),
        }
    }

    fn required(&mut self, member: usize, raw: Option<&str>) -> Result<TextSpan, EventProblem> {
        self.attribute(member, raw)?.ok_or(EventProblem::Missing {
            attribute: MEMBERS[member],
        })
    }

    fn extension(&mut self, name: &str, raw: &str) -> Result<EventExtension, EventProblem> {
        rules::name(name)?;
        let (value, kind) = match raw.as_bytes().first() {
            Some(b't' | b'f') => (self.locate(raw), ExtensionKind::Boolean),
            Some(b'"') => {
                let value = self.string(raw).ok_or_else(|| {
                    EventProblem::attribute(name, "has an escape that stands for no character")
                })?;
                (value, ExtensionKind::String)
            }
            Some(b'{' | b'[') => {
                let rule = format!(
                    "must be a string, an integer or a boolean, not {}",
                    kind_of(raw)
                );
                return Err(EventProblem::attribute(name, rule));
            }
            _ if raw.parse::<i32>().is_ok() => (self.locate(raw), ExtensionKind::Integer),
            _ => {
                let rule = format!(
                    "a number must be an integer from -2147483648 to 2147483647, not {raw}"
                );
                return Err(EventProblem::attribute(name, rule));
            }
        };
        let name = if self.json.as_bytes().as_ptr_range().contains(&name.as_ptr()) {
            self.locate(name)
        } else {
            self.keep(name)
        };
        Ok(EventExtension { name, value, kind })
    }
}

fn kind_of(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

impl<'a> EventMembers<'a> {
    /// `json` is the event's own slice of `text`.
    ///
    /// JSON format 1.0.2 §2.2: a member that is null is unset. It is cut out of the text, so that neither filters nor
    /// destinations see it; every other byte stays.
    fn into_event(
        self,
        text: &ByteString,
        json: &'a str,
        strictness: EventStrictness,
    ) -> Result<Event, EventProblem> {
        if let Some(attribute) = self.duplicate {
            return Err(EventProblem::Duplicate { attribute });
        }
        if self.too_many {
            return Err(EventProblem::TooManyExtensions {
                extensions_max: EventLimits::EXTENSIONS_MAX,
            });
        }
        if !self.has_null {
            return self.read(text, json, strictness);
        }
        let null_is_payload = self.payload_member()? == PayloadMember::Value("null");
        let text = unset::without_nulls(json, null_is_payload.then_some(MEMBERS[DATA]));
        let text = ByteString::from(text);
        let envelope: EventMembers<'_> =
            serde_json::from_str(&text).map_err(|error| not_json(&error))?;
        envelope.read(&text, &text, strictness)
    }

    fn payload_member(&self) -> Result<PayloadMember<'a>, EventProblem> {
        let given = self.core[DATACONTENTTYPE];
        let given = given.and_then(|raw| serde_json::from_str::<Option<Cow<'_, str>>>(raw).ok());
        let kind = MediaKind::of(given.flatten().as_deref());
        PayloadMember::of(self.core[DATA], self.core[DATA_BASE64], kind)
    }

    fn read(
        self,
        text: &ByteString,
        json: &'a str,
        strictness: EventStrictness,
    ) -> Result<Event, EventProblem> {
        let core = self.core;
        let mut spans = EventSpans {
            json,
            has_escape: self.has_escape,
            unescaped: String::new(),
        };
        // Only places in the text are taken, nothing is copied; texts with escapes are undone into one
        // buffer.
        let version = spans.required(SPECVERSION, core[SPECVERSION])?;
        let id = spans.required(ID, core[ID])?;
        let source = spans.required(SOURCE, core[SOURCE])?;
        let event_type = spans.required(TYPE, core[TYPE])?;
        let subject = spans.attribute(SUBJECT, core[SUBJECT])?;
        let time = spans.attribute(TIME, core[TIME])?;
        let dataschema = spans.attribute(DATASCHEMA, core[DATASCHEMA])?;
        let datacontenttype = spans.attribute(DATACONTENTTYPE, core[DATACONTENTTYPE])?;
        let mut extensions = EventExtensions::with_capacity(self.extensions.len());
        for (name, raw) in &self.extensions {
            extensions.push(spans.extension(name, raw)?);
        }
        let mut event = Event {
            id,
            source,
            event_type,
            subject,
            time,
            dataschema,
            datacontenttype,
            extensions,
            data: PayloadForm::None,
            form: EventForm::Structured,
            body: Bytes::new(),
            text: text.slice_ref(json),
            unescaped: Box::default(),
        };
        let kind = MediaKind::of(datacontenttype.map(|span| span.within(json, &spans.unescaped)));
        let member = PayloadMember::of(core[DATA], core[DATA_BASE64], kind)?;
        let bytes;
        (event.data, bytes) = payload(&mut spans, member, kind)?;
        event.unescaped = spans.unescaped.into_boxed_str();
        rules::spec_version(event.text(version))?;
        event.check(strictness)?;
        // Base64 of JSON is the same event as the JSON itself, so that filters and sinks see one form.
        if kind == MediaKind::Json && !bytes.is_empty() {
            match (event.decoded_json(&bytes), strictness) {
                (Ok(json), _) => {
                    event.data = PayloadForm::JsonBody;
                    event.body = json;
                }
                (Err(problem), EventStrictness::Producer) => return Err(problem),
                (Err(_), EventStrictness::Lenient) => {}
            }
        }
        Ok(event)
    }
}

impl Event {
    /// JSON that came as base64 is kept decoded, since filters look into it.
    fn decoded_json(&self, bytes: &Bytes) -> Result<Bytes, EventProblem> {
        json_bytes(bytes, self.datacontenttype().unwrap_or_default())
    }
}

/// `data` and `data_base64` (JSON format 1.0.2 §3.1.1), and what the latter holds.
fn payload(
    spans: &mut EventSpans<'_>,
    member: PayloadMember<'_>,
    kind: MediaKind,
) -> Result<(PayloadForm, Bytes), EventProblem> {
    let form = match member {
        PayloadMember::None => PayloadForm::None,
        PayloadMember::Value(raw) if kind != MediaKind::Other => {
            PayloadForm::Json(spans.locate(raw))
        }
        PayloadMember::Value("\"\"") => PayloadForm::None,
        PayloadMember::Value(raw) if raw.starts_with('"') => {
            if serde_json::from_str::<Cow<'_, str>>(raw).is_err() {
                let rule = "has an escape that stands for no character".to_owned();
                return Err(EventProblem::Data { rule });
            }
            PayloadForm::JsonString(spans.locate(raw))
        }
        PayloadMember::Value(raw) => PayloadForm::JsonText(spans.locate(raw)),
        PayloadMember::Base64(raw) => {
            let (span, bytes) = base64(spans, raw)?;
            return Ok(match bytes.is_empty() {
                true => (PayloadForm::None, bytes),
                false => (PayloadForm::Base64(span), bytes),
            });
        }
    };
    Ok((form, Bytes::new()))
}

fn base64(spans: &mut EventSpans<'_>, raw: &str) -> Result<(TextSpan, Bytes), EventProblem> {
    let span = spans.string(raw).ok_or_else(|| {
        let rule = format!("must be a string, not {}", kind_of(raw));
        EventProblem::attribute(MEMBERS[DATA_BASE64], rule)
    })?;
    match BASE64.decode(span.within(spans.json, &spans.unescaped)) {
        Ok(bytes) => Ok((span, bytes.into())),
        Err(error) => Err(EventProblem::attribute(
            MEMBERS[DATA_BASE64],
            format!("is not base64: {error}"),
        )),
    }
}

/// Appends the event in JSON format.
pub fn write(event: &Event, out: &mut Vec<u8>) {
    if let Some(json) = event.structured() {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    out.extend_from_slice(br#"{"specversion":"1.0""#);
    for name in &MEMBERS[ID..=DATACONTENTTYPE] {
        if let Some(value) = event.attribute(name) {
            write_member(out, name, value);
        }
    }
    for (name, value) in event.extensions() {
        match value {
            ExtensionValue::String(value) => write_member(out, name, value),
            ExtensionValue::Integer(value) => write_raw(out, name, &value.to_string()),
            ExtensionValue::Boolean(value) => write_raw(out, name, &value.to_string()),
        }
    }
    match event.data() {
        EventData::None => {}
        EventData::Json(json) => write_raw(out, "data", json),
        EventData::Text(text) => write_member(out, "data", &text),
        EventData::Binary(bytes) => write_member(out, "data_base64", &BASE64.encode(bytes)),
    }
    out.push(b'}');
}

/// Appends the events as one batch.
pub fn write_batch<'a>(events: impl IntoIterator<Item = &'a Event>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, event) in events.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(event, out);
    }
    out.push(b']');
}

fn write_raw(out: &mut Vec<u8>, name: &str, json: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(json.as_bytes());
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    write_raw(out, name, "");
    write_string(out, value);
}

/// Appends `value` as a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(out, value).expect("a string is always JSON and a Vec always takes it");
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
