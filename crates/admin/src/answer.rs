//! What the server says.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use twinroute_listen::Body;

/// What there is, with the paths of [`crate::place::Place`].
pub(crate) const INDEX: &str = "\
twinroute, operational API

GET    /livez                     200 while the process runs
GET    /readyz                    200 while events are accepted, else 503 and why not
GET    /status                    the router: table, journal, every endpoint and route
GET    /ledger                    what became of all deliveries, per endpoint and in total
GET    /metrics                   counters (Prometheus text)
POST   /endpoints/I/E/pause       instance I, endpoint E: sends nothing from here on
POST   /endpoints/I/E/resume      goes on
POST   /endpoints/I/E/retry-now   tries now what waits for a moment
POST   /endpoints/I/E/purge       gives up what waits: {\"confirm\":\"E\",\"dead_letters\":false}
GET    /dead-letters              ?instance endpoint reason since until type filter after most
GET    /dead-letters/I/E/N        the dead letter with sequence N, and its event
GET    /dead-letters/export       all of them, one a line; parameters as above
GET    /replays                   replays under way, and the last that ended
POST   /replays                   replays dead letters: {\"query\":{\"endpoint\":\"E\"}}
GET    /replays/N                 how replay N goes
DELETE /replays/N                 ends it

JSON; ?pretty indents it. POST needs content-type: application/json.
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
            &format!("the answer cannot be written as JSON: {error}"),
        ),
    }
}

pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    let mut response = with_type("application/json", body.to_string());
    *response.status_mut() = status;
    response
}

pub(crate) fn with_type(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    with_body(content_type, Body::new(body.into()))
}

pub(crate) fn with_body(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
