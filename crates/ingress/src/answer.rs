//! Answers to requests that were accepted.
//!
//! What became of the events stands in headers. A body is there for those who asked for one, see
//! [`crate::preference`], and for who asked what became of the deliveries.

use crate::preference::{ReturnPreference, accepts_json};
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use twinroute_listen::ServerBody;
use twinroute_router::accept::{AcceptedBatch, AckLevel};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Events of the request.
const ACCEPTED: HeaderName = HeaderName::from_static("twinroute-accepted");
/// Of these, those that no route matched.
const UNMATCHED: HeaderName = HeaderName::from_static("twinroute-unmatched");
/// Of these, repeats; absent when there is none.
const DUPLICATES: HeaderName = HeaderName::from_static("twinroute-duplicates");
/// The table of routes that decided.
const GENERATION: HeaderName = HeaderName::from_static("twinroute-generation");
/// Deliveries that were open at the deadline of level `delivered`; absent when there is none.
const OPEN: HeaderName = HeaderName::from_static("twinroute-open");
/// What could not be read and was kept; absent when there is none.
const UNREADABLE: HeaderName = HeaderName::from_static("twinroute-unreadable");

pub(crate) fn json(status: StatusCode, json: impl Into<Bytes>) -> Response<ServerBody> {
    let mut response = Response::new(ServerBody::new(json.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// 200 without a body: what Event Grid answers.
pub(crate) fn empty() -> Response<ServerBody> {
    Response::new(ServerBody::default())
}

/// How a request is to be answered, known before its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerForm {
    /// Whether success is always 200: what clients of an Event Grid topic take for one, and Event Grid itself.
    pub(crate) is_event_grid: bool,
    preference: Option<ReturnPreference>,
    has_body: bool,
}

impl AnswerForm {
    /// `asks_for_outcomes`: the request itself, not a setting, asked for level `delivered`.
    ///
    /// On the surface of an Event Grid topic `Accept` says nothing: clients of Azure name JSON there for errors alone.
    pub(crate) fn of(headers: &HeaderMap, is_event_grid: bool, asks_for_outcomes: bool) -> Self {
        let preference = ReturnPreference::of(headers);
        let has_body = match preference {
            Some(ReturnPreference::Minimal) => false,
            Some(ReturnPreference::Representation) => true,
            None => !is_event_grid && (asks_for_outcomes || accepts_json(headers)),
        };
        Self {
            is_event_grid,
            preference,
            has_body,
        }
    }
}

/// 202, or 200 when nothing is left to do: at level `delivered`, once every delivery has ended. `unreadable` counts
/// what was kept beside the events.
pub(crate) fn accepted(
    accepted: &AcceptedBatch,
    unreadable: usize,
    level: AckLevel,
    form: AnswerForm,
) -> Response<ServerBody> {
    let all_ended = level == AckLevel::Delivered && accepted.is_ended();
    let status = match form.is_event_grid || all_ended {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let mut response = match form.has_body {
        true => json(status, body(accepted, unreadable, level)),
        false => empty(),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut count = |name: HeaderName, value: u64| headers.insert(name, header_value(value));
    count(ACCEPTED, accepted.events as u64);
    count(UNMATCHED, accepted.unmatched as u64);
    count(GENERATION, accepted.generation);
    let seldom = [
        (DUPLICATES, accepted.duplicates as u64),
        (OPEN, accepted.open()),
        (UNREADABLE, unreadable as u64),
    ];
    for (name, value) in seldom.into_iter().filter(|(_, value)| *value > 0) {
        count(name, value);
    }
    if form.preference == Some(ReturnPreference::Representation) {
        let applied = HeaderValue::from_static("return=representation");
        headers.insert("preference-applied", applied);
    }
    response
}

/// A number. The small ones, which nearly all are that answer a single event, cost no allocation.
fn header_value(number: u64) -> HeaderValue {
    const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let small = usize::try_from(number).ok().and_then(|at| SMALL.get(at));
    small.map_or_else(
        || HeaderValue::from(number),
        |digit| HeaderValue::from_static(digit),
    )
}

fn body(accepted: &AcceptedBatch, unreadable: usize, level: AckLevel) -> Vec<u8> {
    let mut body = Vec::with_capacity(96);
    body.extend_from_slice(b"{\"accepted\":");
    push_decimal(&mut body, accepted.events as u64);
    if accepted.duplicates > 0 {
        body.extend_from_slice(b",\"duplicates\":");
        push_decimal(&mut body, accepted.duplicates as u64);
    }
    if unreadable > 0 {
        body.extend_from_slice(b",\"unreadable\":");
        push_decimal(&mut body, unreadable as u64);
    }
    body.extend_from_slice(b",\"generation\":");
    push_decimal(&mut body, accepted.generation);
    body.extend_from_slice(b",\"unmatched\":");
    push_decimal(&mut body, accepted.unmatched as u64);
    if level == AckLevel::Delivered {
        push_endpoints(&mut body, accepted);
    }
    body.push(b'}');
    body
}

/// What became of the deliveries, by endpoint. Names hold nothing that JSON escapes.
fn push_endpoints(body: &mut Vec<u8>, accepted: &AcceptedBatch) {
    body.extend_from_slice(b",\"endpoints\":{");
    for (index, (name, outcomes)) in accepted.outcomes.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.push(b'"');
        body.extend_from_slice(name.as_str().as_bytes());
        body.extend_from_slice(b"\":");
        let counts = [
            (b"{\"delivered\":" as &[u8], outcomes.delivered),
            (b",\"dead_lettered\":", outcomes.dead_lettered),
            (b",\"discarded\":", outcomes.discarded),
            (b",\"open\":", outcomes.open),
        ];
        for (name, count) in counts {
            body.extend_from_slice(name);
            push_decimal(body, count);
        }
        body.push(b'}');
    }
    body.push(b'}');
}

fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_header_values() {
        for value in [0, 7, 9, 10, u64::MAX] {
            assert_eq!(header_value(value), value.to_string());
        }
    }

    #[test]
    fn numbers_are_written() {
        for value in [0, 9, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
