//! Answers to requests that were taken.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use twinroute_listen::Body;
use twinroute_router::accept::{Accepted, AckLevel};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(crate) fn json(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(json.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// 200 without a body: what Event Grid answers.
pub(crate) fn empty() -> Response<Body> {
    Response::new(Body::default())
}

/// Event Grid's answer, which has no body: what is open stands in a header.
pub(crate) fn empty_with(accepted: &Accepted) -> Response<Body> {
    let mut response = empty();
    if accepted.is_open() {
        let open = HeaderValue::from(accepted.open());
        response.headers_mut().insert("twinroute-open", open);
    }
    response
}

/// 202, or 200 when nothing is left to do: at level `delivered`, once every delivery has ended.
pub(crate) fn accepted(accepted: &Accepted, level: AckLevel) -> Response<Body> {
    let status = match level {
        AckLevel::Memory | AckLevel::Durable => StatusCode::ACCEPTED,
        AckLevel::Delivered if accepted.is_ended() => StatusCode::OK,
        AckLevel::Delivered => StatusCode::ACCEPTED,
    };
    let mut body = Vec::with_capacity(96);
    body.extend_from_slice(b"{\"accepted\":");
    push_decimal(&mut body, accepted.events as u64);
    if accepted.duplicates > 0 {
        body.extend_from_slice(b",\"duplicates\":");
        push_decimal(&mut body, accepted.duplicates as u64);
    }
    body.extend_from_slice(b",\"generation\":");
    push_decimal(&mut body, accepted.generation);
    body.extend_from_slice(b",\"unmatched\":");
    push_decimal(&mut body, accepted.unmatched as u64);
    if level == AckLevel::Delivered {
        push_endpoints(&mut body, accepted);
    }
    body.push(b'}');
    json(status, body)
}

/// What became of the deliveries, by endpoint. Names hold nothing that JSON escapes.
fn push_endpoints(body: &mut Vec<u8>, accepted: &Accepted) {
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
    fn numbers_are_written() {
        for value in [0, 9, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
