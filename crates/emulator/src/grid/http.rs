//! The HTTP server of the topics.

use super::check::{self, BODY_BYTES_MAX, Refusal};
use super::topic::GridTopic;
use crate::faults::PostAnswer;
use crate::http_server::{self, Answer, Dropped};
use crate::inspect::{self, LookError};
use crate::store::Store;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const API_VERSION: &str = "api-version=2018-01-01";
/// Serves the topics until `stop` fires or its sender is gone, then drops every connection at once.
pub(crate) async fn run(listener: TcpListener, store: Arc<Store>, stop: oneshot::Receiver<()>) {
    http_server::run(listener, store, stop, answer).await;
}

async fn answer(store: Arc<Store>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let found = store
        .grid
        .iter()
        .position(|topic| topic.path.eq_ignore_ascii_case(&path));
    if let (&Method::POST, Some(index)) = (request.method(), found) {
        return publish(&store, &store.grid[index], &query, request).await;
    }
    if request.method() == Method::GET
        && let Some(looked) = look(&store, &path, &query)
    {
        return Ok(match looked {
            Ok(body) => json(StatusCode::OK, body),
            Err(error) => refuse(&look_refusal(&error)),
        });
    }
    let refusal = match found {
        Some(_) => only("POST"),
        None if look(&store, &path, "").is_some() => only("GET"),
        None => {
            let text = "no topic at this path; /entities and /events show what is here";
            Refusal::new(StatusCode::NOT_FOUND, "NotFound", text)
        }
    };
    Ok(refuse(&refusal))
}

fn look_refusal(error: &LookError) -> Refusal {
    let (status, code) = match error {
        LookError::Question(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
        LookError::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
    };
    Refusal::new(status, code, error.to_string())
}

fn only(method: &str) -> Refusal {
    let text = format!("only {method} is offered here");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", text)
}

/// Answers a look at what is here, if the path is one for that.
fn look(store: &Store, path: &str, query: &str) -> Option<Result<String, LookError>> {
    match path {
        "/entities" => Some(inspect::entities(store, query)),
        "/events" => Some(inspect::events(store, query)),
        other => {
            let topic = other.strip_prefix("/topics/")?.strip_suffix("/events")?;
            let is_name = !topic.contains('/');
            is_name.then(|| inspect::topic_events(store, topic, query))
        }
    }
}

async fn publish(
    store: &Store,
    topic: &GridTopic,
    query: &str,
    request: Request<Incoming>,
) -> Answer {
    let post = topic.count_post();
    let (parts, body) = request.into_parts();
    // The body is read first: an answer before its end would reset a client that still writes.
    let Some(body) = http_server::body(body, BODY_BYTES_MAX).await? else {
        let text = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(refuse(&Refusal::new(status, "RequestEntityTooLarge", text)));
    };
    let checked = check::access(topic, &parts.headers, query, store.now()).and_then(|()| {
        if !query
            .split('&')
            .any(|pair| pair.eq_ignore_ascii_case(API_VERSION))
        {
            let text = format!("the query lacks {API_VERSION}");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", text));
        }
        let media = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        check::events(topic.schema, media.unwrap_or_default(), &body)
    });
    let events = match checked {
        Ok(events) => events,
        Err(refusal) => return Ok(refuse(&refusal)),
    };
    let accept = || topic.store(events, post, store.now());
    match store.faults().next_post(&topic.name) {
        None => accept(),
        Some(PostAnswer::AcceptAfter(wait)) => {
            accept();
            tokio::time::sleep(wait).await;
        }
        Some(PostAnswer::Status(status, retry_after)) => return Ok(scripted(status, retry_after)),
        Some(PostAnswer::Stall) => std::future::pending().await,
        Some(PostAnswer::Drop) => return Err(Dropped),
        Some(PostAnswer::StoreAndDrop) => {
            accept();
            return Err(Dropped);
        }
    }
    Ok(Response::new(Full::default()))
}

fn scripted(status: u16, retry_after_seconds: Option<u64>) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = refuse(&Refusal::new(status, "Scripted", "a scripted answer"));
    if let Some(seconds) = retry_after_seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Event Grid's shape of an error: the code once as a number, once as a word.
fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    let body = serde_json::json!({
        "error": {
            "code": refusal.status.as_str(),
            "message": refusal.message,
            "details": [{ "code": refusal.code, "message": refusal.message }],
        }
    });
    json(refusal.status, body.to_string())
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let media = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}
