//! An event from attributes that came one by one: HTTP headers, Event Grid members, a program's own.

use super::payload::{IMPLIED_MEDIA_TYPE, PayloadForm, json_bytes};
use super::{
    Event, EventExtension, EventExtensions, EventForm, EventLimits, EventProblem, EventStrictness,
    ExtensionKind, ExtensionValue, TextSpan, rules,
};
use bytes::Bytes;
use bytestring::ByteString;

/// Collects the attributes of one event.
///
/// ```
/// use twinroute_model::event::{EventLimits, EventParts};
///
/// let event = EventParts::new("1", "contoso.api.weu.digitaltwins.azure.net", "Microsoft.DigitalTwins.Twin.Delete")
///     .set("subject", "room1")?
///     .json(r#"{"$dtId":"room1"}"#)
///     .build(&EventLimits::default())?;
/// assert_eq!(event.subject(), Some("room1"));
/// # Ok::<(), twinroute_model::event::EventProblem>(())
/// ```
#[derive(Debug, Default)]
pub struct EventParts {
    text: String,
    id: Option<TextSpan>,
    source: Option<TextSpan>,
    event_type: Option<TextSpan>,
    subject: Option<TextSpan>,
    time: Option<TextSpan>,
    dataschema: Option<TextSpan>,
    datacontenttype: Option<TextSpan>,
    extensions: EventExtensions,
    data: Bytes,
    /// Whether the payload is JSON though no `datacontenttype` says so.
    is_json: bool,
}

impl EventParts {
    /// Starts with the attributes that every event has.
    #[must_use]
    pub fn new(id: &str, source: &str, event_type: &str) -> Self {
        let mut parts = Self::default();
        parts.id = Some(parts.push(id));
        parts.source = Some(parts.push(source));
        parts.event_type = Some(parts.push(event_type));
        parts
    }

    /// Sets an attribute, core or extension, from its text.
    ///
    /// # Errors
    /// When it was set before, or an extension's name is not a legal one.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, EventProblem> {
        self.put(name, value)?;
        Ok(self)
    }

    /// Sets an extension attribute of any type.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn extension(
        mut self,
        name: &str,
        value: ExtensionValue<'_>,
    ) -> Result<Self, EventProblem> {
        match value {
            ExtensionValue::String(text) => self.put(name, text)?,
            ExtensionValue::Integer(number) => {
                self.put_extension(name, &number.to_string(), ExtensionKind::Integer)?;
            }
            ExtensionValue::Boolean(truth) => {
                self.put_extension(name, &truth.to_string(), ExtensionKind::Boolean)?;
            }
        }
        Ok(self)
    }

    /// The payload, JSON text; its media type is `application/json` unless `datacontenttype` is set.
    #[must_use]
    pub fn json(mut self, data: &str) -> Self {
        self.data = Bytes::copy_from_slice(data.as_bytes());
        self.is_json = true;
        self
    }

    /// The payload: what `datacontenttype` says, and any bytes where it is not set. None if empty.
    #[must_use]
    pub fn data(mut self, data: Bytes) -> Self {
        self.data = data;
        self.is_json = false;
        self
    }

    pub(crate) fn put(&mut self, name: &str, value: &str) -> Result<(), EventProblem> {
        if name == "specversion" {
            return rules::spec_version(value);
        }
        let pushed = self.text.len();
        let slot = match name {
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "dataschema" => &mut self.dataschema,
            "datacontenttype" => &mut self.datacontenttype,
            _ => return self.put_extension(name, value, ExtensionKind::String),
        };
        if slot.is_some() {
            return Err(EventProblem::Duplicate {
                attribute: name.to_owned(),
            });
        }
        *slot = Some(TextSpan::of_text(pushed, value.len()));
        self.text.push_str(value);
        Ok(())
    }

    fn put_extension(
        &mut self,
        name: &str,
        value: &str,
        kind: ExtensionKind,
    ) -> Result<(), EventProblem> {
        rules::extension_name(name)?;
        if self.extensions.len() == EventLimits::EXTENSIONS_MAX {
            return Err(EventProblem::TooManyExtensions {
                extensions_max: EventLimits::EXTENSIONS_MAX,
            });
        }
        if self
            .extensions
            .iter()
            .any(|known| self.slice(known.name) == name)
        {
            return Err(EventProblem::Duplicate {
                attribute: name.to_owned(),
            });
        }
        let name = self.push(name);
        let value = self.push(value);
        self.extensions.push(EventExtension { name, value, kind });
        Ok(())
    }

    fn push(&mut self, text: &str) -> TextSpan {
        let start = self.text.len();
        self.text.push_str(text);
        TextSpan::of_text(start, text.len())
    }

    fn slice(&self, span: TextSpan) -> &str {
        span.within(&self.text, "")
    }

    /// Checks everything and makes the event.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn build(self, limits: &EventLimits) -> Result<Event, EventProblem> {
        self.build_as(limits, EventStrictness::Producer)
    }

    /// As [`Self::build`], for what must not be lost: a `source` that is no URI-reference is kept as it is.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn build_lenient(self, limits: &EventLimits) -> Result<Event, EventProblem> {
        self.build_as(limits, EventStrictness::Lenient)
    }

    pub(crate) fn build_as(
        self,
        limits: &EventLimits,
        strictness: EventStrictness,
    ) -> Result<Event, EventProblem> {
        let bytes = self.text.len() + self.data.len();
        if bytes > limits.event_bytes_max {
            return Err(EventProblem::TooLarge {
                bytes,
                bytes_max: limits.event_bytes_max,
            });
        }
        let (data, body) = self.payload()?;
        let event = Event {
            id: self.id.ok_or(EventProblem::Missing { attribute: "id" })?,
            source: self.source.ok_or(EventProblem::Missing {
                attribute: "source",
            })?,
            event_type: self
                .event_type
                .ok_or(EventProblem::Missing { attribute: "type" })?,
            subject: self.subject,
            time: self.time,
            dataschema: self.dataschema,
            datacontenttype: self.datacontenttype,
            extensions: self.extensions,
            text: ByteString::from(self.text),
            unescaped: Box::default(),
            body,
            form: EventForm::Parts,
            data,
        };
        event.check(strictness)?;
        Ok(event)
    }

    fn payload(&self) -> Result<(PayloadForm, Bytes), EventProblem> {
        let given = self.datacontenttype.map(|span| self.slice(span));
        let implied = self.is_json.then_some(IMPLIED_MEDIA_TYPE);
        match given.or(implied) {
            // An empty text is no JSON, and has to be refused where it was said to be.
            _ if self.data.is_empty() && !self.is_json => Ok((PayloadForm::None, Bytes::new())),
            Some(media_type) if rules::is_json(Some(media_type)) => {
                let json = json_bytes(&self.data, media_type)?;
                Ok((PayloadForm::JsonBody, json))
            }
            _ if self.data.is_empty() => Ok((PayloadForm::None, Bytes::new())),
            Some(_) | None => Ok((PayloadForm::Body, self.data.clone())),
        }
    }
}

impl Event {
    /// The rules of every attribute, in the order of the specification.
    pub(super) fn check_core(&self, strictness: EventStrictness) -> Result<(), EventProblem> {
        rules::non_empty("id", self.id())?;
        rules::string("id", self.id())?;
        match strictness {
            EventStrictness::Producer => rules::uri_reference("source", self.source())?,
            EventStrictness::Lenient => rules::lenient_source("source", self.source())?,
        }
        rules::non_empty("type", self.event_type())?;
        rules::string("type", self.event_type())?;
        if let Some(value) = self.optional(self.datacontenttype) {
            rules::media_type("datacontenttype", value)?;
        }
        if let Some(value) = self.dataschema() {
            rules::uri("dataschema", value)?;
        }
        if let Some(value) = self.subject() {
            rules::non_empty("subject", value)?;
            rules::string("subject", value)?;
        }
        self.time()
            .map_or(Ok(()), |value| rules::time("time", value))
    }

    pub(crate) fn check(&self, strictness: EventStrictness) -> Result<(), EventProblem> {
        self.check_core(strictness)?;
        for extension in &self.extensions {
            rules::string(self.text(extension.name), self.text(extension.value))?;
        }
        Ok(())
    }
}
