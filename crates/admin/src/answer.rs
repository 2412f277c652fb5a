//! What the server says.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use twinroute_listen::ServerBody;
use twinroute_model::visible;

/// What there is, with the paths of [`crate::place::AdminPath`].
pub(crate) const INDEX: &str = "\
twinroute, operational API

GET    /livez                     200 while the process runs
GET    /readyz                    200 while events are accepted, else 503 and why not
GET    /status                    the router: table, journal, every endpoint and route
GET    /ledger                    what became of all deliveries, per endpoint and in total
GET    /cluster                   routers that share a log, and who owns which partition
GET    /tap                       events as they pass, one a line, until you end it: ?instance route endpoint
                                  type twin filter outcome rate sample body
GET    /metrics                   counters (Prometheus text)
GET    /log-level                 the filter of the log
POST   /log-level                 changes it: {\"filter\":\"debug\"}; {} goes back to the configured one
POST   /endpoints/I/E/pause       instance I, endpoint E: sends nothing from here on
POST   /endpoints/I/E/resume      goes on
POST   /endpoints/I/E/retry-now   tries now what waits for a moment
POST   /endpoints/I/E/purge       discards the backlog: {\"confirm\":\"E\",\"dead_letters\":false}
GET    /dead-letters              ?instance endpoint reason since until type filter after most
GET    /dead-letters/I/E/N        the dead letter with sequence N, and its event
GET    /dead-letters/export       all of them, one a line; parameters as above
GET    /history                   ?instance twin id source type route endpoint outcome unmatched since until after most
GET    /history/export            events alone, page by page; parameters as above
GET    /history/events            events in full, with what each route decided; parameters as above
GET    /replays                   replays under way, and the last that ended
POST   /replays                   replays dead letters: {\"query\":{\"endpoint\":\"E\"}}
GET    /replays/N                 how replay N goes
DELETE /replays/N                 ends it

JSON; ?pretty indents it. POST needs content-type: application/json.
";

pub(crate) fn text(text: impl Into<Bytes>) -> Response<ServerBody> {
    with_type("text/plain; charset=utf-8", text)
}

/// Prometheus text format 0.0.4.
pub(crate) fn prometheus(text: String) -> Response<ServerBody> {
    with_type("text/plain; version=0.0.4; charset=utf-8", text)
}

pub(crate) fn json(value: &impl Serialize, pretty: bool) -> Response<ServerBody> {
    let json = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    match json {
        Ok(json) => {
            let mut json = visible::json(json);
            json.push('\n');
            with_type("application/json", json)
        }
        Err(error) => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Unserializable",
            &format!("the answer cannot be written as JSON: {error}"),
        ),
    }
}

pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<ServerBody> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    let mut response = with_type("application/json", visible::json(body.to_string()));
    *response.status_mut() = status;
    response
}

pub(crate) fn with_type(
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<ServerBody> {
    with_body(content_type, ServerBody::new(body.into()))
}

pub(crate) fn with_body(content_type: &'static str, body: ServerBody) -> Response<ServerBody> {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    /// What an endpoint answered stands in the status, and a status is read on terminals too.
    const PEER_TEXT: &str = "a\u{9b}2J\u{202e}b\u{2028}\u{e0041}\x1b[31mGrüße";

    async fn text_of(response: Response<ServerBody>) -> String {
        let body = response.into_body().collect().await.expect("infallible");
        String::from_utf8(body.to_bytes().to_vec()).expect("JSON is UTF-8")
    }

    #[tokio::test]
    async fn peer_texts_in_an_answer_are_visible_and_the_same_document() {
        for pretty in [false, true] {
            let text = text_of(json(&[PEER_TEXT], pretty)).await;
            let one_line = text.replace('\n', "");
            assert!(!one_line.contains(visible::is_hidden), "{one_line:?}");
            let read: [String; 1] = serde_json::from_str(&text).expect("JSON");
            assert_eq!(read, [PEER_TEXT]);
        }
        let refused = text_of(refusal(StatusCode::BAD_REQUEST, "Code", PEER_TEXT)).await;
        assert!(!refused.contains(visible::is_hidden), "{refused:?}");
        let read: serde_json::Value = serde_json::from_str(&refused).expect("JSON");
        assert_eq!(read["error"]["message"], PEER_TEXT);
    }
}
