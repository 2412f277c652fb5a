//! An event of a program's own, attribute by attribute.

use super::{Event, EventLimits, EventParts, EventProblem, ExtensionValue, InvalidEvent};
use bytes::Bytes;
use std::fmt::Display;

/// Collects the attributes of one event; what is wrong is said at the end, by [`EventBuilder::build`].
///
/// `id`, `source` and `type` are required (CloudEvents 1.0.2, "REQUIRED Attributes"). No attribute may be set twice.
#[derive(Debug)]
#[must_use = "nothing is made before `build`"]
pub struct EventBuilder(Result<EventParts, EventProblem>);

impl Event {
    /// Starts an event.
    ///
    /// ```
    /// use twinroute_model::event::Event;
    ///
    /// let event = Event::builder()
    ///     .id("1")
    ///     .source("contoso.api.weu.digitaltwins.azure.net")
    ///     .event_type("Microsoft.DigitalTwins.Twin.Delete")
    ///     .subject("room1")
    ///     .json(r#"{"$dtId":"room1"}"#)
    ///     .extension("site", "berlin")
    ///     .build()?;
    /// assert_eq!(event.subject(), Some("room1"));
    /// # Ok::<(), twinroute_model::event::InvalidEvent>(())
    /// ```
    pub fn builder() -> EventBuilder {
        EventBuilder(Ok(EventParts::default()))
    }
}

impl EventBuilder {
    /// `id`: unique within `source`.
    pub fn id(self, id: &str) -> Self {
        self.attribute("id", id)
    }

    /// `source`: a URI-reference.
    pub fn source(self, source: &str) -> Self {
        self.attribute("source", source)
    }

    /// `type`.
    pub fn event_type(self, event_type: &str) -> Self {
        self.attribute("type", event_type)
    }

    /// `subject`.
    pub fn subject(self, subject: &str) -> Self {
        self.attribute("subject", subject)
    }

    /// `time`: RFC 3339.
    pub fn time(self, time: &str) -> Self {
        self.attribute("time", time)
    }

    /// `dataschema`: a URI.
    pub fn dataschema(self, uri: &str) -> Self {
        self.attribute("dataschema", uri)
    }

    /// An extension attribute: a text, an integer or a truth value. Names are lower-case letters and digits.
    pub fn extension<'a>(self, name: &str, value: impl Into<ExtensionValue<'a>>) -> Self {
        Self(self.0.and_then(|parts| parts.extension(name, value.into())))
    }

    /// The payload, JSON: a text, or whatever shows itself as JSON, such as a `serde_json::Value`.
    pub fn json(self, data: impl Display) -> Self {
        Self(self.0.map(|parts| parts.json(&data.to_string())))
    }

    /// The payload: bytes of a media type.
    pub fn data(self, media_type: &str, data: impl Into<Bytes>) -> Self {
        let parts = self.attribute("datacontenttype", media_type).0;
        Self(parts.map(|parts| parts.data(data.into())))
    }

    /// Makes the event.
    ///
    /// # Errors
    /// The first rule that is broken; an event is at most as large as [`EventLimits::default`] says.
    pub fn build(self) -> Result<Event, InvalidEvent> {
        let built = self
            .0
            .and_then(|parts| parts.build(&EventLimits::default()));
        Ok(built?)
    }

    fn attribute(self, name: &str, value: &str) -> Self {
        Self(self.0.and_then(|parts| parts.set(name, value)))
    }
}

impl<'a> From<&'a str> for ExtensionValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text)
    }
}

impl<'a> From<&'a String> for ExtensionValue<'a> {
    fn from(text: &'a String) -> Self {
        Self::String(text)
    }
}

impl From<i32> for ExtensionValue<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for ExtensionValue<'_> {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> EventBuilder {
        Event::builder().id("1").source("h").event_type("t")
    }

    #[test]
    fn what_is_set_is_in_the_event() {
        let event = minimal()
            .subject("s")
            .time("2026-01-02T03:04:05Z")
            .dataschema("dtmi:x;1")
            .extension("site", "berlin")
            .extension("floor", -3)
            .extension("open", true)
            .data("text/plain", "hello")
            .build()
            .unwrap();
        let named = |name| event.attribute(name).unwrap_or_default();
        assert_eq!(
            ["subject", "time", "dataschema", "datacontenttype"].map(named),
            ["s", "2026-01-02T03:04:05Z", "dtmi:x;1", "text/plain"]
        );
        assert_eq!(event.extension("floor"), Some(ExtensionValue::Integer(-3)));
        assert_eq!(&*event.payload().bytes, b"hello");
    }

    #[test]
    fn the_first_mistake_is_said() {
        for (builder, expect) in [
            (
                Event::builder().id("1").source("h"),
                "attribute `type`: required, but missing",
            ),
            (minimal().id("2"), "attribute `id`: appears more than once"),
            (
                minimal().time("today"),
                "attribute `time`: must be an RFC 3339 date-time such as 2026-01-31T08:15:30Z, not \"today\"",
            ),
        ] {
            let refused = builder.build().unwrap_err().to_string();
            assert_eq!(refused, expect);
        }
        assert!(minimal().extension("Site", "x").build().is_err());
        assert!(minimal().json("{oops").build().is_err());
    }
}
