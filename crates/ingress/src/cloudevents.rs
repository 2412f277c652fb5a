//! `/events`: CloudEvents over HTTP in its three content modes.

use crate::error::Refusal;
use crate::excerpt::excerpt;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use twinroute_model::cloudevents::http::{Mode, has_attributes, mode, parse_binary};
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, Invalid, Limits};
use twinroute_model::received::BodyShape;

/// The content mode of a request.
pub(crate) fn content_mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.map(|value| value.to_str().unwrap_or_default());
    mode(text).ok_or_else(|| Refusal::ContentType {
        found: content_type.map_or_else(String::new, |value| excerpt(value.as_bytes())),
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
    let events = match mode {
        Mode::Structured => json::parse(body.clone(), limits).map(|event| vec![event]),
        Mode::Batch => json::parse_batch(body.clone(), limits),
        Mode::Binary => {
            let headers = head.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
            parse_binary(headers, body.clone(), limits).map(|event| vec![event])
        }
    };
    events.map_err(|invalid| refused(invalid, mode, &head.headers, &body))
}

/// Says how a body has to be sent that looks like an event of another content mode.
fn refused(invalid: Invalid, mode: Mode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let shape = BodyShape::of(body);
    let names = headers.keys().map(header::HeaderName::as_str);
    if mode == Mode::Binary && !has_attributes(names) {
        let hint = match shape {
            BodyShape::CloudEvent => {
                ", and the body looks like an event in structured mode: \
                 send it with content-type: application/cloudevents+json"
            }
            BodyShape::CloudEventBatch => {
                ", and the body looks like a batch of events: \
                 send it with content-type: application/cloudevents-batch+json"
            }
            BodyShape::EventGridSchema => {
                ", and the body looks like events of the Event Grid schema: \
                 post them to /api/events?api-version=2018-01-01"
            }
            BodyShape::Other => {
                ": an event has its attributes in ce-specversion, ce-id, ce-source and ce-type, \
                 or is sent whole with content-type: application/cloudevents+json"
            }
        };
        return Refusal::NoAttributes { hint };
    }
    let hint = match (mode, shape) {
        (Mode::Structured, BodyShape::CloudEventBatch) => {
            "the body looks like a batch of events: \
             send it with content-type: application/cloudevents-batch+json"
        }
        (Mode::Batch, BodyShape::CloudEvent) => {
            "the body looks like one event: \
             send it with content-type: application/cloudevents+json, or as an array of one"
        }
        (Mode::Structured | Mode::Batch, BodyShape::EventGridSchema) => {
            "the body looks like events of the Event Grid schema: \
             post them to /api/events?api-version=2018-01-01 with content-type: application/json"
        }
        _ => return Refusal::Invalid(invalid),
    };
    Refusal::OtherForm { invalid, hint }
}
