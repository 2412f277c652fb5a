//! The payload: its bytes and its media type, whichever form the event came in.
//!
//! CloudEvents carry one payload in several forms: a JSON value, a JSON string, base64, the body of a request.
//! Filters, encoders and people ask an event for its `payload`, `json_data` or `data`, and all three
//! depend on the bytes and the media type alone: the same two mean the same in every content mode.
//!
//! | form | bytes | media type |
//! |---|---|---|
//! | `data`, no `datacontenttype` | the JSON text | `application/json` (CloudEvents 1.0.2, `datacontenttype`) |
//! | `data`, a JSON media type | the JSON text | as given |
//! | `data`, another media type | a string's content, else the JSON text | as given |
//! | `data_base64` | as decoded | as given; if absent, none is assumed (JSON format 1.0.2 §3.1.1) |
//! | body of a request | the body | as given; if absent, none is assumed (HTTP binding 1.0.2 §3.1.1) |
//!
//! A byte order mark before JSON is no part of it (RFC 8259 §8.1: a parser may ignore it), so no form keeps it.
//! Absent and empty payloads are the same, since a body cannot tell them apart.

use super::error::EventProblem;
use super::rules;
use super::span::TextSpan;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use std::borrow::Cow;

/// The media type of a JSON value whose event names none.
pub(crate) const IMPLIED_MEDIA_TYPE: &str = "application/json";

/// A payload as it stands alone on a wire, and what it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedPayload<'a> {
    /// Empty when the event carries none.
    pub bytes: Cow<'a, [u8]>,
    /// `None` when nobody said what the bytes are: nothing may be assumed then.
    pub media_type: Option<&'a str>,
}

/// The payload of an event, by what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventData<'a> {
    /// The event carries none.
    None,
    /// JSON text, as the producer wrote it.
    Json(&'a str),
    /// Text of a media type that is not JSON.
    Text(Cow<'a, str>),
    /// Bytes.
    Binary(Cow<'a, [u8]>),
}

/// Where an event keeps its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    None,
    /// A JSON value in the text, under a JSON media type or none.
    Json(TextSpan),
    /// A JSON value in the text that is no string, under another media type: its text is the payload.
    JsonText(TextSpan),
    /// A JSON string in the text, under another media type: its content is the payload.
    JsonString(TextSpan),
    /// `data_base64`, without its quotes, in the text; what it holds is not JSON.
    Base64(TextSpan),
    /// The body, JSON.
    JsonBody,
    /// The body, anything.
    Body,
}

impl PayloadForm {
    /// The media type of an event that names none.
    pub(super) fn implied_media_type(self) -> Option<&'static str> {
        matches!(self, Self::Json(_) | Self::JsonBody).then_some(IMPLIED_MEDIA_TYPE)
    }

    /// The payload of an event with this text, these unescaped values and this body.
    pub(super) fn bytes<'a>(
        self,
        text: &'a str,
        unescaped: &'a str,
        body: &'a [u8],
    ) -> Cow<'a, [u8]> {
        match self {
            Self::None => Cow::Borrowed(&[]),
            Self::Json(span) | Self::JsonText(span) => {
                Cow::Borrowed(span.within(text, unescaped).as_bytes())
            }
            Self::JsonBody | Self::Body => Cow::Borrowed(body),
            Self::JsonString(span) => {
                let text: Cow<'_, str> =
                    serde_json::from_str::<UnescapedString<'_>>(span.within(text, unescaped))
                        .expect("a JSON string, checked when made")
                        .0;
                match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                }
            }
            Self::Base64(span) => Cow::Owned(
                BASE64
                    .decode(span.within(text, unescaped))
                    .expect("base64, checked when the event was made"),
            ),
        }
    }

    /// The same as text, where its media type says that it is JSON.
    pub(super) fn json<'a>(self, text: &'a str, body: &'a [u8]) -> Option<&'a str> {
        match self {
            Self::Json(span) => Some(span.within(text, "")),
            Self::JsonBody => std::str::from_utf8(body).ok(),
            _ => None,
        }
    }
}

impl<'a> TypedPayload<'a> {
    /// What a payload is that is not JSON.
    pub(super) fn into_data(self) -> EventData<'a> {
        let Self { bytes, media_type } = self;
        if bytes.is_empty() {
            return EventData::None;
        }
        if !rules::is_text(media_type) {
            return EventData::Binary(bytes);
        }
        match bytes {
            Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => EventData::Text(Cow::Borrowed(text)),
                Err(_) => EventData::Binary(Cow::Borrowed(bytes)),
            },
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => EventData::Text(Cow::Owned(text)),
                Err(error) => EventData::Binary(Cow::Owned(error.into_bytes())),
            },
        }
    }
}

/// What `datacontenttype` says of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    /// Nothing.
    Unsaid,
    Json,
    Other,
}

impl MediaKind {
    pub(crate) fn of(datacontenttype: Option<&str>) -> Self {
        match datacontenttype {
            None => Self::Unsaid,
            Some(_) if rules::is_json(datacontenttype) => Self::Json,
            Some(_) => Self::Other,
        }
    }
}

/// Which of the two payload members of a JSON object counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadMember<'a> {
    None,
    /// The text of a JSON value.
    Value(&'a str),
    /// The text of a JSON value that stands for bytes.
    Base64(&'a str),
}

impl<'a> PayloadMember<'a> {
    /// Brings absent and null to one form: a null is a payload only where it can be one, alone and not under a media
    /// type that is not JSON. Elsewhere it is an unset member (JSON format 1.0.2 §2.2).
    pub(crate) fn of(
        data: Option<&'a str>,
        data_base64: Option<&'a str>,
        kind: MediaKind,
    ) -> Result<Self, EventProblem> {
        let base64 = data_base64.filter(|raw| *raw != "null");
        let null_is_payload = base64.is_none() && kind != MediaKind::Other;
        match (data.filter(|raw| *raw != "null" || null_is_payload), base64) {
            (Some(_), Some(_)) => Err(EventProblem::Data {
                rule: "must not stand beside `data_base64`".to_owned(),
            }),
            (Some(raw), None) => Ok(Self::Value(raw)),
            (None, Some(raw)) => Ok(Self::Base64(raw)),
            (None, None) => Ok(Self::None),
        }
    }
}

/// Bytes that are said to be JSON, without a byte order mark.
pub(crate) fn json_bytes(bytes: &Bytes, media_type: &str) -> Result<Bytes, EventProblem> {
    let bytes = without_mark(bytes);
    // As text: the parser does not look at the bytes of strings that it skips.
    let Ok(json) = std::str::from_utf8(&bytes) else {
        return Err(EventProblem::Data {
            rule: "is not UTF-8, as JSON must be".to_owned(),
        });
    };
    match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(EventProblem::Data {
            rule: format!(
                "is not the JSON that `datacontenttype` {media_type} says it is: {error}"
            ),
        }),
    }
}

/// What stands behind a UTF-8 byte order mark, if there is one.
pub(crate) fn without_mark(bytes: &Bytes) -> Bytes {
    match bytes.strip_prefix("\u{feff}".as_bytes()) {
        Some(rest) => bytes.slice_ref(rest),
        None => bytes.clone(),
    }
}

impl EventData<'_> {
    /// The payload as it stands alone on a wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Json(json) => json.as_bytes(),
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A string without its escapes, borrowed where there are none.
#[derive(serde::Deserialize)]
struct UnescapedString<'a>(#[serde(borrow)] Cow<'a, str>);
