//! Answers, with the headers that every answer of ARM has.

use super::error::Error;
use super::request::ArmRequest;
use http::header::{self, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use twinroute_listen::ServerBody;
use twinroute_listen::access::AccessDenied;
use twinroute_model::visible;
use uuid::Uuid;

/// What stands in an answer.
#[derive(Debug)]
pub(crate) enum AnswerContent {
    Nothing,
    Json(Value),
    /// For people.
    Text(String),
}

/// What is answered to a request that was taken.
#[derive(Debug)]
pub(crate) struct ArmAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: AnswerContent,
    headers: Vec<(HeaderName, String)>,
}

impl ArmAnswer {
    pub(crate) fn new(status: StatusCode, body: Option<Value>) -> Self {
        Self {
            status,
            body: body.map_or(AnswerContent::Nothing, AnswerContent::Json),
            headers: Vec::new(),
        }
    }

    pub(crate) fn text(text: String) -> Self {
        Self {
            status: StatusCode::OK,
            body: AnswerContent::Text(text),
            headers: Vec::new(),
        }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, Some(body))
    }

    pub(crate) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, None)
    }

    /// What a HEAD gets of it. ARM RPC 1.0: 204 for a resource that is there; elsewhere the status of the GET.
    pub(crate) fn of_head(self, request: &ArmRequest) -> Self {
        let first = request.segments.words.first();
        let of_arm = first.is_some_and(|word| word == "subscriptions");
        Self {
            status: if of_arm {
                StatusCode::NO_CONTENT
            } else {
                self.status
            },
            body: AnswerContent::Nothing,
            headers: self.headers,
        }
    }

    /// Adds a header. A value that cannot stand in one is left out.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers
            .push((HeaderName::from_static(name), value.into()));
        self
    }
}

/// The ids that an answer carries.
pub(crate) struct TrackingIds {
    pub(crate) request: Uuid,
    /// `x-ms-correlation-request-id`, if the client sent one.
    pub(crate) correlation: Option<HeaderValue>,
    /// `x-ms-client-request-id`, if the client wants it back.
    pub(crate) client: Option<HeaderValue>,
}

impl TrackingIds {
    pub(crate) fn of(headers: &http::HeaderMap, request: Uuid) -> Self {
        let wants = headers.get("x-ms-return-client-request-id");
        let wants = wants.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        let client = headers.get("x-ms-client-request-id").filter(|_| wants);
        Self {
            request,
            correlation: headers.get("x-ms-correlation-request-id").cloned(),
            client: client.cloned(),
        }
    }
}

/// Makes the response.
pub(crate) fn respond(
    result: Result<ArmAnswer, Error>,
    tracking: &TrackingIds,
) -> Response<ServerBody> {
    let answer = result.unwrap_or_else(|error| refuse(&error));
    // Clients that see another type refuse the body; none at all would be taken as JSON.
    let (content, media_type) = match answer.body {
        AnswerContent::Nothing => (String::new(), None),
        AnswerContent::Json(body) => (
            visible::json(body.to_string()),
            Some("application/json; charset=utf-8"),
        ),
        AnswerContent::Text(text) => (text, Some("text/plain; charset=utf-8")),
    };
    let mut response = Response::new(ServerBody::new(content.into_bytes().into()));
    if let Some(media_type) = media_type {
        let media_type = HeaderValue::from_static(media_type);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
    }
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    let id = HeaderValue::try_from(tracking.request.to_string()).ok();
    let correlation = tracking.correlation.clone().or_else(|| id.clone());
    for (name, value) in [
        ("x-ms-request-id", id),
        ("x-ms-correlation-request-id", correlation),
        ("x-ms-client-request-id", tracking.client.clone()),
    ] {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::PRAGMA, "no-cache"),
        (header::EXPIRES, "-1"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refuse(error: &Error) -> ArmAnswer {
    let mut answer =
        ArmAnswer::new(error.status(), Some(error.body())).header("x-ms-error-code", error.code());
    if let Some(after) = error.retry_after() {
        answer = answer.header("retry-after", after.as_secs().to_string());
    }
    match error {
        // RFC 9110 §10.2.1: methods with commas between them.
        Error::MethodNotAllowed { allow, .. } => {
            answer.header("allow", allow.replace(" and ", ", "))
        }
        Error::Denied(AccessDenied::Missing | AccessDenied::NotBearer) => {
            answer.header("www-authenticate", "Bearer realm=\"twinroute\"")
        }
        Error::Denied(denied) if denied.status() == StatusCode::UNAUTHORIZED => answer.header(
            "www-authenticate",
            "Bearer realm=\"twinroute\", error=\"invalid_token\"",
        ),
        _ => answer,
    }
}
