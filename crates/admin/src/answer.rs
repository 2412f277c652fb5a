//! What the server says.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use twinroute_listen::Body;

/// What there is, with the paths of `server::answer`.
pub(crate) const INDEX: &str = "\
twinroute, operational API

GET /livez    200 while the process runs
GET /readyz   200 while events are accepted, else 503 and why not
GET /status   the router: table, journal, every endpoint and route (JSON; ?pretty)
GET /metrics  counters (Prometheus text)
";

pub(crate) fn text(text: impl Into<Bytes>) -> Response<Body> {
    with_type("text/plain; charset=utf-8", text)
}

/// Prometheus text format 0.0.4.
pub(crate) fn prometheus(text: String) -> Response<Body> {
    with_type("text/plain; version=0.0.4; charset=utf-8", text)
}

pub(crate) fn json(value: &impl Serialize, pretty: bool) -> Response<Body> {
    let json = if pretty {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    };
    match json {
        Ok(mut json) => {
            json.push(b'\n');
            with_type("application/json", json)
        }
        Err(error) => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Unserializable",
            &format!("the status cannot be written as JSON: {error}"),
        ),
    }
}

pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    let mut response = with_type("application/json", body.to_string());
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(body.into()));
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
