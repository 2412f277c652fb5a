//! `/events`: CloudEvents over HTTP in its three content modes.

use crate::error::{Refusal, shown};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use twinroute_model::cloudevents::http::{Mode, mode, parse_binary};
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, Limits};

/// The content mode of a request.
pub(crate) fn content_mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.map(|value| value.to_str().unwrap_or_default());
    mode(text).ok_or_else(|| Refusal::ContentType {
        found: content_type.map_or_else(String::new, |value| shown(value.as_bytes())),
        taken: "application/cloudevents+json, application/cloudevents-batch+json, and any other \
                with an event's attributes in ce- headers",
    })
}

/// Reads the events of a request; the body is not copied.
pub(crate) fn events(
    mode: Mode,
    head: &Parts,
    body: Bytes,
    limits: &Limits,
) -> Result<Vec<Event>, Refusal> {
    Ok(match mode {
        Mode::Structured => vec![json::parse(body, limits)?],
        Mode::Batch => json::parse_batch(body, limits)?,
        Mode::Binary => {
            let headers = head.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
            vec![parse_binary(headers, body, limits)?]
        }
    })
}
