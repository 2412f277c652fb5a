//! The event: the bytes its producer sent and where its attributes stand in them.
//!
//! An [`Event`] is made once, at the edge, by [`crate::cloudevents`] or [`crate::event_grid_schema`], and
//! never changed after. Attributes are spans of the event's own text, so an event costs no allocation an
//! attribute, and its payload goes out byte for byte as it came in.

mod builder;
mod error;
mod parts;
pub(crate) mod payload;
pub(crate) mod rules;
mod span;
mod with_extension;

pub use builder::EventBuilder;
pub use error::{EventProblem, InvalidEvent};
pub use parts::EventParts;
pub use payload::{EventData, TypedPayload};
pub(crate) use span::TextSpan;

use bytes::Bytes;
use bytestring::ByteString;
use payload::PayloadForm;
use smallvec::SmallVec;

/// `type` of the telemetry of a twin; the one event type of Azure Digital Twins in lower case.
pub const TELEMETRY: &str = "microsoft.iot.telemetry";

/// The seven event types that Azure Digital Twins sends.
/// Source: Azure Digital Twins, "Event notifications".
pub const ADT_TYPES: [&str; 7] = [
    "Microsoft.DigitalTwins.Twin.Create",
    "Microsoft.DigitalTwins.Twin.Delete",
    "Microsoft.DigitalTwins.Twin.Update",
    "Microsoft.DigitalTwins.Relationship.Create",
    "Microsoft.DigitalTwins.Relationship.Delete",
    "Microsoft.DigitalTwins.Relationship.Update",
    TELEMETRY,
];

/// A CloudEvents 1.0 event.
#[derive(Clone)]
pub struct Event {
    /// The JSON object as received, or the attribute values laid end to end.
    pub(crate) text: ByteString,
    /// Attribute values that had JSON escapes, unescaped; empty for nearly every event.
    pub(crate) unescaped: Box<str>,
    /// A payload that stands outside the text: a body (CloudEvents binary mode), or JSON that came as base64.
    pub(crate) body: Bytes,
    pub(crate) form: EventForm,
    pub(crate) id: TextSpan,
    pub(crate) source: TextSpan,
    pub(crate) event_type: TextSpan,
    pub(crate) subject: Option<TextSpan>,
    pub(crate) time: Option<TextSpan>,
    pub(crate) dataschema: Option<TextSpan>,
    pub(crate) datacontenttype: Option<TextSpan>,
    pub(crate) extensions: EventExtensions,
    pub(crate) data: PayloadForm,
}

/// Most events have one at most, which then costs no allocation.
pub(crate) type EventExtensions = SmallVec<[EventExtension; 1]>;

/// What `text` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventForm {
    /// One JSON object in CloudEvents JSON format, ready to be sent on as it is.
    Structured,
    /// Attribute values laid end to end; JSON has to be written around them.
    Parts,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EventExtension {
    pub(crate) name: TextSpan,
    pub(crate) value: TextSpan,
    pub(crate) kind: ExtensionKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionKind {
    String,
    Integer,
    Boolean,
}

/// The value of an extension attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionValue<'a> {
    /// Text; URIs and timestamps too.
    String(&'a str),
    /// -2,147,483,648 to 2,147,483,647 (CloudEvents 1.0.2, "Type System").
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

/// Who is held to the rules that keep producers honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventStrictness {
    /// A producer, who is told what is wrong and sends again.
    Producer,
    /// A sender that does not repeat, or what was accepted before: refused is only what is no event.
    Lenient,
}

/// What an event and a batch may measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLimits {
    /// Bytes of one event as received, payload included.
    pub event_bytes_max: usize,
    /// Events in one batch.
    pub batch_events_max: usize,
}

impl EventLimits {
    /// No setting goes above this: 64 MiB.
    pub const EVENT_BYTES_CEILING: usize = 64 << 20;

    /// Extension attributes of one event. They are found by a walk over all of them.
    pub const EXTENSIONS_MAX: usize = 128;
}

impl Default for EventLimits {
    /// What Event Grid takes: 1 MB an event (counted as 1 MiB), 5,000 events a batch.
    fn default() -> Self {
        Self {
            event_bytes_max: 1 << 20,
            batch_events_max: 5_000,
        }
    }
}

impl Event {
    pub(crate) fn text(&self, span: TextSpan) -> &str {
        span.within(&self.text, &self.unescaped)
    }

    fn optional(&self, span: Option<TextSpan>) -> Option<&str> {
        span.map(|span| self.text(span))
    }

    /// `id`: unique within `source`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(self.id)
    }

    /// `source`: a URI-reference.
    #[must_use]
    pub fn source(&self) -> &str {
        self.text(self.source)
    }

    /// `type`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(self.event_type)
    }

    /// `subject`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.optional(self.subject)
    }

    /// `time`: RFC 3339, as the producer wrote it.
    #[must_use]
    pub fn time(&self) -> Option<&str> {
        self.optional(self.time)
    }

    /// `dataschema`: a URI; for telemetry the model id.
    #[must_use]
    pub fn dataschema(&self) -> Option<&str> {
        self.optional(self.dataschema)
    }

    /// `datacontenttype` as given; `application/json` where the form of the event implies it.
    ///
    /// CloudEvents 1.0.2, `datacontenttype`: an event in JSON format whose `data` has none is exactly equivalent to
    /// one with `application/json`, and is to say so in every other format.
    #[must_use]
    pub fn datacontenttype(&self) -> Option<&str> {
        let given = self.optional(self.datacontenttype);
        given.or_else(|| self.data.implied_media_type())
    }

    /// The payload's bytes and media type, the same for every form in which the event could have come.
    #[must_use]
    pub fn payload(&self) -> TypedPayload<'_> {
        TypedPayload {
            bytes: self.data.bytes(&self.text, &self.unescaped, &self.body),
            media_type: self.datacontenttype(),
        }
    }

    /// The payload's JSON text, when its media type says that it is JSON.
    #[must_use]
    pub fn json_data(&self) -> Option<&str> {
        self.data.json(&self.text, &self.body)
    }

    /// The payload by what it is: text is UTF-8 under a media type of text in that charset.
    #[must_use]
    pub fn data(&self) -> EventData<'_> {
        match self.json_data() {
            Some(json) => EventData::Json(json),
            None => self.payload().into_data(),
        }
    }

    /// The text of an attribute, core or extension, by its CloudEvents name.
    ///
    /// Integer and boolean extensions give their canonical text.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(self.id()),
            "source" => Some(self.source()),
            "type" => Some(self.event_type()),
            "specversion" => Some("1.0"),
            "subject" => self.subject(),
            "time" => self.time(),
            "dataschema" => self.dataschema(),
            "datacontenttype" => self.datacontenttype(),
            _ => self
                .find_extension(name)
                .map(|extension| self.text(extension.value)),
        }
    }

    fn find_extension(&self, name: &str) -> Option<&EventExtension> {
        self.extensions
            .iter()
            .find(|extension| self.text(extension.name) == name)
    }

    /// An extension attribute by name.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<ExtensionValue<'_>> {
        self.find_extension(name)
            .map(|extension| self.extension_value(extension))
    }

    /// All extension attributes, in the producer's order.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, ExtensionValue<'_>)> {
        self.extensions
            .iter()
            .map(|extension| (self.text(extension.name), self.extension_value(extension)))
    }

    fn extension_value(&self, extension: &EventExtension) -> ExtensionValue<'_> {
        let text = self.text(extension.value);
        match extension.kind {
            ExtensionKind::String => ExtensionValue::String(text),
            ExtensionKind::Boolean => ExtensionValue::Boolean(text == "true"),
            ExtensionKind::Integer => {
                ExtensionValue::Integer(text.parse().expect("checked when the event was made"))
            }
        }
    }

    /// The event in CloudEvents JSON format, when it arrived so: sent on unchanged.
    #[must_use]
    pub fn structured(&self) -> Option<&str> {
        (self.form == EventForm::Structured).then_some(&*self.text)
    }

    /// Bytes the event holds in memory, its buffers counted whole.
    #[must_use]
    pub fn size(&self) -> usize {
        let extensions = match self.extensions.spilled() {
            true => size_of_val(&*self.extensions),
            false => 0,
        };
        size_of::<Self>() + self.text.len() + self.body.len() + self.unescaped.len() + extensions
    }

    /// The same event in buffers of its own.
    ///
    /// A slice of a receive buffer keeps the whole buffer alive; what waits in a queue must not.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detach();
        self
    }

    /// As [`Self::detached`], in place.
    pub fn detach(&mut self) {
        self.text = ByteString::from(&*self.text);
        self.body = match self.body.is_empty() {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(&self.body),
        };
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Event")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("type", &self.event_type())
            .finish_non_exhaustive()
    }
}
