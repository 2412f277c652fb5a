//! Why a request is refused: one status and one code each, in ARM's words.
//!
//! Codes and texts: what real Azure answers where that is recorded (ARM RPC 1.0 "Error response content";
//! public reports); what was not found has a text of ours under ARM's code.

use http::StatusCode;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use twinroute_listen::NetworkClosed;
use twinroute_listen::access::AccessDenied;
use twinroute_model::endpoint::FieldError;

/// Routes that a refusal names.
const NAMED_MAX: usize = 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", denied(.0))]
    Denied(AccessDenied),
    #[error(
        "The client '{client}' does not have authorization to perform action '{action}' over scope '{scope}'."
    )]
    NotAuthorized {
        client: String,
        action: String,
        scope: String,
    },
    #[error("{reason}")]
    ForeignCaller { reason: String },
    #[error("{0}")]
    Closed(NetworkClosed),
    #[error("The api-version query parameter (?api-version=) is required for all requests.")]
    MissingApiVersion,
    #[error("The api-version '{version}' is invalid. The supported versions are '{}'.", .supported.join(","))]
    InvalidApiVersion {
        version: String,
        supported: &'static [&'static str],
    },
    #[error("No registered resource provider found for location '{location}' and API version '{version}' for type '{kind}'. The supported api-versions are '{}'.", .supported.join(", "))]
    NoRegisteredProvider {
        location: String,
        version: String,
        kind: String,
        supported: &'static [&'static str],
    },
    #[error(
        "The resource type could not be found in the namespace '{namespace}' for api version '{version}'."
    )]
    UnknownType {
        namespace: &'static str,
        version: String,
    },
    #[error("The resource namespace '{namespace}' is invalid.")]
    UnknownNamespace { namespace: String },
    #[error("The provided subscription identifier '{subscription}' is malformed or invalid.")]
    InvalidSubscription { subscription: String },
    #[error("There is nothing at '{path}'; GET / lists what there is.")]
    UnknownPath { path: String },
    #[error("The path holds what no name has: {reason}.")]
    InvalidPath { reason: &'static str },
    #[error("The HTTP method '{method}' is not allowed here; allowed are {allow}.")]
    MethodNotAllowed { method: String, allow: &'static str },
    #[error("Resource group '{group}' could not be found.")]
    GroupNotFound { group: String },
    #[error(
        "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )]
    NotFound {
        kind: String,
        name: String,
        group: String,
    },
    #[error(
        "Can not perform requested operation on nested resource. Parent resource '{parent}' not found."
    )]
    ParentNotFound { parent: String },
    #[error("The operation '{id}' could not be found; operations are kept for a day.")]
    OperationNotFound { id: String },
    #[error("The location property is required for this definition.")]
    LocationRequired,
    #[error(
        "The resource '{name}' already exists in location '{present}' in resource group '{group}'. A resource with the same name cannot be created in location '{wanted}'. Please select a new resource name."
    )]
    InvalidLocation {
        name: String,
        group: String,
        present: String,
        wanted: String,
    },
    #[error("The request content was invalid and could not be deserialized: 'the body {reason}'.")]
    NotJson { reason: String },
    #[error(
        "The request content was invalid and could not be deserialized: '{path}: expected {wanted}, found {found}'."
    )]
    WrongType {
        path: String,
        wanted: &'static str,
        found: &'static str,
    },
    #[error(
        "The request content was invalid and could not be deserialized: 'Required property '{path}' not found in JSON'."
    )]
    MissingMember { path: String },
    #[error("The name '{name}' is not valid: {rule}.")]
    InvalidName { name: String, rule: String },
    #[error("{target}: {rule}")]
    Invalid { target: String, rule: String },
    #[error("{}", fields(.0))]
    InvalidFields(Vec<FieldError>),
    #[error("The request content type must be application/json; it is '{found}'.")]
    UnsupportedMediaType { found: String },
    #[error("The request body has more than {bytes_max} bytes, which is the limit.")]
    TooLarge { bytes_max: usize },
    #[error("The request body did not arrive: {reason}.")]
    BrokenBody { reason: String },
    #[error("Too many requests at a time: {reason}.")]
    Crowded { reason: String },
    #[error("{0}")]
    Conflict(String),
    #[error("Another operation is in progress on '{id}'; wait until it has ended.")]
    OperationInProgress { id: String },
    #[error("The endpoint '{endpoint}' cannot be deleted: event routes send to it: {}. Delete them first.", named(.routes))]
    EndpointInUse {
        endpoint: String,
        routes: Vec<String>,
    },
    #[error("The {what} already has {limit} {kind}, which is the limit; {way_out}")]
    LimitReached {
        what: String,
        kind: &'static str,
        limit: usize,
        way_out: &'static str,
    },
    #[error("Nothing can be changed here: {reason}")]
    ReadOnly { reason: String },
    #[error("The store failed: {reason}. Nothing was changed.")]
    Store { reason: String },
    #[error("The change cannot be recorded, so it is not made: {reason}.")]
    Audit { reason: String },
    #[error(
        "There is no route available that matches the provided input. Check for all valid event routes by calling EventRoute_List. See Swagger example (https://aka.ms/RouteSwSmpl)."
    )]
    RouteNotFound,
    #[error(
        "The endpoint provided does not exist or is not active. Check that your endpoint is provisioned correctly. See event route documentation (http://aka.ms/ADTv2Routes)."
    )]
    RouteEndpoint,
    #[error(
        "The provided filter is invalid. {reason}. See event route documentation for supported values and structure (https://aka.ms/ADTv2Routes)."
    )]
    RouteFilter { reason: String },
    #[error("The event route id is invalid: {rule}.")]
    RouteId { rule: String },
    #[error("The digital twins instance '{instance}' is not known here.")]
    InstanceUnknown { instance: String },
    #[error("{message}")]
    Provisioning {
        refusal: ServiceRefusal,
        message: String,
    },
}

/// Refusals of the Device Provisioning Service, which have a flat shape and numbers for codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceRefusal {
    BadRequest,
    InvalidSku,
    NotFound,
    Conflict,
    StaleEtag,
    EtagRequired,
}

impl ServiceRefusal {
    /// HTTP status, its name, and the service's number.
    ///
    /// Recorded are 412001 and 400059; the others follow their form.
    const fn row(self) -> (StatusCode, &'static str, u32) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "BadRequest", 400_004),
            Self::InvalidSku => (StatusCode::BAD_REQUEST, "BadRequest", 400_059),
            Self::NotFound => (StatusCode::NOT_FOUND, "NotFound", 404_001),
            Self::Conflict => (StatusCode::CONFLICT, "Conflict", 409_001),
            Self::StaleEtag => (
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                412_001,
            ),
            Self::EtagRequired => (
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                412_002,
            ),
        }
    }
}

impl Error {
    /// A refusal that names a member.
    pub(crate) fn invalid(target: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid {
            target: target.into(),
            rule: rule.into(),
        }
    }

    /// A refusal of the provisioning service's own.
    pub(crate) fn service(refusal: ServiceRefusal, message: impl Into<String>) -> Self {
        Self::Provisioning {
            refusal,
            message: message.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.row().0
    }

    pub(crate) fn code(&self) -> &'static str {
        self.row().1
    }

    fn row(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Denied(denied) => (denied.status(), denied.code()),
            Self::NotAuthorized { .. } => (S::FORBIDDEN, "AuthorizationFailed"),
            Self::ForeignCaller { .. } => (S::FORBIDDEN, "ForeignCaller"),
            Self::Closed(closed) => (S::FORBIDDEN, closed.code()),
            Self::MissingApiVersion => (S::BAD_REQUEST, "MissingApiVersionParameter"),
            Self::InvalidApiVersion { .. } => (S::BAD_REQUEST, "InvalidApiVersionParameter"),
            Self::NoRegisteredProvider { .. } => (S::BAD_REQUEST, "NoRegisteredProviderFound"),
            Self::UnknownType { .. } => (S::NOT_FOUND, "InvalidResourceType"),
            Self::UnknownNamespace { .. } => (S::NOT_FOUND, "InvalidResourceNamespace"),
            Self::InvalidSubscription { .. } => (S::BAD_REQUEST, "InvalidSubscriptionId"),
            Self::UnknownPath { .. } | Self::OperationNotFound { .. } => (S::NOT_FOUND, "NotFound"),
            Self::InvalidPath { .. } => (S::BAD_REQUEST, "InvalidRequestUri"),
            Self::MethodNotAllowed { .. } => (S::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::GroupNotFound { .. } => (S::NOT_FOUND, "ResourceGroupNotFound"),
            Self::NotFound { .. } => (S::NOT_FOUND, "ResourceNotFound"),
            Self::ParentNotFound { .. } => (S::NOT_FOUND, "ParentResourceNotFound"),
            Self::LocationRequired => (S::BAD_REQUEST, "LocationRequired"),
            Self::InvalidLocation { .. } => (S::CONFLICT, "InvalidResourceLocation"),
            Self::NotJson { .. } | Self::WrongType { .. } | Self::MissingMember { .. } => {
                (S::BAD_REQUEST, "InvalidRequestContent")
            }
            Self::InvalidName { .. } => (S::BAD_REQUEST, "InvalidResourceName"),
            Self::Invalid { .. } => (S::BAD_REQUEST, "InvalidParameter"),
            Self::InvalidFields(_) => (S::BAD_REQUEST, "ValidationFailed"),
            Self::UnsupportedMediaType { .. } => {
                (S::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType")
            }
            Self::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            Self::BrokenBody { .. } => (S::BAD_REQUEST, "InvalidRequestContent"),
            Self::Crowded { .. } => (S::TOO_MANY_REQUESTS, "TooManyRequests"),
            Self::Conflict(_) | Self::EndpointInUse { .. } => (S::CONFLICT, "Conflict"),
            Self::OperationInProgress { .. } => (S::CONFLICT, "AnotherOperationInProgress"),
            Self::LimitReached { .. } => (S::BAD_REQUEST, "LimitExceeded"),
            // What ARM answers under a read-only lock.
            Self::ReadOnly { .. } => (S::CONFLICT, "ScopeLocked"),
            Self::Store { .. } | Self::Audit { .. } => {
                (S::SERVICE_UNAVAILABLE, "ServiceUnavailable")
            }
            Self::RouteNotFound => (S::NOT_FOUND, "EventRouteNotFound"),
            Self::RouteEndpoint => (S::BAD_REQUEST, "EventRouteEndpointInvalid"),
            Self::RouteFilter { .. } => (S::BAD_REQUEST, "EventRouteFilterInvalid"),
            Self::RouteId { .. } => (S::BAD_REQUEST, "EventRouteIdInvalid"),
            Self::InstanceUnknown { .. } => (S::NOT_FOUND, "DigitalTwinsInstanceNotFound"),
            Self::Provisioning { refusal, .. } => {
                let (status, name, _) = refusal.row();
                (status, name)
            }
        }
    }

    /// The body that tells it.
    pub(crate) fn body(&self) -> Value {
        let message = self.to_string();
        match self {
            Self::Provisioning { refusal, .. } => {
                let (_, name, number) = refusal.row();
                json!({ "code": number, "httpStatusCode": name, "message": message })
            }
            Self::InvalidFields(errors) => {
                let details = errors.iter().map(|error| {
                    json!({ "code": "ValidationFailed", "target": error.field, "message": error.rule })
                });
                let target = errors.first().map(|error| error.field.as_str());
                json!({ "error": {
                    "code": self.code(), "message": message, "target": target,
                    "details": details.collect::<Vec<_>>(),
                } })
            }
            Self::Invalid { target, .. }
            | Self::WrongType { path: target, .. }
            | Self::MissingMember { path: target } => {
                json!({ "error": { "code": self.code(), "message": message, "target": target } })
            }
            _ => json!({ "error": { "code": self.code(), "message": message } }),
        }
    }

    /// What to wait before the next try, where that helps.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Crowded { .. }
            | Self::Store { .. }
            | Self::Audit { .. }
            | Self::Denied(AccessDenied::KeysUnavailable) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

/// ARM's words for a token that does not pass.
fn denied(denied: &AccessDenied) -> String {
    match denied {
        AccessDenied::Missing => {
            "Authentication failed. The 'Authorization' header is missing.".to_owned()
        }
        AccessDenied::NotBearer => {
            "Authentication failed. The 'Authorization' header is provided in an invalid format."
                .to_owned()
        }
        AccessDenied::Invalid => "The access token is invalid.".to_owned(),
        other => {
            let text = other.to_string();
            let mut letters = text.chars();
            let first = letters.next().into_iter().flat_map(char::to_uppercase);
            first.chain(letters).chain(['.']).collect()
        }
    }
}

fn fields(errors: &[FieldError]) -> String {
    let mut text = String::new();
    for error in errors {
        let gap = if text.is_empty() { "" } else { "; " };
        write!(text, "{gap}{error}").expect("a String takes everything");
    }
    text
}

fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let listed = names.iter().take(NAMED_MAX).map(String::as_str);
    let mut text = listed.collect::<Vec<_>>().join(", ");
    if more > 0 {
        write!(text, " and {more} more").expect("a String takes everything");
    }
    text
}
