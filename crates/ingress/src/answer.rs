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

/// 202, or 200 when nothing is left to do.
pub(crate) fn accepted(accepted: &Accepted, level: AckLevel) -> Response<Body> {
    let status = match level {
        AckLevel::Memory | AckLevel::Durable => StatusCode::ACCEPTED,
        AckLevel::Delivered => StatusCode::OK,
    };
    let mut body = Vec::with_capacity(96);
    body.extend_from_slice(b"{\"accepted\":");
    push_decimal(&mut body, accepted.events as u64);
    body.extend_from_slice(b",\"generation\":");
    push_decimal(&mut body, accepted.generation);
    body.extend_from_slice(b",\"unmatched\":");
    push_decimal(&mut body, accepted.unmatched as u64);
    body.push(b'}');
    json(status, body)
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
