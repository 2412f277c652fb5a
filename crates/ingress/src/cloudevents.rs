//! `/events`: CloudEvents over HTTP in its three content modes.

use crate::error::IngressRefusal;
use crate::excerpt::excerpt;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use twinroute_model::cloudevents::http::{ContentMode, has_attributes, mode, parse_binary};
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits, InvalidEvent};
use twinroute_model::received::BodyShape;

/// The content mode of a request.
pub(crate) fn content_mode(headers: &HeaderMap) -> Result<ContentMode, IngressRefusal> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.map(|value| value.to_str().unwrap_or_default());
    mode(text).ok_or_else(|| IngressRefusal::ContentType {
        found: content_type.map_or_else(String::new, |value| excerpt(value.as_bytes())),
        taken: "application/cloudevents+json, application/cloudevents-batch+json, and any other \
                with an event's attributes in ce- headers",
    })
}

/// Reads the events of a request; the body is not copied.
pub(crate) fn events(
    mode: ContentMode,
    head: &Parts,
    body: Bytes,
    limits: &EventLimits,
) -> Result<Vec<Event>, IngressRefusal> {
    let events = match mode {
        ContentMode::Structured => json::parse(body.clone(), limits).map(|event| vec![event]),
        ContentMode::Batch => json::parse_batch(body.clone(), limits),
        ContentMode::Binary => {
            let headers = head.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
            parse_binary(headers, body.clone(), limits).map(|event| vec![event])
        }
    };
    events.map_err(|invalid| refused(invalid, mode, &head.headers, &body))
}

/// Says how a body has to be sent that looks like an event of another content mode.
fn refused(
    invalid: InvalidEvent,
    mode: ContentMode,
    headers: &HeaderMap,
    body: &[u8],
) -> IngressRefusal {
    let shape = BodyShape::of(body);
    let names = headers.keys().map(header::HeaderName::as_str);
    if mode == ContentMode::Binary && !has_attributes(names) {
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
        return IngressRefusal::NoAttributes { hint };
    }
    let hint = match (mode, shape) {
        (ContentMode::Structured, BodyShape::CloudEventBatch) => {
            "the body looks like a batch of events: \
             send it with content-type: application/cloudevents-batch+json"
        }
        (ContentMode::Batch, BodyShape::CloudEvent) => {
            "the body looks like one event: \
             send it with content-type: application/cloudevents+json, or as an array of one"
        }
        (ContentMode::Structured | ContentMode::Batch, BodyShape::EventGridSchema) => {
            "the body looks like events of the Event Grid schema: \
             post them to /api/events?api-version=2018-01-01 with content-type: application/json"
        }
        _ => return IngressRefusal::Invalid(invalid),
    };
    IngressRefusal::OtherForm { invalid, hint }
}
