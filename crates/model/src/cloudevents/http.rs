//! CloudEvents HTTP binding 1.0.2: which content mode a request has, and the binary mode.

use crate::event::{Event, EventLimits, EventParts, EventProblem, EventStrictness, InvalidEvent};
use bytes::Bytes;
use percent_encoding::percent_decode;

/// Prefix of the headers that carry attributes (§3.1.3.1).
const PREFIX: &str = "ce-";

/// The content mode of a request (§3): its content type names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentMode {
    /// One event, JSON format.
    Structured,
    /// An array of events, JSON format.
    Batch,
    /// Attributes in headers, payload in the body.
    Binary,
}

/// The content mode for a `Content-Type`, or `None` for an event format that is not JSON.
///
/// §3: `application/cloudevents…` is structured, `application/cloudevents-batch…` is a batch, and anything
/// else, an absent header too, is binary.
#[must_use]
pub fn mode(content_type: Option<&str>) -> Option<ContentMode> {
    const FAMILY: &str = "application/cloudevents";
    let essence = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let Some((head, rest)) = essence.split_at_checked(FAMILY.len()) else {
        return Some(ContentMode::Binary);
    };
    if !head.eq_ignore_ascii_case(FAMILY) {
        return Some(ContentMode::Binary);
    }
    let is = |words: [&str; 2]| words.iter().any(|word| rest.eq_ignore_ascii_case(word));
    if is(["", "+json"]) {
        Some(ContentMode::Structured)
    } else if is(["-batch", "-batch+json"]) {
        Some(ContentMode::Batch)
    } else {
        None
    }
}

/// Reads an event in binary mode.
///
/// `headers` are all headers of the request; those that carry no attribute are skipped.
///
/// # Errors
/// The first rule that is broken.
pub fn parse_binary<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: Bytes,
    limits: &EventLimits,
) -> Result<Event, InvalidEvent> {
    parse_as(headers, body, limits, EventStrictness::Producer)
}

pub(crate) fn parse_as<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: Bytes,
    limits: &EventLimits,
    strictness: EventStrictness,
) -> Result<Event, InvalidEvent> {
    let mut parts = EventParts::default();
    let mut versioned = false;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("content-type") {
            // An empty header says no more than none.
            if !value.trim_ascii().is_empty() {
                parts.put("datacontenttype", header_text("datacontenttype", value)?)?;
            }
        } else if let Some(attribute) = attribute_name(name) {
            versioned |= attribute == "specversion";
            let decoded = decode(&attribute, value)?;
            parts.put(&attribute, &decoded)?;
        }
    }
    if !versioned {
        return Err(EventProblem::Missing {
            attribute: "specversion",
        }
        .into());
    }
    Ok(parts.data(body).build_as(limits, strictness)?)
}

/// Whether a request has headers of an event in binary mode.
pub fn has_attributes<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().any(|name| attribute_name(name).is_some())
}

pub(crate) fn attribute_name(header: &str) -> Option<String> {
    let (head, attribute) = header.split_at_checked(PREFIX.len())?;
    head.eq_ignore_ascii_case(PREFIX)
        .then(|| attribute.to_ascii_lowercase())
}

fn header_text<'a>(attribute: &str, value: &'a [u8]) -> Result<&'a str, EventProblem> {
    std::str::from_utf8(value)
        .map_err(|_| EventProblem::attribute(attribute, "the header is not UTF-8"))
        .map(str::trim)
}

/// §3.1.3.2: header values are percent-encoded, and one that was quoted before is unquoted first.
fn decode(attribute: &str, value: &[u8]) -> Result<String, EventProblem> {
    let value = value.trim_ascii();
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""));
    let unquoted: Vec<u8>;
    let value = match quoted {
        None => value,
        Some(inner) => {
            unquoted = unescape(inner);
            &unquoted
        }
    };
    match percent_decode(value).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(EventProblem::attribute(
            attribute,
            "the header's percent-decoded value is not UTF-8",
        )),
    }
}

fn unescape(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventData, ExtensionValue};

    const HEADERS: [(&str, &[u8]); 7] = [
        ("host", b"localhost"),
        ("Content-Type", b"application/json"),
        ("CE-SpecVersion", b"1.0"),
        ("ce-id", b"a%20b"),
        ("ce-source", b"host/digitaltwins/t1"),
        ("ce-type", b"microsoft.iot.telemetry"),
        ("ce-comment", b"\"Euro \\\"%E2%82%AC\\\" %F0%9F%98%80\""),
    ];

    #[test]
    fn modes() {
        for (content_type, expect) in [
            (None, Some(ContentMode::Binary)),
            (Some("application/json"), Some(ContentMode::Binary)),
            (
                Some("application/cloudevents+json; charset=utf-8"),
                Some(ContentMode::Structured),
            ),
            (
                Some("Application/CloudEvents-Batch+JSON"),
                Some(ContentMode::Batch),
            ),
            (Some("application/cloudevents+protobuf"), None),
            (Some("text/\u{fc}ml"), Some(ContentMode::Binary)),
        ] {
            assert_eq!(mode(content_type), expect, "{content_type:?}");
        }
    }

    #[test]
    fn binary_mode_decodes_headers_and_keeps_the_body() {
        let body = Bytes::from_static(b"{\"t\": 1.10, \"n\": 12345678901234567890123}");
        let event = parse_binary(HEADERS, body.clone(), &EventLimits::default()).unwrap();
        assert_eq!(event.id(), "a b");
        assert_eq!(
            event.extension("comment"),
            Some(ExtensionValue::String("Euro \"€\" 😀"))
        );
        assert_eq!(
            event.data(),
            EventData::Json(std::str::from_utf8(&body).unwrap())
        );
        let mut json = Vec::new();
        super::super::json::write(&event, &mut json);
        let again = super::super::json::parse(json.into(), &EventLimits::default()).unwrap();
        assert_eq!(again.data(), event.data());
        assert_eq!(again.extension("comment"), event.extension("comment"));
    }

    #[test]
    fn binary_mode_names_what_is_missing_or_wrong() {
        let refuse = |headers: &[(&'static str, &'static [u8])], body: &'static [u8]| {
            let headers = headers.iter().copied();
            parse_binary(headers, Bytes::from_static(body), &EventLimits::default())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refuse(&HEADERS[..2], b""),
            "attribute `specversion`: required, but missing"
        );
        assert_eq!(
            refuse(&HEADERS[..4], b""),
            "attribute `source`: required, but missing"
        );
        assert_eq!(
            refuse(&[("ce-specversion", b"0.3")], b""),
            "attribute `specversion`: must be \"1.0\", not \"0.3\""
        );
        assert_eq!(
            refuse(&[("ce-specversion", b"1.0"), ("ce-id", b"%ff")], b""),
            "attribute `id`: the header's percent-decoded value is not UTF-8"
        );
        assert_eq!(
            refuse(&HEADERS, b"{oops"),
            "`data`: is not the JSON that `datacontenttype` application/json says it is: \
             key must be a string at line 1 column 2"
        );
    }

    #[test]
    fn a_body_that_is_not_utf8_is_refused_and_not_believed() {
        let body = Bytes::from_static(b"{\"t\":\"\xff\"}");
        let refused = parse_binary(HEADERS, body, &EventLimits::default()).unwrap_err();
        let expect = "`data`: is not UTF-8, as JSON must be";
        assert_eq!(refused.to_string(), expect);
    }

    #[test]
    fn no_header_passes_for_the_payload() {
        let mut headers = HEADERS;
        headers[6] = ("ce-data", b"1");
        let refused = parse_binary(headers, Bytes::from_static(b"2"), &EventLimits::default());
        let expect = "attribute `data`: no attribute has this name";
        assert_eq!(refused.unwrap_err().to_string(), expect);
    }

    #[test]
    fn other_content_types_become_text_or_base64() {
        let event = |content_type: &'static [u8], body: &'static [u8]| {
            let mut headers = HEADERS;
            headers[1].1 = content_type;
            let event =
                parse_binary(headers, Bytes::from_static(body), &EventLimits::default()).unwrap();
            let mut json = Vec::new();
            super::super::json::write(&event, &mut json);
            let json = String::from_utf8(json).unwrap();
            json[json.rfind("\"data").unwrap()..].to_owned()
        };
        assert_eq!(event(b"text/plain", b"a\nb"), "\"data\":\"a\\nb\"}");
        assert_eq!(
            event(b"application/octet-stream", b"\xff\x00"),
            "\"data_base64\":\"/wA=\"}"
        );
        assert_eq!(
            event(b"text/plain", b"\xff\x00"),
            "\"data_base64\":\"/wA=\"}"
        );
    }
}
