//! Posts to topics, and their answers.

use super::check::{self, BODY_BYTES_MAX};
use super::refusal::GridRefusal;
use super::service::EventGridService;
use super::topic::GridTopic;
use crate::faults::PostAnswer;
use crate::http_server::{self, ConnectionDropped, HttpAnswer};

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::sync::Arc;

const API_VERSION: &str = "api-version=2018-01-01";

/// Answers a request to a topic.
pub(crate) async fn answer(
    service: Arc<EventGridService>,
    request: Request<Incoming>,
) -> HttpAnswer {
    let refusal = match service.topic_at(request.uri().path()) {
        Some(topic) if request.method() == Method::POST => {
            return publish(&service, topic, request).await;
        }
        Some(_) => {
            let text = "only POST is offered here";
            GridRefusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", text)
        }
        None => {
            let text = "no topic at this path; /entities and /events show what is here";
            GridRefusal::new(StatusCode::NOT_FOUND, "NotFound", text)
        }
    };
    Ok(refusal.answer())
}

async fn publish(
    service: &EventGridService,
    topic: &GridTopic,
    request: Request<Incoming>,
) -> HttpAnswer {
    let post = topic.arrivals.add_request();
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    // The body is read first: an answer before its end would reset a client that still writes.
    let Some(body) = http_server::body(body, BODY_BYTES_MAX).await? else {
        let text = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(GridRefusal::new(status, "RequestEntityTooLarge", text).answer());
    };
    let checked =
        check::access(topic, &parts.headers, query, service.context.now()).and_then(|()| {
            if !query
                .split('&')
                .any(|pair| pair.eq_ignore_ascii_case(API_VERSION))
            {
                let text = format!("the query lacks {API_VERSION}");
                return Err(GridRefusal::new(
                    StatusCode::BAD_REQUEST,
                    "BadRequest",
                    text,
                ));
            }
            let media = parts
                .headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            check::events(topic.schema, media.unwrap_or_default(), &body)
        });
    let events = match checked {
        Ok(events) => events,
        Err(refusal) => return Ok(refusal.answer()),
    };
    let accept = || topic.store(events, post, service.context.now());
    match service.context.faults.next_post(&topic.name) {
        None => accept(),
        Some(PostAnswer::AcceptAfter(wait)) => {
            accept();
            tokio::time::sleep(wait).await;
        }
        Some(PostAnswer::Status(status, retry_after)) => {
            let status = http_server::scripted_status(status);
            let mut response = GridRefusal::new(status, "Scripted", "a scripted answer").answer();
            http_server::set_retry_after(&mut response, retry_after);
            return Ok(response);
        }
        Some(PostAnswer::Stall) => std::future::pending().await,
        Some(PostAnswer::Drop) => return Err(ConnectionDropped),
        Some(PostAnswer::StoreAndDrop) => {
            accept();
            return Err(ConnectionDropped);
        }
    }
    Ok(Response::new(Full::default()))
}
