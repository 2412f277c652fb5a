//! What programs mostly want of an event: read it from JSON or from a request, write it as JSON; all of it within
//! [`EventLimits::default`].

use super::http::ContentMode;
use super::{http, json};
use crate::event::{Event, EventLimits, EventProblem, InvalidEvent};
use bytes::Bytes;

impl Event {
    /// Reads one event in CloudEvents JSON format (`application/cloudevents+json`).
    ///
    /// ```
    /// use twinroute_model::event::Event;
    ///
    /// let event = Event::from_json(r#"{"specversion":"1.0","id":"1","source":"h","type":"t","data":{"n":1}}"#)?;
    /// assert_eq!(event.json_data(), Some(r#"{"n":1}"#));
    /// # Ok::<(), twinroute_model::event::InvalidEvent>(())
    /// ```
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self, InvalidEvent> {
        json::parse(json.into(), &EventLimits::default())
    }

    /// Reads a JSON array of events (`application/cloudevents-batch+json`): all of it, or nothing.
    ///
    /// # Errors
    /// The first event that breaks a rule, with its index.
    pub fn batch_from_json(json: impl Into<Bytes>) -> Result<Vec<Self>, InvalidEvent> {
        json::parse_batch(json.into(), &EventLimits::default())
    }

    /// Reads the one event of an HTTP request, in structured or in binary mode (CloudEvents HTTP binding 1.0.2 §3).
    /// A reference to a `HeaderMap` serves as `headers`.
    ///
    /// ```
    /// use twinroute_model::event::Event;
    ///
    /// let headers = [
    ///     ("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "h"), ("ce-type", "t"),
    ///     ("content-type", "application/json"),
    /// ];
    /// let event = Event::from_http(headers, r#"{"n":1}"#)?;
    /// assert_eq!(event.json_data(), Some(r#"{"n":1}"#));
    /// # Ok::<(), twinroute_model::event::InvalidEvent>(())
    /// ```
    ///
    /// # Errors
    /// The first rule that is broken. A batch is refused: [`Self::batch_from_http`] reads it.
    pub fn from_http<N: AsRef<str>, V: AsRef<[u8]>>(
        headers: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
    ) -> Result<Self, InvalidEvent> {
        let request = EventRequest::of(headers);
        match request.mode()? {
            ContentMode::Structured => Self::from_json(body),
            ContentMode::Binary => request.binary(body.into()),
            ContentMode::Batch => {
                let rule = "is that of a batch; read it with `Event::batch_from_http`";
                Err(EventProblem::attribute("content-type", rule).into())
            }
        }
    }

    /// Reads the events of an HTTP request in whatever content mode: all of them, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn batch_from_http<N: AsRef<str>, V: AsRef<[u8]>>(
        headers: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
    ) -> Result<Vec<Self>, InvalidEvent> {
        let request = EventRequest::of(headers);
        match request.mode()? {
            ContentMode::Structured => Ok(vec![Self::from_json(body)?]),
            ContentMode::Binary => Ok(vec![request.binary(body.into())?]),
            ContentMode::Batch => Self::batch_from_json(body),
        }
    }

    /// The event in CloudEvents JSON format. One that came so is given as it came.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.size());
        json::write(self, &mut json);
        json
    }

    /// As [`Self::to_json`], on one line that ends in a line feed.
    #[must_use]
    pub fn to_json_line(&self) -> Vec<u8> {
        let mut line = self.to_json();
        // RFC 8259 §7: no string holds them as they are, so they stand between values, where a space does as well.
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line.push(b'\n');
        line
    }
}

/// The headers of a request that holds events.
struct EventRequest<N, V>(Vec<(N, V)>);

impl<N: AsRef<str>, V: AsRef<[u8]>> EventRequest<N, V> {
    fn of(headers: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(headers.into_iter().collect())
    }

    fn mode(&self) -> Result<ContentMode, EventProblem> {
        let mut named = self.0.iter();
        let named = named.find(|(name, _)| name.as_ref().eq_ignore_ascii_case("content-type"));
        let given = named.and_then(|(_, value)| std::str::from_utf8(value.as_ref()).ok());
        http::mode(given).ok_or_else(|| {
            let rule = "is an event format that is not JSON; send application/cloudevents+json";
            EventProblem::attribute("content-type", rule)
        })
    }

    fn binary(&self, body: Bytes) -> Result<Event, InvalidEvent> {
        let headers = self.0.iter();
        let headers = headers.map(|(name, value)| (name.as_ref(), value.as_ref()));
        http::parse_binary(headers, body, &EventLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"h","type":"t"}"#;

    #[test]
    fn a_request_is_read_in_its_content_mode() {
        let structured = [(
            "Content-Type",
            "application/cloudevents+json; charset=utf-8",
        )];
        let batch = [("content-type", "application/cloudevents-batch+json")];
        let binary = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "h"),
            ("ce-type", "t"),
        ];
        assert_eq!(Event::from_http(structured, EVENT).unwrap().id(), "1");
        assert_eq!(Event::from_http(binary, "").unwrap().id(), "1");
        let array = format!("[{EVENT},{EVENT}]");
        let refused = Event::from_http(batch, array.clone()).unwrap_err();
        let expect =
            "attribute `content-type`: is that of a batch; read it with `Event::batch_from_http`";
        assert_eq!(refused.to_string(), expect);
        assert_eq!(Event::batch_from_http(batch, array).unwrap().len(), 2);
        assert_eq!(Event::batch_from_http(structured, EVENT).unwrap().len(), 1);
        assert_eq!(Event::batch_from_http(binary, "").unwrap().len(), 1);
        let other = [("content-type", "application/cloudevents+avro")];
        assert!(Event::from_http(other, EVENT).is_err());
    }

    #[test]
    fn a_line_is_one_line_and_the_same_event() {
        let spread = EVENT
            .replace(',', ",\r\n  ")
            .replace("\"t\"", "\"t\", \"data\": [\n1,\n\"a\\nb\"]");
        let event = Event::from_json(spread.clone()).unwrap();
        assert_eq!(event.to_json(), spread.as_bytes());
        let line = String::from_utf8(event.to_json_line()).unwrap();
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        assert!(!line.contains('\r'));
        let again = Event::from_json(line).unwrap();
        assert_eq!(again.json_data(), Some("[ 1, \"a\\nb\"]"));
    }
}
