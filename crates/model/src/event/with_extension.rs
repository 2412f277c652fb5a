//! An event with one extension attribute more, or another value of it.

use super::payload::PayloadForm;
use super::{
    Event, EventExtension, EventExtensions, EventForm, EventLimits, EventProblem, EventStrictness,
    ExtensionKind, ExtensionValue, TextSpan, rules,
};
use bytes::Bytes;
use bytestring::ByteString;

impl Event {
    /// The same event with an extension attribute set; one of that name is replaced.
    ///
    /// The payload stays as it is, byte for byte. The attributes are laid out again, so JSON is written around them
    /// from here on.
    ///
    /// ```
    /// use twinroute_model::event::{Event, ExtensionValue};
    ///
    /// let event = Event::builder().id("1").source("h").event_type("t").build()?;
    /// let event = event.with_extension("site", "berlin")?;
    /// assert_eq!(event.extension("site"), Some(ExtensionValue::String("berlin")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The name is not a legal one, the value holds what no attribute may, or there would be too many.
    pub fn with_extension<'a>(
        self,
        name: &str,
        value: impl Into<ExtensionValue<'a>>,
    ) -> Result<Self, EventProblem> {
        rules::extension_name(name)?;
        let (text, kind) = match value.into() {
            ExtensionValue::String(text) => (text.to_owned(), ExtensionKind::String),
            ExtensionValue::Integer(number) => (number.to_string(), ExtensionKind::Integer),
            ExtensionValue::Boolean(truth) => (truth.to_string(), ExtensionKind::Boolean),
        };
        rules::string(name, &text)?;
        let others = self.extensions.iter();
        let others = others.filter(|extension| self.text(extension.name) != name);
        let mut layout = AttributeLayout::default();
        let mut extensions: EventExtensions = others
            .map(|extension| EventExtension {
                name: layout.push(self.text(extension.name)),
                value: layout.push(self.text(extension.value)),
                kind: extension.kind,
            })
            .collect();
        if extensions.len() == EventLimits::EXTENSIONS_MAX {
            return Err(EventProblem::TooManyExtensions {
                extensions_max: EventLimits::EXTENSIONS_MAX,
            });
        }
        extensions.push(EventExtension {
            name: layout.push(name),
            value: layout.push(&text),
            kind,
        });
        let event = self.laid_out(layout, extensions);
        // It was an event before; a `source` that was kept although it is no URI-reference stays.
        event.check(EventStrictness::Lenient)?;
        Ok(event)
    }

    /// The event with its attributes laid end to end, behind what is in `layout` already.
    fn laid_out(&self, mut layout: AttributeLayout, extensions: EventExtensions) -> Self {
        let (data, body) = self.payload_apart();
        let mut optional = |span: Option<TextSpan>| span.map(|span| layout.push(self.text(span)));
        let subject = optional(self.subject);
        let time = optional(self.time);
        let dataschema = optional(self.dataschema);
        let datacontenttype = optional(self.datacontenttype);
        Self {
            id: layout.push(self.id()),
            source: layout.push(self.source()),
            event_type: layout.push(self.event_type()),
            subject,
            time,
            dataschema,
            datacontenttype,
            extensions,
            text: ByteString::from(layout.0),
            unescaped: Box::default(),
            form: EventForm::Parts,
            data,
            body,
        }
    }

    /// The payload outside the text, with the same bytes and the same media type.
    fn payload_apart(&self) -> (PayloadForm, Bytes) {
        match self.data {
            PayloadForm::None | PayloadForm::JsonBody | PayloadForm::Body => {
                (self.data, self.body.clone())
            }
            PayloadForm::Json(_) => {
                let json = self.json_data().unwrap_or_default();
                (PayloadForm::JsonBody, self.part_of_text(json))
            }
            PayloadForm::JsonText(_) | PayloadForm::JsonString(_) | PayloadForm::Base64(_) => {
                let bytes = self.payload().bytes.into_owned();
                (PayloadForm::Body, Bytes::from(bytes))
            }
        }
    }

    /// A part of the text without a copy.
    fn part_of_text(&self, part: &str) -> Bytes {
        self.text.as_bytes().slice_ref(part.as_bytes())
    }
}

/// Attribute values laid end to end.
#[derive(Default)]
struct AttributeLayout(String);

impl AttributeLayout {
    fn push(&mut self, value: &str) -> TextSpan {
        let start = self.0.len();
        self.0.push_str(value);
        TextSpan::of_text(start, value.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudevents::json;
    use crate::fixtures;

    /// Events of every form in which a payload can stand.
    fn every_form() -> Vec<Event> {
        let members = [
            "",
            r#","data":null"#,
            r#","data":{"t": 1.10, "n": [12345678901234567890123]}"#,
            r#","datacontenttype":"text/plain","data":"a\nb""#,
            r#","datacontenttype":"text/plain","data":[1, 2]"#,
            r#","data_base64":"/wA=""#,
            r#","datacontenttype":"application/json","data_base64":"eyJhIjogMX0=""#,
            r#","subject":"r\u00f6m","time":"2026-01-02T03:04:05Z","floor":3,"open":true,"x":"\"""#,
        ];
        let structured = members.map(|members| {
            let head = r#"{"specversion":"1.0","id":"a\"b","source":"h/x","type":"t""#;
            Event::from_json(format!("{head}{members}}}")).unwrap()
        });
        let minimal = || Event::builder().id("1").source("h").event_type("t");
        let binary = minimal().data("application/octet-stream", vec![0xff, 0]);
        let parts = [minimal().json("[1,  2]"), binary].map(|one| one.build().unwrap());
        let fixtures = fixtures::ALL.iter().map(|fixture| fixture.event());
        structured
            .into_iter()
            .chain(parts)
            .chain(fixtures)
            .collect()
    }

    #[test]
    fn a_new_extension_leaves_all_else_as_it_is() {
        for event in every_form() {
            let changed = event.clone().with_extension("site", "b\"erlin").unwrap();
            assert_eq!(
                changed.extension("site"),
                Some(ExtensionValue::String("b\"erlin"))
            );
            assert_eq!(changed.extensions().count(), event.extensions().count() + 1);
            for (name, value) in event.extensions() {
                assert_eq!(changed.extension(name), Some(value));
            }
            for name in [
                "id",
                "source",
                "type",
                "subject",
                "time",
                "dataschema",
                "datacontenttype",
            ] {
                assert_eq!(changed.attribute(name), event.attribute(name), "{name}");
            }
            assert_eq!(changed.payload(), event.payload());
            assert_eq!(changed.json_data(), event.json_data());
            let mut written = Vec::new();
            json::write(&changed, &mut written);
            let again = json::parse(written.into(), &EventLimits::default()).unwrap();
            assert_eq!(again.payload(), event.payload());
            assert_eq!(again.extension("site"), changed.extension("site"));
        }
    }

    #[test]
    fn an_extension_that_is_there_is_replaced() {
        let event = Event::builder().id("1").source("h").event_type("t");
        let event = event.extension("floor", 1).extension("site", "x");
        let event = event.build().unwrap().with_extension("floor", "two");
        let event = event.unwrap();
        assert_eq!(
            event.extension("floor"),
            Some(ExtensionValue::String("two"))
        );
        assert_eq!(event.extensions().count(), 2);
    }

    #[test]
    fn names_and_values_that_no_attribute_may_have_are_refused() {
        let event = Event::builder().id("1").source("h").event_type("t");
        let event = event.build().unwrap();
        for (name, value) in [("Site", "x"), ("id", "x"), ("data", "x"), ("site", "\u{7}")] {
            let changed = event.clone().with_extension(name, value);
            assert!(changed.is_err(), "{name} {value:?}");
        }
    }
}
