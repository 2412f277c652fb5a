//! Why a request is refused: one status and one code each.

use crate::answer;
use http::{HeaderValue, Response, StatusCode, header};
use twinroute_audit::AuditError;
use twinroute_journal::JournalOpenError;
use twinroute_listen::access::AccessDenied;
use twinroute_listen::{BodyError, CrossOrigin, ServerBody};
use twinroute_router::Router;
use twinroute_router::replay::ReplayError;
use twinroute_router::tap::TooManyTaps;

/// Endpoints that an error lists.
const KNOWN_MAX: usize = 50;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminRefusal {
    #[error("no such path; GET / lists what there is")]
    UnknownPath,
    #[error("only {} allowed here", spoken(.allow))]
    MethodNotAllowed { allow: &'static str },
    #[error(
        "this listener can be reached from other machines, and accepts no changes; use a listener on \
         loopback or a unix socket, set [admin.access], or set allow_changes = true in [admin]"
    )]
    ChangesNotAllowed,
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    #[error(
        "a browser sent this for {origin:?}, which is not this server by its address; use the \
         address, or another client"
    )]
    ForeignOrigin { origin: String },
    #[error("the host {host:?} is not an address of this machine; use the address, or localhost")]
    ForeignHost { host: String },
    #[error("a POST needs content-type: application/json")]
    UnsupportedContentType,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the body: {0}")]
    InvalidBody(serde_json::Error),
    #[error("{0}")]
    InvalidQuery(String),
    #[error("endpoint {name}: not found; {known}")]
    UnknownEndpoint { name: String, known: String },
    #[error("dead letter {name}: is not kept here, or no longer; GET /dead-letters lists them")]
    UnknownDeadLetter { name: String },
    #[error(
        "the journal is in memory and keeps no events, only their latest outcomes (GET /history); set [journal] path"
    )]
    NoHistory,
    #[error("the history cannot be read")]
    UnreadableHistory(#[source] JournalOpenError),
    #[error("replay {0}: not found; GET /replays lists them")]
    UnknownReplay(u64),
    #[error(
        "a purge discards the backlog for good: confirm it with the endpoint's name, \
         \"confirm\": \"{endpoint}\""
    )]
    Unconfirmed { endpoint: String },
    #[error("this cannot be recorded in the audit log, so it is not done: {}", .0.error_chain())]
    Audit(#[source] AuditError),
    #[error(transparent)]
    TooManyTaps(#[from] TooManyTaps),
    #[error("{0}")]
    InvalidReplay(String),
    #[error("the log filter: {0}")]
    InvalidLogFilter(String),
    #[error("{0}")]
    TooManyReplays(ReplayError),
    #[error("{0}")]
    ReplayNotRecorded(ReplayError),
}

impl From<CrossOrigin> for AdminRefusal {
    fn from(refused: CrossOrigin) -> Self {
        match refused {
            CrossOrigin::Host { host } => Self::ForeignHost { host },
            CrossOrigin::Origin { origin } => Self::ForeignOrigin { origin },
        }
    }
}

impl AdminRefusal {
    /// No endpoint has this name.
    pub(crate) fn unknown_endpoint(router: &Router, name: String) -> Self {
        let status = router.status();
        let endpoints = status.instances.iter().flat_map(|instance| {
            let endpoints = instance.endpoints.iter();
            endpoints.map(|endpoint| format!("{}/{}", instance.name, endpoint.name))
        });
        let mut known: Vec<String> = endpoints.take(KNOWN_MAX + 1).collect();
        let more = known.len() > KNOWN_MAX;
        known.truncate(KNOWN_MAX);
        let known = match (known.is_empty(), more) {
            (true, _) => "there are none at all".to_owned(),
            (false, false) => format!("there are {}", known.join(", ")),
            (false, true) => format!("there are {}, and more", known.join(", ")),
        };
        Self::UnknownEndpoint { name, known }
    }

    pub(crate) fn replay(router: &Router, error: ReplayError) -> Self {
        match error {
            ReplayError::Request(reason) => Self::InvalidReplay(reason),
            ReplayError::UnknownEndpoint(name) => Self::unknown_endpoint(router, name),
            ReplayError::TooMany => Self::TooManyReplays(error),
            _ => Self::ReplayNotRecorded(error),
        }
    }

    /// Whom it names as the sender.
    pub(crate) fn named(&self) -> Option<&str> {
        match self {
            Self::Denied(AccessDenied::NoRole { name } | AccessDenied::RoleTooLow { name }) => {
                Some(name)
            }
            _ => None,
        }
    }

    pub(crate) fn answer(&self) -> Response<ServerBody> {
        let (status, code) = self.status_and_code();
        let mut response = answer::refusal(status, code, &self.to_string());
        if let Self::MethodNotAllowed { allow } = self {
            let allow = HeaderValue::from_static(allow);
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3.
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }

    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "UnknownPath"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::ChangesNotAllowed => (StatusCode::FORBIDDEN, "ChangesNotAllowed"),
            Self::Denied(denied) => (denied.status(), denied.short_code()),
            Self::ForeignOrigin { .. } => (StatusCode::FORBIDDEN, "ForeignOrigin"),
            Self::ForeignHost { .. } => (StatusCode::FORBIDDEN, "ForeignHost"),
            Self::UnsupportedContentType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedContentType")
            }
            Self::Body(BodyError::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge")
            }
            Self::Body(BodyError::Crowded(_)) => (StatusCode::SERVICE_UNAVAILABLE, "TooManyBodies"),
            Self::Body(BodyError::Timeout { .. }) => (StatusCode::REQUEST_TIMEOUT, "BodyTooSlow"),
            Self::Body(BodyError::Broken(_)) => (StatusCode::BAD_REQUEST, "BodyBroken"),
            Self::InvalidBody(_) => (StatusCode::BAD_REQUEST, "InvalidBody"),
            Self::InvalidQuery(_) => (StatusCode::BAD_REQUEST, "InvalidQuery"),
            Self::UnknownEndpoint { .. } => (StatusCode::NOT_FOUND, "UnknownEndpoint"),
            Self::UnknownDeadLetter { .. } => (StatusCode::NOT_FOUND, "UnknownDeadLetter"),
            Self::NoHistory => (StatusCode::NOT_FOUND, "NoHistory"),
            Self::UnreadableHistory(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UnreadableHistory"),
            Self::UnknownReplay(_) => (StatusCode::NOT_FOUND, "UnknownReplay"),
            Self::Unconfirmed { .. } => (StatusCode::BAD_REQUEST, "Unconfirmed"),
            Self::Audit(_) => (StatusCode::SERVICE_UNAVAILABLE, "AuditUnavailable"),
            Self::InvalidReplay(_) => (StatusCode::BAD_REQUEST, "InvalidReplay"),
            Self::InvalidLogFilter(_) => (StatusCode::BAD_REQUEST, "InvalidLogFilter"),
            Self::TooManyTaps(_) => (StatusCode::SERVICE_UNAVAILABLE, "TooManyTaps"),
            Self::TooManyReplays(_) => (StatusCode::CONFLICT, "TooManyReplays"),
            Self::ReplayNotRecorded(_) => (StatusCode::INTERNAL_SERVER_ERROR, "ReplayNotRecorded"),
        }
    }
}

/// `GET, HEAD` as `GET and HEAD are`.
fn spoken(allow: &str) -> String {
    match allow.rsplit_once(", ") {
        Some((first, last)) => format!("{first} and {last} are"),
        None => format!("{allow} is"),
    }
}
