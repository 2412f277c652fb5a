//! Refusals and how each surface words them.

use crate::allowance::{AllowanceExceeded, seconds};
use crate::answer;
use crate::credentials::CredentialError;
use crate::notification;
use crate::target::{API_VERSIONS, IngressSurface};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use std::time::Duration;
use twinroute_listen::access::AccessDenied;
use twinroute_listen::{BodyError, InflateError, NetworkClosed, ServerBody};
use twinroute_model::event::InvalidEvent;
use twinroute_model::visible;
use twinroute_router::accept::AcceptError;

/// A request of which nothing was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngressRefusal {
    #[error(
        "no such path; events are accepted at /events and /instances/{{name}}/events (CloudEvents), \
         and at /api/events and /instances/{{name}}/api/events (Event Grid)"
    )]
    UnknownPath,
    #[error("method {found} is not allowed here; allowed are POST and, from webhooks, OPTIONS")]
    Method { found: String },
    #[error(transparent)]
    Closed(#[from] NetworkClosed),
    #[error(transparent)]
    Unauthorized(#[from] CredentialError),
    #[error("header webhook-request-origin: required to ask whether events may be delivered here")]
    NoOrigin,
    #[error("header webhook-request-origin: this origin may not deliver here; see webhook_origins")]
    Origin,
    #[error("content type {found:?} is not accepted here; accepted are {taken}")]
    ContentType { found: String, taken: &'static str },
    #[error("content encoding {found:?} is not accepted; accepted is gzip, and the body as it is")]
    ContentEncoding { found: String },
    #[error("a body is required, with a content-length header or transfer-encoding: chunked")]
    LengthRequired,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Inflate(#[from] InflateError),
    #[error(
        "header twinroute-ack: level {word:?} is unknown; known are memory, durable and delivered"
    )]
    UnknownAck { word: String },
    #[error(
        "header twinroute-ack-deadline: {found:?} is no number of seconds above 0, such as 10 or 0.5"
    )]
    AckDeadline { found: String },
    #[error("query parameter api-version: required, but missing; known are {API_VERSIONS}")]
    NoApiVersion,
    #[error("query parameter api-version: {found:?} is unknown; known are {API_VERSIONS}")]
    ApiVersion { found: String },
    #[error(
        "header aeg-event-type: {word:?} is unknown; known are Notification, \
         SubscriptionValidation and SubscriptionDeletion"
    )]
    UnknownDelivery { word: String },
    #[error(
        "a subscription validation is an array of one \
         Microsoft.EventGrid.SubscriptionValidationEvent with data.validationCode: {reason}"
    )]
    Handshake { reason: String },
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    #[error("no ce- header came{hint}")]
    NoAttributes {
        /// What the body looks like.
        hint: &'static str,
    },
    #[error("{invalid}; {hint}")]
    OtherForm {
        invalid: InvalidEvent,
        /// What the body looks like.
        hint: &'static str,
    },
    #[error(transparent)]
    Exceeded(#[from] AllowanceExceeded),
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

/// When a delivery that cannot be accepted is to come again. Event Grid waits at least 30 s after a 503.
const NOTIFICATION_RETRY: Duration = Duration::from_secs(60);

impl IngressRefusal {
    /// Status and code. Both surfaces use the same.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "UnknownPath"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::Closed(closed) => (StatusCode::FORBIDDEN, closed.code()),
            Self::Unauthorized(CredentialError::Denied(denied)) => {
                (denied.status(), denied.short_code())
            }
            Self::Unauthorized(CredentialError::NoCaller) => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Exceeded(exceeded) => exceeded_kind(exceeded),
            Self::NoOrigin => (StatusCode::BAD_REQUEST, "OriginRequired"),
            Self::Origin => (StatusCode::FORBIDDEN, "OriginNotAllowed"),
            Self::ContentType { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedContentType")
            }
            Self::ContentEncoding { .. } => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedContentEncoding",
            ),
            Self::LengthRequired => (StatusCode::LENGTH_REQUIRED, "LengthRequired"),
            Self::Body(BodyError::TooLarge { .. })
            | Self::Inflate(InflateError::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge")
            }
            Self::Body(BodyError::Crowded(_)) | Self::Inflate(InflateError::Crowded(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "TooManyBodies")
            }
            Self::Body(BodyError::Timeout { .. }) => (StatusCode::REQUEST_TIMEOUT, "BodyTooSlow"),
            Self::Body(BodyError::Broken(_)) | Self::Inflate(InflateError::Broken(_)) => {
                (StatusCode::BAD_REQUEST, "BodyBroken")
            }
            Self::UnknownAck { .. } => (StatusCode::BAD_REQUEST, "UnknownAckLevel"),
            Self::AckDeadline { .. } => (StatusCode::BAD_REQUEST, "InvalidAckDeadline"),
            Self::NoApiVersion | Self::ApiVersion { .. } => {
                (StatusCode::BAD_REQUEST, "UnsupportedApiVersion")
            }
            Self::UnknownDelivery { .. } => (StatusCode::BAD_REQUEST, "UnknownDeliveryKind"),
            Self::Handshake { .. } => (StatusCode::BAD_REQUEST, "InvalidHandshake"),
            Self::NoAttributes { .. } => (StatusCode::BAD_REQUEST, "InvalidEvent"),
            Self::Invalid(invalid) | Self::OtherForm { invalid, .. } => invalid_kind(invalid),
            Self::Accept(error) => {
                let status = StatusCode::from_u16(error.http_status());
                (status.expect("three digits"), error.code())
            }
        }
    }

    /// The code, if the status is 503: the request may do better later.
    pub(crate) fn unavailable(&self) -> Option<&'static str> {
        let (status, code) = self.kind();
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(code)
    }

    /// The header that the status asks for.
    fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::Method { .. } | Self::Origin => {
                Some((header::ALLOW, HeaderValue::from_static("POST, OPTIONS")))
            }
            Self::Unauthorized(CredentialError::Denied(
                AccessDenied::NoRole { .. } | AccessDenied::RoleTooLow { .. },
            )) => None,
            Self::Unauthorized(CredentialError::Denied(AccessDenied::KeysUnavailable)) => {
                Some(retry(Duration::from_secs(5)))
            }
            Self::Unauthorized(CredentialError::NoCaller) => None,
            Self::Unauthorized(refused) => {
                let schemes = match refused {
                    // RFC 6750 §3.
                    CredentialError::Denied(_) => "Bearer",
                    CredentialError::MissingEither => {
                        "Bearer, SharedAccessKey, SharedAccessSignature"
                    }
                    CredentialError::Missing
                    | CredentialError::Key
                    | CredentialError::Code
                    | CredentialError::Signature(_)
                    | CredentialError::Resource
                    | CredentialError::NoCaller
                    | CredentialError::Remote => "SharedAccessKey, SharedAccessSignature",
                };
                let schemes = HeaderValue::from_static(schemes);
                Some((header::WWW_AUTHENTICATE, schemes))
            }
            Self::Accept(error) => error.retry_after().map(retry),
            Self::Exceeded(AllowanceExceeded::Rate { after, .. }) => Some(retry(*after)),
            Self::Body(BodyError::Crowded(_)) | Self::Inflate(InflateError::Crowded(_)) => {
                Some(retry(Duration::from_secs(1)))
            }
            // RFC 9110 §15.5.16.
            Self::ContentEncoding { .. } => {
                Some((header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")))
            }
            Self::UnknownPath
            | Self::Closed(_)
            | Self::NoOrigin
            | Self::ContentType { .. }
            | Self::LengthRequired
            | Self::Body(
                BodyError::TooLarge { .. } | BodyError::Timeout { .. } | BodyError::Broken(_),
            )
            | Self::Inflate(InflateError::TooLarge { .. } | InflateError::Broken(_))
            | Self::UnknownAck { .. }
            | Self::AckDeadline { .. }
            | Self::NoApiVersion
            | Self::ApiVersion { .. }
            | Self::UnknownDelivery { .. }
            | Self::Handshake { .. }
            | Self::Invalid(_)
            | Self::NoAttributes { .. }
            | Self::OtherForm { .. }
            | Self::Exceeded(AllowanceExceeded::Prefix { .. } | AllowanceExceeded::Burst { .. }) => {
                None
            }
        }
    }

    /// The answer to a sender that repeats nothing it is told is wrong: what would be final is 503, so that the
    /// delivery comes again once what stands against it is out of the way.
    pub(crate) fn answer_notification(
        &self,
        surface: Option<IngressSurface>,
    ) -> Response<ServerBody> {
        let mut response = self.answer(surface);
        if notification::is_final(response.status()) {
            tracing::warn!(
                status = response.status().as_u16(),
                reason = %self,
                "a webhook delivery can neither be accepted nor kept; Event Grid is asked to repeat it"
            );
            *response.status_mut() = notification::REPEAT;
            let (name, value) = retry(NOTIFICATION_RETRY);
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// The answer, in the shape that clients of `surface` read.
    pub(crate) fn answer(&self, surface: Option<IngressSurface>) -> Response<ServerBody> {
        let (status, code) = self.kind();
        let message = self.to_string();
        let body = match surface {
            Some(IngressSurface::EventGrid) => event_grid_shape(status, code, &message),
            Some(IngressSurface::Events) | None => self.shape(code, &message),
        };
        let mut response = answer::json(status, body);
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn shape(&self, code: &str, message: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct RefusalBody<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            index: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            attribute: Option<&'a str>,
        }
        let (index, attribute) = match self {
            Self::Invalid(invalid) | Self::OtherForm { invalid, .. } => {
                (invalid.index, invalid.problem.attribute_name())
            }
            Self::Exceeded(AllowanceExceeded::Prefix {
                index, attribute, ..
            }) => (Some(*index), Some(*attribute)),
            _ => (None, None),
        };
        to_json(&RefusalEnvelope {
            error: RefusalBody {
                code,
                message,
                index,
                attribute,
            },
        })
    }
}

fn invalid_kind(invalid: &InvalidEvent) -> (StatusCode, &'static str) {
    match invalid.problem.is_too_large() {
        true => (StatusCode::PAYLOAD_TOO_LARGE, "EventTooLarge"),
        false => (StatusCode::BAD_REQUEST, "InvalidEvent"),
    }
}

fn exceeded_kind(exceeded: &AllowanceExceeded) -> (StatusCode, &'static str) {
    match exceeded {
        AllowanceExceeded::Prefix { attribute, .. } => {
            let code = match *attribute {
                "source" => "SourceNotAllowed",
                _ => "TypeNotAllowed",
            };
            (StatusCode::FORBIDDEN, code)
        }
        // To send it again would not help: it must be smaller.
        AllowanceExceeded::Burst { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "BatchAboveBurst"),
        AllowanceExceeded::Rate { .. } => (StatusCode::TOO_MANY_REQUESTS, "RateExceeded"),
    }
}

#[derive(Serialize)]
struct RefusalEnvelope<T> {
    error: T,
}

/// Event Grid's shape: the status in words, and the reason once more in `details`.
/// Source: azure-core's `ODataV4Error`, which its clients read errors with.
fn event_grid_shape(status: StatusCode, code: &str, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct EventGridErrorBody<'a> {
        code: &'a str,
        message: &'a str,
        details: [RefusalDetail<'a>; 1],
    }
    #[derive(Serialize)]
    struct RefusalDetail<'a> {
        code: &'a str,
        message: &'a str,
    }
    let words = status
        .canonical_reason()
        .unwrap_or_default()
        .replace(' ', "");
    let details = [RefusalDetail { code, message }];
    to_json(&RefusalEnvelope {
        error: EventGridErrorBody {
            code: &words,
            message,
            details,
        },
    })
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_string(value).expect("strings and numbers are always JSON");
    visible::json(json).into_bytes()
}

fn retry(after: Duration) -> (header::HeaderName, HeaderValue) {
    (header::RETRY_AFTER, HeaderValue::from(seconds(after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use http_body_util::BodyExt as _;

    /// The refusals of a router whose numbers depend on sizes in memory.
    async fn check(error: AcceptError, surface: IngressSurface, expect: Expect) {
        let (head, body) = IngressRefusal::from(error)
            .answer(Some(surface))
            .into_parts();
        let body = body.collect().await.expect("infallible").to_bytes();
        let retry_after = head.headers.get(header::RETRY_AFTER);
        let text = std::str::from_utf8(&body).expect("JSON");
        expect.assert_eq(&format!("{} {retry_after:?} {text}", head.status));
    }

    #[test]
    fn a_producers_words_in_an_answer_are_visible_and_the_same_document() {
        let words = "attribute `a\u{9b}2J\u{202e}\u{2028}ü`";
        let json = to_json(&words);
        let text = std::str::from_utf8(&json).expect("JSON is UTF-8");
        assert!(!text.contains(visible::is_hidden), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(text).expect("JSON"), words);
    }

    #[tokio::test]
    async fn what_does_not_fit_says_so() {
        let full = AcceptError::Full {
            bytes: 90,
            bytes_max: 100,
            retry_after: Duration::from_secs(3),
        };
        check(full.clone(), IngressSurface::Events, expect![[r#"503 Service Unavailable Some("3") {"error":{"code":"JournalFull","message":"the journal is full: 90 of 100 bytes are waiting to be delivered; try again in 3 s"}}"#]]).await;
        check(full, IngressSurface::EventGrid, expect![[r#"503 Service Unavailable Some("3") {"error":{"code":"ServiceUnavailable","message":"the journal is full: 90 of 100 bytes are waiting to be delivered; try again in 3 s","details":[{"code":"JournalFull","message":"the journal is full: 90 of 100 bytes are waiting to be delivered; try again in 3 s"}]}}"#]]).await;
        let endpoint = AcceptError::EndpointFull {
            endpoint: "default/hub-1".to_owned(),
            retry_after: Duration::from_secs(5),
        };
        check(endpoint, IngressSurface::Events, expect![[r#"503 Service Unavailable Some("5") {"error":{"code":"EndpointFull","message":"endpoint default/hub-1: its queue is full, and when_full = \"refuse\" refuses what matches it; try again in 5 s"}}"#]]).await;
        check(AcceptError::FirstFailed, IngressSurface::Events, expect![[r#"503 Service Unavailable Some("1") {"error":{"code":"FirstFailed","message":"an event of the batch was on its way to the journal with another request, which failed; send the batch again"}}"#]]).await;
        let too_large = AcceptError::TooLarge {
            bytes: 200,
            bytes_max: 100,
        };
        check(too_large, IngressSurface::Events, expect![[r#"413 Payload Too Large None {"error":{"code":"BatchTooLarge","message":"the batch has 200 bytes; the journal holds at most 100"}}"#]]).await;
    }
}
