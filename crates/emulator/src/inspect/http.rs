//! The inspections among the requests to the port of the Event Grid topics.

use super::listing::{self, HeldEntities};
use super::query::{self, EntityQuery, QueryError};
use super::reading;
use crate::event_grid::{self, GridRefusal};
use crate::http_server::{self, HttpAnswer};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

/// Answers an inspection, and lets Event Grid answer everything else.
pub(crate) async fn answer(held: HeldEntities, request: Request<Incoming>) -> HttpAnswer {
    let path = request.uri().path().trim_end_matches('/');
    let query = request.uri().query().unwrap_or_default();
    if request.method() == Method::GET
        && let Some(answered) = inspect(&held, path, query)
    {
        return Ok(match answered {
            Ok(body) => http_server::json(StatusCode::OK, body),
            Err(error) => refusal(&error).answer(),
        });
    }
    if held.event_grid.topic_at(path).is_none() && inspect(&held, path, "").is_some() {
        let text = "only GET is offered here";
        let refusal = GridRefusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", text);
        return Ok(refusal.answer());
    }
    event_grid::answer(Arc::clone(&held.event_grid), request).await
}

/// What is inspected, if the path is one for that.
fn inspect(held: &HeldEntities, path: &str, query: &str) -> Option<Result<String, QueryError>> {
    let question = match path {
        "/entities" => {
            let none = query::none(query);
            return Some(none.map(|()| listing::entities(held).to_string()));
        }
        "/events" => EntityQuery::parse(query),
        other => {
            let topic = other.strip_prefix("/topics/")?.strip_suffix("/events")?;
            if topic.contains('/') {
                return None;
            }
            EntityQuery::of_topic(topic, query)
        }
    };
    Some(question.and_then(|question| reading::read(held, &question)))
}

fn refusal(error: &QueryError) -> GridRefusal {
    let (status, code) = match error {
        QueryError::Question(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
        QueryError::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
    };
    GridRefusal::new(status, code, error.to_string())
}
